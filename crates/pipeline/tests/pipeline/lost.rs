//! The newest file of a table's log, gone while nothing runs: what is left is an older table, sound as it is. Whoever has read more of it says so, and what nobody has read is made again.

use std::path::PathBuf;

use contract::Verdict;

use crate::place::{Arriving, Place};

/// Every fifth is refused.
fn events(from: u32, to: u32) -> Vec<Arriving> {
    let event = |number: u32| {
        let page = Arriving::page(&format!("page-{number}"));
        if number.is_multiple_of(5) { page.judged(Verdict::Refused) } else { page }
    };
    (from..to).map(event).collect()
}

/// 100 events in all tables, in two commits or more.
async fn fed() -> Place {
    let place = Place::new();
    place.feed(&events(0, 50)).await;
    place.feed(&events(50, 100)).await;
    check(&place).await;
    place
}

async fn check(place: &Place) {
    assert_eq!(place.counts().await, (80, 80, 20));
    let books = place.audit().await;
    assert!(books.balanced, "{:?}", books.findings);
    assert_eq!((books.total.received, books.total.pending), (100, 0));
}

/// Takes the newest file of a table's log away, and gives it back with its version.
fn take_newest(place: &Place, table: &str) -> (i64, PathBuf, Vec<u8>) {
    let log = place.path().join("lake").join(table.replace('.', "/")).join("_delta_log");
    let paths = std::fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path());
    let version = |path: PathBuf| Some((path.file_name()?.to_str()?.strip_suffix(".json")?.parse::<i64>().ok()?, path));
    let (version, path) = paths.filter_map(version).max().unwrap();
    let content = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(version > 1, "{table} had no commit before it");
    (version, path, content)
}

fn remove(place: &Place, folders: &[&str]) {
    for folder in folders {
        std::fs::remove_dir_all(place.path().join("lake").join(folder)).unwrap();
    }
}

async fn findings(place: &Place) -> String {
    place.audit().await.findings.iter().map(pipeline::Finding::text).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_have_read_is_missed_before_anything_is_added() {
    for table in ["bronze.events", "silver.events", "dead_letters"] {
        let place = fed().await;
        let (version, path, content) = take_newest(&place, table);
        for _ in 0..2 {
            let refused = place.pipeline(place.journal().await).await.unwrap_err().to_string();
            assert!(refused.contains(&format!("the log of {table} ends at version {}, and ", version - 1)), "{refused}");
            let found = findings(&place).await;
            assert!(found.contains(&format!("versions of {table}, against what ")), "{found}");
        }
        // Nothing was added in its place.
        std::fs::write(path, content).unwrap();
        place.drain(place.journal().await).await;
        check(&place).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_read_is_made_again() {
    // Of Silver, by Silver: Bronze still has it, and the index is made anew.
    let place = fed().await;
    take_newest(&place, "silver.events");
    remove(&place, &["ledger", "gold"]);
    place.drain(place.journal().await).await;
    check(&place).await;

    // Of Bronze, from the journal, which has it still; the dead letters of the same records are there, and not doubled.
    let place = fed().await;
    take_newest(&place, "bronze.events");
    remove(&place, &["silver", "ledger", "gold"]);
    place.drain(place.journal().await).await;
    check(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_that_nobody_has_read_are_missed_by_the_audit() {
    let place = fed().await;
    take_newest(&place, "dead_letters");
    remove(&place, &["ledger"]);
    let found = findings(&place).await;
    assert!(found.contains("records of the journal's generation 1") && found.contains("missing"), "{found}");
}
