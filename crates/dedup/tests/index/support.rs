//! What the tests share: small identities, tiny bounds.

use dedup::{Entry, Index, Limits, Options, Shard};

/// The identity of a number: few enough digests to meet again, in a handful of shards.
pub(crate) fn entry(number: u32, content: u64) -> Entry {
    let mut digest = [0; 16];
    // Spread by the first bytes for some shards, by the last ones for others.
    let mixed = number.wrapping_mul(0x9e37_79b1);
    let at = if number.is_multiple_of(3) { 12 } else { 0 };
    digest[at..at + 4].copy_from_slice(&mixed.to_be_bytes());
    Entry { digest, shard: Shard::from_number((mixed % 5 * 40) as u16).unwrap(), content }
}

pub(crate) fn key(number: u32) -> (Shard, [u8; 16]) {
    let Entry { digest, shard, .. } = entry(number, 0);
    (shard, digest)
}

pub(crate) fn keys(numbers: impl IntoIterator<Item = u32>) -> Vec<(Shard, [u8; 16])> {
    numbers.into_iter().map(key).collect()
}

/// Bounds at which a few thousand identities take runs, segments, merges and evictions.
pub(crate) fn tiny() -> Options {
    let limits = Limits {
        memtable_entries_max: 64,
        unflushed_versions_max: 20,
        filter_bytes_max: 3_000,
        segment_entries_max: 340,
        runs_per_level_max: 3,
        rebuild_entries_max: 100,
    };
    Options { lake_id: "lake".to_owned(), limits }
}

/// Inserts numbers as versions of Silver of so many entries each, each with itself as content.
pub(crate) fn insert(index: &mut Index, numbers: std::ops::Range<u32>, step: usize) {
    let numbers: Vec<_> = numbers.collect();
    for version in numbers.chunks(step) {
        let entries: Vec<_> = version.iter().map(|number| entry(*number, u64::from(*number))).collect();
        index.insert(index.applied().unwrap_or(-1) + 1, &entries).unwrap();
    }
}
