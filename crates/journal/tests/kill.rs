//! The process is killed at random moments under load: every record that was answered is there, in order, and nothing that was not appended.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use journal::embedded::{Config, Embedded};
use journal::{Journal, ReadLimit, Record};
use rand::RngExt;

/// Tells the test binary, started again, that it is the process to be killed, and where its journal is.
const DIRECTORY: &str = "TIDEGATE_TEST_JOURNAL_DIRECTORY";
const ROUND: &str = "TIDEGATE_TEST_ROUND";
const ROUNDS: u32 = 25;
const APPENDERS: u64 = 8;
const SIGKILL: i32 = 9;

fn config() -> Config {
    Config { segment_bytes: 200_000, ..Config::default() }
}

/// A record of this name: which round, which appender, which of its records.
fn record(name: &str, bytes: u64) -> Record {
    let mut key = [0; 16];
    for (at, byte) in name.bytes().enumerate() {
        key[at % 8] ^= byte.rotate_left(at as u32).wrapping_mul(31);
    }
    Record { key, header: Bytes::copy_from_slice(name.as_bytes()), value: vec![name.len() as u8; bytes as usize].into() }
}

fn bytes_of(number: u64) -> u64 {
    if number.is_multiple_of(50) { 40_000 } else { number * 37 % 900 }
}

/// The process that is killed. It says what was answered, a line at a time.
#[tokio::test(flavor = "multi_thread")]
async fn appender() {
    let (Ok(directory), Ok(round)) = (std::env::var(DIRECTORY), std::env::var(ROUND)) else { return };
    let journal = Arc::new(Embedded::open(directory, config()).await.unwrap());
    let appenders: Vec<_> = (0..APPENDERS)
        .map(|appender| {
            let (journal, round) = (Arc::clone(&journal), round.clone());
            tokio::spawn(async move {
                let count = if appender % 2 == 0 { 1 } else { 20 };
                for number in (0..u64::MAX).step_by(count) {
                    let names: Vec<String> = (number..number + count as u64).map(|number| format!("{round}/{appender}/{number}")).collect();
                    let records = names.iter().zip(number..).map(|(name, number)| record(name, bytes_of(number))).collect();
                    let positions = journal.append(records).await.unwrap();
                    let lines: String = names
                        .iter()
                        .zip(positions)
                        .map(|(name, (partition, offset))| format!("answered {name} {partition} {offset}\n"))
                        .collect();
                    std::io::stdout().write_all(lines.as_bytes()).unwrap();
                }
            })
        })
        .collect();
    for appender in appenders {
        appender.await.unwrap();
    }
}

/// Starts the process, kills it a little after its first answer, and returns what it was answered.
fn answered_before_the_kill(directory: &Path, round: u32) -> Vec<(String, (u32, u64))> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "appender", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).split(b'\n').map(|line| String::from_utf8(line.unwrap()).unwrap());
    let first = lines.find(|line| line.contains("answered ")).unwrap();
    let reader = std::thread::spawn(move || std::iter::once(first).chain(lines).collect::<Vec<_>>());
    std::thread::sleep(Duration::from_micros(rand::rng().random_range(0..60_000)));
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(SIGKILL), "the process was killed, it did not end by itself");
    let lines = reader.join().unwrap();
    // The kill may have cut the last line; only lines that are whole count.
    lines.iter().filter_map(|line| parse(line.get(line.find("answered ")?..)?)).collect()
}

fn parse(line: &str) -> Option<(String, (u32, u64))> {
    let mut words = line.split(' ').skip(1);
    let (name, partition, offset, end) = (words.next()?, words.next()?, words.next()?, words.next());
    end.is_none().then_some(())?;
    Some((name.to_owned(), (partition.parse().ok()?, offset.parse().ok()?)))
}

async fn everything(journal: &Embedded) -> BTreeMap<(u32, u64), Record> {
    let (mut from, mut all) = (journal.start().await.unwrap(), BTreeMap::new());
    loop {
        let found = journal.read(&from, ReadLimit { records_max: 5000, bytes_max: 4 << 20 }).await.unwrap();
        if found.is_empty() {
            return all;
        }
        for stored in found {
            assert_eq!(from.insert(stored.partition, stored.offset + 1), Some(stored.offset), "offsets are dense");
            all.insert((stored.partition, stored.offset), stored.record);
        }
    }
}

/// Each appender's records stand in the order in which it appended them.
fn check_order(there: &BTreeMap<(u32, u64), Record>) {
    let mut last = BTreeMap::new();
    for ((partition, offset), found) in there {
        let name = str::from_utf8(&found.header).unwrap();
        let (appender, number) = name.rsplit_once('/').unwrap();
        let number: u64 = number.parse().unwrap();
        assert_eq!(*found, record(name, bytes_of(number)), "a record is as it was appended");
        let before = last.insert((*partition, appender), number);
        assert!(before.is_none_or(|before| before < number), "{name} at {partition}/{offset} comes after {before:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut answered = BTreeMap::new();
    for round in 0..ROUNDS {
        let path = directory.path().to_owned();
        let answers = tokio::task::spawn_blocking(move || answered_before_the_kill(&path, round)).await.unwrap();
        assert!(!answers.is_empty());
        for (name, position) in answers {
            assert!(answered.insert(position, name).is_none(), "{position:?} was answered twice");
        }
        let journal = Embedded::open(directory.path(), config()).await.unwrap();
        let there = everything(&journal).await;
        for (position, name) in &answered {
            let found = there.get(position).map(|record| record.header.clone());
            assert_eq!(found.as_deref(), Some(name.as_bytes()), "round {round}: what was answered is not at {position:?}");
        }
        check_order(&there);
    }
    assert!(answered.len() > 1000, "there was load: {}", answered.len());
}
