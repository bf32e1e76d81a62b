//! The log of administrative acts: who did what, to whom, when. A file that is only added to, and in which a change is seen.
//!
//! Each line is a JSON object with an entry and its digest, and, from the second version of the format on, with that version; each entry has the number after the one before, and the digest of that. So nobody can alter, take out, put in or move an entry without
//! changing all that come after it. Whoever can write the file can still make a whole new one, or cut off its end; against that the newest digest is told wherever an act is told
//! (the process's own log, which usually leaves the machine), and [`AuditLog::verify`] can be asked whether a digest that was noted somewhere is still in it.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use contract::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

#[cfg(test)]
mod tests;

/// The newest version of lines that this program reads, and the one that it writes. A line that names none is of version 1.
const VERSION: u64 = 1;
/// The longest line.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// What the digests are for, so that they are those of nothing else.
const CONTEXT: &str = "tidegate 2026-11 audit log v1";
/// What stands in the place of a digest before the first entry.
const NOTHING: &str = "";

/// Why the log cannot be read or added to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused.
    #[error("cannot {doing} the audit log {file}: {source}", file = path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its end is not what this program wrote: nothing is added to it, so that what happened can be found out.
    #[error("the audit log {file} does not end with an entry of this program; `tidegate audit-log verify` says where it was changed; move it away to begin another", file = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A newer version of this program wrote a line. Nothing is added to the log.
    #[error(
        "{which} of the audit log {file} says that it is of version {found} of its format, this program knows it up to version {VERSION}: a newer Tidegate wrote it, and that one can verify it; \
         start that one again, nothing here was changed",
        file = path.display(),
        which = line.map_or_else(|| "the last line".to_owned(), |line| format!("line {line}"))
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The line, from 1 on; `None` for the last one.
        line: Option<u64>,
        /// Its version.
        found: u64,
    },
    /// An act that is told at too great a length.
    #[error("an act is told in {bytes} bytes, at most {LINE_BYTES_MAX} are kept; do less at once")]
    TooLarge {
        /// So many.
        bytes: usize,
    },
}

/// Who did what, to whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Act {
    /// Who: a name of the console, or the user of the system that ran a command.
    pub by: String,
    /// What, such as `source.add`.
    pub act: String,
    /// To whom or what, such as the name of a source.
    pub on: String,
    /// More about it. No secret.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub detail: Map<String, Value>,
}

/// An act as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// From 1 on, without a gap.
    pub number: u64,
    /// When, RFC 3339.
    pub at: String,
    /// The act.
    #[serde(flatten)]
    pub act: Act,
    /// Bytes of an entry that a crash left unfinished before this one, and that were cut off.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cut: u64,
    /// The digest of the entry before; empty for the first.
    pub before: String,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A line: the entry to the byte, and its digest.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    entry: Box<RawValue>,
    digest: String,
}

/// What every version of a line has.
#[derive(Debug, Deserialize)]
struct Mark {
    version: Option<u64>,
}

/// Why a line is none of this program's.
#[derive(Debug)]
enum Unlike {
    /// It is of this version.
    Newer(u64),
    Broken(String),
}

impl Line {
    /// The line of these bytes, where its digest is that of its entry.
    fn read(bytes: &[u8]) -> Result<(Entry, String), Unlike> {
        match serde_json::from_slice(bytes) {
            Ok(Mark { version: Some(found) }) if found > VERSION => Err(Unlike::Newer(found)),
            _ => Self::sound(bytes).map_err(Unlike::Broken),
        }
    }

    fn sound(bytes: &[u8]) -> Result<(Entry, String), String> {
        let line: Self = serde_json::from_slice(bytes).map_err(|error| format!("it is no line of this log: {error}"))?;
        if digest(line.entry.get()) != line.digest {
            return Err("its content is not what its digest was made of".to_owned());
        }
        let entry = serde_json::from_str(line.entry.get()).map_err(|error| format!("it is no entry: {error}"))?;
        Ok((entry, line.digest))
    }
}

fn digest(entry: &str) -> String {
    blake3::Hash::from_bytes(blake3::derive_key(CONTEXT, entry.as_bytes())).to_hex().to_string()
}

/// The end of a log: what the next entry stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The number of the newest entry; 0 where there is none.
    pub number: u64,
    /// Its digest.
    pub digest: String,
}

/// What a look through the whole log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The end of what is sound.
    pub head: Head,
    /// The first line that is not, from 1 on, and what is wrong with it.
    pub broken: Option<(u64, String)>,
    /// Whether the digest that was asked for is that of an entry; true where none was.
    pub has_noted: bool,
}

impl Verified {
    /// Whether nothing was changed, as far as can be seen.
    pub fn is_sound(&self) -> bool {
        self.broken.is_none() && self.has_noted
    }
}

/// The file of a log.
#[derive(Debug, Clone)]
pub struct AuditLog {
    path: PathBuf,
}

