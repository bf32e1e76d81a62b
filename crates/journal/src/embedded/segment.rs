//! A segment file: its name, its header, its index.
//!
//! ```text
//! magic [u8; 8] | crc u32 | partitions u32 | generation u32 | 0 u32 | sequence u64 | previous u64 | salt u64 | first offset of each partition u64 | frames
//! ```
//!
//! The magic ends in the version of the format, which is that of the header and of all frames behind it: a program with another one begins a segment of its own.
//! `previous` is the length of the segment before: with it, and because only the last segment is ever written to, a segment that has a successor is sealed. A segment gets its
//! name once its header is durable, so a named segment always has a sound header.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::frame::crc;
use super::locked;
use super::medium::Medium;
use super::scan::{Fault, Scan};
use super::version::{self, Magic};
use crate::Error;

const MAGIC: &Magic = b"TGsegm01";
/// Offsets and sequences are below this, which is more than are ever given: from each there are others to go on with.
const NUMBER_MAX: u64 = i64::MAX as u64;
const FIXED_BYTES: usize = 48;
const EXTENSION: &str = "segment";
/// A file that is being made; without meaning until it is renamed.
pub(super) const UNFINISHED: &str = "new";
/// The index knows a place about every so many bytes; a read begins at most this far before what it is asked for.
const MARK_BYTES: u64 = 256 * 1024;

/// A place between two groups or frames, and the offsets that come next there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) at: u64,
    pub(super) next: Box<[u64]>,
}

/// What a segment's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) generation: u32,
    pub(super) sequence: u64,
    /// Bytes of the segment before; 0 for the first.
    pub(super) previous_bytes: u64,
    pub(super) salt: u64,
    /// The offset each partition begins with here.
    pub(super) start: Box<[u64]>,
}

impl Header {
    /// Bytes of the header in a journal of so many partitions.
    pub(super) fn bytes(partitions: usize) -> u64 {
        (FIXED_BYTES + 8 * partitions) as u64
    }

    fn encode(&self) -> Vec<u8> {
        let mut facts = Vec::new();
        facts.extend_from_slice(&(self.start.len() as u32).to_le_bytes());
        facts.extend_from_slice(&self.generation.to_le_bytes());
        facts.extend_from_slice(&0u32.to_le_bytes());
        for number in [self.sequence, self.previous_bytes, self.salt].iter().chain(&self.start) {
            facts.extend_from_slice(&number.to_le_bytes());
        }
        [MAGIC.as_slice(), &crc(&[MAGIC, &facts]).to_le_bytes(), &facts].concat()
    }

    /// `None` when this is not a sound header of a journal of so many partitions.
    fn decode(bytes: &[u8], partitions: usize) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (sum, facts) = rest.split_first_chunk::<4>()?;
        if magic != MAGIC || u32::from_le_bytes(*sum) != crc(&[MAGIC, facts]) {
            return None;
        }
        let (count, rest) = facts.split_first_chunk()?;
        let (generation, rest) = rest.split_first_chunk()?;
        let (_, rest) = rest.split_first_chunk::<4>()?;
        let mut numbers = rest.chunks_exact(8).filter_map(|number| number.first_chunk().map(|number| u64::from_le_bytes(*number)));
        let (sequence, previous_bytes, salt) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let start: Box<[u64]> = numbers.collect();
        let is_whole = start.len() == partitions && u32::from_le_bytes(*count) as usize == partitions;
        let can_go_on = sequence < NUMBER_MAX && start.iter().all(|offset| *offset < NUMBER_MAX);
        (is_whole && can_go_on).then_some(Self { generation: u32::from_le_bytes(*generation), sequence, previous_bytes, salt, start })
    }
}

/// A segment file of which this much is durable.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) header: Header,
    /// Durable bytes; only grows, and only while this is the last segment.
    bytes: AtomicU64,
    /// Places in the order of the file; `None` until somebody seeks in a segment that was not written by this process.
    marks: Mutex<Option<Vec<Mark>>>,
}

