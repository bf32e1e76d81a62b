//! Files of what proves who someone is: write keys, readers' passwords, tokens of the console.
//!
//! Such a file is a JSON document for its owner's eyes only. It is replaced as a whole, so that one who reads it sees the old or the new one and never a part, and is
//! changed by one process at a time. What is in it is its owner's business; no secret stands in it, only what proves one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

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
    /// The file at this path. It need not exist: then it holds the default.
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
    /// [`Error::Io`], [`Error::Damaged`].
    pub fn read(&self) -> Result<D, Error> {
        match fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| Error::Damaged { path: self.path.clone(), source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(D::default()),
            Err(source) => Err(self.io("read", source)),
        }
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
        let bytes = serde_json::to_vec_pretty(&document).map_err(|source| Error::Damaged { path: self.path.clone(), source })?;
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

    use super::*;

    #[test]
    fn a_change_is_whole_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let file = PrivateFile::<Vec<u32>>::at(folder.path().join("below/numbers.json"));
        assert_eq!(file.read().unwrap(), [0; 0]);
        let length = file.change(|numbers| {
            numbers.push(7);
            Ok::<_, Error>(numbers.len())
        });
        assert_eq!((length.unwrap(), file.read().unwrap()), (1, vec![7]));
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        let refused = file.change(|numbers| {
            numbers.clear();
            Err::<(), _>(file.io("like", io::Error::other("no")))
        });
        assert!(refused.unwrap_err().to_string().starts_with("cannot like ") && file.read().unwrap() == [7]);
        fs::write(file.path(), "{").unwrap();
        assert!(matches!(file.read(), Err(Error::Damaged { .. })));
        assert!(matches!(file.change(|_| Ok::<_, Error>(())), Err(Error::Damaged { .. })));
    }

    #[test]
    fn many_change_it_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = PrivateFile::<Vec<u32>>::at(folder.path().join("numbers.json"));
        std::thread::scope(|scope| {
            for number in 0..8 {
                let file = file.clone();
                scope.spawn(move || {
                    let changed = file.change(|numbers| {
                        numbers.push(number);
                        Ok::<_, Error>(())
                    });
                    changed.unwrap();
                });
            }
        });
        let mut numbers = file.read().unwrap();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..8).collect::<Vec<_>>());
    }
}
