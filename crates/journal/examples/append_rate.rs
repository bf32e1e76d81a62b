//! Measures the embedded journal beside the bare disk: `cargo run --release -p journal --example append_rate [DIRECTORY [ROUNDS]]`.
//!
//! The bare disk is one thread that writes the same bytes a group of appends has and makes them durable, over and over, in files of a segment's size. The two take
//! turns of a second each, so that both meet the same weather.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use journal::embedded::{Config, Embedded};
use journal::{Journal, Offsets, ReadLimit, Record};

const VALUE_BYTES: usize = 1024;
/// What a receipt takes.
const HEADER_BYTES: usize = 200;
const TURN: Duration = Duration::from_secs(1);

/// The load: so many writers, each with so many records an append, waiting for its answer before the next.
#[derive(Debug, Clone, Copy)]
struct Load {
    writers: usize,
    batch: usize,
}

#[derive(Debug, Default)]
struct Figures {
    events: usize,
    elapsed: Duration,
    latencies: Vec<Duration>,
}

impl Figures {
    fn add(&mut self, turn: Self) {
        self.events += turn.events;
        self.elapsed += turn.elapsed;
        self.latencies.extend(turn.latencies);
    }

    fn rate(&self) -> f64 {
        self.events as f64 / self.elapsed.as_secs_f64()
    }

    fn print(&mut self, name: &str) -> io::Result<()> {
        self.latencies.sort_unstable();
        let at = |share: usize| self.latencies.get(self.latencies.len() * share / 1000).copied().unwrap_or_default().as_secs_f64() * 1e3;
        let (rate, p50, p99, p999) = (self.rate(), at(500), at(990), at(999));
        writeln!(io::stdout(), "{name:<36} {rate:>9.0} events/s   p50 {p50:>7.3} ms   p99 {p99:>7.3} ms   p99.9 {p999:>7.3} ms")
    }
}

fn records(writer: usize, turn: usize, count: usize, header: &Bytes, value: &Bytes) -> Vec<Record> {
    let key = |number: usize| {
        let mixed = ((writer << 40 | turn << 12 | number) as u128).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        mixed.rotate_right(64).to_le_bytes()
    };
    (0..count).map(|number| Record { key: key(number), header: header.clone(), value: value.clone() }).collect()
}

async fn write_for(journal: Arc<Embedded>, writer: usize, batch: usize, until: Instant) -> Result<Vec<Duration>, journal::Error> {
    let (header, value) = (Bytes::from(vec![b'h'; HEADER_BYTES]), Bytes::from(vec![b'v'; VALUE_BYTES]));
    let mut latencies = Vec::new();
    while Instant::now() < until {
        let given = records(writer, latencies.len(), batch, &header, &value);
        let started = Instant::now();
        journal.append(given).await?;
        latencies.push(started.elapsed());
    }
    Ok(latencies)
}

async fn appends(journal: &Arc<Embedded>, load: Load) -> Result<Figures, Box<dyn Error>> {
    let begun = Instant::now();
    let writers: Vec<_> =
        (0..load.writers).map(|writer| tokio::spawn(write_for(Arc::clone(journal), writer, load.batch, begun + TURN))).collect();
    let mut latencies = Vec::new();
    for writer in writers {
        latencies.extend(writer.await??);
    }
    Ok(Figures { events: latencies.len() * load.batch, elapsed: begun.elapsed(), latencies })
}

fn bare(directory: &Path, events: usize) -> io::Result<Figures> {
    let bytes = vec![b'v'; events * (HEADER_BYTES + VALUE_BYTES + 36) + 24];
    let path = directory.join("bare");
    let mut latencies = Vec::new();
    let (mut file, mut at) = (File::create(&path)?, 0);
    let begun = Instant::now();
    while begun.elapsed() < TURN {
        if at > Config::default().segment_bytes {
            std::fs::remove_file(&path)?;
            (file, at) = (File::create(&path)?, 0);
        }
        let started = Instant::now();
        file.write_all_at(&bytes, at)?;
        file.sync_data()?;
        at += bytes.len() as u64;
        latencies.push(started.elapsed());
    }
    Ok(Figures { events: latencies.len() * events, elapsed: begun.elapsed(), latencies })
}

async fn reads(journal: &Embedded) -> Result<Figures, Box<dyn Error>> {
    let mut from = journal.start().await?;
    let (mut events, mut latencies) = (0, Vec::new());
    let begun = Instant::now();
    loop {
        let started = Instant::now();
        let found = journal.read(&from, ReadLimit { records_max: 20_000, bytes_max: 16 << 20 }).await?;
        latencies.push(started.elapsed());
        if found.is_empty() {
            return Ok(Figures { events, elapsed: begun.elapsed(), latencies });
        }
        events += found.len();
        from.extend(found.iter().map(|stored| (stored.partition, stored.offset + 1)).collect::<Offsets>());
    }
}

async fn compare(parent: &str, rounds: usize, load: Load) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir_in(parent)?;
    let journal = Arc::new(Embedded::open(directory.path(), Config { disk_bytes_max: u64::MAX, ..Config::default() }).await?);
    let (mut limit, mut reached, mut read) = (Figures::default(), Figures::default(), Figures::default());
    for _ in 0..rounds {
        limit.add(bare(directory.path(), load.writers * load.batch)?);
        reached.add(appends(&journal, load).await?);
        read.add(reads(&journal).await?);
        journal.trim(&journal.end().await?).await?;
    }
    let Load { writers, batch } = load;
    limit.print(&format!("bare write and sync of {writers} x {batch}"))?;
    reached.print(&format!("journal, {writers} writers x {batch}"))?;
    read.print("journal, read back")?;
    writeln!(io::stdout(), "  {:.0} % of the bare disk", 100.0 * reached.rate() / limit.rate())?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().unwrap_or_else(|| std::env::temp_dir().display().to_string());
    let rounds = arguments.next().map_or(Ok(5), |rounds| rounds.parse())?;
    for (writers, batch) in [(1, 1), (64, 1), (4, 500)] {
        compare(&parent, rounds, Load { writers, batch }).await?;
    }
    Ok(())
}
