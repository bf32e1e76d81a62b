//! Files that people write into a folder, read within bounds.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Files that are read at most.
const FILES_MAX: usize = 1_000;
/// The size of one, in bytes.
const BYTES_MAX: u64 = 1 << 20;

/// The files of a folder whose names end so, in order of their names. `what` they are is for messages.
pub(super) fn files(folder: &Path, what: &str, endings: &[&str]) -> Result<Vec<PathBuf>, Error> {
    let entries = std::fs::read_dir(folder).map_err(|error| failed(folder, &format!("the folder of {what} cannot be read: {error}")))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| failed(folder, &error))?.path();
        if path.extension().and_then(|end| end.to_str()).is_some_and(|end| endings.contains(&end)) {
            paths.push(path);
        }
    }
    if paths.len() > FILES_MAX {
        return Err(failed(folder, &format!("there are {} files of {what}; at most {FILES_MAX} are read", paths.len())));
    }
    paths.sort();
    Ok(paths)
}

/// The text of a file.
pub(super) fn text(path: &Path) -> Result<String, Error> {
    let bytes = std::fs::metadata(path).map_err(|error| failed(path, &error))?.len();
    if bytes > BYTES_MAX {
        return Err(failed(path, &format!("it has {bytes} bytes; at most {BYTES_MAX} are read")));
    }
    std::fs::read_to_string(path).map_err(|error| failed(path, &error))
}

/// What is wrong with a file or a folder.
pub(super) fn failed(path: &Path, what: &dyn Display) -> Error {
    Error::Setting(format!("{}: {what}", path.display()))
}
