//! The suite that every journal passes: call [`run`] from a test of the implementation.
//!
//! It asks no more than the law says: offsets may have gaps, trimming may happen later or not at all, other records may not be there before. A breach
//! is a panic that says which part of the law it is.

mod check;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use check::{Expected, beginning, drain, eventually, key, must, record, within};

use crate::{ErrorKind, Journal, Offsets, ReadLimit, Record, partition_of};

/// One journal, made for one case of the suite: empty at first, of at least two partitions, used by nobody else.
#[async_trait::async_trait]
pub trait Fixture: Send {
    /// Opens the journal: the first time anew, later with what it holds. Whatever was opened before has been dropped.
    async fn open(&mut self) -> Arc<dyn Journal>;

    /// The largest record that must be taken: bytes of header and value together.
    fn record_bytes_max(&self) -> usize;
}

/// Runs every case, each with a fixture of its own; `make` is told the name of the case.
///
/// # Panics
///
/// When the journal breaks the law.
pub async fn run<F, Made>(make: F)
where
    F: Fn(&'static str) -> Made,
    Made: Future<Output = Box<dyn Fixture>>,
{
    answers_tell_where_records_are(&mut *make("answers").await).await;
    order_holds_within_a_partition(&mut *make("order").await).await;
    keys_choose_partitions(&mut *make("keys").await).await;
    what_was_answered_survives(&mut *make("survives").await).await;
    reads_stay_within_limits(&mut *make("limits").await).await;
    reads_begin_where_asked(&mut *make("begin").await).await;
    waits_end_when_there_is_something(&mut *make("waits").await).await;
    concurrent_appends_are_all_there(&mut *make("concurrent").await).await;
    large_and_empty_records_are_kept(&mut *make("large").await).await;
    nothing_appended_is_nothing(&mut *make("nothing").await).await;
    trims_remove_only_from_the_front(&mut *make("trims").await).await;
}

async fn answers_tell_where_records_are(fixture: &mut dyn Fixture) {
    let journal = fixture.open().await;
    let mut expected = Expected::default();
    for turn in 0..20 {
        let records: Vec<Record> = (0..turn).map(|number| record(turn * 100 + number, 10)).collect();
        expected.append(&*journal, records).await;
    }
    expected.check(&*journal, "a record is read at the position its append was answered with").await;
    let end = must(journal.end().await, "end");
    for (partition, offset, _) in expected.all() {
        assert!(end.get(&partition).is_some_and(|end| *end > offset), "the end of partition {partition} lies behind every record of it");
    }
}

async fn order_holds_within_a_partition(fixture: &mut dyn Fixture) {
    let journal = fixture.open().await;
    let mut last = Offsets::new();
    for turn in 0..50 {
        // One append may carry several records of one partition.
        let records = (0..4).map(|number| Record { key: key(number % 2), ..record(turn * 4 + number, 8) }).collect();
        for (partition, offset) in must(journal.append(records).await, "append") {
            let before = last.insert(partition, offset);
            assert!(
                before.is_none_or(|before| before < offset),
                "offsets grow in the order of appends, in partition {partition} {before:?} came before {offset}"
            );
        }
    }
    let mut read = Offsets::new();
    for stored in drain(&*journal, beginning(&*journal).await).await {
        let before = read.insert(stored.partition, stored.offset);
        assert!(before.is_none_or(|before| before < stored.offset), "records of a partition are read in the order of their offsets");
    }
    assert_eq!(read, last, "everything is read");
}

async fn keys_choose_partitions(fixture: &mut dyn Fixture) {
    let journal = fixture.open().await;
    let partitions = journal.partitions();
    assert!(partitions >= 2, "the suite needs at least two partitions");
    let mut used = BTreeSet::new();
    for number in 0..64 {
        let records = vec![record(number, 1), record(number, 2)];
        for (partition, _) in must(journal.append(records).await, "append") {
            assert_eq!(partition, partition_of(&key(number), partitions), "the partition is that of the key");
            used.insert(partition);
        }
    }
    assert_eq!(used.len(), partitions as usize, "every partition is used");
    assert_eq!(used.last().map(|last| last + 1), Some(partitions), "partitions are numbered from 0");
}

async fn what_was_answered_survives(fixture: &mut dyn Fixture) {
    let mut expected = Expected::default();
    let mut generation = None;
    for turn in 0..5 {
        let journal = fixture.open().await;
        assert_eq!(*generation.get_or_insert(journal.generation()), journal.generation(), "opening again is no new generation");
        expected.check(&*journal, "what was answered is there after the journal was closed").await;
        let records = (0..50).map(|number| record(turn * 1000 + number, 300)).collect();
        expected.append(&*journal, records).await;
        expected.check(&*journal, "offsets go on where they ended").await;
    }
}

async fn reads_stay_within_limits(fixture: &mut dyn Fixture) {
    let journal = fixture.open().await;
    let records: Vec<Record> = (0..200).map(|number| record(number, 1000)).collect();
    let payload = records.first().map_or(0, |record| record.header.len() + record.value.len());
    must(journal.append(records).await, "append");
    let read = async |records_max, bytes_max| {
        must(journal.read(&beginning(&*journal).await, ReadLimit { records_max, bytes_max }).await, "read").len()
    };
    assert!((1..=7).contains(&read(7, usize::MAX).await), "records_max bounds a read");
    assert!((1..=10).contains(&read(usize::MAX, 10 * payload).await), "bytes_max bounds a read");
    assert_eq!(read(usize::MAX, 1).await, 1, "a read returns one record however small bytes_max is");
    assert_eq!(read(usize::MAX, 0).await, 1, "a read returns one record however small bytes_max is");
    assert_eq!(read(0, usize::MAX).await, 0, "a read of no records returns none");
    for limit in [ReadLimit { records_max: 3, bytes_max: usize::MAX }, ReadLimit { records_max: usize::MAX, bytes_max: 1 }] {
        let all = check::drain_with(&*journal, beginning(&*journal).await, limit).await;
        assert_eq!(all.len(), 200, "reading on with {limit:?} returns everything once");
    }
}

async fn reads_begin_where_asked(fixture: &mut dyn Fixture) {
    let journal = fixture.open().await;
    let mut expected = Expected::default();
    for turn in 0..10 {
        expected.append(&*journal, (0..40).map(|number| record(turn * 100 + number, 50)).collect()).await;
    }
    // Each partition from another place.
    let mut from = Offsets::new();
    for partition in 0..journal.partitions() {
        let offsets = expected.offsets(partition);
        let number = offsets.len() * (partition as usize + 1) / (journal.partitions() as usize + 1);
        from.extend(offsets.get(number).map(|offset| (partition, *offset)));
    }
    let found = drain(&*journal, from.clone()).await;
    expected.check_from(&from, found, "a read begins at the offset of each partition");

    // A partition that is not named is not read.
    let end = must(journal.end().await, "end");
    let last = journal.partitions() - 1;
    let mut only_last = beginning(&*journal).await;
    only_last.retain(|partition, _| *partition == last);
    let found = drain(&*journal, only_last.clone()).await;
    assert!(found.iter().all(|stored| stored.partition == last), "partitions that are not named are not read");
    expected.check_from(&only_last, found, "a partition is read from its start");
    assert!(must(journal.read(&Offsets::new(), ReadLimit { records_max: 1, bytes_max: 1 }).await, "read").is_empty(), "none is asked for");
    assert!(drain(&*journal, end).await.is_empty(), "there is nothing behind the end");
}

async fn waits_end_when_there_is_something(fixture: &mut dyn Fixture) {
    let journal = fixture.open().await;
    let waited = |journal: &Arc<dyn Journal>, from: Offsets| {
        let journal = Arc::clone(journal);
        tokio::spawn(async move {
            // A wait may wake early.
            while must(journal.read(&from, ReadLimit { records_max: 1, bytes_max: 1 }).await, "read").is_empty() {
                journal.wait(&from).await;
            }
        })
    };
    let first = waited(&journal, beginning(&*journal).await);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!first.is_finished(), "there is nothing to be found before the first append");
    drop(tokio::time::timeout(Duration::from_millis(1), journal.wait(&beginning(&*journal).await)).await);

    must(journal.append(vec![record(1, 1)]).await, "append");
    within(first, "a wait ends when something was appended").await;
    within(waited(&journal, beginning(&*journal).await), "a wait ends at once when something is there").await;

    let behind = waited(&journal, must(journal.end().await, "end"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!behind.is_finished(), "there is nothing to be found behind the end");
    must(journal.append(vec![record(2, 1)]).await, "append");
    within(behind, "a wait behind the end of every partition ends with the next append to any").await;
}

async fn concurrent_appends_are_all_there(fixture: &mut dyn Fixture) {
    let journal = fixture.open().await;
    let appenders: Vec<_> = (0..16)
        .map(|appender| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move {
                let mut expected = Expected::default();
                for turn in 0..20 {
                    let records = (0..=turn % 5).map(|number| record(appender * 10_000 + turn * 10 + number, 100)).collect();
                    expected.append(&*journal, records).await;
                }
                expected
            })
        })
        .collect();
    let mut expected = Expected::default();
    for appender in appenders {
        let done = within(appender, "appenders end").await;
        expected.add(done);
    }
    expected.check(&*journal, "of concurrent appends every record is at its own position").await;
}

