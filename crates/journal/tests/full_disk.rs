//! The system itself refuses to write, in the middle of a write: a process that may not make a file larger than so much.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::process::Command;

use bytes::Bytes;
use journal::embedded::{Config, Embedded};
use journal::{ErrorKind, Journal, ReadLimit, Record};

const DIRECTORY: &str = "TIDEGATE_TEST_LIMITED_DIRECTORY";
/// Of the size that a file may have, in the units of the shell.
const BLOCKS: u64 = 64;
const BLOCK_BYTES: u64 = 1024;

fn record(number: u64) -> Record {
    let mut key = [0; 16];
    key[0] = number as u8;
    Record { key, header: Bytes::from(number.to_string()), value: vec![number as u8; 1500].into() }
}

async fn numbers(journal: &Embedded) -> Vec<u64> {
    let found = journal.read(&journal.start().await.unwrap(), ReadLimit { records_max: usize::MAX, bytes_max: usize::MAX }).await.unwrap();
    let mut numbers: Vec<u64> = found.iter().map(|stored| str::from_utf8(&stored.record.header).unwrap().parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

/// The process that may not write more: its appends are refused, and what was answered can be read.
#[tokio::test]
async fn limited() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let journal = Embedded::open(directory, Config::default()).await.unwrap();
    let mut answered = Vec::new();
    let error = loop {
        let number = answered.len() as u64;
        match journal.append(vec![record(number)]).await {
            Ok(_) => answered.push(number),
            Err(error) => break error,
        }
        assert!(number < BLOCKS, "the limit is not in force");
    };
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    for _ in 0..3 {
        assert_eq!(journal.append(vec![record(99)]).await.unwrap_err().kind(), ErrorKind::Full);
        assert_eq!(numbers(&journal).await, answered);
    }
    // What still fits is still taken.
    let small = Record { value: Bytes::new(), ..record(answered.len() as u64) };
    journal.append(vec![small]).await.unwrap();
    assert_eq!(numbers(&journal).await.len(), answered.len() + 1);
}

#[tokio::test]
async fn a_write_the_system_cuts_short_is_taken_back() {
    let directory = tempfile::tempdir().unwrap();
    // Ignored signals stay ignored in the process that is started, so that the limit is an error to it instead of its end.
    let script = format!("trap '' XFSZ; ulimit -f {BLOCKS}; exec \"$0\" --exact limited --nocapture");
    let output =
        Command::new("bash").args(["-c", &script]).arg(std::env::current_exe().unwrap()).env(DIRECTORY, directory.path()).output().unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));

    let journal = Embedded::open(directory.path(), Config::default()).await.unwrap();
    let there = numbers(&journal).await;
    assert_eq!(there, (0..there.len() as u64).collect::<Vec<_>>());
    let largest = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).max().unwrap();
    assert!((BLOCKS * BLOCK_BYTES - 2000..=BLOCKS * BLOCK_BYTES).contains(&largest), "{largest} bytes: the limit was reached");
    journal.append(vec![record(there.len() as u64)]).await.unwrap();
    assert_eq!(numbers(&journal).await.len(), there.len() + 1);
}
