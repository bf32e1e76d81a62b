//! How far the spool has been drained, in a small file beside it: all that must be known after a crash so that no record gets into Kafka twice.
//!
//! ```text
//! tidegate spool 1
//! id 3f0c…
//! drained 1200
//! generation 2
//! end 0 88102
//! end 1 87640
//! crc 1a2b3c4d
//! ```
//!
//! The first line ends in the version of the format, and stands there in every version. Lines that begin with another word are a later program's, and are passed over.
//!
//! `generation` is that of the log beside it, and stands there where it is not the first. A log that finds itself a copy grows it, and the spool gets another id: what the original spools from then on is not what
//! the copy does, though it has the same offsets.
//!
//! Every record of the spool before `drained` is in Kafka. Those at or after it may be there as well, but then behind the ends named.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::{Error, Offsets};

const KIND: &str = "tidegate spool ";
const VERSION: u32 = 1;
const UNFINISHED: &str = "new";
/// The generation of a log that is no copy.
const FIRST: u32 = 1;

/// How far the spool has been drained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// Which spool it is: another one has other records at the same offsets.
    pub(super) id: String,
    /// The generation of the log that has this name.
    pub(super) generation: u32,
    /// The first offset of the spool that may not be in Kafka.
    pub(super) drained: u64,
    /// Where Kafka's partitions ended before anything at or after `drained` was sent there; empty when nothing has been sent.
    pub(super) ends: Offsets,
}

impl Mark {
    /// Reads the file; `None` when there is none.
    pub(super) fn load(path: &Path) -> Result<Option<Self>, Error> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Unavailable { doing: format!("read {}", path.display()), source }),
        };
        let damaged = || {
            Error::Corrupt {
            file: path.to_owned(),
            at: 0,
            what: "this is not a sound mark of a spool; without it, what is spooled is sent again as a whole: to let that happen, remove the file".into(),
        }
        };
        if let Some(found) = version_of(&text).filter(|found| *found > VERSION) {
            return Err(Error::Newer { file: path.to_owned(), found, known: VERSION });
        }
        parse(&text).map(Some).ok_or_else(damaged)
    }

    /// Writes the file, whole or not at all, and makes it durable.
    pub(super) fn save(&self, path: &Path) -> Result<(), Error> {
        self.write(path).map_err(|source| Error::Unavailable { doing: format!("write {}", path.display()), source })
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let unfinished: PathBuf = path.with_extension(UNFINISHED);
        let mut file = File::create(&unfinished)?;
        file.write_all(self.text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        let folder = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }

    fn text(&self) -> String {
        let ends: String = self.ends.iter().map(|(partition, end)| format!("end {partition} {end}\n")).collect();
        let generation = if self.generation == FIRST { String::new() } else { format!("generation {}\n", self.generation) };
        let body = format!("{KIND}{VERSION}\nid {}\ndrained {}\n{generation}{ends}", self.id, self.drained);
        format!("{body}crc {:08x}\n", sum(&body))
    }
}

fn sum(body: &str) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, body.as_bytes()) as u32
}

fn version_of(text: &str) -> Option<u32> {
    text.lines().next()?.strip_prefix(KIND)?.parse().ok()
}

fn parse(text: &str) -> Option<Mark> {
    let (body, crc) = text.strip_suffix('\n')?.rsplit_once("crc ")?;
    if u32::from_str_radix(crc, 16).ok()? != sum(body) {
        return None;
    }
    let mut lines = body.lines();
    (version_of(lines.next()?)? == VERSION).then_some(())?;
    let id = lines.next()?.strip_prefix("id ")?.to_owned();
    let drained = lines.next()?.strip_prefix("drained ")?.parse().ok()?;
    let (mut generation, mut ends) = (FIRST, Offsets::new());
    for line in lines {
        if let Some(number) = line.strip_prefix("generation ") {
            generation = number.parse().ok()?;
        }
        let Some(line) = line.strip_prefix("end ") else { continue };
        let (partition, end) = line.split_once(' ')?;
        ends.insert(partition.parse().ok()?, end.parse().ok()?);
    }
    Some(Mark { id, generation, drained, ends })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_damage_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool.mark");
        assert_eq!(Mark::load(&path).unwrap(), None);
        for (generation, ends) in [(1, Offsets::new()), (2, Offsets::from([(0, 5), (3, u64::MAX)]))] {
            let mark = Mark { id: "abc".into(), generation, drained: 17, ends };
            mark.save(&path).unwrap();
            assert_eq!(Mark::load(&path).unwrap(), Some(mark));
        }
        let sound = fs::read(&path).unwrap();
        for at in 0..sound.len() {
            let mut damaged = sound.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert!(Mark::load(&path).is_err(), "{}", String::from_utf8_lossy(&damaged));
            fs::write(&path, &sound[..at]).unwrap();
            assert!(Mark::load(&path).is_err(), "cut off at {at}");
        }
    }

    #[test]
    fn a_newer_version_is_refused_and_what_a_later_program_adds_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool.mark");
        let mark = Mark { id: "abc".into(), generation: 1, drained: 17, ends: Offsets::from([(0, 5)]) };
        let body = "tidegate spool 1\nid abc\ndrained 17\nend 0 5\ncolour red\n";
        fs::write(&path, format!("{body}crc {:08x}\n", sum(body))).unwrap();
        assert_eq!(Mark::load(&path).unwrap(), Some(mark));
        let newer = "tidegate spool 2\nall is otherwise\n";
        fs::write(&path, newer).unwrap();
        let error = Mark::load(&path).unwrap_err();
        assert!(matches!(&error, Error::Newer { file, found: 2, known: 1 } if *file == path), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), newer);
    }
}
