//! Times the inner loops, and an append to the embedded journal: `cargo bench -p benches`, or with a part of a name behind `--` for some of them.

use std::time::{Duration, Instant};

use anyhow::Result;
use benches::{LOOPS, records};
use criterion::{Criterion, Throughput};
use journal::embedded::{Config, Embedded};
use journal::{Journal as _, Record};

/// Records of one append.
const APPENDED: usize = 500;
/// The journal lets go of what it has once it is so large, outside of what is timed.
const JOURNAL_BYTES_MAX: u64 = 256 << 20;

fn main() -> Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    time_loops(&mut criterion)?;
    time_appends(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

fn time_loops(criterion: &mut Criterion) -> Result<()> {
    let mut group = criterion.benchmark_group("loops");
    for inner in LOOPS {
        let mut round = inner.begin()?;
        group.throughput(Throughput::Elements(inner.events as u64));
        group.bench_function(inner.name, |bencher| bencher.iter(&mut round));
    }
    group.finish();
    Ok(())
}

/// The disk is part of it: an append returns once it is durable.
fn time_appends(criterion: &mut Criterion) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let journal = runtime.block_on(Embedded::open(folder.path(), Config::default()))?;
    let records = records(APPENDED)?;
    let mut outcome = Ok(());
    let mut group = criterion.benchmark_group("journal");
    group.throughput(Throughput::Elements(APPENDED as u64));
    group.bench_function("append", |bencher| {
        bencher.iter_custom(|times| {
            let began = Instant::now();
            runtime.block_on(append(&journal, &records, times)).unwrap_or_else(|error| {
                outcome = Err(error);
                began.elapsed()
            })
        });
    });
    group.finish();
    outcome?;
    Ok(())
}

async fn append(journal: &Embedded, records: &[Record], times: u64) -> Result<Duration, journal::Error> {
    let mut took = Duration::ZERO;
    for _ in 0..times {
        let given = records.to_vec();
        let began = Instant::now();
        journal.append(given).await?;
        took += began.elapsed();
        if journal.disk_bytes() > JOURNAL_BYTES_MAX {
            journal.trim(&journal.end().await?).await?;
        }
    }
    Ok(took)
}
