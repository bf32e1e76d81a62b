//! The power goes at any call to the disk: what was not synced may be there, in part, or not at all; what was answered is there.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// A disk that counts its calls, and at one of them is dead. It knows what is durable.
#[derive(Debug)]
struct Dying {
    state: Mutex<Durable>,
}

#[derive(Debug)]
struct Durable {
    calls_left: usize,
    /// Durable bytes of each file, by inode.
    bytes: BTreeMap<u64, u64>,
    names: BTreeSet<OsString>,
}

impl Dying {
    fn at(call: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(Durable { calls_left: call, bytes: BTreeMap::new(), names: BTreeSet::new() }) })
    }

    /// Counts a call; an error when the disk is dead. `Ok(true)` for its very last call.
    fn call(&self) -> io::Result<bool> {
        let calls_left = &mut locked(&self.state).calls_left;
        *calls_left = calls_left.checked_sub(1).ok_or_else(|| io::Error::other("the power is gone"))?;
        Ok(*calls_left == 0)
    }

    /// Does to the files what the loss of power may do to them.
    fn lose_power(&self, directory: &Path, random: &mut SmallRng) {
        let state = locked(&self.state);
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() == "lock" {
                continue;
            }
            if !state.names.contains(&entry.file_name()) && random.random() {
                fs::remove_file(entry.path()).unwrap();
                continue;
            }
            let file = File::options().write(true).open(entry.path()).unwrap();
            let metadata = file.metadata().unwrap();
            let durable = state.bytes.get(&metadata.ino()).copied().unwrap_or(0).min(metadata.len());
            let kept = random.random_range(durable..=metadata.len());
            file.set_len(kept).unwrap();
            if kept > durable && random.random() {
                let hole = random.random_range(durable..kept);
                file.write_all_at(&vec![0; (kept - hole) as usize / 2], hole).unwrap();
            }
        }
    }
}

impl Medium for Dying {
    fn write_all_at(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        let is_last = self.call()?;
        file.write_all_at(if is_last { &bytes[..bytes.len() / 2] } else { bytes }, at)
    }

    fn set_len(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.call()?;
        file.set_len(bytes)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        if self.call()? {
            return Err(io::Error::other("the power is gone"));
        }
        let metadata = file.metadata()?;
        locked(&self.state).bytes.insert(metadata.ino(), metadata.len());
        Ok(())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        if self.call()? {
            return Err(io::Error::other("the power is gone"));
        }
        locked(&self.state).names =
            fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<_>>()?;
        Ok(())
    }
}

/// Appends and trims until the disk is dead; returns the numbers of the records that were answered, and where the last trim ended.
async fn work(directory: &TempDir, medium: Arc<Dying>) -> (Vec<u64>, Offsets) {
    let (mut answered, mut trimmed) = (Vec::new(), Offsets::new());
    let Ok(journal) = Embedded::open_on(directory.path().to_owned(), small(), medium) else { return (answered, trimmed) };
    for turn in 0..30 {
        let records = turn * 5..turn * 5 + 1 + turn % 5;
        if append(&journal, records.clone()).await.is_err() {
            break;
        }
        answered.extend(records);
        if turn % 8 == 7 {
            let before = journal.end().await.unwrap();
            if journal.trim(&before).await.is_err() {
                break;
            }
            trimmed = before;
        }
    }
    (answered, trimmed)
}

#[tokio::test]
async fn what_was_answered_survives_a_loss_of_power_at_any_call() {
    let mut random = SmallRng::seed_from_u64(11);
    let mut most = 0;
    for call in 0..180 {
        let (directory, medium) = (tempfile::tempdir().unwrap(), Dying::at(call));
        let (answered, trimmed) = work(&directory, Arc::clone(&medium)).await;
        medium.lose_power(directory.path(), &mut random);
        let journal = reopen(&directory, &small()).unwrap_or_else(|error| panic!("power lost at call {call}: {error}"));
        let start = journal.start().await.unwrap();
        let there = all(&journal).await.unwrap();
        for (partition, end) in journal.end().await.unwrap() {
            assert!(trimmed.get(&partition).is_none_or(|trimmed| end >= *trimmed), "offsets are never used again");
        }
        let found = numbers(&there);
        if start.values().all(|start| *start == 0) {
            assert!(found.starts_with(&answered), "power lost at call {call}: answered {answered:?}, found {found:?}");
        } else {
            assert!(found.iter().rev().take(answered.len()).all(|number| *number < 200));
            let first = found.first().copied().unwrap_or(u64::MAX);
            let expected: Vec<u64> = answered.iter().copied().filter(|number| *number >= first).collect();
            assert!(found.starts_with(&expected), "power lost at call {call}: answered {expected:?}, found {found:?}");
        }
        append(&journal, 200..210).await.unwrap();
        most = most.max(answered.len());
    }
    assert!(most > 60, "the last losses come after most of the work, {most}");
}

#[tokio::test]
async fn an_opening_makes_durable_what_it_found() {
    let directory = tempfile::tempdir().unwrap();
    append(&reopen(&directory, &small()).unwrap(), 0..5).await.unwrap();
    // The process that wrote this may have died before its sync.
    let medium = Dying::at(usize::MAX);
    let journal = open(&directory, &small(), Arc::<Dying>::clone(&medium));
    let metadata = fs::metadata(&segments(&directory)[0]).unwrap();
    assert_eq!(locked(&medium.state).bytes.get(&metadata.ino()), Some(&metadata.len()));
    assert_eq!(numbers(&all(&journal).await.unwrap()), [0, 1, 2, 3, 4]);
}
