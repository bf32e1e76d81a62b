//! The most recent identities, in memory.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use crate::Shard;
use crate::key::Key;

/// Identities that are in no run yet. Their number is bounded by whoever inserts.
#[derive(Debug, Default)]
pub(crate) struct Memtable {
    /// By digest alone: a digest always comes with the same shard.
    entries: HashMap<u128, (u64, Shard), Folding>,
}

impl Memtable {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, digest: [u8; 16]) -> Option<u64> {
        self.entries.get(&u128::from_be_bytes(digest)).map(|(content, _)| *content)
    }

    /// Takes an identity in, unless it is there already.
    pub(crate) fn insert(&mut self, shard: Shard, digest: [u8; 16], content: u64) {
        self.entries.entry(u128::from_be_bytes(digest)).or_insert((content, shard));
    }

    /// Everything, in the order of runs.
    pub(crate) fn sorted(&self) -> Vec<(Key, u64)> {
        let mut entries: Vec<_> =
            self.entries.iter().map(|(digest, (content, shard))| (Key::new(*shard, digest.to_be_bytes()), *content)).collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        entries
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}

/// Hashes a digest, which is spread evenly already, with one multiplication. The seeds are random so that nobody can choose ids that collide here.
#[derive(Debug, Clone)]
struct Folding(u64, u64);

impl Default for Folding {
    fn default() -> Self {
        let random = || RandomState::new().build_hasher().finish();
        Self(random(), random())
    }
}

impl BuildHasher for Folding {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded(self.0, self.1)
    }
}

#[derive(Debug)]
struct Folded(u64, u64);

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u128(u128::from(*byte));
        }
    }

    fn write_u128(&mut self, number: u128) {
        let product = u128::from(self.0 ^ (number >> 64) as u64) * u128::from(self.1 ^ number as u64);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_content_stays_and_entries_come_out_in_order() {
        let shard = |number| Shard::from_number(number).unwrap();
        let mut memtable = Memtable::default();
        memtable.insert(shard(5), [1; 16], 10);
        memtable.insert(shard(5), [1; 16], 20);
        memtable.insert(shard(2), [9; 16], 30);
        assert_eq!((memtable.get([1; 16]), memtable.get([2; 16]), memtable.len()), (Some(10), None, 2));
        let keys: Vec<_> = memtable.sorted().into_iter().map(|(key, content)| (key.shard.number(), content)).collect();
        assert_eq!(keys, [(2, 30), (5, 10)]);
        memtable.clear();
        assert_eq!(memtable.len(), 0);
    }
}
