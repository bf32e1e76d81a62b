//! What clients were told, in a file of its own: each yes, with when it came. Nothing of it is known to the platform.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// The name of the file.
pub(super) const FILE: &str = "acknowledged.csv";

/// The ledger of a run. A line is written before the yes counts.
#[derive(Debug)]
pub(super) struct Ledger {
    began: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    /// Of each client, how many of its events, numbered from 0, were answered with success: it goes on only then.
    acknowledged: Vec<u64>,
    failed: u64,
    copies: u64,
    last: Instant,
    longest: Duration,
}

/// The sums so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    /// Events that were answered with success, each once.
    pub(super) acknowledged: u64,
    /// Of these, events that were sent once more and answered with success again.
    pub(super) copies: u64,
    /// Requests that came to nothing: no answer, or one that says to wait.
    pub(super) failed: u64,
}

impl Ledger {
    /// Begins the file.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn begin(folder: &Path, clients: usize) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let begin = || -> std::io::Result<File> {
            let mut file = File::create_new(&path)?;
            file.write_all(b"millis,client,first,events\n")?;
            Ok(file)
        };
        let file = begin().with_context(|| format!("{} cannot be written", path.display()))?;
        let began = Instant::now();
        let inner = Inner { file, acknowledged: vec![0; clients], failed: 0, copies: 0, last: began, longest: Duration::ZERO };
        Ok(Self { began, inner: Mutex::new(inner) })
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client was told yes for its next events and for so many copies of earlier ones.
    ///
    /// # Errors
    ///
    /// When the file cannot be written: a run without its ledger proves nothing.
    pub(super) fn yes(&self, client: usize, events: u64, copies: u64) -> anyhow::Result<()> {
        let mut inner = self.inner();
        let first = inner.acknowledged.get(client).copied().unwrap_or_default();
        let line = format!("{},{client},{first},{events}\n", self.began.elapsed().as_millis());
        inner.file.write_all(line.as_bytes()).with_context(|| format!("{FILE} cannot be written"))?;
        if let Some(acknowledged) = inner.acknowledged.get_mut(client) {
            *acknowledged += events;
        }
        inner.copies += copies;
        inner.longest = inner.longest.max(inner.last.elapsed());
        inner.last = Instant::now();
        Ok(())
    }

    /// A request came to nothing.
    pub(super) fn failed(&self) {
        self.inner().failed += 1;
    }

    /// The sums so far.
    pub(super) fn sums(&self) -> Sums {
        let inner = self.inner();
        Sums { acknowledged: inner.acknowledged.iter().sum(), copies: inner.copies, failed: inner.failed }
    }

    /// Measures anew how long nobody is told yes.
    pub(super) fn watch(&self) {
        let mut inner = self.inner();
        (inner.last, inner.longest) = (Instant::now(), Duration::ZERO);
    }

    /// The longest time without a yes since [`Ledger::watch`].
    pub(super) fn longest_silence(&self) -> Duration {
        let inner = self.inner();
        inner.longest.max(inner.last.elapsed())
    }

    /// Events of each client.
    pub(super) fn clients(&self) -> Vec<u64> {
        self.inner().acknowledged.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_yes_is_a_line_and_counts() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::begin(folder.path(), 2).unwrap();
        ledger.yes(1, 50, 2).unwrap();
        ledger.yes(0, 10, 0).unwrap();
        ledger.yes(1, 50, 3).unwrap();
        ledger.failed();
        let sums = ledger.sums();
        assert_eq!((sums.acknowledged, sums.copies, sums.failed, ledger.clients()), (110, 5, 1, vec![10, 100]));
        let text = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        let lines: Vec<&str> = text.lines().filter_map(|line| line.split_once(',')).map(|(_, rest)| rest).collect();
        assert_eq!(lines, ["client,first,events", "1,0,50", "0,0,10", "1,50,50"]);
        assert!(Ledger::begin(folder.path(), 1).is_err(), "the ledger of another run is not written over");
        ledger.watch();
        std::thread::sleep(Duration::from_millis(5));
        assert!(ledger.longest_silence() >= Duration::from_millis(5));
    }
}
