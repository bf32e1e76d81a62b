//! A journal of many processes, in memory: what Kafka is, with all that can go wrong between it and who uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use journal::{Error, Journal, Offsets, ReadLimit, Record, Share, Stored, partition_of};
use tokio::sync::{Notify, watch};

use crate::locked;
use crate::plant::Plant;
use crate::schedule::{Fate, Kind, Part, Process, Schedule};

/// What is kept, of which nothing is ever lost.
#[derive(Debug, Clone)]
pub(crate) struct Topic(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    kept: Mutex<Kept>,
    grown: Notify,
    partitions: u32,
    plant: Option<Plant>,
}

#[derive(Debug, Default)]
struct Kept {
    /// All that was ever appended, by partition.
    records: BTreeMap<u32, Vec<Stored>>,
    /// Of that, what is still there begins at these offsets.
    start: Offsets,
    /// The most bytes that waited at once to be appended by one process.
    bytes_waiting_peak: usize,
    reads: u64,
    appends: u64,
}

impl Topic {
    pub(crate) fn new(partitions: u32, plant: Option<Plant>) -> Self {
        let mut kept = Kept::default();
        for partition in 0..partitions {
            kept.records.insert(partition, Vec::new());
            kept.start.insert(partition, 0);
        }
        Self(Arc::new(Shared { kept: Mutex::new(kept), grown: Notify::new(), partitions, plant }))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        locked(&self.0.kept)
    }

    /// All that was ever appended.
    pub(crate) fn all(&self) -> Vec<Stored> {
        self.kept().records.values().flatten().cloned().collect()
    }

    /// The most bytes that waited at once to be appended by one process.
    pub(crate) fn bytes_waiting_peak(&self) -> usize {
        self.kept().bytes_waiting_peak
    }

    /// As a process sees it that has these partitions.
    pub(crate) fn seen_by(&self, process: &Process, schedule: &Schedule, has: Share) -> (Handle, watch::Sender<Share>) {
        let (sender, share) = watch::channel(has);
        (Handle { topic: self.clone(), process: process.clone(), schedule: schedule.clone(), share, bytes_waiting: Arc::default() }, sender)
    }

    fn append(&self, records: &[Record]) -> Vec<(u32, u64)> {
        let mut kept = self.kept();
        kept.appends += 1;
        let loses = self.0.plant == Some(Plant::LostAppend) && kept.appends.is_multiple_of(7);
        let mut places = Vec::new();
        for record in records {
            let partition = partition_of(&record.key, self.0.partitions);
            let Some(records) = kept.records.get_mut(&partition) else { continue };
            let offset = records.len() as u64;
            places.push((partition, offset));
            if !loses {
                records.push(Stored { partition, offset, record: record.clone() });
            }
        }
        drop(kept);
        self.0.grown.notify_waiters();
        places
    }

    fn read(&self, from: &Offsets, limit: ReadLimit) -> Result<Vec<Stored>, Error> {
        let mut kept = self.kept();
        kept.reads += 1;
        let reads = kept.reads;
        let (mut found, mut bytes): (Vec<Stored>, usize) = (Vec::new(), 0);
        'all: for (partition, asked) in from {
            let start = kept.start.get(partition).copied().unwrap_or_default();
            if *asked < start {
                return Err(Error::Trimmed { partition: *partition, asked: *asked, start });
            }
            let Some(records) = kept.records.get(partition) else { continue };
            for stored in records.iter().skip(usize::try_from(*asked).unwrap_or(usize::MAX)) {
                if found.len() >= limit.records_max || (bytes >= limit.bytes_max && !found.is_empty()) {
                    break 'all;
                }
                bytes += stored.record.header.len() + stored.record.value.len();
                found.push(stored.clone());
            }
        }
        drop(kept);
        match self.0.plant {
            Some(Plant::SkippedRecord) if found.len() > 2 && reads.is_multiple_of(5) => drop(found.remove(found.len() / 2)),
            Some(Plant::AlteredBytes) if reads.is_multiple_of(3) => {
                if let Some(stored) = found.first_mut() {
                    let mut value = stored.record.value.to_vec();
                    if let Some(last) = value.last_mut() {
                        *last = b' ';
                    }
                    stored.record.value = value.into();
                }
            }
            _ => {}
        }
        Ok(found)
    }

    fn has_any(&self, from: &Offsets) -> bool {
        let kept = self.kept();
        from.iter().any(|(partition, offset)| kept.records.get(partition).is_some_and(|records| records.len() as u64 > *offset))
    }
}

