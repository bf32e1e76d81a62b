//! Whatever is done to the index, it answers as a hash map of everything inserted would.

use std::collections::HashMap;
use std::path::Path;

use dedup::{Entry, Index, Limits, Options};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{entry, key, keys};

const NUMBERS: u32 = 3_000;

#[derive(Debug, Clone)]
enum Step {
    /// A version of Silver: from a number on, so many entries.
    Insert(u32, u32),
    /// A version given again with other contents, as a caller does that goes on from too early.
    Again(usize),
    Probe(u32, u32),
    Flush,
    /// Closed in order.
    Reopen,
    /// Dropped as it is; what is not durable is inserted again.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..NUMBERS, 0..300u32).prop_map(|(from, count)| Step::Insert(from, count)),
        1 => any::<usize>().prop_map(Step::Again),
        4 => (0..NUMBERS, 0..500u32).prop_map(|(from, count)| Step::Probe(from, count)),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ];
    vec(step, 1..60)
}

fn limits() -> impl Strategy<Value = Limits> {
    (16..400usize, 1..30i64, 0..20_000usize, 1..4usize, 2..5usize, 1..500usize).prop_map(
        |(memtable_entries_max, unflushed_versions_max, filter_bytes_max, blocks, runs_per_level_max, rebuild_entries_max)| Limits {
            memtable_entries_max,
            unflushed_versions_max,
            filter_bytes_max,
            segment_entries_max: blocks * 170,
            runs_per_level_max,
            rebuild_entries_max,
        },
    )
}

/// The index beside what it should know, and the versions of Silver from which both came.
struct World<'a> {
    dir: &'a Path,
    options: Options,
    index: Option<Index>,
    known: HashMap<[u8; 16], u64>,
    versions: Vec<Vec<Entry>>,
}

impl World<'_> {
    fn index(&mut self) -> &mut Index {
        self.index.as_mut().unwrap()
    }

    fn insert(&mut self, version: usize) {
        let entries = self.versions[version].clone();
        self.index().insert(version as i64, &entries).unwrap();
        for entry in entries {
            self.known.entry(entry.digest).or_insert(entry.content);
        }
    }

    fn reopen(&mut self) {
        self.index = None;
        self.index = Some(Index::open(self.dir, self.options.clone()).unwrap());
        let applied = self.index().applied();
        assert_eq!(self.index().flushed(), applied);
        let from = applied.map_or(0, |version| version as usize + 1);
        assert!(self.versions.len() - from <= self.options.limits.unflushed_versions_max as usize);
        for version in from..self.versions.len() {
            self.insert(version);
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Insert(from, count) => {
                let version = self.versions.len();
                self.versions.push((from..from + count).map(|number| entry(number, version as u64)).collect());
                self.insert(version);
            }
            Step::Again(which) if !self.versions.is_empty() => {
                let version = which % self.versions.len();
                let changed: Vec<_> = self.versions[version].iter().map(|entry| Entry { content: 0xbad, ..*entry }).collect();
                self.index().insert(version as i64, &changed).unwrap();
            }
            Step::Again(_) => {}
            Step::Probe(from, count) => self.check(from..from + count),
            Step::Flush => self.index().flush().unwrap(),
            Step::Reopen => {
                self.index().flush().unwrap();
                self.reopen();
            }
            Step::Crash => self.reopen(),
        }
        let newest = self.versions.len().checked_sub(1).map(|version| version as i64);
        let (entries_max, filter_bytes_max) = (self.options.limits.memtable_entries_max, self.options.limits.filter_bytes_max);
        let (stats, known) = (self.index().stats(), self.known.len());
        assert_eq!(self.index().applied(), newest);
        assert_eq!(stats.identities, known as u64);
        assert!(stats.memtable_entries <= entries_max as u64 && stats.filter_bytes <= filter_bytes_max, "{stats:?}");
        assert!(stats.runs <= 2 * self.options.limits.runs_per_level_max * 13, "{stats:?}");
    }

    fn check(&mut self, numbers: std::ops::Range<u32>) {
        // Backwards and forwards, so that each is asked twice and out of order.
        let numbers: Vec<_> = numbers.clone().rev().chain(numbers).collect();
        let answers = self.index().probe(&keys(numbers.iter().copied())).unwrap();
        for (number, answer) in numbers.into_iter().zip(answers) {
            assert_eq!(answer, self.known.get(&key(number).1).copied(), "{number}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 25 } else { 40 }))]

    #[test]
    fn the_index_answers_as_a_hash_map_would(limits in limits(), steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { lake_id: "lake".to_owned(), limits };
        let index = Some(Index::open(dir.path(), options.clone()).unwrap());
        let mut world = World { dir: dir.path(), options: options.clone(), index, known: HashMap::new(), versions: Vec::new() };
        for step in steps {
            world.take(step);
        }
        world.check(0..NUMBERS + 300);

        // Made anew from what Silver would hold, it answers the same.
        let version = world.versions.len() as i64;
        let silver: Vec<_> = world.known.iter().map(|(digest, content)| (*digest, *content)).collect();
        world.index = None;
        let mut rebuild = Index::rebuild(dir.path(), options).unwrap();
        let shards: HashMap<_, _> = (0..NUMBERS + 300).map(|number| (key(number).1, key(number).0)).collect();
        for part in silver.chunks(37) {
            let entries: Vec<_> = part.iter().map(|(digest, content)| Entry { digest: *digest, shard: shards[digest], content: *content }).collect();
            rebuild.push(&entries).unwrap();
        }
        world.index = Some(rebuild.finish(version).unwrap());
        prop_assert_eq!(world.index().applied(), Some(version));
        prop_assert_eq!(world.index().stats().identities, silver.len() as u64);
        world.check(0..NUMBERS + 300);
    }
}
