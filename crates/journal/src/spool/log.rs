//! The spool on the disk: an embedded journal, and the mark that says how far it has been drained.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::config::Config;
use super::mark::Mark;
use super::metrics;
use crate::embedded::{self, Embedded};
use crate::kafka;
use crate::{Error, Journal as _, Offsets, ReadLimit, Record, Stored};

/// The only partition of the spool.
pub(super) const PARTITION: u32 = 0;

/// The spool on the disk.
#[derive(Debug)]
pub(super) struct Log {
    journal: Embedded,
    path: PathBuf,
    mark: Mutex<Mark>,
    /// One past the last record.
    end: watch::Sender<u64>,
}

impl Log {
    /// Opens the spool in a folder, or makes one there. A second process that tries is refused.
    pub(super) async fn open(folder: &Path, config: &Config, kafka: &kafka::Config) -> Result<Self, embedded::OpenError> {
        let path = folder.join("spool.mark");
        // Of a newer version: then nothing of the spool is touched.
        drop(Mark::load(&path)?);
        let journal = Embedded::open(folder.join("log"), config.log(kafka)).await?;
        let (start, end) = (only(journal.start().await?), only(journal.end().await?));
        let mark = match Mark::load(&path)? {
            Some(mark) if mark.drained > end => {
                let what = format!(
                    "records up to offset {} were drained, but the spool ends at {end}: its files have been replaced",
                    mark.drained
                );
                return Err(Error::Corrupt { file: path, at: 0, what }.into());
            }
            // What has been let go of was in Kafka, also where the mark had not said so yet.
            Some(mark) => Mark { drained: mark.drained.max(start), ..mark },
            None => {
                if end > 0 {
                    tracing::warn!(folder = %folder.display(), "the mark of the spool is missing: what is spooled may get into Kafka a second time");
                }
                let mark = Mark { id: new_id(), drained: start, ends: Offsets::new() };
                mark.save(&path)?;
                mark
            }
        };
        let log = Self { journal, path, mark: Mutex::new(mark), end: watch::Sender::new(end) };
        log.measure();
        Ok(log)
    }

    /// Makes the records durable here.
    pub(super) async fn append(&self, records: Vec<Record>) -> Result<(), Error> {
        let count = records.len();
        let positions = self.journal.append(records).await?;
        metrics::spooled(count);
        if let Some((_, last)) = positions.last() {
            self.end.send_if_modified(|end| {
                let is_more = *end <= *last;
                *end = (*end).max(last + 1);
                is_more
            });
        }
        self.measure();
        Ok(())
    }

    /// The next records that may not be in Kafka.
    pub(super) async fn read(&self, limit: ReadLimit) -> Result<Vec<Stored>, Error> {
        self.journal.read(&Offsets::from([(PARTITION, self.mark().drained)]), limit).await
    }

    pub(super) fn mark(&self) -> Mark {
        self.mark.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that everything before this offset is in Kafka. Not yet durable.
    pub(super) fn advance(&self, drained: u64) {
        self.mark.lock().unwrap_or_else(PoisonError::into_inner).drained = drained;
        self.measure();
    }

    /// Makes durable how far the spool has been drained, and where Kafka ended before anything further was sent.
    pub(super) async fn remember(&self, ends: Offsets) -> Result<(), Error> {
        let mark = Mark { ends, ..self.mark() };
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = mark.clone();
        let path = self.path.clone();
        spawn_blocking(move || mark.save(&path)).await.unwrap_or(Err(Error::Closed))
    }

    /// Lets go of what is in Kafka.
    pub(super) async fn trim(&self) -> Result<(), Error> {
        let before = Offsets::from([(PARTITION, self.mark().drained)]);
        // What is in Kafka need not lie here until the file is full, which may be never.
        if self.records() == 0 {
            self.journal.seal().await?;
        }
        let outcome = self.journal.trim(&before).await;
        self.measure();
        outcome
    }

    /// Waits until there is something to drain.
    pub(super) async fn wait(&self) {
        let drained = self.mark().drained;
        // An error would mean that the sender is gone, and we hold it.
        drop(self.end.subscribe().wait_for(|end| *end > drained).await);
    }

    /// Records that may not be in Kafka.
    pub(super) fn records(&self) -> u64 {
        let drained = self.mark().drained;
        self.end.borrow().saturating_sub(drained)
    }

    /// Bytes of all its files, those included that wait to be let go of.
    pub(super) fn bytes(&self) -> u64 {
        self.journal.disk_bytes()
    }

    fn measure(&self) {
        metrics::holds(self.records(), self.bytes());
    }
}

fn only(offsets: Offsets) -> u64 {
    offsets.get(&PARTITION).copied().unwrap_or_default()
}

/// A name that no other spool has.
fn new_id() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}
