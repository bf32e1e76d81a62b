//! What the writer and the readers share: which segments there are, and how far they are durable.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::locked;
use super::medium::Medium;
use super::segment::{Segment, holding};
use super::unavailable;
use crate::{Ancestor, Error, Offsets};

/// How far the log goes.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    /// One past the last durable offset, by partition.
    pub(super) end: Vec<u64>,
    /// There is no writer any more.
    pub(super) is_closed: bool,
}

/// The log as it stands. No lock is held across a call to the disk, except that trims wait for each other.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) directory: PathBuf,
    pub(super) generation: u32,
    /// The generations before it that had records here when the journal was opened, oldest first.
    pub(super) ancestors: Vec<Ancestor>,
    /// Oldest first, never empty; the last one is written to.
    segments: Mutex<Arc<Vec<Arc<Segment>>>>,
    pub(super) tail: watch::Sender<Tail>,
    /// Files are removed oldest first, one trim at a time, so that a crash leaves no gap.
    trimming: Mutex<()>,
}

impl Log {
    pub(super) fn new(directory: PathBuf, generation: u32, ancestors: Vec<Ancestor>, segments: Vec<Arc<Segment>>, end: Vec<u64>) -> Self {
        let tail = watch::Sender::new(Tail { end, is_closed: false });
        Self { directory, generation, ancestors, segments: Mutex::new(Arc::new(segments)), tail, trimming: Mutex::new(()) }
    }

    pub(super) fn partitions(&self) -> usize {
        self.tail.borrow().end.len()
    }

    /// The segments there are now, oldest first. Take the ends before this, and all records before them are in these segments.
    pub(super) fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        Arc::clone(&locked(&self.segments))
    }

    /// One past the last durable offset of each partition.
    pub(super) fn end(&self) -> Vec<u64> {
        self.tail.borrow().end.clone()
    }

    /// The first offset still there, of each partition.
    pub(super) fn start(&self) -> Vec<u64> {
        self.segments().first().map_or_else(|| self.end(), |first| first.header.start.to_vec())
    }

    /// Bytes of all segment files.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.segments().iter().map(|segment| segment.bytes()).sum()
    }

    /// Adds the segment that is written to from now on.
    pub(super) fn add(&self, segment: Arc<Segment>) {
        Arc::make_mut(&mut locked(&self.segments)).push(segment);
    }

    /// Removes the segments that hold nothing at or after these offsets, but never the last.
    pub(super) fn trim(&self, medium: &dyn Medium, before: &Offsets) -> Result<(), Error> {
        let _one_at_a_time = locked(&self.trimming);
        let start = self.start();
        let segments = self.segments();
        let keeps = (0..self.partitions()).map(|partition| {
            let named = before.get(&(partition as u32)).or(start.get(partition)).copied().unwrap_or(0);
            holding(&segments, partition, named)
        });
        for segment in segments.iter().take(keeps.min().unwrap_or(0)) {
            self.remove(medium, segment)?;
        }
        Ok(())
    }

    fn remove(&self, medium: &dyn Medium, segment: &Arc<Segment>) -> Result<(), Error> {
        // Out of the list first: a reader that does not find the file must find that it has been trimmed.
        Arc::make_mut(&mut locked(&self.segments)).retain(|known| !Arc::ptr_eq(known, segment));
        if let Err(error) = std::fs::remove_file(&segment.path) {
            Arc::make_mut(&mut locked(&self.segments)).insert(0, Arc::clone(segment));
            return Err(unavailable("remove", &segment.path)(error));
        }
        medium.sync_directory(&self.directory).map_err(unavailable("sync", &self.directory))
    }
}
