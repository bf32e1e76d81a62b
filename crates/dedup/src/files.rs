//! The index's folder: its lock, the names of its files, and how what is written there becomes durable.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::Error;

const LOCK: &str = "lock";
const MANIFEST: &str = "manifest";
const UNFINISHED: &str = "new";
const RUN: &str = "run";

/// The folder of an index, held by this process alone as long as this value lives.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder if need be, and takes its lock.
    pub(crate) fn take(path: &Path) -> Result<Self, Error> {
        make_directory(path)?;
        let lock_path = path.join(LOCK);
        // The lock file is never removed: another process could hold a lock on a file that no longer has the name.
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path).map_err(Error::unavailable("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { dir: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(Error::Unavailable { doing: "lock", file: lock_path, source }),
        }
    }

    pub(crate) fn manifest_path(&self) -> PathBuf {
        self.path.join(MANIFEST)
    }

    pub(crate) fn run_path(&self, run: u64) -> PathBuf {
        self.path.join(format!("{run:020}.{RUN}"))
    }

    /// Gives the manifest a new content: all of it or nothing, and durable when this returns. After an error it may be either.
    pub(crate) fn replace_manifest(&self, content: &[u8]) -> Result<(), Error> {
        let (path, unfinished) = (self.manifest_path(), self.path.join(MANIFEST).with_extension(UNFINISHED));
        // The names of new runs come before the manifest that mentions them.
        self.sync()?;
        let write = || {
            let mut file = File::create(&unfinished)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)
        };
        write().map_err(Error::unavailable("write", &path))?;
        self.sync()
    }

    /// The run files that are there, by number.
    pub(crate) fn runs(&self) -> Result<Vec<u64>, Error> {
        let listed = || -> std::io::Result<Vec<u64>> {
            let mut runs = Vec::new();
            for entry in fs::read_dir(&self.path)? {
                let path = entry?.path();
                let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
                runs.extend(number.filter(|number| self.run_path(*number) == path));
            }
            Ok(runs)
        };
        listed().map_err(Error::unavailable("list", &self.path))
    }

    /// Removes the run files that are not to be kept.
    pub(crate) fn keep_only(&self, keep: &[u64]) -> Result<(), Error> {
        for run in self.runs()?.into_iter().filter(|run| !keep.contains(run)) {
            let path = self.run_path(run);
            fs::remove_file(&path).map_err(Error::unavailable("remove", &path))?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), Error> {
        sync_directory(&self.path)
    }
}

/// Makes the folder and those above it, durably.
fn make_directory(path: &Path) -> Result<(), Error> {
    let missing: Vec<&Path> = path.ancestors().take_while(|path| *path != Path::new("") && !path.exists()).collect();
    fs::create_dir_all(path).map_err(Error::unavailable("make", path))?;
    for made in missing {
        sync_directory(made.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

fn sync_directory(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(Error::unavailable("sync", path))
}
