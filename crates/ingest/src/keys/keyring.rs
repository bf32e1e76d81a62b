//! The gate's live view of the file of write keys.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use contract::SourceName;

use super::{Entry, Error, KeyDigest, KeyFile};

/// How often the file is looked at while keys are found.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// A source as the gate knows it by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: SourceName,
    /// The origins of web pages that may send with the key; with none, any may.
    pub allowed_origins: Vec<String>,
}

impl Source {
    /// Whether a page of this origin may send.
    pub fn allows(&self, origin: &str) -> bool {
        self.allowed_origins.is_empty() || self.allowed_origins.iter().any(|allowed| allowed == origin)
    }
}

/// What a key comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// It belongs to this source.
    Known(Arc<Source>),
    /// It did once.
    Revoked,
    /// It never did.
    Unknown,
}

/// The live view of a [`KeyFile`]: it follows changes of the file without a restart. While the file cannot be read, what was read last holds.
#[derive(Debug)]
pub struct Keyring {
    /// None for a keyring that knows any key.
    file: Option<KeyFile>,
    view: RwLock<Arc<View>>,
    checked: Mutex<Checked>,
}

#[derive(Debug)]
struct Checked {
    at: Instant,
    stamp: Option<Stamp>,
}

/// Tells one state of the file from another. Each change is a new file, so on Unix its number alone would nearly do.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

impl Keyring {
    /// Reads the file. One that is not there yet holds no keys.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn open(file: KeyFile) -> Result<Self, Error> {
        let stamp = stamp(&file)?;
        let view = View::of(file.list()?);
        Ok(Self { file: Some(file), view: RwLock::new(Arc::new(view)), checked: Mutex::new(Checked { at: Instant::now(), stamp }) })
    }

    /// A keyring to which every key is this source's: for a gate in tests, whose clients have whatever key they have.
    pub fn for_any_key(source: Source) -> Self {
        let view = View { any_key: Some(Arc::new(source)), any_origin: true, ..View::default() };
        Self { file: None, view: RwLock::new(Arc::new(view)), checked: Mutex::new(Checked { at: Instant::now(), stamp: None }) }
    }

    /// Whose key this is.
    pub fn find(&self, key: &str) -> Lookup {
        let digest = KeyDigest::of(key);
        self.refresh();
        match self.view().find(&digest) {
            // One that was added a moment ago must not be refused, for clients do not ask twice.
            Lookup::Unknown => {
                self.look(&mut self.checked.lock().unwrap_or_else(PoisonError::into_inner));
                self.view().find(&digest)
            }
            found => found,
        }
    }

    /// Whether there is a source that takes events from pages of this origin. A preflight request says no more than the origin.
    pub fn allows(&self, origin: &str) -> bool {
        self.refresh();
        let view = self.view();
        view.any_origin || view.origins.contains(origin)
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the file if that was not done for [`CHECK_EVERY`].
    fn refresh(&self) {
        // Whoever finds the lock taken goes on with the old view: someone else is looking.
        if let Ok(mut checked) = self.checked.try_lock()
            && checked.at.elapsed() >= CHECK_EVERY
        {
            self.look(&mut checked);
        }
    }

    /// Reads the file again if it has changed.
    fn look(&self, checked: &mut Checked) {
        checked.at = Instant::now();
        match self.changed(checked.stamp.as_ref()) {
            Ok(None) => {}
            Ok(Some((stamp, view))) => {
                checked.stamp = Some(stamp);
                *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
                tracing::info!("write keys read again");
            }
            Err(error) => {
                metrics::counter!("tidegate_ingest_keys_unreadable_total").increment(1);
                tracing::error!(%error, "the write keys cannot be read, the last ones read still hold");
            }
        }
    }

    fn changed(&self, known: Option<&Stamp>) -> Result<Option<(Stamp, View)>, Error> {
        let Some(file) = &self.file else { return Ok(None) };
        match (stamp(file)?, known) {
            (None, None) => Ok(None),
            (None, Some(_)) => {
                let gone = io::Error::from(io::ErrorKind::NotFound);
                Err(io_error("find", file, gone))
            }
            (Some(stamp), known) if known == Some(&stamp) => Ok(None),
            (Some(stamp), _) => Ok(Some((stamp, View::of(file.list()?)))),
        }
    }
}

fn stamp(file: &KeyFile) -> Result<Option<Stamp>, Error> {
    match fs::metadata(file.path()) {
        Ok(metadata) => {
            #[cfg(unix)]
            let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
            #[cfg(not(unix))]
            let inode = 0;
            Ok(Some(Stamp { modified: metadata.modified().ok(), bytes: metadata.len(), inode }))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error("look at", file, source)),
    }
}

fn io_error(doing: &'static str, file: &KeyFile, source: io::Error) -> Error {
    Error::File(secrets::Error::Io { doing, path: file.path().to_owned(), source })
}

#[derive(Debug, Default)]
struct View {
    /// `None` for a revoked key.
    keys: HashMap<KeyDigest, Option<Arc<Source>>>,
    /// Whose all other keys are, if anybody's.
    any_key: Option<Arc<Source>>,
    origins: HashSet<String>,
    any_origin: bool,
}

impl View {
    fn of(entries: Vec<Entry>) -> Self {
        let mut view = Self::default();
        for entry in entries {
            let live = entry.revoked_at.is_none();
            if live {
                view.any_origin |= entry.allowed_origins.is_empty();
                view.origins.extend(entry.allowed_origins.iter().cloned());
            }
            let source = live.then(|| Arc::new(Source { name: entry.name, allowed_origins: entry.allowed_origins }));
            view.keys.insert(entry.digest, source);
        }
        view
    }

    fn find(&self, digest: &KeyDigest) -> Lookup {
        match self.keys.get(digest) {
            Some(Some(source)) => Lookup::Known(Arc::clone(source)),
            Some(None) => Lookup::Revoked,
            None => self.any_key.as_ref().map_or(Lookup::Unknown, |source| Lookup::Known(Arc::clone(source))),
        }
    }
}
