//! Events on disk until they are answered: docs/sdk-contract.md, "The spool". Folders and files are as the Python SDK has them: both may have one spool.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

use crate::state::Queued;

const ENDING: &str = "ndjson";
const LOCK: &str = "lock";

/// A closed file: one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    /// How many, of this process; 0 where it is of an earlier one.
    pub(crate) events: u64,
    /// The number that its first event has in this process.
    pub(crate) first: u64,
}

/// What one process has in the spool, locked while it lives. When it is given up, a folder in which nothing is left is removed.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// The operating system gives it up with the process, however that ends.
    lock: fs::File,
}

impl Folder {
    fn new(spool: &Path) -> io::Result<Self> {
        let mut random = [0; 6];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        fs::create_dir_all(spool)?;
        let path = spool.join(format!("{}-{random}", std::process::id()));
        private_folder(&path)?;
        let locked = Self::locked(&path, private_file(OpenOptions::new().read(true).write(true).create(true)))?;
        locked.ok_or_else(|| io::Error::other(format!("{} cannot be locked", path.display())))
    }

    /// Takes over the folders of processes that are no more.
    fn orphans(spool: &Path) -> io::Result<Vec<Self>> {
        let entries = match fs::read_dir(spool) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        // One without a lock was made a moment ago, or is none of ours.
        paths.retain(|path| path.join(LOCK).is_file());
        let locked = paths.into_iter().map(|path| Self::locked(&path, OpenOptions::new().read(true).write(true)));
        // One that was removed meanwhile, or may not be read, is left alone.
        Ok(locked.filter_map(|folder| folder.ok().flatten()).collect())
    }

    fn locked(path: &Path, options: &OpenOptions) -> io::Result<Option<Self>> {
        let lock = options.open(path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        // Whoever had it may have removed the folder while it was opened.
        Ok(path.join(LOCK).exists().then(|| Self { path: path.to_owned(), lock }))
    }

    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut paths = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.retain(|path| path.extension().is_some_and(|ending| ending == ENDING));
        paths.sort();
        Ok(paths)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.files().is_ok_and(|files| files.is_empty()) {
            // What cannot be removed now is when a later process adopts it; what else is in it is none of ours.
            drop(fs::remove_file(self.path.join(LOCK)).and_then(|()| fs::remove_dir(&self.path)));
        }
        drop(self.lock.unlock());
    }
}

/// All of them. One thread writes, with a [`Pen`]; another one removes.
#[derive(Debug)]
pub(crate) struct Spool {
    path: PathBuf,
    bytes_max: u64,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Of this process, once there is something to write.
    own: Option<Arc<Folder>>,
    /// Of earlier ones, with how many files are left.
    adopted: HashMap<PathBuf, (Folder, usize)>,
    sizes: HashMap<PathBuf, u64>,
}

impl Spool {
    pub(crate) fn new(path: PathBuf, bytes_max: u64) -> Self {
        Self { path, bytes_max, held: Mutex::default() }
    }

    /// The files of processes that are no more, oldest folder first.
    pub(crate) fn adopt(&self) -> io::Result<Vec<File>> {
        let mut found = Vec::new();
        for folder in Folder::orphans(&self.path)? {
            let files = folder.files()?;
            let mut held = self.held();
            for path in &files {
                let bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
                held.sizes.insert(path.clone(), bytes);
                found.push(File { path: path.clone(), events: 0, first: 0 });
            }
            if !files.is_empty() {
                held.adopted.insert(folder.path.clone(), (folder, files.len()));
            }
        }
        Ok(found)
    }

