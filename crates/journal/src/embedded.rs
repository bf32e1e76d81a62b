//! The journal in local files.
//!
//! One log for all partitions, in segment files; a group of appends is one write and one sync ([`frame`] has the format). An append is answered when the
//! sync has returned, and only then readable. One thread writes; readers read the files beside it and never make it wait.
//!
//! - Offsets are dense: each partition's begin with 0, and each is one more than the one before, across restarts and trims.
//! - A kill at any moment leaves at most an unfinished write at the end, which the next opening cuts off. Anything else that is not as it was written is an error that
//!   names file and byte. The last group that was written can be told from an unfinished one only once something follows it, which a clean stop sees to.
//! - An opening journal reads its last segment; the others are checked when they are read.

mod config;
mod frame;
mod log;
mod medium;
mod meta;
mod open;
mod queue;
mod read;
mod scan;
mod segment;
mod version;
mod writer;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

pub use config::{Config, PARTITIONS_MAX};
use log::Log;
use medium::{Disk, Medium};
use meta::Lock;
use queue::{Queue, Request};

use crate::{Ancestor, Error, Journal, Offsets, ReadLimit, Record, Stored, metrics};

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Settings contradict each other.
    #[error("the settings of the journal cannot be used: {0}")]
    Settings(String),
    /// Another process has it open.
    #[error("the journal in {directory} is in use by {holder}: stop it, or choose another directory", directory = directory.display())]
    Locked {
        /// Its directory.
        directory: PathBuf,
        /// Who has it open, as far as is known.
        holder: String,
    },
    /// It was made with another number of partitions.
    #[error(
        "the journal in {directory} has {stored} partitions, {asked} are asked for: set partitions = {stored}, or, when the lake has taken up all of it, \
         move the directory away and begin a new journal with partitions = {asked} and generation = {next}",
        directory = directory.display(),
        next = generation.saturating_add(1)
    )]
    Partitions {
        /// Its directory.
        directory: PathBuf,
        /// How many it has.
        stored: u32,
        /// How many the settings ask for.
        asked: u32,
        /// Its generation.
        generation: u32,
    },
    /// It is damaged, or the disk failed.
    #[error(transparent)]
    Journal(#[from] Error),
}

/// The journal in local files. Dropping it finishes what is queued and lets go of the directory.
#[derive(Debug)]
pub struct Embedded {
    log: Arc<Log>,
    queue: Arc<Queue>,
    medium: Arc<dyn Medium>,
    lock: Option<Arc<Lock>>,
    config: Config,
    writer: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Opens the journal in a directory, or makes a new one there.
    ///
    /// # Errors
    ///
    /// When the settings contradict each other or what is there, when another process has it open, when it is damaged, or when the disk fails.
    pub async fn open(directory: impl Into<PathBuf>, config: Config) -> Result<Self, OpenError> {
        let directory = directory.into();
        let opening = spawn_blocking(move || Self::open_on(directory, config, Arc::new(Disk)));
        opening.await.map_err(|_| OpenError::Journal(Error::Closed))?
    }

    fn open_on(directory: PathBuf, config: Config, medium: Arc<dyn Medium>) -> Result<Self, OpenError> {
        let writer = open::open(directory, config.clone(), Arc::clone(&medium))?;
        let (log, queue, lock) = (Arc::clone(&writer.log), Arc::clone(&writer.queue), Arc::clone(&writer.lock));
        metrics::disk_bytes(log.disk_bytes());
        let thread = std::thread::Builder::new().name("journal".into()).spawn(move || writer.run());
        let thread = thread.map_err(|source| Error::Unavailable { doing: "start its thread".into(), source })?;
        Ok(Self { log, queue, medium, lock: Some(lock), config, writer: Some(thread) })
    }

    /// The directory it is in.
    pub fn directory(&self) -> &Path {
        &self.log.directory
    }

    /// Bytes of all its segment files.
    pub fn disk_bytes(&self) -> u64 {
        self.log.disk_bytes()
    }