/// The journal as one process sees it.
#[derive(Debug)]
pub(crate) struct Handle {
    topic: Topic,
    process: Process,
    schedule: Schedule,
    share: watch::Receiver<Share>,
    /// Bytes of appends that wait for an answer.
    bytes_waiting: Arc<AtomicUsize>,
}

fn failed(doing: &str) -> Error {
    Error::Unavailable { doing: doing.to_owned(), source: io::Error::other("the connection was reset") }
}

impl Handle {
    /// Asks for something that happens as a whole or not at all, and may be asked for again.
    async fn ask<T: Send + 'static>(
        &self,
        what: &'static str,
        effect: impl FnOnce(&Topic) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let topic = self.topic.clone();
        let answer = move |fate| if fate == Fate::FailedBefore { Err(failed(what)) } else { effect(&topic) };
        self.schedule.request(&self.process, Part::Journal, Kind::Read, what, answer).await
    }
}

#[async_trait]
impl Journal for Handle {
    fn generation(&self) -> u32 {
        1
    }

    fn partitions(&self) -> u32 {
        self.topic.0.partitions
    }

    async fn append(&self, records: Vec<Record>) -> Result<Vec<(u32, u64)>, Error> {
        let topic = self.topic.clone();
        let bytes: usize = records.iter().map(|record| record.header.len() + record.value.len()).sum();
        let waiting = Arc::clone(&self.bytes_waiting);
        let waits = waiting.fetch_add(bytes, Ordering::SeqCst) + bytes;
        {
            let mut kept = topic.kept();
            kept.bytes_waiting_peak = kept.bytes_waiting_peak.max(waits);
        }
        let is_early = self.topic.0.plant == Some(Plant::EarlyYes);
        let what = format!("append {}", records.len());
        let effect = move |fate| {
            waiting.fetch_sub(bytes, Ordering::SeqCst);
            match fate {
                Fate::FailedBefore => Err(failed("append")),
                Fate::FailedAfter => {
                    topic.append(&records);
                    Err(failed("append"))
                }
                Fate::FailedPartly(number) => {
                    let some: Vec<Record> = records
                        .iter()
                        .enumerate()
                        .filter(|(at, _)| number >> (at % 64) & 1 == 1)
                        .map(|(_, record)| record.clone())
                        .collect();
                    topic.append(&some);
                    Err(failed("append"))
                }
                Fate::Done | Fate::Stale => Ok(topic.append(&records)),
            }
        };
        let answer = self.schedule.request(&self.process, Part::Journal, Kind::PartialWrite, &what, effect);
        if is_early {
            // It says yes before anybody knows.
            tokio::spawn(answer);
            return Ok(Vec::new());
        }
        answer.await
    }

    async fn read(&self, from: &Offsets, limit: ReadLimit) -> Result<Vec<Stored>, Error> {
        let from = from.clone();
        self.ask("read", move |topic| topic.read(&from, limit)).await
    }

    async fn wait(&self, from: &Offsets) {
        loop {
            let grown = self.topic.0.grown.notified();
            if self.topic.has_any(from) {
                return;
            }
            grown.await;
        }
    }

    fn share(&self) -> watch::Receiver<Share> {
        self.share.clone()
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn start(&self) -> Result<Offsets, Error> {
        self.ask("start", |topic| Ok(topic.kept().start.clone())).await
    }

    async fn end(&self) -> Result<Offsets, Error> {
        let end = |topic: &Topic| topic.kept().records.iter().map(|(partition, records)| (*partition, records.len() as u64)).collect();
        self.ask("end", move |topic| Ok(end(topic))).await
    }

    async fn trim(&self, before: &Offsets) -> Result<(), Error> {
        let before = before.clone();
        self.ask("trim", move |topic| {
            let mut kept = topic.kept();
            for (partition, offset) in before {
                if let Some(start) = kept.start.get_mut(&partition) {
                    *start = offset.max(*start);
                }
            }
            Ok(())
        })
        .await
    }

    async fn seal(&self) -> Result<Offsets, Error> {
        self.end().await
    }

    async fn forget(&self, before: &Offsets) -> Result<(), Error> {
        self.trim(before).await
    }
}

/// Which partitions each of so many workers has, beginning with a certain one.
pub(crate) fn divided(partitions: u32, among: usize, first: usize) -> Vec<Share> {
    let of = |worker: usize| -> BTreeSet<u32> {
        (0..partitions).filter(|partition| (*partition as usize + first) % among.max(1) == worker).collect()
    };
    (0..among).map(|worker| Arc::new(of(worker))).collect()
}