impl Segment {
    /// Makes the file durable, empty but for its header, and gives it its name. A file of the same sequence that was begun and never used is replaced.
    pub(super) fn create(medium: &dyn Medium, directory: &Path, header: Header) -> io::Result<(Self, File)> {
        let path = path_of(directory, header.sequence);
        let unfinished = path.with_extension(UNFINISHED);
        let create = || -> io::Result<File> {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&unfinished)?;
            medium.write_all_at(&file, &header.encode(), 0)?;
            medium.sync_data(&file)?;
            fs::rename(&unfinished, &path)?;
            medium.sync_directory(directory)?;
            Ok(file)
        };
        let file = create().inspect_err(|_| {
            // On a full disk even an empty file counts; if this fails too, the next attempt overwrites it.
            drop(fs::remove_file(&unfinished));
        })?;
        let segment = Self::sealed(path, header);
        *locked(&segment.marks) = Some(vec![segment.beginning()]);
        Ok((segment, file))
    }

    /// Opens a file and checks its header. The durable bytes are yet to be told by [`Segment::publish`].
    pub(super) fn open(path: PathBuf, partitions: usize) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(Header::bytes(partitions)).read_to_end(&mut bytes))
            .map_err(|source| Error::Unavailable { doing: format!("read {}", path.display()), source })?;
        match Header::decode(&bytes, partitions) {
            Some(header) if path_of(path.parent().unwrap_or(&path), header.sequence) == path => Ok(Self::sealed(path, header)),
            Some(header) => {
                Err(Error::Corrupt { file: path, at: 0, what: format!("it is segment {} by its header, not by its name", header.sequence) })
            }
            None => match version::newer(&bytes, MAGIC, |bytes| Header::decode(bytes, partitions).is_some()) {
                Some((found, known)) => Err(Error::Newer { file: path, found, known }),
                None => Err(Error::Corrupt { file: path, at: 0, what: "the header of the segment is not sound".into() }),
            },
        }
    }

    fn sealed(path: PathBuf, header: Header) -> Self {
        let bytes = AtomicU64::new(Header::bytes(header.start.len()));
        Self { path, header, bytes, marks: Mutex::new(None) }
    }

    /// The durable bytes of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// Makes known that the file is durable up to here, with these places on the way.
    pub(super) fn publish(&self, bytes: u64, marks: impl IntoIterator<Item = Mark>) {
        if let Some(known) = locked(&self.marks).as_mut() {
            for mark in marks {
                if known.last().is_none_or(|last| mark.at >= last.at.saturating_add(MARK_BYTES)) {
                    known.push(mark);
                }
            }
        }
        self.bytes.store(bytes, Ordering::Release);
    }

    /// Takes over what another process wrote: durable up to here, with these places on the way.
    pub(super) fn adopt(&self, bytes: u64, marks: Vec<Mark>) {
        *locked(&self.marks) = Some(Vec::new());
        self.publish(bytes, marks);
    }

    /// The place behind the header.
    pub(super) fn beginning(&self) -> Mark {
        Mark { at: Header::bytes(self.header.start.len()), next: self.header.start.clone() }
    }

    /// The last known place from which on a scan meets this offset. Reads the segment through the first time, if another process wrote it.
    pub(super) fn seek(&self, partition: usize, offset: u64) -> Result<Mark, Error> {
        let mut known = locked(&self.marks);
        let marks = match known.as_mut() {
            Some(marks) => marks,
            None => known.insert(self.find_marks()?),
        };
        let behind = marks.partition_point(|mark| mark.next.get(partition).is_some_and(|next| *next <= offset));
        Ok(behind.checked_sub(1).and_then(|before| marks.get(before)).cloned().unwrap_or_else(|| self.beginning()))
    }

    fn find_marks(&self) -> Result<Vec<Mark>, Error> {
        let mut marks = vec![self.beginning()];
        let mut scan = Scan::begin(self, self.beginning(), self.bytes()).map_err(|fault| fault.on(self))?;
        loop {
            match scan.next_frame() {
                Ok(Some(_)) => {}
                // Whoever reads up to damage meets it there; what lies before it stays within reach.
                Ok(None) | Err(Fault::Unsound { .. } | Fault::Disorder { .. }) => return Ok(marks),
                Err(fault @ Fault::Io(_)) => return Err(fault.on(self)),
            }
            let here = scan.mark();
            if marks.last().is_some_and(|last| here.at >= last.at.saturating_add(MARK_BYTES)) {
                marks.push(here.clone());
            }
        }
    }
}

/// The segments of a directory, oldest first, with the sequence each has by its name.
pub(super) fn list(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let sequence = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let Some(sequence) = sequence.filter(|sequence| path == path_of(directory, *sequence)) {
            found.push((sequence, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The segment that holds the offset, or would: the last that begins at or before it.
pub(super) fn holding(segments: &[Arc<Segment>], partition: usize, offset: u64) -> usize {
    segments.partition_point(|segment| segment.header.start.get(partition).is_some_and(|start| *start <= offset)).saturating_sub(1)
}

/// A number nobody outside can know.
pub(super) fn salt() -> u64 {
    RandomState::new().build_hasher().finish()
}

pub(super) fn path_of(directory: &Path, sequence: u64) -> PathBuf {
    directory.join(format!("{sequence:020}.{EXTENSION}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_with_numbers_that_nothing_can_follow_on_is_refused() {
        let header = |sequence, start: [u64; 2]| Header { generation: 1, sequence, previous_bytes: 9, salt: 7, start: start.into() };
        let check = |header: Header, expect: bool| {
            let read = Header::decode(&header.encode(), 2);
            assert_eq!(read, expect.then_some(header));
        };
        check(header(1, [0, 5]), true);
        check(header(NUMBER_MAX - 1, [0, NUMBER_MAX - 1]), true);
        check(header(1, [0, u64::MAX]), false);
        check(header(u64::MAX, [0, 0]), false);
    }
}