impl AuditLog {
    /// The log at this path. It need not exist: then nothing was done yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds an act, durably, one process at a time. To be called before the act is done: what cannot be told is not to happen.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Damaged`], [`Error::Newer`], [`Error::TooLarge`]. Then nothing was added.
    pub fn add(&self, act: Act, now: Timestamp) -> Result<Head, Error> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|source| self.io("make the folder of", source))?;
        let mut file =
            File::options().read(true).append(true).create(true).mode(0o600).open(&self.path).map_err(|source| self.io("open", source))?;
        file.lock().map_err(|source| self.io("lock", source))?;
        let (head, length, cut) = self.end_of(&mut file)?;
        let number = head.number.checked_add(1).ok_or_else(|| Error::Damaged { path: self.path.clone() })?;
        let entry = Entry { number, at: now.to_rfc3339(), act, cut, before: head.digest };
        let (line, digest) = self.line(&entry)?;
        if cut > 0 {
            // Not before something comes in its place that tells of it: whoever is refused leaves the file as it was.
            file.set_len(length).map_err(|source| self.io("cut the unfinished end of", source))?;
        }
        file.write_all(&line).and_then(|()| file.sync_all()).map_err(|source| self.io("write", source))?;
        if head.number == 0 {
            // The name lasts only with its folder.
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| self.io("keep the name of", source))?;
        }
        Ok(Head { number: entry.number, digest })
    }

    fn line(&self, entry: &Entry) -> Result<(Vec<u8>, String), Error> {
        let unwritable = |error: serde_json::Error| self.io("write", error.into());
        let entry = serde_json::value::to_raw_value(entry).map_err(unwritable)?;
        let digest = digest(entry.get());
        let mut line = serde_json::to_vec(&Line { entry, digest: digest.clone() }).map_err(unwritable)?;
        line.push(b'\n');
        if line.len() > LINE_BYTES_MAX { Err(Error::TooLarge { bytes: line.len() }) } else { Ok((line, digest)) }
    }

    /// The newest entry, where it ends, and how much a crash left behind it.
    fn end_of(&self, file: &mut File) -> Result<(Head, u64, u64), Error> {
        let io = |source| self.io("read", source);
        let length = file.metadata().map_err(io)?.len();
        // The last line, and what may be unfinished behind it.
        let from = length.saturating_sub(2 * LINE_BYTES_MAX as u64);
        let mut end = Vec::new();
        file.seek(SeekFrom::Start(from)).and_then(|_| file.read_to_end(&mut end)).map_err(io)?;
        let whole = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let cut = (end.len() - whole) as u64;
        if cut > LINE_BYTES_MAX as u64 {
            return Err(Error::Damaged { path: self.path.clone() });
        }
        if whole == 0 {
            return Ok((Head { number: 0, digest: NOTHING.to_owned() }, length - cut, cut));
        }
        let lines = end.get(..whole.saturating_sub(1)).unwrap_or_default();
        let last = lines.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let (entry, digest) = Line::read(last).map_err(|unlike| match unlike {
            Unlike::Newer(found) => Error::Newer { path: self.path.clone(), line: None, found },
            Unlike::Broken(_) => Error::Damaged { path: self.path.clone() },
        })?;
        Ok((Head { number: entry.number, digest }, length - cut, cut))
    }

    /// Looks through all of it, and whether a digest that was noted elsewhere is that of one of its entries. `each` is called for each sound entry.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Newer`] from the first line on that is of a newer version. A log that is not there is sound and empty.
    pub fn verify(&self, noted: Option<&str>, mut each: impl FnMut(&Entry, &str)) -> Result<Verified, Error> {
        let mut head = Head { number: 0, digest: NOTHING.to_owned() };
        let verified = |head: Head, broken, seen: bool| Verified { head, broken, has_noted: noted.is_none() || seen };
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(verified(head, None, false)),
            Err(source) => return Err(self.io("read", source)),
        };
        let (mut reader, mut seen, mut number) = (BufReader::new(file), false, 0);
        loop {
            let mut line = Vec::new();
            number += 1;
            let read =
                (&mut reader).take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line).map_err(|source| self.io("read", source))?;
            if read == 0 {
                return Ok(verified(head, None, seen));
            }
            if line.pop() != Some(b'\n') {
                let what = if read > LINE_BYTES_MAX {
                    "it is longer than any entry"
                } else {
                    "it has no end: a crash left it unfinished, or something was cut off"
                };
                return Ok(verified(head, Some((number, what.to_owned())), seen));
            }
            let follows = Line::read(&line).and_then(|(entry, digest)| {
                if entry.number != head.number + 1 {
                    return Err(Unlike::Broken(format!("it is entry {}, and {} was to follow", entry.number, head.number + 1)));
                }
                if entry.before != head.digest {
                    return Err(Unlike::Broken("it does not follow from the entry before, which was changed or is another one".to_owned()));
                }
                Ok((entry, digest))
            });
            match follows {
                Ok((entry, digest)) => {
                    seen |= noted == Some(digest.as_str());
                    each(&entry, &digest);
                    head = Head { number: entry.number, digest };
                }
                Err(Unlike::Newer(found)) => return Err(Error::Newer { path: self.path.clone(), line: Some(number), found }),
                Err(Unlike::Broken(what)) => return Ok(verified(head, Some((number, what)), seen)),
            }
        }
    }

    fn io(&self, doing: &'static str, source: io::Error) -> Error {
        Error::Io { doing, path: self.path.clone(), source }
    }
}
