//! Reading the frames of a segment in order, each checked before anything in it is believed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

use super::frame::{self, Entry, HEADER_BYTES, Head};
use super::segment::{Mark, Segment};
use crate::Error;

/// Bytes that are read at a time. Records that are returned keep the piece they lie in alive.
pub(super) const CHUNK_BYTES: usize = 1024 * 1024;

/// Why a scan cannot go on.
#[derive(Debug)]
pub(super) enum Fault {
    /// What is at this place is not a whole, sound frame.
    Unsound { at: u64, what: String },
    /// The frame is sound, but does not belong behind the one before it.
    Disorder { at: u64, what: String },
    /// The file could not be read.
    Io(io::Error),
}

impl Fault {
    /// The error of a scan over what had been durable.
    pub(super) fn on(self, segment: &Segment) -> Error {
        match self {
            Self::Unsound { at, what } | Self::Disorder { at, what } => Error::Corrupt { file: segment.path.clone(), at, what },
            Self::Io(source) => Error::Unavailable { doing: format!("read {}", segment.path.display()), source },
        }
    }
}

/// A walk over the frames of one segment.
#[derive(Debug)]
pub(super) struct Scan {
    file: File,
    salt: u64,
    here: Mark,
    end: u64,
    /// What was read last, from `here` on.
    chunk: Bytes,
}

impl Scan {
    /// Begins at a known place and goes on to this end.
    pub(super) fn begin(segment: &Segment, from: Mark, end: u64) -> Result<Self, Fault> {
        let file = File::open(&segment.path).map_err(Fault::Io)?;
        Ok(Self { file, salt: segment.header.salt, here: from, end, chunk: Bytes::new() })
    }

    /// Where the walk stands: behind the last frame it gave.
    pub(super) fn mark(&self) -> &Mark {
        &self.here
    }

    /// The records of the next frame; `None` at the end.
    pub(super) fn next_frame(&mut self) -> Result<Option<Vec<Entry>>, Fault> {
        let at = self.here.at;
        if at >= self.end {
            return Ok(None);
        }
        self.fetch(HEADER_BYTES)?;
        let head = self.chunk.first_chunk().and_then(|header| Head::read(self.salt, at, header));
        let Some(head) = head else { return Err(self.unsound("no sound frame begins here")) };
        let frame_bytes = HEADER_BYTES + head.body_bytes();
        self.fetch(frame_bytes)?;
        let mut body = self.chunk.slice(HEADER_BYTES..frame_bytes);
        if !head.covers(&body) {
            return Err(self.unsound("the records of the frame do not have its checksum"));
        }
        let mut entries = Vec::with_capacity((head.records() as usize).min(frame_bytes / frame::RECORD_BYTES));
        for _ in 0..head.records() {
            let Some(entry) = frame::take_entry(&mut body) else { return Err(self.disorder("the frame holds fewer records than it says")) };
            self.step(&entry)?;
            entries.push(entry);
        }
        if !body.is_empty() {
            return Err(self.disorder("the frame holds more than its records"));
        }
        self.chunk = self.chunk.slice(frame_bytes..);
        self.here.at += frame_bytes as u64;
        Ok(Some(entries))
    }

    /// Takes note of a record: offsets are dense in each partition.
    fn step(&mut self, entry: &Entry) -> Result<(), Fault> {
        let found = entry.offset;
        match self.here.next.get_mut(entry.partition as usize) {
            Some(next) if *next == found => {
                *next += 1;
                Ok(())
            }
            Some(next) => {
                let what = format!("partition {} goes on with offset {found} where {next} comes next", entry.partition);
                Err(self.disorder(&what))
            }
            None => Err(self.disorder(&format!("a record is of partition {}, which does not exist", entry.partition))),
        }
    }

    /// Has at least so many bytes from here on in the chunk.
    fn fetch(&mut self, bytes: usize) -> Result<(), Fault> {
        if self.chunk.len() >= bytes {
            return Ok(());
        }
        let left = usize::try_from(self.end - self.here.at).unwrap_or(usize::MAX);
        if bytes > left {
            return Err(self.unsound(&format!("the frame would need {bytes} bytes and {left} are left")));
        }
        let mut piece = vec![0; bytes.max(CHUNK_BYTES).min(left)];
        self.file.read_exact_at(&mut piece, self.here.at).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => self.unsound(&format!("the file ends before byte {}, where its records end", self.end)),
            _ => Fault::Io(source),
        })?;
        self.chunk = piece.into();
        Ok(())
    }

    fn unsound(&self, what: &str) -> Fault {
        Fault::Unsound { at: self.here.at, what: what.into() }
    }

    fn disorder(&self, what: &str) -> Fault {
        Fault::Disorder { at: self.here.at, what: what.into() }
    }
}
