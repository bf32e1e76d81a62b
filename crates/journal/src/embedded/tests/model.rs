//! Any sequence of operations does what it does in memory.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Operation {
    /// Appends records of these sizes.
    Append(Vec<usize>),
    /// Reads from these shares of each partition, in hundredths; `None` is not named.
    Read([Option<u8>; 3], usize, usize),
    /// Trims before these shares of each partition.
    Trim([Option<u8>; 3]),
    /// Closes and opens.
    Reopen,
    /// The same, and an unfinished write stands at the end.
    ReopenTorn(Vec<u8>),
}

fn operation() -> impl Strategy<Value = Operation> {
    let shares = || prop::array::uniform3(prop::option::of(0u8..=100));
    prop_oneof![
        5 => prop::collection::vec(prop_oneof![0usize..200, 0usize..6000], 1..12).prop_map(Operation::Append),
        4 => (shares(), 0usize..30, 0usize..5000).prop_map(|(from, records, bytes)| Operation::Read(from, records, bytes)),
        1 => shares().prop_map(Operation::Trim),
        1 => Just(Operation::Reopen),
        1 => prop::collection::vec(any::<u8>(), 1..100).prop_map(Operation::ReopenTorn),
    ]
}

/// The records of each partition, in memory.
#[derive(Debug, Default)]
struct Model {
    partitions: [Vec<Record>; 3],
    /// No record before these may be asked for.
    trimmed: [u64; 3],
    appended: u64,
}

impl Model {
    fn offsets(&self, shares: [Option<u8>; 3]) -> Offsets {
        let offset = |partition: usize, share: u8| {
            let (start, end) = (self.trimmed[partition], self.partitions[partition].len() as u64);
            start + (end - start) * u64::from(share) / 100
        };
        (0..).zip(shares).filter_map(|(partition, share)| Some((partition, offset(partition as usize, share?)))).collect()
    }

    async fn append(&mut self, journal: &Embedded, sizes: &[usize]) {
        let records: Vec<Record> = (self.appended..).zip(sizes).map(|(number, bytes)| record(number, *bytes)).collect();
        self.appended += records.len() as u64;
        let positions = journal.append(records.clone()).await.unwrap();
        for (record, (partition, offset)) in records.into_iter().zip(positions) {
            assert_eq!(partition, partition_of(&record.key, 3));
            assert_eq!(offset, self.partitions[partition as usize].len() as u64, "offsets are dense");
            self.partitions[partition as usize].push(record);
        }
    }

    async fn read(&self, journal: &Embedded, from: Offsets, limit: ReadLimit) {
        let found = journal.read(&from, limit).await.unwrap();
        assert!(found.len() <= limit.records_max);
        let sizes: Vec<usize> = found.iter().map(|stored| stored.record.header.len() + stored.record.value.len()).collect();
        let but_last = sizes.iter().rev().skip(1).sum::<usize>();
        assert!(found.len() <= 1 || but_last < limit.bytes_max, "{but_last} bytes were enough");
        let mut next = from;
        let is_there = next.iter().any(|(partition, next)| *next < self.partitions[*partition as usize].len() as u64);
        assert_eq!(is_there && limit.records_max > 0, !found.is_empty());
        for stored in found {
            assert_eq!(next.insert(stored.partition, stored.offset + 1), Some(stored.offset));
            assert_eq!(stored.record, self.partitions[stored.partition as usize][stored.offset as usize]);
        }
    }

    async fn check(&self, journal: &Embedded) {
        let ends: Vec<u64> = journal.end().await.unwrap().into_values().collect();
        assert_eq!(ends, self.partitions.each_ref().map(|records| records.len() as u64));
        for (start, trimmed) in journal.start().await.unwrap().into_values().zip(self.trimmed) {
            assert!(start <= trimmed, "nothing is trimmed that was not asked for");
        }
        assert!(
            all(journal)
                .await
                .unwrap()
                .iter()
                .all(|stored| stored.record == self.partitions[stored.partition as usize][stored.offset as usize])
        );
    }
}

async fn play(operations: Vec<Operation>) {
    let directory = tempfile::tempdir().unwrap();
    let config = Config { partitions: 3, segment_bytes: 4000, ..small() };
    let mut journal = reopen(&directory, &config).unwrap();
    let mut model = Model::default();
    for operation in operations {
        match operation {
            Operation::Append(sizes) => model.append(&journal, &sizes).await,
            Operation::Read(from, records_max, bytes_max) => {
                model.read(&journal, model.offsets(from), ReadLimit { records_max, bytes_max }).await
            }
            Operation::Trim(before) => {
                let before = model.offsets(before);
                journal.trim(&before).await.unwrap();
                for (partition, before) in before {
                    model.trimmed[partition as usize] = before;
                }
            }
            Operation::Reopen => {
                drop(journal);
                journal = reopen(&directory, &config).unwrap();
            }
            Operation::ReopenTorn(tail) => {
                drop(journal);
                let last = segments(&directory).pop().unwrap();
                let torn = [fs::read(&last).unwrap(), tail].concat();
                fs::write(&last, torn).unwrap();
                journal = reopen(&directory, &config).unwrap();
            }
        }
    }
    model.check(&journal).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn it_does_what_its_model_does(operations in prop::collection::vec(operation(), 1..40)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(play(operations));
    }
}
