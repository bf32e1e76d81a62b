//! What the index of identities is asked for each event, and told of each new one.

use std::path::Path;

use anyhow::{Result, ensure};
use contract::{Timestamp, id};
use dedup::{Entry, Index, Options, Rebuild, Shard, shard_of};
use tempfile::TempDir;

use crate::Round;
use crate::events::{RECEIVED, mixed};

const DAYS: u64 = 30;
const DAY_MICROS: i64 = 86_400_000_000;
/// Identities of each day that the index has before.
const KNOWN_A_DAY: u64 = 1_000;
/// Numbers of identities that it does not have begin here.
const STRANGERS: u64 = 1 << 40;
/// An index that has been told so many identities is followed by an empty one, so that it stays in memory however long the loop is timed.
const INSERTED_MAX: u64 = 100_000;

/// An index, and the folder that it is in.
struct Held {
    index: Index,
    _folder: TempDir,
}

impl Held {
    fn rebuilt(fill: impl FnOnce(&mut Rebuild) -> Result<()>) -> Result<Self> {
        // A disk that syncs would be all that is measured.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
        let mut rebuild = Index::rebuild(folder.path(), Options::default())?;
        fill(&mut rebuild)?;
        Ok(Self { index: rebuild.finish(0)?, _folder: folder })
    }

    // A closure that had only the index would leave the folder behind, which goes then.
    fn index(&mut self) -> &mut Index {
        &mut self.index
    }

    fn empty() -> Result<Self> {
        Self::rebuilt(|_| Ok(()))
    }

    /// With the identities of thirty days, the last of them today.
    fn with_history() -> Result<Self> {
        Self::rebuilt(|rebuild| {
            for day in 0..DAYS {
                let shard = shard(DAYS - 1 - day);
                let known: Vec<Entry> = (0..KNOWN_A_DAY).map(|number| entry(day * KNOWN_A_DAY + number, shard)).collect();
                rebuild.push(&known)?;
            }
            Ok(())
        })
    }
}

/// Ids that were never seen, made today, are asked for.
pub(crate) fn fresh(events: usize) -> Result<Round> {
    let (mut held, today) = (Held::with_history()?, shard(0));
    let mut next = STRANGERS;
    Ok(Box::new(move || {
        let keys: Vec<_> = (next..).take(events).map(|number| key(number, today)).collect();
        next += events as u64;
        Ok(held.index().probe(&keys)?.iter().filter(|known| known.is_none()).count())
    }))
}

/// Ids that are known, of today, are asked for once more.
pub(crate) fn copies(events: usize) -> Result<Round> {
    ensure!(events as u64 <= KNOWN_A_DAY, "no more than {KNOWN_A_DAY} ids are known of a day");
    let (mut held, today) = (Held::with_history()?, shard(0));
    let first = (DAYS - 1) * KNOWN_A_DAY;
    let keys: Vec<_> = (first..).take(events).map(|number| key(number, today)).collect();
    Ok(Box::new(move || Ok(held.index().probe(&keys)?.iter().flatten().count())))
}

/// Ids that are new are taken in.
pub(crate) fn insert(events: usize) -> Result<Round> {
    let (mut held, today) = (Held::empty()?, shard(0));
    let (mut next, mut version) = (STRANGERS, 0);
    Ok(Box::new(move || {
        if held.index().stats().identities >= INSERTED_MAX {
            (held, version) = (Held::empty()?, 0);
        }
        let before = held.index().stats().identities;
        let entries: Vec<_> = (next..).take(events).map(|number| entry(number, today)).collect();
        (next, version) = (next + events as u64, version + 1);
        held.index().insert(version, &entries)?;
        Ok(usize::try_from(held.index().stats().identities - before)?)
    }))
}

/// The shard of ids that were made so many days ago.
fn shard(days_ago: u64) -> Shard {
    let at = RECEIVED.micros() - days_ago as i64 * DAY_MICROS;
    shard_of(id::uuid_v7(Timestamp(at), [0; 10]).as_str(), &[0; 16])
}

fn entry(number: u64, shard: Shard) -> Entry {
    let digest = u128::from(mixed(number)) << 64 | u128::from(mixed(!number));
    Entry { digest: digest.to_be_bytes(), shard, content: number }
}

fn key(number: u64, shard: Shard) -> (Shard, [u8; 16]) {
    (shard, entry(number, shard).digest)
}
