//! Measures the index: `cargo run --release -p dedup --example probe_rate [MILLIONS [DIRECTORY]]`.
//!
//! The history is so many million time-ordered ids of 30 days, inserted in batches as a worker would. Then batches are probed and not inserted: fresh ids of
//! the last day, the same with 5 % late ones, with 1 % copies besides, ids without time order, and copies alone.

use std::error::Error;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use dedup::{Entry, Index, Options, Shard, shard_of};

const BATCH: u64 = 10_000;
const DAYS: u64 = 30;
/// The first day of the history, in milliseconds since 1970.
const START: u64 = 1_790_000_000_000;
const DAY: u64 = 86_400_000;
/// Numbers of identities that are not in the history begin here.
const STRANGERS: u64 = 1 << 40;

/// The time of the id of that number, for a history of so many: they come in order, but for one in twenty, which comes up to seven days late.
fn millis_of(number: u64, history: u64) -> u64 {
    let at = START + DAY + DAYS * DAY * number.min(history) / history;
    let late = if number % 20 == 7 { mixed(number) % (7 * DAY) } else { 0 };
    at - late.min(at - START)
}

fn mixed(number: u64) -> u64 {
    let mixed = (u128::from(number) + 1) * 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    let mixed = (mixed >> 64) as u64 ^ mixed as u64;
    (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

fn entry(number: u64, millis: u64) -> Entry {
    let digest = (u128::from(mixed(number)) << 64 | u128::from(mixed(!number))).to_be_bytes();
    let shard = shard_of(&format!("{:08x}-{:04x}-7000-8000-{number:012x}", millis >> 16, millis & 0xffff), &digest);
    Entry { digest, shard, content: number }
}

fn report(name: &str, identities: u64, took: Duration) -> io::Result<()> {
    let nanos = took.as_secs_f64() * 1e9 / identities as f64;
    writeln!(io::stdout(), "{name:<44} {nanos:>8.0} ns an id   {:>6.2} million a second", 1e3 / nanos)
}

fn probe(index: &mut Index, name: &str, key: impl Fn(u64) -> (Shard, [u8; 16])) -> Result<(), Box<dyn Error>> {
    let (mut took, mut known) = (Duration::ZERO, 0);
    for batch in 0..100 {
        let keys: Vec<_> = (batch * BATCH..(batch + 1) * BATCH).map(&key).collect();
        let started = Instant::now();
        let answers = index.probe(&keys)?;
        // The first batches find out what is to be in memory.
        if batch >= 20 {
            took += started.elapsed();
            known += answers.iter().flatten().count();
        }
    }
    report(&format!("probe, {name} ({:.1} % known)", known as f64 / (80 * BATCH) as f64 * 100.0), 80 * BATCH, took)?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let millions: u64 = arguments.next().map_or(Ok(5), |millions| millions.parse())?;
    let parent = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(parent)?;
    let history = millions * 1_000_000;
    let options = Options::default();

    let mut index = Index::open(folder.path(), options.clone())?;
    let (mut took, mut longest) = (Duration::ZERO, Duration::ZERO);
    for batch in 0..history / BATCH {
        let entries: Vec<_> = (batch * BATCH..(batch + 1) * BATCH).map(|number| entry(number, millis_of(number, history))).collect();
        let started = Instant::now();
        index.insert(i64::try_from(batch)?, &entries)?;
        longest = longest.max(started.elapsed());
        took += started.elapsed();
    }
    report("insert", history, took)?;
    writeln!(io::stdout(), "  the longest insert of {BATCH}: {longest:?}")?;
    let stats = index.stats();
    index.flush()?;

    let key = |number: u64, millis: u64| {
        let Entry { shard, digest, .. } = entry(number, millis);
        (shard, digest)
    };
    let now = START + DAY + DAYS * DAY;
    let fresh = |number: u64| key(STRANGERS + number, now);
    let late =
        |number: u64| if number.is_multiple_of(20) { key(STRANGERS + number, now - mixed(number) % (7 * DAY)) } else { fresh(number) };
    let copy = |number: u64| {
        let original = mixed(number) % history;
        key(original, millis_of(original, history))
    };
    probe(&mut index, "fresh ids", fresh)?;
    probe(&mut index, "5 % of them late", late)?;
    probe(&mut index, "and 1 % copies", |number| if number % 100 == 7 { copy(number) } else { late(number) })?;
    probe(&mut index, "late by any of the 30 days", |number| key(STRANGERS + number, now - mixed(number) % (DAYS * DAY)))?;
    probe(&mut index, "copies alone", copy)?;
    writeln!(io::stdout(), "  {stats:?}\n  after all probes: {:?}", index.stats())?;
    drop(index);

    let started = Instant::now();
    let mut rebuild = Index::rebuild(folder.path(), options)?;
    let mut pushing = Duration::ZERO;
    for batch in 0..history / BATCH {
        let entries: Vec<_> = (batch * BATCH..(batch + 1) * BATCH).map(|number| entry(number, millis_of(number, history))).collect();
        let started = Instant::now();
        rebuild.push(&entries)?;
        pushing += started.elapsed();
    }
    let finishing = Instant::now();
    let mut index = rebuild.finish(0)?;
    report("rebuild", history, pushing + finishing.elapsed())?;
    writeln!(io::stdout(), "  {:?} with the making of the ids", started.elapsed())?;
    probe(&mut index, "fresh ids after the rebuild", fresh)?;
    Ok(())
}