    /// Its events are answered.
    pub(crate) fn remove(&self, file: &Path) {
        // One that cannot be removed is sent again by a later process, under the same ids.
        drop(fs::remove_file(file));
        let mut held = self.held();
        held.sizes.remove(file);
        let Some(folder) = file.parent() else { return };
        if let Some((_, left)) = held.adopted.get_mut(folder) {
            *left -= 1;
            if *left == 0 {
                held.adopted.remove(folder);
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn own(&self) -> io::Result<Arc<Folder>> {
        let mut held = self.held();
        if let Some(own) = &held.own {
            return Ok(Arc::clone(own));
        }
        let own = Arc::new(Folder::new(&self.path)?);
        held.own = Some(Arc::clone(&own));
        Ok(own)
    }
}

/// What writes files, one after the other.
#[derive(Debug)]
pub(crate) struct Pen {
    spool: Arc<Spool>,
    number: u64,
    open: Option<Page>,
}

/// The file that is being written.
#[derive(Debug)]
struct Page {
    file: fs::File,
    path: PathBuf,
    bytes: u64,
    events: u64,
    /// As long as it is written, the folder is locked.
    _folder: Arc<Folder>,
}

impl Pen {
    pub(crate) fn new(spool: Arc<Spool>) -> Self {
        Self { spool, number: 0, open: None }
    }

    /// Writes events and syncs them, all or none; the path of the file, and its bytes. After an error it is to be ended.
    pub(crate) fn append(&mut self, events: &[Queued]) -> io::Result<(PathBuf, u64)> {
        let mut lines = Vec::new();
        for event in events {
            lines.extend_from_slice(&event.payload);
            lines.extend_from_slice(b"}\n");
        }
        let held: u64 = self.spool.held().sizes.values().sum();
        if held + lines.len() as u64 > self.spool.bytes_max {
            return Err(io::Error::other(format!("the spool has reached its bound of {} bytes", self.spool.bytes_max)));
        }
        let mut page = match self.open.take() {
            Some(page) => page,
            None => self.begin()?,
        };
        let written = page.file.write_all(&lines).and_then(|()| page.file.sync_data());
        match &written {
            Ok(()) => {
                page.bytes += lines.len() as u64;
                page.events += events.len() as u64;
            }
            // What follows must not stand behind half a line.
            Err(_) => drop(page.file.set_len(page.bytes)),
        }
        self.spool.held().sizes.insert(page.path.clone(), page.bytes);
        let told = (page.path.clone(), page.bytes);
        self.open = Some(page);
        written.map(|()| told)
    }

    /// What is written from now on is in another file.
    pub(crate) fn end(&mut self) {
        if let Some(page) = self.open.take().filter(|page| page.events == 0) {
            self.spool.remove(&page.path);
        }
    }

    fn begin(&mut self) -> io::Result<Page> {
        let folder = self.spool.own()?;
        self.number += 1;
        let path = folder.path.join(format!("{:020}.{ENDING}", self.number));
        let file = private_file(OpenOptions::new().append(true).create_new(true)).open(&path)?;
        sync_folder(&folder.path)?;
        if let Some(spool) = folder.path.parent() {
            sync_folder(spool)?;
        }
        Ok(Page { file, path, bytes: 0, events: 0, _folder: folder })
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        self.end();
    }
}

/// The events of a file, all with the number of the first one, and how many of its lines are none.
pub(crate) fn read(file: &File) -> io::Result<(Vec<Queued>, u64)> {
    #[derive(Deserialize)]
    struct Line {
        event_id: String,
    }

    let content = fs::read(&file.path)?;
    let (mut events, mut torn) = (Vec::new(), 0);
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        // What has no end was not written whole, and never synced.
        let whole = line.strip_suffix(b"\n").and_then(|line| Some((serde_json::from_slice::<Line>(line).ok()?, line.strip_suffix(b"}")?)));
        match whole {
            Some((Line { event_id }, payload)) => events.push(Queued { number: file.first, event_id, payload: payload.to_vec() }),
            None => torn += 1,
        }
    }
    Ok((events, torn))
}

#[cfg(unix)]
fn private_file(options: &mut OpenOptions) -> &OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600)
}

#[cfg(not(unix))]
fn private_file(options: &mut OpenOptions) -> &OpenOptions {
    options
}

#[cfg(unix)]
fn private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().mode(0o700).create(path)
}

#[cfg(not(unix))]
fn private_folder(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

/// So that a file is still in it after the machine failed.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { fs::File::open(path)?.sync_all() } else { Ok(()) }
}