async fn large_and_empty_records_are_kept(fixture: &mut dyn Fixture) {
    let limit = fixture.record_bytes_max();
    let mut expected = Expected::default();
    {
        let journal = fixture.open().await;
        for (number, value_bytes) in [0, 1, limit / 3, limit - record(3, 0).header.len(), 0, 1].into_iter().enumerate() {
            expected.append(&*journal, vec![record(number, value_bytes)]).await;
        }
        expected.append(&*journal, vec![Record { key: [0; 16], header: Default::default(), value: Default::default() }]).await;
        let over = journal.append(vec![record(1, 1), record(2, limit + 1)]).await;
        assert_eq!(over.map_err(|error| error.kind()), Err(ErrorKind::TooLarge), "a record over the limit is too large");
        expected.check(&*journal, "records of every size are kept, and nothing of a refused append").await;
    }
    let journal = fixture.open().await;
    expected.check(&*journal, "records of every size survive").await;
}

async fn nothing_appended_is_nothing(fixture: &mut dyn Fixture) {
    let journal = fixture.open().await;
    let before = must(journal.end().await, "end");
    assert_eq!(must(journal.append(Vec::new()).await, "append"), [], "an append of nothing has no positions");
    assert_eq!(must(journal.end().await, "end"), before, "an append of nothing leaves nothing");
    assert_eq!(must(journal.start().await, "start"), before, "an empty journal begins where it ends");
    assert!(drain(&*journal, beginning(&*journal).await).await.is_empty(), "an empty journal has nothing to read");
}

