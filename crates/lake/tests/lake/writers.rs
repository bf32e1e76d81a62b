use lake::{Commit, ErrorKind};

use crate::common::*;

on_every_store! {
    a_stale_writer_is_fenced_also_after_a_refresh,
    progress_never_stands_still_or_goes_back,
    writers_of_other_progress_go_on_together,
    rivals_for_one_progress_never_double_a_row,
    tables_are_made_once_by_many,
    a_replacement_sees_what_others_added,
}

async fn a_stale_writer_is_fenced_also_after_a_refresh(place: Place) {
    let lake = place.lake().await;
    let mut stale = lake.table(&spec()).await.unwrap();
    stale.append(vec![day_rows(0, 5)], progress(&[("a", 5)])).await.unwrap();
    let mut other = lake.table(&spec()).await.unwrap();
    assert_eq!(other.progress("a").await.unwrap(), Some(5));
    other.append(vec![day_rows(5, 3)], progress(&[("a", 8)])).await.unwrap();

    let claims = |rows| (vec![rows], progress(&[("a", 10)]));
    for refresh in [false, true, true] {
        if refresh {
            stale.refresh().await.unwrap();
        }
        let (batches, commit) = claims(day_rows(5, 5));
        let refused = stale.append(batches, commit).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Fenced);
        assert!(refused.to_string().contains("it was 5 when last asked for, it is 8, the commit would set 10"), "{refused}");
    }
    assert_eq!(visible(&lake).await, (0..8).collect::<Vec<_>>());
    assert_eq!(data_files(&place).len(), 2, "the refused writer left no file");

    assert_eq!(stale.progress("a").await.unwrap(), Some(8));
    stale.append(vec![day_rows(8, 2)], progress(&[("a", 10)])).await.unwrap();
    assert_eq!(visible(&lake).await, (0..10).collect::<Vec<_>>());
    assert_eq!(stale.version(), 3);
}

async fn progress_never_stands_still_or_goes_back(place: Place) {
    let mut table = place.lake().await.table(&spec()).await.unwrap();
    table.append(vec![day_rows(0, 5)], progress(&[("a", 5)])).await.unwrap();
    for version in [5, 4] {
        let refused = table.append(vec![day_rows(0, 5)], progress(&[("b", 1), ("a", version)])).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Fenced);
    }
    assert_eq!(table.version(), 1);
}

async fn writers_of_other_progress_go_on_together(place: Place) {
    let lake = place.lake().await;
    lake.table(&spec()).await.unwrap();
    let writers = (0..4i64).map(|writer| {
        let lake = lake.clone();
        tokio::spawn(async move {
            let mut table = lake.table(&spec()).await.unwrap();
            let app_id = format!("journal:1:{writer}");
            for round in 0..10 {
                let first = writer * 1000 + round * 3;
                table.append(vec![day_rows(first, 3)], progress(&[(&app_id, (round + 1) * 3)])).await.unwrap();
            }
        })
    });
    for done in futures::future::join_all(writers).await {
        done.unwrap();
    }
    let mut table = lake.reader("bronze.events").await.unwrap().unwrap();
    assert_eq!(table.version(), 40);
    let expect: Vec<i64> = (0..4).flat_map(|writer| (0..30).map(move |n| writer * 1000 + n)).collect();
    assert_eq!(visible(&lake).await, expect);
    for writer in 0..4 {
        assert_eq!(table.progress(&format!("journal:1:{writer}")).await.unwrap(), Some(30));
        // Each writer's rows were added in its own order.
        let own: Vec<i64> = all_added(&table).await.into_iter().filter(|n| n / 1000 == writer).collect();
        assert!(own.is_sorted());
    }
}

/// The heart of law 2: however many workers believe that a partition is theirs, its rows are there once.
async fn rivals_for_one_progress_never_double_a_row(place: Place) {
    let lake = place.lake().await;
    lake.table(&spec()).await.unwrap();
    const END: i64 = 60;
    let all_asked = std::sync::Arc::new(tokio::sync::Barrier::new(3));
    let rivals = (0..3i64).map(|rival| {
        let lake = lake.clone();
        let all_asked = std::sync::Arc::clone(&all_asked);
        tokio::spawn(async move {
            let mut table = lake.table(&spec()).await.unwrap();
            let mut fenced = 0;
            let mut at = table.progress("a").await.unwrap().unwrap_or(0);
            all_asked.wait().await;
            while at < END {
                let next = (at + 1 + rival).min(END);
                match table.append(vec![day_rows(at, (next - at) as usize)], progress(&[("a", next)])).await {
                    Ok(_) => at = next,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
                        fenced += 1;
                        table.refresh().await.unwrap();
                        at = table.progress("a").await.unwrap().unwrap_or(0);
                    }
                }
            }
            fenced
        })
    });
    let fenced: Vec<i32> = futures::future::join_all(rivals).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(visible(&lake).await, (0..END).collect::<Vec<_>>());
    assert!(fenced.iter().sum::<i32>() >= 2, "the rivals never met");
}

async fn tables_are_made_once_by_many(place: Place) {
    let lake = place.lake().await;
    let makers = (0..6).map(|n| {
        let lake = lake.clone();
        tokio::spawn(async move {
            let mut table = lake.table(&spec()).await.unwrap();
            table.append(vec![day_rows(n, 1)], Commit::default()).await.unwrap();
        })
    });
    for made in futures::future::join_all(makers).await {
        made.unwrap();
    }
    assert_eq!(visible(&lake).await, (0..6).collect::<Vec<_>>());
}

async fn a_replacement_sees_what_others_added(place: Place) {
    let lake = place.lake().await;
    let mut gold = lake.table(&spec()).await.unwrap();
    gold.append(vec![rows(0, &[MONDAY, MONDAY + 1])], Commit::default()).await.unwrap();
    let mut other = lake.table(&spec()).await.unwrap();
    let monday = ["2026-11-23".to_owned()];

    other.append(vec![rows(2, &[MONDAY + 1])], Commit::default()).await.unwrap();
    gold.replace("day", &monday, vec![rows(10, &[MONDAY])], Commit::default()).await.unwrap();
    assert_eq!(visible(&lake).await, [1, 2, 10], "another day is no conflict");

    other.append(vec![rows(3, &[MONDAY])], Commit::default()).await.unwrap();
    let refused = gold.replace("day", &monday, vec![rows(11, &[MONDAY])], Commit::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    gold.refresh().await.unwrap();
    gold.replace("day", &monday, vec![rows(11, &[MONDAY])], Commit::default()).await.unwrap();
    assert_eq!(visible(&lake).await, [1, 2, 11]);
}
