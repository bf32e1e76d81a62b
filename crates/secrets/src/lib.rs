//! Files of what proves who someone is: write keys, readers' passwords, tokens of the console.
//!
//! Such a file is a JSON document for its owner's eyes only. It is replaced as a whole, so that one who reads it sees the old or the new one and never a part, and is
//! changed by one process at a time. What is in it is its owner's business; no secret stands in it, only what proves one.
//!
//! Its member `version` is the version of its format; a file without one is of version 1. A file of a newer version is neither read nor changed. Members that a later program added
//! without another version are for the owner of the document to keep.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::{DeserializeOwned, Error as _};
use serde_json::Value;

/// The member that says of which version the document is.
const VERSION: &str = "version";
/// The newest version that this program reads, and the one that it writes.
const KNOWN: u64 = 1;

/// Why a file cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused.
    #[error("cannot {doing} {file}: {source}", file = path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is not what this program writes.
    #[error("{file} cannot be understood: {source}; mend it, restore it, or remove it and make anew what it held", file = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A newer version of this program wrote it. It is left as it is.
    #[error(
        "{file} is of version {found} of its format, this program knows it up to version {known}: a newer Tidegate wrote it; start that one again, nothing here was changed",
        file = path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The newest that this program knows.
        known: u64,
    },
}

/// A document as it stands in the file.
#[derive(Serialize)]
struct Marked<'d, D> {
    version: u64,
    #[serde(flatten)]
    document: &'d D,
}

/// A file that holds a document, or nothing yet.
pub struct PrivateFile<D> {
    path: PathBuf,
    document: PhantomData<fn() -> D>,
}

impl<D> Clone for PrivateFile<D> {
    fn clone(&self) -> Self {
        Self { path: self.path.clone(), document: PhantomData }
    }
}

impl<D> std::fmt::Debug for PrivateFile<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PrivateFile").field(&self.path).finish()
    }
}

impl<D: Default + Serialize + DeserializeOwned> PrivateFile<D> {
    /// The file at this path. It need not exist: then it holds the default. The document is written as a JSON object.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), document: PhantomData }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Damaged`], [`Error::Newer`].
    pub fn read(&self) -> Result<D, Error> {
        match fs::read(&self.path) {
            Ok(bytes) => self.parse(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(D::default()),
            Err(source) => Err(self.io("read", source)),
        }
    }

    fn parse(&self, bytes: &[u8]) -> Result<D, Error> {
        let damaged = |source| Error::Damaged { path: self.path.clone(), source };
        let mut document: Value = serde_json::from_slice(bytes).map_err(damaged)?;
        let version = document.as_object_mut().and_then(|members| members.remove(VERSION));
        let no_version = || damaged(serde_json::Error::custom("its version is no whole number"));
        let found = version.map_or(Ok(1), |version| version.as_u64().ok_or_else(no_version))?;
        if found > KNOWN {
            return Err(Error::Newer { path: self.path.clone(), found, known: KNOWN });
        }
        serde_json::from_value(document).map_err(damaged)
    }

    /// Reads, changes and replaces it, one process at a time. What the change refuses leaves it as it was.
    ///
    /// # Errors
    ///
    /// The change's own, and as [`PrivateFile::read`].
    pub fn change<T, E: From<Error>>(&self, change: impl FnOnce(&mut D) -> Result<T, E>) -> Result<T, E> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|source| self.io("make the folder of", source))?;
        // Beside it, for the file itself is another one after each change.
        let mut beside = self.path.clone().into_os_string();
        beside.push(".lock");
        let lock = File::create(beside).map_err(|source| self.io("lock", source))?;
        lock.lock().map_err(|source| self.io("lock", source))?;
        let mut document = self.read()?;
        let outcome = change(&mut document)?;
        let marked = Marked { version: KNOWN, document: &document };
        let bytes = serde_json::to_vec_pretty(&marked).map_err(|source| Error::Damaged { path: self.path.clone(), source })?;
        self.replace(folder, &bytes).map_err(|source| self.io("write", source))?;
        Ok(outcome)
    }

    fn replace(&self, folder: &Path, bytes: &[u8]) -> io::Result<()> {
        // A file that only this user may read, from its first byte on.
        let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
        fresh.write_all(bytes)?;
        fresh.as_file().sync_all()?;
        fresh.persist(&self.path)?;
        File::open(folder)?.sync_all()
    }

    fn io(&self, doing: &'static str, source: io::Error) -> Error {
        Error::Io { doing, path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde::Deserialize;
    use serde_json::Map;

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Numbers {
        numbers: Vec<u32>,
        #[serde(flatten)]
        rest: Map<String, Value>,
    }

    fn push(file: &PrivateFile<Numbers>, number: u32) -> Result<usize, Error> {
        file.change(|document| {
            document.numbers.push(number);
            Ok(document.numbers.len())
        })
    }

    #[test]
    fn a_change_is_whole_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let file = PrivateFile::<Numbers>::at(folder.path().join("below/numbers.json"));
        assert_eq!(file.read().unwrap(), Numbers::default());
        assert_eq!((push(&file, 7).unwrap(), file.read().unwrap().numbers), (1, vec![7]));
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        let refused = file.change(|document| {
            document.numbers.clear();
            Err::<(), _>(file.io("like", io::Error::other("no")))
        });
        assert!(refused.unwrap_err().to_string().starts_with("cannot like ") && file.read().unwrap().numbers == [7]);
        for damaged in ["{", "[]", "7", r#"{"numbers":7}"#, r#"{"version":"1","numbers":[]}"#, r#"{"version":-1,"numbers":[]}"#] {
            fs::write(file.path(), damaged).unwrap();
            assert!(matches!(file.read(), Err(Error::Damaged { .. })), "{damaged}");
            assert!(matches!(push(&file, 8), Err(Error::Damaged { .. })), "{damaged}");
        }
    }

    #[test]
    fn a_newer_version_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = PrivateFile::<Numbers>::at(folder.path().join("numbers.json"));
        let newer = r#"{"version": 2, "numerals": ["seven"]}"#;
        fs::write(file.path(), newer).unwrap();
        for error in [file.read().unwrap_err(), push(&file, 8).unwrap_err()] {
            assert!(matches!(&error, Error::Newer { path, found: 2, known: 1 } if path == file.path()), "{error}");
        }
        assert_eq!(fs::read_to_string(file.path()).unwrap(), newer);
    }

    #[test]
    fn one_without_a_version_is_of_the_first_and_what_a_later_program_adds_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = PrivateFile::<Numbers>::at(folder.path().join("numbers.json"));
        fs::write(file.path(), r#"{"numbers": [7], "colour": "red"}"#).unwrap();
        push(&file, 8).unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), serde_json::json!({"version": 1, "numbers": [7, 8], "colour": "red"}));
        push(&file, 9).unwrap();
        assert_eq!(file.read().unwrap().numbers, [7, 8, 9]);
    }

    #[test]
    fn many_change_it_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = PrivateFile::<Numbers>::at(folder.path().join("numbers.json"));
        std::thread::scope(|scope| {
            for number in 0..8 {
                let file = file.clone();
                scope.spawn(move || push(&file, number).unwrap());
            }
        });
        let mut numbers = file.read().unwrap().numbers;
        numbers.sort_unstable();
        assert_eq!(numbers, (0..8).collect::<Vec<_>>());
    }
}
