mod damage;
mod faults;
mod model;
mod power;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::{ErrorKind, partition_of};

const ALL: ReadLimit = ReadLimit { records_max: usize::MAX, bytes_max: usize::MAX };

/// Small segments, so that a few records fill some.
fn small() -> Config {
    Config { partitions: 2, segment_bytes: 2000, record_bytes_max: 10_000, disk_free_bytes_min: 0, ..Config::default() }
}

fn open(directory: &TempDir, config: &Config, medium: Arc<dyn Medium>) -> Embedded {
    Embedded::open_on(directory.path().to_owned(), config.clone(), medium).unwrap()
}

fn reopen(directory: &TempDir, config: &Config) -> Result<Embedded, OpenError> {
    Embedded::open_on(directory.path().to_owned(), config.clone(), Arc::new(Disk))
}

/// A record that tells its number.
fn record(number: u64, value_bytes: usize) -> Record {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32).to_le_bytes());
    Record { key, header: Bytes::from(number.to_string()), value: Bytes::from(vec![number as u8; value_bytes]) }
}

fn number(stored: &Stored) -> u64 {
    let number = str::from_utf8(&stored.record.header).unwrap().parse().unwrap();
    assert_eq!(stored.record, record(number, stored.record.value.len()), "a record is as it was appended");
    number
}

async fn append(journal: &Embedded, numbers: std::ops::Range<u64>) -> Result<Vec<(u32, u64)>, Error> {
    journal.append(numbers.map(|number| record(number, 100)).collect()).await
}

/// Everything from its start on.
async fn all(journal: &Embedded) -> Result<Vec<Stored>, Error> {
    let mut from = journal.start().await?;
    let mut all: Vec<Stored> = Vec::new();
    loop {
        let found = journal.read(&from, ReadLimit { records_max: 7, bytes_max: 5000 }).await?;
        if found.is_empty() {
            assert_eq!(from, journal.end().await?, "a read that finds nothing is at the end");
            return Ok(all);
        }
        for stored in found {
            assert_eq!(from.insert(stored.partition, stored.offset + 1), Some(stored.offset), "offsets are dense");
            all.push(stored);
        }
    }
}

fn numbers(stored: &[Stored]) -> Vec<u64> {
    let mut numbers: Vec<u64> = stored.iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}

fn segments(directory: &TempDir) -> Vec<PathBuf> {
    segment::list(directory.path()).unwrap().into_iter().map(|(_, path)| path).collect()
}

#[tokio::test]
async fn a_second_process_is_kept_out() {
    let directory = tempfile::tempdir().unwrap();
    let first = Embedded::open(directory.path(), small()).await.unwrap();
    let error = Embedded::open(directory.path(), small()).await.unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    let message = error.to_string();
    assert!(
        message.contains(&directory.path().display().to_string()) && message.contains(&format!("process {}", std::process::id())),
        "{message}"
    );
    drop(first);
    Embedded::open(directory.path(), small()).await.unwrap();
}

#[tokio::test]
async fn another_number_of_partitions_is_an_error_that_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    drop(reopen(&directory, &Config { generation: 7, ..small() }).unwrap());
    let message = reopen(&directory, &Config { partitions: 3, ..small() }).unwrap_err().to_string();
    assert!(message.contains("set partitions = 2") && message.contains("partitions = 3 and generation = 8"), "{message}");
    assert_eq!(reopen(&directory, &small()).unwrap().generation(), 7);
}

#[tokio::test]
async fn a_copy_is_a_new_generation() {
    let directory = tempfile::tempdir().unwrap();
    let journal = reopen(&directory, &small()).unwrap();
    append(&journal, 0..30).await.unwrap();
    append(&journal, 30..60).await.unwrap();
    drop(journal);
    let copy = copied(&directory);
    assert_eq!(reopen(&directory, &small()).unwrap().generation(), 1);
    for _ in 0..2 {
        let journal = reopen(&copy, &small()).unwrap();
        assert_eq!(journal.generation(), 2, "it grows once");
        assert_eq!(numbers(&all(&journal).await.unwrap()), (0..60).collect::<Vec<_>>());
    }

    let moved = copy.path().join("moved");
    fs::rename(directory.path(), &moved).unwrap();
    assert_eq!(Embedded::open(moved, small()).await.unwrap().generation(), 1, "a directory that is moved is no copy");
}

