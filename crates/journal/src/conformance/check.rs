//! What the cases of the suite share.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::{Error, Journal, Offsets, ReadLimit, Record, Stored};

/// How long a case waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it waits for what may happen.
const CURIOSITY: Duration = Duration::from_millis(200);

pub(super) fn must<T>(outcome: Result<T, Error>, what: &str) -> T {
    match outcome {
        Ok(value) => value,
        Err(error) => panic!("{what} fails: {error}"),
    }
}

/// A key that spreads over the partitions like the digests that real keys are.
pub(super) fn key(number: usize) -> [u8; 16] {
    let mixed = (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (u128::from(mixed >> 32) | u128::from(mixed) << 64).to_le_bytes()
}

/// A record that tells its number in all its parts.
pub(super) fn record(number: usize, value_bytes: usize) -> Record {
    let value: Vec<u8> = (0..value_bytes).map(|at| (number.wrapping_mul(31) ^ at.wrapping_mul(7)) as u8).collect();
    Record { key: key(number), header: Bytes::from(format!("record {number}")), value: value.into() }
}

/// Waits for a task that must end.
pub(super) async fn within<T>(task: JoinHandle<T>, what: &str) -> T {
    match tokio::time::timeout(PATIENCE, task).await {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => panic!("{what}: {error}"),
        Err(_) => panic!("{what}, it has not for {PATIENCE:?}"),
    }
}

/// Whether something comes true that may.
pub(super) async fn eventually(is_true: impl AsyncFn() -> bool) -> bool {
    for _ in 0..10 {
        if is_true().await {
            return true;
        }
        tokio::time::sleep(CURIOSITY / 10).await;
    }
    false
}

/// The start of every partition.
pub(super) async fn beginning(journal: &dyn Journal) -> Offsets {
    let start = must(journal.start().await, "start");
    assert!(start.keys().copied().eq(0..journal.partitions()), "the start tells of every partition");
    start
}

/// Everything of the partitions named, from these offsets on.
pub(super) async fn drain(journal: &dyn Journal, from: Offsets) -> Vec<Stored> {
    drain_with(journal, from, ReadLimit { records_max: 1000, bytes_max: 1 << 20 }).await
}

/// Everything from these offsets on, so much at a time. Some journals find nothing for a moment though there is something.
pub(super) async fn drain_with(journal: &dyn Journal, mut from: Offsets, limit: ReadLimit) -> Vec<Stored> {
    let mut all = Vec::new();
    let end = must(journal.end().await, "end");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let found = must(journal.read(&from, limit).await, "read");
        assert!(found.len() <= limit.records_max, "records_max bounds a read");
        for stored in &found {
            let before = from.insert(stored.partition, stored.offset + 1);
            assert!(before.is_none_or(|before| before <= stored.offset), "a read returns nothing before its offsets");
        }
        let is_at_end = from.iter().all(|(partition, from)| end.get(partition).is_none_or(|end| from >= end));
        let is_over = found.is_empty() && tokio::time::Instant::now() > deadline;
        all.extend(found);
        if is_at_end || is_over {
            return all;
        }
    }
}

/// What was appended, by position.
#[derive(Debug, Default)]
pub(super) struct Expected {
    records: BTreeMap<(u32, u64), Record>,
}

impl Expected {
    /// Appends and takes note.
    pub(super) async fn append(&mut self, journal: &dyn Journal, records: Vec<Record>) {
        let positions = must(journal.append(records.clone()).await, "append");
        assert_eq!(positions.len(), records.len(), "an append is answered with one position for each record");
        for (position, record) in positions.into_iter().zip(records) {
            assert!(self.records.insert(position, record).is_none(), "position {position:?} is given twice");
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        for (position, record) in other.records {
            assert!(self.records.insert(position, record).is_none(), "position {position:?} is given twice");
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (u32, u64, &Record)> {
        self.records.iter().map(|((partition, offset), record)| (*partition, *offset, record))
    }

    pub(super) fn offsets(&self, partition: u32) -> Vec<u64> {
        self.records.range((partition, 0)..=(partition, u64::MAX)).map(|((_, offset), _)| *offset).collect()
    }

    /// The last offset of each partition.
    pub(super) fn last(&self) -> Offsets {
        self.records.keys().copied().collect()
    }

    /// Everything is there, and nothing else.
    pub(super) async fn check(&self, journal: &dyn Journal, law: &str) {
        let from = beginning(journal).await;
        self.check_from(&from, drain(journal, from.clone()).await, law);
    }

    /// What was found is everything of the partitions named, from these offsets on, and nothing else.
    pub(super) fn check_from(&self, from: &Offsets, found: Vec<Stored>, law: &str) {
        let is_asked = |partition: u32, offset: u64| from.get(&partition).is_some_and(|from| *from <= offset);
        let mut missing: BTreeMap<_, _> =
            self.all().filter(|(partition, offset, _)| is_asked(*partition, *offset)).map(|(p, o, record)| ((p, o), record)).collect();
        for stored in found {
            let position = (stored.partition, stored.offset);
            let expected = missing.remove(&position);
            assert!(expected.is_some(), "{law}: {position:?} was not appended, or is read twice");
            assert!(expected == Some(&stored.record), "{law}: {position:?} is another record than was appended");
        }
        assert!(missing.is_empty(), "{law}: missing are {:?}", missing.keys().collect::<Vec<_>>());
    }
}
