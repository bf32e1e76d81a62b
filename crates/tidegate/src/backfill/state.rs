//! How far each file was brought: rows of its front of which every one got its answer. Noted in a file of its own, replaced as a whole, so that a run that was killed goes on there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use blake3::Hasher;
use serde::{Deserialize, Serialize};

use super::files::Source;
use super::id::Content;

/// How often it is noted.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Keeps track. All clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Tracker {
    /// `None`: nothing is noted.
    folder: Option<PathBuf>,
    /// Whether what was noted is left out.
    again: bool,
    /// What beside a file's content decides what is sent: address, key, mapping.
    order: Arc<[u8]>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    files: Vec<Progress>,
    /// Batches on their way, by number: whose they are, up to which row they go, and whether they are settled.
    sent: BTreeMap<u64, (usize, u64, bool)>,
    saved: Option<Instant>,
}

#[derive(Debug)]
struct Progress {
    path: Option<PathBuf>,
    name: String,
    /// Rows that an earlier run brought.
    before: u64,
    done: u64,
    /// What the file says. A run that sends everything again never takes it back.
    saved: u64,
}

/// The newest version of notes that this program reads, and the one that it writes. A note without one is of version 1.
const VERSION: u64 = 1;

/// What every version of a note has.
#[derive(Debug, Deserialize)]
struct Mark {
    version: Option<u64>,
}

/// What is noted.
#[derive(Debug, Serialize, Deserialize)]
struct Noted {
    /// For people.
    file: String,
    /// Rows of the front that need not be sent again.
    rows: u64,
}

impl Tracker {
    /// With `again` no row counts as brought by an earlier run, and what this one brings is noted all the same.
    pub(crate) fn new(folder: Option<PathBuf>, order: &[&[u8]], again: bool) -> Self {
        let mut hasher = Hasher::new();
        for part in order {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        Self { folder, again, order: hasher.finalize().as_bytes().as_slice().into(), inner: Arc::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file is read from now on. Returns its number.
    ///
    /// # Errors
    ///
    /// When what was noted cannot be read.
    pub(crate) fn begin(&self, source: &Source, content: &Content) -> io::Result<usize> {
        let path = self.folder.as_ref().map(|folder| {
            let mut hasher = Hasher::new();
            hasher.update(&self.order).update(content.bytes());
            folder.join(format!("{}.json", hasher.finalize().to_hex()))
        });
        let saved = path.as_deref().map(read).transpose()?.unwrap_or_default();
        let before = if self.again { 0 } else { saved };
        let mut inner = self.inner();
        inner.files.push(Progress { path, name: source.name().to_owned(), before, done: before, saved });
        Ok(inner.files.len() - 1)
    }

    /// Rows of that file that an earlier run brought.
    pub(crate) fn done(&self, file: usize) -> u64 {
        self.inner().files.get(file).map_or(0, |progress| progress.before)
    }

    /// Rows of all files that an earlier run brought.
    pub(crate) fn before(&self) -> u64 {
        self.inner().files.iter().map(|progress| progress.before).sum()
    }

    /// A batch of the file's rows up to this one is on its way.
    pub(crate) fn sent(&self, batch: u64, file: usize, through: u64) {
        self.inner().sent.insert(batch, (file, through, false));
    }

    /// Every event of a batch got its answer.
    pub(crate) fn settled(&self, batch: u64) {
        let mut inner = self.inner();
        if let Some((_, _, settled)) = inner.sent.get_mut(&batch) {
            *settled = true;
        }
        while let Some(entry) = inner.sent.first_entry() {
            let (file, through, true) = *entry.get() else { break };
            entry.remove();
            if let Some(progress) = inner.files.get_mut(file) {
                progress.done = through;
            }
        }
        if inner.saved.is_none_or(|saved| saved.elapsed() > SAVE_EVERY) {
            inner.save();
        }
    }

    /// Notes all of it.
    pub(crate) fn finish(&self) {
        self.inner().save();
    }
}

impl Inner {
    fn save(&mut self) {
        for progress in self.files.iter_mut().filter(|progress| progress.done > progress.saved) {
            let Some(path) = &progress.path else { continue };
            match write(path, &Noted { file: progress.name.clone(), rows: progress.done }) {
                Ok(()) => progress.saved = progress.done,
                // Without it a run that is killed sends more again, and adds nothing by that.
                Err(error) => tracing::warn!(path = %path.display(), %error, "how far a file is cannot be noted"),
            }
        }
        self.saved = Some(Instant::now());
    }
}

fn read(path: &Path) -> io::Result<u64> {
    match fs::read(path) {
        Ok(text) => {
            if let Ok(Mark { version: Some(found) }) = serde_json::from_slice(&text)
                && found > VERSION
            {
                return Err(io::Error::other(format!(
                    "{} is of version {found} of its format, this program knows it up to version {VERSION}: a newer Tidegate wrote it; go on with that one, or remove it: then all rows are sent again, and those \
                     that are there add nothing",
                    path.display()
                )));
            }
            let noted: Noted = serde_json::from_slice(&text)
                .map_err(|error| io::Error::other(format!("{}: {error}; remove it to begin anew", path.display())))?;
            Ok(noted.rows)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Replaces the file as a whole.
fn write(path: &Path, noted: &Noted) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec(noted)?)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // The name lasts only with its folder.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backfill::rows::Format;

    #[test]
    fn only_the_front_that_is_settled_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        fs::write(&path, "a\n1\n").unwrap();
        let source = Source::Local { name: "rows.csv".to_owned(), path: path.clone(), bytes: 4 };
        let content = Content::of(&path, Format::Csv).unwrap();
        let begin_with = |order: &[u8], again| {
            let tracker = Tracker::new(Some(folder.path().to_owned()), &[order], again);
            let file = tracker.begin(&source, &content).unwrap();
            (tracker, file)
        };
        let begin = |order: &[u8]| begin_with(order, false);
        let (tracker, file) = begin(b"order");
        assert_eq!(tracker.done(file), 0);
        for (batch, through) in [(0, 10), (1, 20), (2, 30)] {
            tracker.sent(batch, file, through);
        }
        tracker.settled(2);
        tracker.settled(0);
        tracker.finish();
        assert_eq!(begin(b"order").0.before(), 10);
        tracker.settled(1);
        tracker.finish();
        assert_eq!(begin(b"order").0.before(), 30);
        assert_eq!(begin(b"another").0.before(), 0);
        assert_eq!(Tracker::new(None, &[b"order"], false).begin(&source, &content).unwrap(), 0);

        // A note of a newer version is left as it is; what a later program adds to one of this version is passed over.
        let note = |text: &str| {
            let mut files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
            let note = files.find(|path| path.extension().is_some_and(|end| end == "json")).unwrap();
            fs::write(&note, text).unwrap();
            Tracker::new(Some(folder.path().to_owned()), &[b"order"], false).begin(&source, &content).map_err(|error| error.to_string())
        };
        assert_eq!(note(r#"{"file":"rows.csv","rows":30,"bytes":4}"#), Ok(0));
        let refused = note(r#"{"version":2,"front":30}"#).unwrap_err();
        assert!(refused.contains("is of version 2") && refused.contains("go on with that one"), "{refused}");
        note(r#"{"file":"rows.csv","rows":30}"#).unwrap();

        let (again, file) = begin_with(b"order", true);
        assert_eq!((again.done(file), again.before()), (0, 0), "all rows are sent again");
        for (through, noted) in [(20, 30), (40, 40)] {
            again.sent(through, file, through);
            again.settled(through);
            again.finish();
            assert_eq!(begin(b"order").0.before(), noted, "never less than before");
        }
    }
}
