//! A data folder that was copied, as a whole or in parts made at different moments: it goes on where it was, or says what is missing.

use std::path::Path;
use std::sync::Arc;

use contract::Verdict;
use journal::Journal;
use journal::embedded::{Config, Embedded};

use crate::place::{Arriving, Place};

/// Each append begins a file, so that much is let go of.
async fn journal_in(place: &Place) -> Arc<dyn Journal> {
    let config = Config { segment_bytes: 2_000, disk_free_bytes_min: 0, ..Config::default() };
    Arc::new(Embedded::open(place.path().join("journal"), config).await.unwrap())
}

/// Every fifth is refused.
fn events(from: u32, to: u32) -> Vec<Arriving> {
    let event = |number: u32| {
        let page = Arriving::page(&format!("page-{number}"));
        if number.is_multiple_of(5) { page.judged(Verdict::Refused) } else { page }
    };
    (from..to).map(event).collect()
}

async fn append(place: &Place, journal: &Arc<dyn Journal>, events: &[Arriving]) {
    for part in events.chunks(10) {
        place.append(journal, part).await;
    }
}

/// A journal of 100 records, all of them in the lake, and of which it has only the last.
async fn trimmed() -> Place {
    let place = Place::new();
    let journal = journal_in(&place).await;
    append(&place, &journal, &events(0, 100)).await;
    place.drain(Arc::clone(&journal)).await;
    journal.trim(&journal.end().await.unwrap()).await.unwrap();
    let start = journal.start().await.unwrap();
    assert!(start.values().all(|start| *start > 0), "{start:?}");
    place
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Records of a generation: rows of Bronze, and dead letters.
async fn of_generation(place: &Place, generation: u32) -> (i64, i64) {
    let count = async |table: &str| place.number(&format!("SELECT count(*) FROM {table} WHERE journal_generation = {generation}")).await;
    (count("bronze.events").await, count("dead_letters").await)
}

async fn check(place: &Place, received: u64) {
    let books = place.audit().await;
    assert!(books.balanced, "{:?}", books.findings);
    assert_eq!((books.total.received, books.total.pending), (received, 0));
    assert_eq!(place.number("SELECT count(*) - count(DISTINCT event_id) FROM bronze.events").await, 0);
    assert_eq!(place.number("SELECT count(*) - count(DISTINCT event_id) FROM dead_letters").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_on_where_it_was_and_so_does_the_original() {
    let place = trimmed().await;
    // Of these the lake has none yet.
    append(&place, &journal_in(&place).await, &events(100, 140)).await;
    let restored = Place::new();
    copy(place.path(), restored.path());

    let journal = journal_in(&restored).await;
    assert_eq!(journal.generation(), 2);
    append(&restored, &journal, &events(140, 160)).await;
    restored.drain(Arc::clone(&journal)).await;
    assert_eq!((of_generation(&restored, 1).await, of_generation(&restored, 2).await), ((112, 28), (16, 4)));
    check(&restored, 160).await;
    // As does what it goes on with once it has let go of all that tells of the old generation.
    journal.trim(&journal.end().await.unwrap()).await.unwrap();
    drop(journal);
    let journal = journal_in(&restored).await;
    append(&restored, &journal, &events(160, 180)).await;
    restored.drain(journal).await;
    assert_eq!((of_generation(&restored, 1).await, of_generation(&restored, 2).await), ((112, 28), (32, 8)));
    check(&restored, 180).await;

    let journal = journal_in(&place).await;
    assert_eq!(journal.generation(), 1);
    append(&place, &journal, &events(140, 150)).await;
    place.drain(journal).await;
    check(&place, 150).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_which_the_lake_has_all_takes_nothing_again() {
    let place = trimmed().await;
    let restored = Place::new();
    copy(place.path(), restored.path());
    for generation in [2, 2] {
        let journal = journal_in(&restored).await;
        assert_eq!(journal.generation(), generation);
        restored.drain(journal).await;
        check(&restored, 100).await;
    }
    // A copy of the copy, which had nothing of its own.
    let second = Place::new();
    copy(restored.path(), second.path());
    let journal = journal_in(&second).await;
    assert_eq!(journal.generation(), 3);
    append(&second, &journal, &events(100, 110)).await;
    second.drain(journal).await;
    assert_eq!((of_generation(&second, 2).await, of_generation(&second, 3).await), ((0, 0), (8, 2)));
    check(&second, 110).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_that_was_copied_after_the_journal_has_it_all() {
    let place = trimmed().await;
    append(&place, &journal_in(&place).await, &events(100, 120)).await;
    let restored = Place::new();
    copy(&place.path().join("journal"), &restored.path().join("journal"));
    // The original goes on, takes up what was left and more, and lets go of it.
    let journal = journal_in(&place).await;
    append(&place, &journal, &events(120, 150)).await;
    place.drain(Arc::clone(&journal)).await;
    journal.trim(&journal.end().await.unwrap()).await.unwrap();
    copy(&place.path().join("lake"), &restored.path().join("lake"));

    let journal = journal_in(&restored).await;
    append(&restored, &journal, &events(150, 170)).await;
    restored.drain(journal).await;
    assert_eq!((of_generation(&restored, 1).await, of_generation(&restored, 2).await), ((120, 30), (16, 4)));
    check(&restored, 170).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_that_was_copied_before_the_journal_lacks_records_and_says_so() {
    let place = trimmed().await;
    let restored = Place::new();
    copy(&place.path().join("lake"), &restored.path().join("lake"));
    let journal = journal_in(&place).await;
    append(&place, &journal, &events(100, 150)).await;
    place.drain(Arc::clone(&journal)).await;
    journal.trim(&journal.end().await.unwrap()).await.unwrap();
    drop(journal);
    copy(&place.path().join("journal"), &restored.path().join("journal"));

    let refused = restored.pipeline(journal_in(&restored).await).await.unwrap_err().to_string();
    assert!(refused.contains("records are missing") && refused.contains("copy of the lake that was made after it"), "{refused}");
    check(&restored, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_fences_the_original_where_both_have_one_lake() {
    let place = trimmed().await;
    let original = journal_in(&place).await;
    let runs = place.pipeline(Arc::clone(&original)).await.unwrap();
    let restored = Place::new();
    copy(&place.path().join("journal"), &restored.path().join("journal"));
    let copied = journal_in(&restored).await;
    append(&place, &copied, &events(100, 110)).await;
    let worker = place.worker(copied, "index-2").await.unwrap();
    let (_stop, stopped) = tokio::sync::watch::channel(true);
    worker.run(stopped.clone()).await.unwrap();

    append(&place, &original, &events(110, 120)).await;
    let refused = runs.run(stopped).await.unwrap_err().to_string();
    assert!(refused.contains("generation 2, this journal is generation 1"), "{refused}");
    check(&place, 110).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_another_journal_is_refused() {
    let (place, other) = (trimmed().await, Place::new());
    let journal = journal_in(&other).await;
    // Other events at the same places.
    append(&other, &journal, &events(1_000, 1_050)).await;
    drop(journal);
    let restored = Place::new();
    copy(&other.path().join("journal"), &restored.path().join("journal"));
    copy(&place.path().join("lake"), &restored.path().join("lake"));
    let refused = restored.pipeline(journal_in(&restored).await).await.unwrap_err().to_string();
    assert!(refused.contains("not a copy of the journal that this lake was fed from"), "{refused}");
    check(&restored, 100).await;

    // In a lake of its own it is taken up from the beginning.
    std::fs::remove_dir_all(restored.path().join("lake")).unwrap();
    restored.drain(journal_in(&restored).await).await;
    assert_eq!((of_generation(&restored, 1).await, of_generation(&restored, 2).await), ((40, 10), (0, 0)));
    check(&restored, 50).await;
}
