//! The gate's live view of the file of write keys.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use contract::{SourceName, Timestamp};

use super::{Entry, Error, KeyDigest, KeyFile, Scope};

/// How often the file is looked at while keys are found.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// A source as the gate knows it by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: SourceName,
    /// By which of its keys. None where any key is this source's.
    pub key: Option<KeyDigest>,
    /// What that key may do.
    pub scope: Scope,
}

impl Source {
    /// One to which every key is its own, and may do everything.
    pub fn of_any_key(name: SourceName) -> Self {
        Self { name, key: None, scope: Scope::default() }
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
        let view = View { any_key: Some(Arc::new(source)), any_origin: Until::Always, ..View::default() };
        Self { file: None, view: RwLock::new(Arc::new(view)), checked: Mutex::new(Checked { at: Instant::now(), stamp: None }) }
    }

    /// Whose key this is at this time.
    pub fn find(&self, key: &str, now: Timestamp) -> Lookup {
        let digest = KeyDigest::of(key);
        self.refresh();
        match self.view().find(&digest, now) {
            // One that was added a moment ago must not be refused, for clients do not ask twice.
            Lookup::Unknown => {
                self.look(&mut self.checked.lock().unwrap_or_else(PoisonError::into_inner));
                self.view().find(&digest, now)
            }
            found => found,
        }
    }

    /// Whether there is a source that takes events from pages of this origin at this time. A preflight request says no more than the origin.
    pub fn allows(&self, origin: &str, now: Timestamp) -> bool {
        self.refresh();
        let view = self.view();
        view.any_origin.holds(now) || view.origins.get(origin).is_some_and(|until| until.holds(now))
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
    /// With the time from which on a key no longer counts.
    keys: HashMap<KeyDigest, (Arc<Source>, Option<Timestamp>)>,
    /// Whose all other keys are, if anybody's.
    any_key: Option<Arc<Source>>,
    /// Until when pages of an origin may send.
    origins: HashMap<String, Until>,
    /// Until when pages of any origin may.
    any_origin: Until,
}

/// Until when something holds: not at all at first, then until the last of all that let it hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Until {
    #[default]
    Never,
    Time(i64),
    Always,
}

impl Until {
    fn extend(&mut self, ends: Option<Timestamp>) {
        *self = (*self).max(ends.map_or(Self::Always, |ends| Self::Time(ends.0)));
    }

    fn holds(self, now: Timestamp) -> bool {
        self > Self::Time(now.0)
    }
}

impl View {
    fn of(entries: Vec<Entry>) -> Self {
        let mut view = Self::default();
        for entry in entries {
            let ends = entry.revoked_at;
            if entry.scope.allowed_origins.is_empty() {
                view.any_origin.extend(ends);
            }
            for origin in &entry.scope.allowed_origins {
                view.origins.entry(origin.clone()).or_default().extend(ends);
            }
            let source = Source { name: entry.name, key: Some(entry.digest), scope: entry.scope };
            view.keys.insert(entry.digest, (Arc::new(source), ends));
        }
        view
    }

    fn find(&self, digest: &KeyDigest, now: Timestamp) -> Lookup {
        match self.keys.get(digest) {
            Some((_, Some(revoked_at))) if now >= *revoked_at => Lookup::Revoked,
            Some((source, _)) => Lookup::Known(Arc::clone(source)),
            None => self.any_key.as_ref().map_or(Lookup::Unknown, |source| Lookup::Known(Arc::clone(source))),
        }
    }
}
