//! What this machine does with nothing else: the limits of which the platform reaches a part.
//!
//! Each is the least that the platform has to do for an event, in a loop of its own: a durable append, a look at the JSON, a row in a file.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use arrow::array::RecordBatch;
use clap::Args;
use contract::Timestamp;
use crc_fast::CrcAlgorithm;
use hdrhistogram::Histogram;
use lake::Options;
use pipeline::tables;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::task::spawn_blocking;

use super::events::bytes;
use super::machine;
use super::model::{Events, Ids, Kinds, Writer};
use super::report::{self, Report, ReportArgs};
use super::rows::Rows;
use crate::commands::spinner::Spinner;

/// What is appended before each sync, where nothing but that is measured.
const PAGE_BYTES: usize = 4 * 1024;
/// Bytes of a record of the journal.
const RECORD_BYTES: usize = 1024;
/// Appends that are made durable together, and the records of each.
const BATCHES: [usize; 2] = [4, 500];
const SINGLES: [usize; 2] = [64, 1];
/// A file that has reached this many bytes is left for the next one.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Events that are read again and again, and rows that are written so.
const EVENTS: usize = 20_000;
const BATCH_ROWS: usize = 8_192;
const BATCHES_OF_ROWS: usize = 8;
/// When the events happened. It is of no account.
const FROM: Timestamp = Timestamp(1_795_428_000_000_000);

#[derive(Debug, Args)]
pub(super) struct LimitsArgs {
    /// A folder on the disk that is measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// How long each limit is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Bytes of each event
    #[arg(long, value_name = "N", default_value_t = 850, value_parser = bytes)]
    event_bytes: usize,
    #[command(flatten)]
    report: ReportArgs,
}

pub(super) async fn run(args: LimitsArgs) -> anyhow::Result<()> {
    let settings = json!({"folder": args.folder.display().to_string(), "seconds": args.seconds, "event_bytes": args.event_bytes});
    let mut report = Report::begin("limits", settings);
    let (folder, seconds, event_bytes) = (args.folder.clone(), Duration::from_secs(args.seconds), args.event_bytes);
    let measured = spawn_blocking(move || {
        let syncs = measure(&mut report, &folder, seconds, event_bytes)?;
        anyhow::Ok((report, syncs))
    });
    let (report, syncs) = measured.await.context("a measurement panicked")??;
    args.report.tell(&report, Some(&syncs))
}

fn measure(report: &mut Report, folder: &Path, seconds: Duration, event_bytes: usize) -> anyhow::Result<Histogram<u64>> {
    let spinner = Spinner::new();
    spinner.say("syncing");
    let syncs = syncs(report, folder, seconds)?;
    spinner.say("appending");
    for (name, group) in [("append_batches", BATCHES), ("append_singles", SINGLES)] {
        report.set(&format!("{name}_events_per_second"), appends(folder, seconds, group)?);
    }
    spinner.say("reading JSON");
    let events = texts(EVENTS, event_bytes);
    let size = events.iter().map(Vec::len).sum::<usize>() as f64 / events.len() as f64;
    for (name, cores) in [("one_core", 1), ("all_cores", machine::cores())] {
        let rate = on_cores(cores, seconds, || scan(&events))?;
        report.set(&format!("json_scan_{name}_events_per_second"), rate);
        report.set(&format!("json_scan_{name}_bytes_per_second"), rate * size);
    }
    spinner.say("writing Parquet");
    let rows = rows(event_bytes)?;
    for (name, cores) in [("one_core", 1), ("all_cores", machine::cores())] {
        report.set(&format!("parquet_{name}_events_per_second"), on_cores(cores, seconds, || encode(&rows))?);
    }
    let files = tables::bronze().encode(&rows, &Options::default())?;
    let written: usize = files.iter().map(Vec::len).sum();
    report.set("parquet_event_bytes", written as f64 / (BATCH_ROWS * BATCHES_OF_ROWS) as f64);
    spinner.end();
    Ok(syncs)
}

/// A file that is only ever appended to, and is gone at the end.
struct Appended<'a> {
    folder: &'a Path,
    file: File,
    bytes: u64,
}

impl<'a> Appended<'a> {
    fn new(folder: &'a Path) -> anyhow::Result<Self> {
        let file = tempfile::tempfile_in(folder).with_context(|| format!("no file can be made in {} (--folder)", folder.display()))?;
        Ok(Self { folder, file, bytes: 0 })
    }