async fn trims_remove_only_from_the_front(fixture: &mut dyn Fixture) {
    let mut expected = Expected::default();
    let mut before = Offsets::new();
    {
        let journal = fixture.open().await;
        for turn in 0..20 {
            expected.append(&*journal, (0..50).map(|number| record(turn * 100 + number, 400)).collect()).await;
        }
        must(journal.trim(&Offsets::new()).await, "trim");
        expected.check(&*journal, "trimming before nothing removes nothing").await;
        for partition in 0..journal.partitions() {
            let offsets = expected.offsets(partition);
            before.extend(offsets.get(offsets.len() / 2).map(|offset| (partition, *offset)));
        }
        must(journal.trim(&before).await, "trim");
        expected.check_from(&before, drain(&*journal, before.clone()).await, "what lies at or behind the offsets of a trim stays");
        let start = must(journal.start().await, "start");
        assert!(
            start.iter().all(|(partition, start)| before.get(partition).is_none_or(|before| start <= before)),
            "a trim removes nothing behind its offsets"
        );
    }
    let journal = fixture.open().await;
    expected.check_from(&before, drain(&*journal, before.clone()).await, "a trim leaves the rest as it was");
    let end = must(journal.end().await, "end");
    must(journal.trim(&end).await, "trim");
    let last = expected.last();
    expected.append(&*journal, (0..50).map(|number| record(9000 + number, 10)).collect()).await;
    expected.check_from(&end, drain(&*journal, end.clone()).await, "offsets go on behind a trim of everything");
    assert!(last.iter().all(|(partition, last)| expected.last().get(partition) > Some(last)), "offsets are never used again");
    trimmed_offsets_are_an_error(&*journal, &expected).await;
    let before = must(journal.seal().await, "seal");
    // Behind the seal, so that it does not keep what lies before it.
    expected.append(&*journal, (0..50).map(|number| record(9300 + number, 10)).collect()).await;
    must(journal.forget(&before).await, "forget");
    assert_eq!(must(journal.start().await, "start"), before, "what is forgotten cannot be read any more");
    expected.append(&*journal, (0..50).map(|number| record(9500 + number, 10)).collect()).await;
    expected.check_from(&before, drain(&*journal, before.clone()).await, "offsets go on behind what was forgotten");
}

/// Where trimming happens, now or a little later, an offset that is gone is an error rather than something else.
async fn trimmed_offsets_are_an_error(journal: &dyn Journal, expected: &Expected) {
    let first: Offsets =
        (0..journal.partitions()).filter_map(|partition| expected.offsets(partition).first().map(|first| (partition, *first))).collect();
    let is_trimmed = async || {
        must(journal.start().await, "start").iter().any(|(partition, start)| first.get(partition).is_some_and(|first| first < start))
    };
    if !eventually(is_trimmed).await {
        return;
    }
    let read = journal.read(&first, ReadLimit { records_max: 1, bytes_max: 1 }).await;
    assert_eq!(read.map_err(|error| error.kind()).err(), Some(ErrorKind::Trimmed), "reading what has been trimmed is an error");
    let start = must(journal.start().await, "start");
    assert!(!drain(journal, start).await.is_empty(), "reading from the start is none");
}