fn copied(directory: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

fn ancestors(journal: &Embedded) -> Vec<(u32, Vec<u64>)> {
    journal.ancestors().iter().map(|ancestor| (ancestor.generation, ancestor.end.values().copied().collect())).collect()
}

#[tokio::test]
async fn a_copy_knows_where_its_ancestors_ended() {
    let directory = tempfile::tempdir().unwrap();
    let journal = reopen(&directory, &small()).unwrap();
    for turn in 0..6 {
        append(&journal, turn * 10..turn * 10 + 10).await.unwrap();
    }
    let end = journal.end().await.unwrap();
    assert!(ancestors(&journal).is_empty());
    // As the lake has most of it.
    let start = end.iter().map(|(partition, end)| (*partition, end - 5)).collect();
    journal.trim(&start).await.unwrap();
    let start = journal.start().await.unwrap();
    assert!(start.values().all(|start| *start > 0), "{start:?}");
    drop(journal);
    let ends: Vec<u64> = end.values().copied().collect();

    let copy = copied(&directory);
    for _ in 0..2 {
        // Also when it is opened again before anything was appended.
        let journal = reopen(&copy, &small()).unwrap();
        assert_eq!((journal.generation(), ancestors(&journal)), (2, vec![(1, ends.clone())]));
        assert_eq!((journal.start().await.unwrap(), journal.end().await.unwrap()), (start.clone(), end.clone()));
    }
    let journal = reopen(&copy, &small()).unwrap();
    append(&journal, 60..70).await.unwrap();
    let second_end = journal.end().await.unwrap();
    drop(journal);
    assert_eq!(ancestors(&reopen(&copy, &small()).unwrap()), vec![(1, ends.clone())]);

    // A copy of the copy.
    let second = copied(&copy);
    let journal = reopen(&second, &small()).unwrap();
    let chain = vec![(1, ends), (2, second_end.values().copied().collect())];
    assert_eq!((journal.generation(), ancestors(&journal)), (3, chain));
    append(&journal, 70..71).await.unwrap();
    // What is gone has no ancestors to be told of.
    let all = journal.end().await.unwrap();
    journal.seal().await.unwrap();
    journal.trim(&all).await.unwrap();
    drop(journal);
    assert!(ancestors(&reopen(&second, &small()).unwrap()).is_empty());
}

#[tokio::test]
async fn a_copy_without_records_begins_a_segment_of_its_own_generation() {
    let directory = tempfile::tempdir().unwrap();
    drop(reopen(&directory, &small()).unwrap());
    let copy = copied(&directory);
    append(&reopen(&copy, &small()).unwrap(), 0..10).await.unwrap();
    let journal = reopen(&copy, &small()).unwrap();
    assert_eq!((journal.generation(), ancestors(&journal)), (2, vec![(1, vec![0, 0])]));
    assert_eq!(numbers(&all(&journal).await.unwrap()), (0..10).collect::<Vec<_>>());
}

/// A file as a program of version 2 would begin it: the checksum is of the first bytes, and of what stands behind it up to there.
fn made_newer(bytes: &[u8], checked: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[7] = b'2';
    sealed(bytes, checked)
}

fn sealed(mut bytes: Vec<u8>, checked: usize) -> Vec<u8> {
    let sum = frame::crc(&[&bytes[..8], &bytes[12..checked]]);
    bytes[8..12].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn contents(directory: &TempDir) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[tokio::test]
async fn files_of_a_newer_version_are_refused_and_left_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    append(&reopen(&directory, &small()).unwrap(), 0..10).await.unwrap();
    fs::write(directory.path().join("00000000000000000009.new"), "of that version").unwrap();
    let (meta, first) = (directory.path().join("journal.meta"), segments(&directory)[0].clone());
    for path in [meta.clone(), first] {
        let sound = fs::read(&path).unwrap();
        let checked = if path == meta { sound.len() } else { segment::Header::bytes(2) as usize };
        // Written into the file that is there: another one would be a copy.
        fs::write(&path, made_newer(&sound, checked)).unwrap();
        let before = contents(&directory);
        let error = reopen(&directory, &small()).unwrap_err();
        assert!(matches!(&error, OpenError::Journal(Error::Newer { file, found: 2, known: 1 }) if *file == path), "{error}");
        assert!(error.to_string().contains("a newer Tidegate wrote it"), "{error}");
        assert_eq!(contents(&directory), before);
        fs::write(&path, sound).unwrap();
    }
    assert_eq!(numbers(&all(&reopen(&directory, &small()).unwrap()).await.unwrap()), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_a_later_program_puts_at_the_end_of_the_description_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    append(&reopen(&directory, &small()).unwrap(), 0..10).await.unwrap();
    let meta = directory.path().join("journal.meta");
    let longer = [fs::read(&meta).unwrap(), b"and more".to_vec()].concat();
    let length = longer.len();
    fs::write(&meta, sealed(longer, length)).unwrap();
    let journal = reopen(&directory, &small()).unwrap();
    assert_eq!((journal.generation(), numbers(&all(&journal).await.unwrap())), (1, (0..10).collect()));
}

#[tokio::test]
async fn a_frame_of_another_version_is_no_torn_end() {
    let directory = tempfile::tempdir().unwrap();
    append(&reopen(&directory, &small()).unwrap(), 0..10).await.unwrap();
    let path = segments(&directory)[0].clone();
    let sound = fs::read(&path).unwrap();
    let at = sound.windows(4).rposition(|window| window == b"TGf1").unwrap();
    let mut other = sound.clone();
    other[at + 3] = b'2';
    fs::write(&path, &other).unwrap();
    let error = reopen(&directory, &small()).unwrap_err();
    assert!(matches!(&error, OpenError::Journal(Error::Corrupt { at: named, .. }) if *named == at as u64), "{error}");
    assert_eq!(fs::read(&path).unwrap(), other, "nothing is cut off");
}

#[tokio::test]
async fn what_was_being_made_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    drop(reopen(&directory, &small()).unwrap());
    let unfinished = directory.path().join("00000000000000000002.new");
    fs::write(&unfinished, "half a head").unwrap();
    fs::write(directory.path().join("note.txt"), "not ours").unwrap();
    append(&reopen(&directory, &small()).unwrap(), 0..10).await.unwrap();
    assert!(!unfinished.exists() && directory.path().join("note.txt").exists());
}

#[tokio::test]
async fn a_closed_journal_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = reopen(&directory, &small()).unwrap();
    append(&journal, 0..10).await.unwrap();
    journal.close().await;
    assert_eq!(append(&journal, 10..11).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(journal.trim(&Offsets::new()).await.unwrap_err().kind(), ErrorKind::Closed);
    let end = journal.end().await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), journal.wait(&end)).await.expect("nobody waits for a journal that is closed");
    assert_eq!(all(&journal).await.unwrap().len(), 10);
    append(&reopen(&directory, &small()).unwrap(), 10..11).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_follows_while_segments_come_and_go() {
    let directory = tempfile::tempdir().unwrap();
    let journal = Arc::new(reopen(&directory, &small()).unwrap());
    let writer = {
        let journal = Arc::clone(&journal);
        tokio::spawn(async move {
            for turn in 0..300 {
                append(&journal, turn * 10..turn * 10 + 10).await.unwrap();
            }
        })
    };
    let (mut from, mut seen) = (Offsets::from([(0, 0), (1, 0)]), Vec::new());
    while seen.len() < 3000 {
        journal.wait(&from).await;
        let found = journal.read(&from, ReadLimit { records_max: 50, bytes_max: 100_000 }).await.unwrap();
        for stored in &found {
            assert_eq!(from.insert(stored.partition, stored.offset + 1), Some(stored.offset));
        }
        seen.extend(found);
        journal.trim(&from).await.unwrap();
    }
    writer.await.unwrap();
    assert_eq!(numbers(&seen), (0..3000).collect::<Vec<_>>());
    assert_eq!(segments(&directory).len(), 1, "only the last segment is left");
    assert_eq!(journal.disk_bytes(), fs::metadata(&segments(&directory)[0]).unwrap().len());
}

#[tokio::test]
async fn a_reader_of_one_partition_reads_no_more_than_it_must() {
    let directory = tempfile::tempdir().unwrap();
    let journal = reopen(&directory, &small()).unwrap();
    for turn in 0..20 {
        append(&journal, turn * 10..turn * 10 + 10).await.unwrap();
    }
    let damaged = &segments(&directory)[10];
    fs::write(damaged, "").unwrap();
    // The damage lies neither before what is asked for nor behind it.
    let end = journal.end().await.unwrap();
    assert_eq!(journal.read(&Offsets::from([(0, 0), (1, end[&1])]), ReadLimit { records_max: 1, bytes_max: 1 }).await.unwrap().len(), 1);
    let last = Offsets::from([(0, end[&0] - 1), (1, end[&1])]);
    assert_eq!(journal.read(&last, ALL).await.unwrap().len(), 1);
}

#[test]
fn keys_of_the_tests_spread() {
    assert!((0..20).map(|number| partition_of(&record(number, 0).key, 2)).collect::<std::collections::BTreeSet<_>>().len() == 2);
}
