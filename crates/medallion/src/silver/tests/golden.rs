//! `testdata/bronze.jsonl` and what it must become, for this and every other engine. With `UPDATE_GOLDEN=1` in the environment the expectation is written
//! anew, for a person to look at.

use std::path::{Path, PathBuf};

use contract::Position;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::*;
use crate::{dead_letters, digest};

/// One record of the journal.
#[derive(Deserialize)]
struct Record {
    /// Generation, partition, offset.
    position: (u32, u32, u64),
    /// As in the journal.
    receipt: Box<RawValue>,
    payload: String,
}

/// Tests run in the folder of their package, which need not be the one that they were compiled in.
fn file(name: &str) -> PathBuf {
    Path::new("testdata").join(name)
}

fn records() -> Vec<Arrival> {
    let read = |line: &str| {
        let record: Record = serde_json::from_str(line).unwrap();
        let (generation, partition, offset) = record.position;
        let position = Position { generation, partition, offset };
        Arrival::read(position, &record.receipt.get().to_owned().into(), record.payload.into()).unwrap()
    };
    std::fs::read_to_string(file("bronze.jsonl")).unwrap().lines().map(read).collect()
}

fn check_file(name: &str, rows: &[Value]) {
    let found: String = rows.iter().map(|row| contract::json::canonical(&row.clone().into()) + "\n").collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(file(name), &found).unwrap();
    }
    let expected = std::fs::read_to_string(file(name)).unwrap();
    for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {} of {name}", number + 1);
    }
    assert_eq!(found.lines().count(), expected.lines().count(), "lines of {name}");
}

#[test]
fn silver_is_as_it_has_always_been() {
    let records = records();
    let (refined, chosen) = run(&records);
    check_file("silver_events.jsonl", &json_rows(&chosen.events));
    check_file("silver_exposures.jsonl", &json_rows(&chosen.exposures));
    let letters = [dead_letters::refused(&records).unwrap(), refined.dead_letters, chosen.dead_letters];
    check_file("dead_letters.jsonl", &letters.iter().flat_map(json_rows).collect::<Vec<_>>());
    let mut counts = ledger::of_arrivals(&records);
    counts.merge(&refined.counts);
    counts.merge(&chosen.counts);
    let mut books: Vec<Value> = counts.to_json().as_array().unwrap().clone();
    books.push(json!({"rows_of_silver": digest::rows(&chosen.events).unwrap().to_hex()}));
    check_file("books.jsonl", &books);
}
