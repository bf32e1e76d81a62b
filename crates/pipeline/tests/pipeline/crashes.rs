//! Stages that are cut off at some moment, over and over: nothing is lost or doubled, and the books balance at every moment.

use std::sync::Arc;
use std::time::Duration;

use contract::Verdict;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::place::{Arriving, Place};

/// Cuts the stages off (every task is dropped where it waits), with events of all kinds in the journal, until all of it is in Silver.
#[tokio::test(flavor = "multi_thread")]
async fn stages_cut_off_anywhere_repeat_work_and_never_rows() {
    let mut random = StdRng::seed_from_u64(1);
    let mut place = Place::new();
    place.config.batch_records_max = 40;
    place.config.silver_rows_max = 60;
    place.config.index.memtable_entries_max = 50;
    let mut events = Vec::new();
    for number in 0..1_500 {
        let id = format!("event-{}", if number % 10 == 9 { number - 5 } else { number });
        events.push(match number % 7 {
            0 => Arriving::exposure(&id, "ann", "control", "2026-11-23T09:10:00Z"),
            1 => Arriving::page(&id).judged(Verdict::Quarantined),
            2 => Arriving::page(&id).judged(Verdict::Refused),
            _ => Arriving::page(&id),
        });
    }
    let journal = place.journal().await;
    for part in events.chunks(100) {
        place.append(&journal, part).await;
    }
    let mut cuts = 0;
    for _ in 0..40 {
        let pipeline = place.pipeline(Arc::clone(&journal)).await.unwrap();
        let (_stop, running) = watch::channel(false);
        let cut = Duration::from_micros(random.random_range(0..60_000));
        cuts += u32::from(tokio::time::timeout(cut, pipeline.run(running)).await.is_err());
        let books = place.audit().await;
        assert!(books.balanced, "after {cuts} cuts: {:?}", books.findings);
    }
    assert_eq!(cuts, 40, "they all must have been cut off");
    place.drain(journal).await;
    let books = place.audit().await;
    assert!(books.balanced, "{:?}", books.findings);
    assert_eq!((books.total.received, books.total.pending), (1_500, 0));
    assert_eq!(place.number("SELECT count(*) - count(DISTINCT event_id) FROM silver.events").await, 0);
    assert_eq!(place.number("SELECT count(*) - count(DISTINCT journal_partition * 1000000 + journal_offset) FROM dead_letters").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_stage_runs_any_more_when_they_are_given_up() {
    let place = Place::new();
    let journal = place.journal().await;
    let held = Arc::strong_count(&journal);
    for round in 0..20_u64 {
        let events: Vec<Arriving> = (0..200).map(|number| Arriving::page(&format!("event-{round}-{number}"))).collect();
        place.append(&journal, &events).await;
        let pipeline = place.pipeline(Arc::clone(&journal)).await.unwrap();
        // Also while they are at bringing all there is to Gold.
        let (_stop, stopped) = watch::channel(round % 2 == 1);
        // The last ones at once, so that something is left to do.
        pipeline.run_unless(sleep(Duration::from_millis(3 * (19 - round))), stopped).await.unwrap();
        assert_eq!(Arc::strong_count(&journal), held, "Bronze has the journal in round {round}");
    }
    let taken = place.number("SELECT count(*) FROM silver.events").await;
    assert!((1..4_000).contains(&taken), "{taken} events were taken before the stages were given up");
    place.drain(journal).await;
    assert_eq!(place.number("SELECT count(*) FROM silver.events").await, 4_000);
    let books = place.audit().await;
    assert!(books.balanced, "{:?}", books.findings);
}
