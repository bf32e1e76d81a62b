//! A lake on a real S3 server that is killed, stands still, or is reached over a bad network.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lake::{Commit, ErrorKind, Lake, Table};
use servers::{Fault, Proxy};

use crate::common::*;

/// The address of a server in its URL.
fn before(place: &Place) -> Proxy {
    Proxy::start(place.url().trim_start_matches("http://")).unwrap()
}

/// Appends rows until as many are there, as a stage does: after an error it asks where to go on.
async fn append_through(table: &mut Table, from: i64, end: i64) {
    let mut at = from;
    while at < end {
        match table.append(vec![day_rows(at, 1)], progress(&[("a", at + 1)])).await {
            Ok(_) => at += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
                if table.refresh().await.is_ok()
                    && let Ok(found) = table.progress("a").await
                {
                    at = found.unwrap_or(0);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_a_kill_of_the_server() {
    let mut place = Place::bucket();
    let mut table = place.lake().await.table(&spec()).await.unwrap();
    let acknowledged = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(0));
    let told = std::sync::Arc::clone(&acknowledged);
    let writer = tokio::spawn(async move {
        while table.append(vec![day_rows(told.load(std::sync::atomic::Ordering::SeqCst), 1)], Commit::default()).await.is_ok() {
            told.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    });
    while acknowledged.load(std::sync::atomic::Ordering::SeqCst) < 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    place.server().kill().unwrap();
    // Its requests fail from now on, and it gives up: what it does not know, it does not count.
    writer.abort();
    drop(writer.await);
    place.server().restart().unwrap();
    let acknowledged = acknowledged.load(std::sync::atomic::Ordering::SeqCst);
    let lake = place.lake().await;
    let found = visible(&lake).await;
    assert!(found.len() as i64 - acknowledged <= 1, "{} rows of {acknowledged} and the one that was on its way", found.len());
    assert_eq!(found, (0..found.len() as i64).collect::<Vec<_>>());
    assert!(found.len() as i64 >= acknowledged);
    lake.table(&spec()).await.unwrap().append(vec![day_rows(found.len() as i64, 1)], Commit::default()).await.unwrap();
    assert_eq!(visible(&lake).await.len(), found.len() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_goes_on_through_kills_of_the_server() {
    let mut place = Place::bucket();
    let proxy = before(&place);
    let lake = place.lake_by(&proxy).await;
    let mut table = lake.table(&spec()).await.unwrap();
    let writer = tokio::spawn(async move { append_through(&mut table, 0, 60).await });
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        place.server().kill().unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        place.server().restart().unwrap();
    }
    writer.await.unwrap();
    assert_eq!(visible(&place.lake().await).await, (0..60).collect::<Vec<_>>());
}

/// The faults that a network and a busy store have, one after the other, while a writer goes on.
#[tokio::test(flavor = "multi_thread")]
async fn commits_are_made_once_over_a_bad_network() {
    let place = Place::bucket();
    let proxy = before(&place);
    let lake = place.lake_by(&proxy).await;
    let mut table = lake.table(&spec()).await.unwrap();
    let mut at = 0;
    for fault in [Fault::Http503, Fault::LoseAnswers, Fault::Refuse, Fault::Slow(Duration::from_millis(30)), Fault::LoseAnswers] {
        let struck = proxy.struck();
        let spoiler = async {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_millis(60)).await;
                proxy.set(fault);
                tokio::time::sleep(Duration::from_millis(120)).await;
                proxy.set(Fault::None);
            }
        };
        // Enough rows for the writer to be at it through all of it.
        let end = at + 40;
        tokio::join!(append_through(&mut table, at, end), spoiler);
        at = end;
        assert!(proxy.struck() > struck, "{fault:?} never struck");
        assert_eq!(visible(&place.lake().await).await, (0..at).collect::<Vec<_>>(), "{fault:?}");
    }
    let table = place.lake().await.reader("bronze.events").await.unwrap().unwrap();
    assert_eq!(all_added(&table).await, (0..at).collect::<Vec<_>>());
}

/// The store takes the commit, the answer is lost, and the request that is sent again is told that the version is there: it is one's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_finds_itself_there_is_made() {
    let place = Place::bucket();
    let proxy = before(&place);
    let lake = place.lake_by(&proxy).await;
    let mut table = lake.table(&spec()).await.unwrap();
    let began = proxy.struck();
    for n in 0..5 {
        let ended = AtomicBool::new(false);
        let append = async {
            let made = table.append(vec![day_rows(n, 1)], progress(&[("a", n + 1)])).await;
            ended.store(true, Ordering::Relaxed);
            made
        };
        let spoiler = async {
            proxy.set(Fault::LoseAnswers);
            let struck = proxy.struck();
            // The first requests of the call, whichever they are, have their effect and no answer. It may give up before.
            while proxy.struck() < struck + 2 && !ended.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
            proxy.set(Fault::None);
        };
        let (made, ()) = tokio::join!(append, spoiler);
        match made {
            Ok(made) => assert_eq!(made.version, n + 1),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
                let made = table.append(vec![day_rows(n, 1)], progress(&[("a", n + 1)])).await.unwrap();
                assert_eq!(made.version, n + 1);
            }
        }
    }
    assert!(proxy.struck() >= began + 5, "each of them lost an answer");
    assert_eq!(visible(&place.lake().await).await, [0, 1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_is_given_up_and_found_again() {
    let mut place = Place::bucket();
    let proxy = before(&place);
    let lake = place.lake_by(&proxy).await;
    let mut table = lake.table(&spec()).await.unwrap();
    table.append(vec![day_rows(0, 1)], progress(&[("a", 1)])).await.unwrap();
    place.server().freeze().unwrap();
    let refused = table.append(vec![day_rows(1, 1)], progress(&[("a", 2)])).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Retry, "{refused}");
    place.server().thaw().unwrap();
    append_through(&mut table, 1, 3).await;
    let lake: Lake = place.lake().await;
    assert_eq!(visible(&lake).await, [0, 1, 2]);
}