    /// Takes no more appends, finishes those that are queued, and ends the writing. Reading goes on. Later appends are [`Error::Closed`].
    pub async fn close(&mut self) {
        self.queue.close();
        self.lock = None;
        if let Some(writer) = self.writer.take() {
            report(spawn_blocking(move || writer.join()).await.map_or(Ok(()), |joined| joined));
        }
    }

    fn check(&self, records: &[Record]) -> Result<usize, Error> {
        let mut payload_bytes = 0usize;
        for record in records {
            let bytes = record.header.len().saturating_add(record.value.len());
            if bytes > self.config.record_bytes_max {
                return Err(Error::TooLarge { bytes, limit: self.config.record_bytes_max });
            }
            payload_bytes = payload_bytes.saturating_add(bytes);
        }
        let bytes = frame::encoded_bytes_max(records.len(), payload_bytes);
        if bytes > self.config.queue_bytes_max {
            return Err(Error::TooLarge { bytes, limit: self.config.queue_bytes_max });
        }
        Ok(bytes)
    }
}

#[async_trait]
impl Journal for Embedded {
    fn generation(&self) -> u32 {
        self.log.generation
    }

    fn ancestors(&self) -> &[Ancestor] {
        &self.log.ancestors
    }

    fn partitions(&self) -> u32 {
        self.config.partitions
    }

    async fn append(&self, records: Vec<Record>) -> Result<Vec<(u32, u64)>, Error> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = self.check(&records)?;
        let started = Instant::now();
        let (answer, answered) = oneshot::channel();
        self.queue.push(Request { records, bytes, seals: false, answer })?;
        let positions = answered.await.unwrap_or(Err(Error::Closed))?;
        metrics::appended(started.elapsed());
        Ok(positions)
    }

    async fn read(&self, from: &Offsets, limit: ReadLimit) -> Result<Vec<Stored>, Error> {
        let (log, from) = (Arc::clone(&self.log), from.clone());
        spawn_blocking(move || read::read(&log, &from, limit)).await.unwrap_or(Err(Error::Closed))
    }

    async fn wait(&self, from: &Offsets) {
        let mut tail = self.log.tail.subscribe();
        let is_there = |tail: &log::Tail| {
            let reached = |(partition, end): (u32, &u64)| from.get(&partition).is_some_and(|from| from < end);
            tail.is_closed || (0..).zip(&tail.end).any(reached)
        };
        // An error would mean that the log is gone, and we hold it.
        drop(tail.wait_for(is_there).await);
    }

    async fn start(&self) -> Result<Offsets, Error> {
        Ok((0..).zip(self.log.start()).collect())
    }

    async fn end(&self) -> Result<Offsets, Error> {
        Ok((0..).zip(self.log.end()).collect())
    }

    async fn trim(&self, before: &Offsets) -> Result<(), Error> {
        let Some(lock) = self.lock.clone() else { return Err(Error::Closed) };
        let (log, medium, before) = (Arc::clone(&self.log), Arc::clone(&self.medium), before.clone());
        let trimming = spawn_blocking(move || {
            // Nobody else may have the directory while files are removed from it, even if the journal is dropped meanwhile.
            let _held = lock;
            let outcome = log.trim(&*medium, &before);
            metrics::disk_bytes(log.disk_bytes());
            outcome
        });
        trimming.await.unwrap_or(Err(Error::Closed))
    }

    async fn seal(&self) -> Result<Offsets, Error> {
        // The file that is written to is the one that a trim leaves.
        let (answer, answered) = oneshot::channel();
        self.queue.push(Request { records: Vec::new(), bytes: frame::encoded_bytes_max(0, 0), seals: true, answer })?;
        answered.await.unwrap_or(Err(Error::Closed))?;
        self.end().await
    }

    async fn forget(&self, before: &Offsets) -> Result<(), Error> {
        self.trim(before).await
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(writer) = self.writer.take() {
            report(writer.join());
        }
    }
}

fn report(joined: std::thread::Result<()>) {
    if joined.is_err() {
        tracing::error!("the thread that writes the journal panicked");
    }
}

/// The lock, also after a panic elsewhere: what it guards is changed in single steps.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The error of a failed call to the system, with what was tried on which file.
fn unavailable(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let doing = format!("{doing} {}", path.display());
    move |source| Error::Unavailable { doing, source }
}
