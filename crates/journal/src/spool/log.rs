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
        let (start, end, generation) = (only(journal.start().await?), only(journal.end().await?), journal.generation());
        let mark = match Mark::load(&path)? {
            Some(mark) if mark.drained > end => {
                let what = format!(
                    "records up to offset {} were drained, but the spool ends at {end}: its files have been replaced",
                    mark.drained
                );
                return Err(Error::Corrupt { file: path, at: 0, what }.into());
            }
            Some(mark) if mark.generation != generation => {
                tracing::warn!(
                    folder = %folder.display(),
                    "the spool is a copy: what it has is sent to Kafka, also where the original has sent it; Silver has each event once"
                );
                // Under the old name something else of the original may be there.
                let mark = Mark { id: new_id(), generation, drained: mark.drained.max(start), ends: Offsets::new() };
                mark.save(&path)?;
                mark
            }
            // What has been let go of was in Kafka, also where the mark had not said so yet.
            Some(mark) => Mark { drained: mark.drained.max(start), ..mark },
            None => {
                if end > 0 {
                    tracing::warn!(folder = %folder.display(), "the mark of the spool is missing: what is spooled may get into Kafka a second time");
                }
                let mark = Mark { id: new_id(), generation, drained: start, ends: Offsets::new() };
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    async fn open(folder: &Path) -> Log {
        let config = Config { disk_free_bytes_min: 0, ..Config::default() };
        Log::open(folder, &config, &kafka::Config::default()).await.unwrap()
    }

    #[tokio::test]
    async fn a_copy_has_a_name_of_its_own_and_what_was_left() {
        let (original, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let log = open(original.path()).await;
        let record = |number: u8| Record { key: [number; 16], header: Bytes::new(), value: Bytes::from(vec![number]) };
        log.append((0..5).map(record).collect()).await.unwrap();
        log.advance(2);
        log.remember(Offsets::from([(0, 7)])).await.unwrap();
        let mark = log.mark();
        drop(log);
        std::fs::create_dir(copy.path().join("log")).unwrap();
        for folder in ["", "log"] {
            for entry in std::fs::read_dir(original.path().join(folder)).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_file() {
                    std::fs::copy(entry.path(), copy.path().join(folder).join(entry.file_name())).unwrap();
                }
            }
        }
        assert_eq!(open(original.path()).await.mark(), mark);
        let log = open(copy.path()).await;
        let copied = log.mark();
        assert!(copied.id != mark.id && copied.ends.is_empty(), "{copied:?}");
        assert_eq!((copied.generation, copied.drained, log.records()), (2, 2, 3));
        drop(log);
        assert_eq!(open(copy.path()).await.mark(), copied, "it is named once");
    }
}
