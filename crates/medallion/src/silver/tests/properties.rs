//! Silver is a function of the set of Bronze rows, and every row is accounted for.

use std::collections::{BTreeMap, HashMap};

use contract::{Position, Verdict, Violation};
use proptest::prelude::*;

use super::*;
use crate::digest::{self, Digest};
use crate::ledger::Tally;

const PARTITIONS: u32 = 3;

/// What a client sent: an id, which of a few payloads, and what the gate said.
#[derive(Debug, Clone)]
struct Sent {
    source: &'static str,
    id: u8,
    payload: String,
    verdict: Verdict,
    received: i64,
}

fn sent() -> impl Strategy<Value = Sent> {
    let kinds = prop_oneof![
        8 => Just(r#"{"event_type":"a","event_time":1795429800,"properties":{"x":N}}"#),
        2 => Just(r#"{"properties":{"x":N.0},"sent_at":1795429801,"event_time":1795429800,"event_type":"a"}"#),
        2 => Just(r#"{"event_type":"feature_exposure","anonymous_id":"a","properties":{"experiment_id":"N"}}"#),
        1 => Just(r#"{"event_type":"#),
    ];
    let verdicts = prop_oneof![8 => Just(Verdict::Accepted), 1 => Just(Verdict::Flagged), 1 => Just(Verdict::Quarantined)];
    let payload = (kinds, prop_oneof![4 => Just(1_u8), 1 => Just(2)]).prop_map(|(kind, number)| kind.replace('N', &number.to_string()));
    (prop::sample::select(vec!["web", "app"]), 0_u8..6, payload, verdicts, 0_i64..10)
        .prop_map(|(source, id, payload, verdict, received)| Sent { source, id, payload, verdict, received })
}

/// The journal that these events make: copies of one event share a partition.
fn journal(sent: &[Sent]) -> Vec<Arrival> {
    let mut offsets = [0; PARTITIONS as usize];
    let record = |sent: &Sent| {
        let mut arrival = copy(0, &sent.id.to_string(), &sent.payload);
        arrival.receipt.source = sent.source.parse().unwrap();
        arrival.receipt.verdict = sent.verdict;
        arrival.receipt.received_at = Timestamp(RECEIVED.micros() + sent.received * 600_000_000);
        if sent.verdict != Verdict::Accepted {
            arrival.receipt.violations = vec![Violation::new("c", "/f", "m")];
        }
        let partition = u32::from(sent.id) % PARTITIONS;
        let offset = offsets[partition as usize];
        offsets[partition as usize] += 1;
        arrival.position = Position { generation: 0, partition, offset };
        arrival
    };
    sent.iter().map(record).collect()
}

/// Silver, its exposures, its dead letters and its books after some calls.
#[derive(Debug, Default, PartialEq)]
struct Lake {
    events: BTreeMap<String, Value>,
    exposures: BTreeMap<String, Value>,
    dead_letters: BTreeMap<String, Value>,
    counts: Counts,
    digest: Digest,
}

#[derive(Default)]
struct Worker {
    lake: Lake,
    index: HashMap<[u8; 16], u64>,
}

impl Worker {
    /// One commit: rows of Bronze in some batches.
    fn step(&mut self, batches: &[Vec<Arrival>]) {
        let mut parts = Vec::new();
        for batch in batches {
            let refined = refine(&bronze::batch(batch).unwrap(), &Rules::default()).unwrap();
            put(&mut self.lake.dead_letters, &refined.dead_letters);
            self.lake.counts.merge(&refined.counts);
            parts.push(refined.candidates);
        }
        let keys = parts.iter().flat_map(Candidates::identities);
        let known: Vec<Option<u64>> = keys.map(|(_, digest)| self.index.get(&digest).copied()).collect();
        let chosen = choose(&parts, &known).unwrap();
        put(&mut self.lake.events, &chosen.events);
        put(&mut self.lake.exposures, &chosen.exposures);
        put(&mut self.lake.dead_letters, &chosen.dead_letters);
        self.lake.counts.merge(&chosen.counts);
        self.lake.digest.merge(&digest::rows(&chosen.events).unwrap());
        assert_eq!(chosen.winners.len(), chosen.events.num_rows());
        for winner in chosen.winners {
            assert_eq!(self.index.insert(winner.digest, winner.content), None, "one event, one row");
        }
    }
}

/// Rows by their place in the journal, each at most once.
fn put(table: &mut BTreeMap<String, Value>, batch: &RecordBatch) {
    for row in json_rows(batch) {
        let place = ["journal_generation", "journal_partition", "journal_offset"].map(|column| row[column].to_string()).join(":");
        assert!(table.insert(place, row).is_none(), "a row comes from one record");
    }
}

/// All at once, in the order of the journal.
fn at_once(records: &[Arrival]) -> Lake {
    let mut worker = Worker::default();
    worker.step(&[records.to_vec()]);
    worker.lake
}

/// Takes records from the partitions in turn as `steps` say: how many batches a commit has, and how many records of which partition each batch takes.
fn live(records: &[Arrival], steps: &[Vec<(u32, usize)>], reversed: bool) -> Lake {
    let mut partitions: Vec<Vec<Arrival>> = (0..PARTITIONS)
        .map(|partition| records.iter().filter(|record| record.position.partition == partition).cloned().collect())
        .collect();
    let mut worker = Worker::default();
    for step in steps {
        let mut batches = Vec::new();
        for (partition, count) in step {
            let records = &mut partitions[*partition as usize];
            let mut batch: Vec<Arrival> = records.drain(..records.len().min(*count)).collect();
            if reversed {
                batch.reverse();
            }
            batches.push(batch);
        }
        if reversed {
            batches.reverse();
        }
        worker.step(&batches);
    }
    worker.step(&partitions);
    worker.lake
}

proptest! {
    #[test]
    fn silver_is_a_function_of_the_set_of_bronze_rows(
        sent in prop::collection::vec(sent(), 0..40),
        steps in prop::collection::vec(prop::collection::vec((0..PARTITIONS, 0_usize..6), 0..4), 0..6),
        reversed in any::<bool>(),
        order in any::<u64>(),
    ) {
        let records = journal(&sent);
        let rebuilt = at_once(&records);
        prop_assert_eq!(&live(&records, &steps, reversed), &rebuilt);
        let mut shuffled = records;
        shuffled.sort_by_key(|record| {
            let position = record.position;
            (u64::from(position.partition) * 1000 + position.offset).wrapping_mul(order | 1) % 101
        });
        prop_assert_eq!(&at_once(&shuffled), &rebuilt);
    }

    #[test]
    fn every_bronze_row_is_accounted_for(sent in prop::collection::vec(sent(), 0..40), steps in prop::collection::vec(prop::collection::vec((0..PARTITIONS, 0_usize..6), 0..4), 0..6)) {
        let records = journal(&sent);
        let lake = live(&records, &steps, false);
        let accepted = ledger::of_arrivals(&records);
        for line in accepted.iter() {
            let mut sum = Tally::default();
            for measure in [ledger::SILVER, ledger::DUPLICATE, ledger::DEAD_LETTER] {
                let tally = lake.counts.get(line.source, line.hour, measure);
                sum.count += tally.count;
                sum.digest.merge(&tally.digest);
            }
            prop_assert_eq!(&sum, line.tally);
        }
        let total = |measure: &str| lake.counts.total(measure) as usize;
        prop_assert_eq!(total("silver"), lake.events.len());
        prop_assert_eq!(total("dead_letter"), lake.dead_letters.len());
        prop_assert_eq!(total("exposure"), lake.exposures.len());
        prop_assert_eq!(total("silver") + total("duplicate") + total("dead_letter"), records.len());
    }

    #[test]
    fn no_payload_stops_a_batch(payload in prop::collection::vec(any::<u8>(), 0..40), like in r#"[{}\[\]",:a-z0-9]{0,40}"#, number in "-?[0-9]{1,20}(\\.[0-9]{1,4})?(e[0-9]{1,3})?") {
        let timed = format!(r#"{{"event_type":"a","event_time":{number},"sent_at":"{number}","properties":{{"x":{number}}}}}"#);
        let mut arrivals = vec![arrival(0, &like), arrival(1, &timed)];
        arrivals.push(Arrival { payload: payload.into(), ..arrival(2, "") });
        let (refined, chosen) = run(&arrivals);
        prop_assert_eq!(refined.dead_letters.num_rows() + chosen.events.num_rows(), arrivals.len());
    }
}
