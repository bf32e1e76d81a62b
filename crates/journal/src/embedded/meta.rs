//! What a journal is, beside its records: one small checksummed file, and the lock that keeps a second process out.
//!
//! ```text
//! magic [u8; 8] | crc u32 | generation u32 | partitions u32 | sequence u64 | inode u64
//! ```
//!
//! The magic ends in the version of the format. The checksum is of the magic and of all that stands behind it; what a later program puts at the end is passed over.
//!
//! `sequence` is that of the last segment that was begun: without it, the loss of the last file could not be told from a shorter journal. `inode` is that of the file itself. A copied or restored directory has other inodes, and the original may have gone on since: its positions may already mean other
//! records. So a journal that finds itself a copy grows its generation, and what is appended from then on has new positions, which go on in the numbers of the old ones. The segments say in their headers which generation the records in
//! them are of, so the copy knows where each ended: its ancestors.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::frame::crc;
use super::medium::Medium;
use super::segment::UNFINISHED;
use super::version::{self, Magic};
use super::{OpenError, unavailable};
use crate::Error;

const MAGIC: &Magic = b"TGmeta01";
const NAME: &str = "journal.meta";
const LOCK: &str = "lock";

/// What a journal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) generation: u32,
    pub(super) partitions: u32,
    /// A segment of at least this sequence must be there.
    pub(super) sequence: u64,
}

/// The meta file as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) meta: Meta,
    /// The file is not the one that was written, but a copy of it.
    pub(super) is_copy: bool,
}

impl Meta {
    /// Reads the file of a directory; `None` when there is none.
    pub(super) fn load(directory: &Path) -> Result<Option<Found>, Error> {
        let path = directory.join(NAME);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unavailable("open", &path)(error)),
        };
        let mut bytes = Vec::new();
        let inode = file.metadata().map(|metadata| metadata.ino()).map_err(unavailable("look at", &path))?;
        Read::by_ref(&mut file).take(1024).read_to_end(&mut bytes).map_err(unavailable("read", &path))?;
        match decode(&bytes) {
            Some((meta, written_as)) => Ok(Some(Found { meta, is_copy: written_as != inode })),
            None => match version::newer(&bytes, MAGIC, |bytes| decode(bytes).is_some()) {
                Some((found, known)) => Err(Error::Newer { file: path, found, known }),
                None => Err(Error::Corrupt { file: path, at: 0, what: "this is not a sound description of a journal".into() }),
            },
        }
    }

    /// Writes the file, whole or not at all.
    pub(super) fn save(self, medium: &dyn Medium, directory: &Path) -> io::Result<()> {
        let path = directory.join(NAME);
        let unfinished = path.with_extension(UNFINISHED);
        let file = File::create(&unfinished)?;
        medium.write_all_at(&file, &self.encode(file.metadata()?.ino()), 0)?;
        medium.sync_data(&file)?;
        fs::rename(&unfinished, &path)?;
        medium.sync_directory(directory)
    }

    fn encode(self, inode: u64) -> Vec<u8> {
        let (generation, partitions) = (self.generation.to_le_bytes(), self.partitions.to_le_bytes());
        let facts = [generation.as_slice(), &partitions, &self.sequence.to_le_bytes(), &inode.to_le_bytes()].concat();
        [MAGIC.as_slice(), &crc(&[MAGIC, &facts]).to_le_bytes(), &facts].concat()
    }
}

fn decode(bytes: &[u8]) -> Option<(Meta, u64)> {
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (sum, facts) = rest.split_first_chunk::<4>()?;
    if magic != MAGIC || u32::from_le_bytes(*sum) != crc(&[MAGIC, facts]) {
        return None;
    }
    let (generation, rest) = facts.split_first_chunk()?;
    let (partitions, rest) = rest.split_first_chunk()?;
    let (sequence, rest) = rest.split_first_chunk()?;
    let (inode, _) = rest.split_first_chunk()?;
    let meta = Meta {
        generation: u32::from_le_bytes(*generation),
        partitions: u32::from_le_bytes(*partitions),
        sequence: u64::from_le_bytes(*sequence),
    };
    Some((meta, u64::from_le_bytes(*inode)))
}

/// Held by whoever may change the files of a directory.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or tells who has it.
    pub(super) fn take(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(LOCK);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(unavailable("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { directory: directory.to_owned(), holder: holder(&mut file) }),
            Err(TryLockError::Error(error)) => return Err(unavailable("lock", &path)(error).into()),
        }
        let sign = || {
            file.set_len(0)?;
            write!(file, "{}", std::process::id())
        };
        // The name is only for the message to whoever comes second; on a full disk it is not worth failing for.
        if let Err(error) = { sign }() {
            tracing::debug!(%error, "cannot write the process id into the journal's lock file");
        }
        Ok(Self { _file: file })
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match Read::by_ref(file).take(20).read_to_string(&mut text) {
        Ok(bytes) if bytes > 0 => format!("process {}", text.trim()),
        _ => "another process".into(),
    }
}

/// Removes files that were being made when a process died.
pub(super) fn remove_unfinished(directory: &Path) -> Result<(), Error> {
    let paths = fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<PathBuf>>>());
    for path in paths.map_err(unavailable("list", directory))? {
        if path.extension().is_some_and(|extension| extension == UNFINISHED) {
            fs::remove_file(&path).map_err(unavailable("remove", &path))?;
        }
    }
    Ok(())
}
