//! The manifest: which runs make up the index, and up to which version of Silver.
//!
//! ```text
//! tidegate-index FORMAT CHECKSUM
//! {"lake_id": …, "applied": …, "next_run": …, "runs": […]}
//! ```
//!
//! What a later program adds to the second line without another format is passed over. The first line stays as it is in every format, so that any version of the program can tell an index of another format from a damaged one. The
//! checksum is over the format's number and the second line.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::codec::checksum;
use crate::files::Folder;

const NAME: &str = "tidegate-index";
const FORMAT: u32 = 1;
/// More runs than are ever written: a number that is none of ours would leave none for those to come.
const RUNS_MAX: u64 = u64::MAX / 2;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) lake_id: String,
    /// The version of Silver up to which the runs have everything.
    pub(crate) applied: Option<i64>,
    /// A number that no run has had yet.
    pub(crate) next_run: u64,
    /// Oldest first.
    pub(crate) runs: Vec<RunFacts>,
}

/// What the manifest promises of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunFacts {
    pub(crate) id: u64,
    /// The length of the file.
    pub(crate) bytes: u64,
    pub(crate) footer_at: u64,
    pub(crate) footer_checksum: u64,
}

impl Manifest {
    /// `None` where there is no index yet, or one of another lake or format: it is to begin empty.
    pub(crate) fn load(folder: &Folder, lake_id: &str) -> Result<Option<Self>, Error> {
        let path = folder.manifest_path();
        let content = match fs::read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // An index that begins writes its manifest before anything else.
                let is_new = folder.runs()?.is_empty();
                return if is_new { Ok(None) } else { Err(Error::corrupt(&path, "it is missing beside run files")) };
            }
            Err(error) => return Err(Error::unavailable("read", &path)(error)),
        };
        let damaged = || Error::corrupt(&path, "it is not what was written");
        let (format, body) = parse(&content).ok_or_else(damaged)?;
        if format != FORMAT {
            return Ok(None);
        }
        let manifest: Self = serde_json::from_str(body).map_err(|_| damaged())?;
        if manifest.next_run > RUNS_MAX {
            return Err(damaged());
        }
        Ok(Some(manifest).filter(|manifest| manifest.lake_id == lake_id))
    }

    pub(crate) fn save(&self, folder: &Folder) -> Result<(), Error> {
        let path = folder.manifest_path();
        let body = serde_json::to_string(self).map_err(|error| Error::unavailable("write", &path)(error.into()))?;
        folder.replace_manifest(print(FORMAT, &body).as_bytes())
    }
}

fn print(format: u32, body: &str) -> String {
    format!("{NAME} {format} {:016x}\n{body}", sum_of(format, body))
}

fn parse(content: &[u8]) -> Option<(u32, &str)> {
    let (line, body) = str::from_utf8(content).ok()?.split_once('\n')?;
    let mut words = line.split(' ');
    let (name, format, sum) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
    let is_sound = name == NAME && words.next().is_none() && sum == format!("{:016x}", sum_of(format, body));
    is_sound.then_some((format, body))
}

fn sum_of(format: u32, body: &str) -> u64 {
    checksum(format!("{format}\n{body}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_later_program_adds_is_passed_over_and_another_format_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::take(dir.path()).unwrap();
        let load = |format: u32, body: &str| {
            folder.replace_manifest(print(format, body).as_bytes()).unwrap();
            Manifest::load(&folder, "lake").unwrap()
        };
        let run = r#"{"id":1,"bytes":9,"footer_at":5,"footer_checksum":3,"colour":"red"}"#;
        let body = format!(r#"{{"lake_id":"lake","applied":7,"next_run":2,"runs":[{run}],"later":{{}}}}"#);
        let manifest = load(FORMAT, &body).unwrap();
        assert_eq!((manifest.applied, manifest.runs.len()), (Some(7), 1));
        assert_eq!(load(FORMAT + 1, &body), None);
        assert_eq!(load(FORMAT + 1, "all is otherwise"), None);
    }

    #[test]
    fn a_number_that_leaves_none_for_runs_to_come_is_damage() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::take(directory.path()).unwrap();
        let check = |next_run, expect: bool| {
            let manifest = Manifest { lake_id: "lake".to_owned(), next_run, ..Manifest::default() };
            manifest.save(&folder).unwrap();
            assert_eq!(Manifest::load(&folder, "lake").ok().flatten(), expect.then_some(manifest), "{next_run}");
        };
        check(1, true);
        check(RUNS_MAX, true);
        check(u64::MAX, false);
    }

    #[test]
    fn what_was_printed_is_read_and_any_change_noticed() {
        let printed = print(1, "{}");
        assert_eq!(parse(printed.as_bytes()), Some((1, "{}")));
        assert_eq!(parse(print(2, "{}").as_bytes()), Some((2, "{}")));
        for at in 0..printed.len() {
            let mut bytes = printed.clone().into_bytes();
            bytes[at] ^= 1;
            assert_eq!(parse(&bytes), None, "byte {at}");
            assert_eq!(parse(&printed.as_bytes()[..at]), None, "cut at {at}");
        }
    }
}