    fn append(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        if self.bytes >= FILE_BYTES_MAX {
            *self = Self::new(self.folder)?;
        }
        self.file.write_all(bytes).and_then(|()| self.file.sync_data()).context("the file cannot be appended to")?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

fn syncs(report: &mut Report, folder: &Path, seconds: Duration) -> anyhow::Result<Histogram<u64>> {
    let (mut file, mut times) = (Appended::new(folder)?, report::times()?);
    let page = [7; PAGE_BYTES];
    let rate = repeat(seconds, || {
        let began = Instant::now();
        file.append(&page)?;
        times.saturating_record(began.elapsed().as_micros().try_into().unwrap_or(u64::MAX));
        Ok(1)
    })?;
    report.set("syncs_per_second", rate);
    report.set_times("sync", &times);
    Ok(times)
}

/// Events a second, in groups of so many appends of so many records: each record is copied once, each group is summed, written and synced once.
fn appends(folder: &Path, seconds: Duration, [appends, records]: [usize; 2]) -> anyhow::Result<f64> {
    let texts = texts(appends * records, RECORD_BYTES);
    let (mut file, mut group) = (Appended::new(folder)?, Vec::new());
    repeat(seconds, || {
        frame(&texts, &mut group);
        file.append(&group)?;
        Ok(texts.len() as u64)
    })
}

/// Length and checksum, then each record behind its length.
fn frame(records: &[Vec<u8>], group: &mut Vec<u8>) {
    group.clear();
    group.extend_from_slice(&[0; 8]);
    for record in records {
        group.extend_from_slice(&(record.len() as u32).to_le_bytes());
        group.extend_from_slice(record);
    }
    let Some((head, body)) = group.split_first_chunk_mut::<8>() else { return };
    let sum = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, body) as u32;
    let (length, checksum) = head.split_at_mut(4);
    length.copy_from_slice(&(body.len() as u32).to_le_bytes());
    checksum.copy_from_slice(&sum.to_le_bytes());
}

fn scan(events: &[Vec<u8>]) -> anyhow::Result<u64> {
    for event in events {
        let _seen: IgnoredAny = serde_json::from_slice(event)?;
    }
    Ok(events.len() as u64)
}

fn encode(rows: &[RecordBatch]) -> anyhow::Result<u64> {
    tables::bronze().encode(rows, &Options::default())?;
    Ok(rows.iter().map(|batch| batch.num_rows() as u64).sum())
}

fn kinds() -> Kinds {
    Kinds { ids: Ids::ByTime, copies: 0.0, late: 0.0 }
}

fn texts(count: usize, bytes: usize) -> Vec<Vec<u8>> {
    let mut writer = Writer::new(bytes, false);
    let text = |event| {
        let mut text = Vec::with_capacity(writer.event_bytes());
        writer.write(&event, &mut text);
        text
    };
    Events::new(kinds(), 1, FROM).take(count).map(text).collect()
}

fn rows(event_bytes: usize) -> anyhow::Result<Vec<RecordBatch>> {
    let mut rows = Rows::new(kinds(), event_bytes, 1, FROM)?;
    (0..BATCHES_OF_ROWS).map(|_| rows.batch(BATCH_ROWS)).collect()
}

/// Does it again and again for so long. How much was done a second.
fn repeat(seconds: Duration, mut work: impl FnMut() -> anyhow::Result<u64>) -> anyhow::Result<f64> {
    let (began, mut done) = (Instant::now(), 0);
    while began.elapsed() < seconds {
        done += work()?;
    }
    Ok(done as f64 / began.elapsed().as_secs_f64())
}

/// The same on several cores at a time; the sum.
fn on_cores(cores: usize, seconds: Duration, work: impl Fn() -> anyhow::Result<u64> + Sync) -> anyhow::Result<f64> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(|| repeat(seconds, &work))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a measurement panicked"))?).sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_its_length_and_its_checksum() {
        let mut group = vec![1; 100];
        frame(&[b"ab".to_vec(), b"c".to_vec()], &mut group);
        let (head, body) = group.split_at(8);
        assert_eq!(body, b"\x02\0\0\0ab\x01\0\0\0c");
        assert_eq!(head[..4], 11_u32.to_le_bytes());
        assert_eq!(head[4..], (crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, body) as u32).to_le_bytes());
    }

    #[test]
    fn each_limit_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        let mut report = Report::begin("limits", json!({}));
        measure(&mut report, folder.path(), Duration::from_millis(1), 850).unwrap();
        for name in [
            "syncs_per_second",
            "append_batches_events_per_second",
            "append_singles_events_per_second",
            "json_scan_one_core_events_per_second",
            "json_scan_all_cores_bytes_per_second",
            "parquet_one_core_events_per_second",
            "parquet_event_bytes",
        ] {
            assert!(report.figures.get(name).is_some_and(|figure| figure > 0.0), "{name}");
        }
        assert!(measure(&mut report, &folder.path().join("none"), Duration::from_millis(1), 850).is_err());
    }
}
