//! Whether every record of the journal is there once: places in a partition have no gap and nothing stands twice.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::AsArray as _;
use arrow::datatypes::{Int32Type, Int64Type};
use futures::StreamExt as _;
use lake::Table;
use medallion::ledger::Counts;
use medallion::ledger::places::{Partition, Sums};

use super::{Finding, rows};
use crate::bronze::newest_journal;
use crate::error::Error;
use crate::tables;

/// Ranges, and events of each table, that one finding names.
const RANGES_MAX: usize = 20;

/// A partition of a generation.
type Place = Partition;

/// Adds a finding for each partition of the journal that is not there as a whole, as far as Bronze says that it has come. What retention took out counts as there.
pub(super) async fn check(
    bronze: &mut Table,
    dead_letters: &mut Table,
    silver: &mut Table,
    expired: &Counts,
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    let mut sums: BTreeMap<Place, Sums> = expired.places();
    each(bronze, |place, offset| sums.entry(place).or_default().add(offset)).await?;
    // Where only refused records are, Bronze has its progress all the same.
    let mut refused: Vec<(Place, u64)> = Vec::new();
    each(dead_letters, |place, offset| refused.push((place, offset))).await?;
    let mut until: BTreeMap<Place, u64> = BTreeMap::new();
    // Also of a partition of which nothing is left.
    let (generation, partitions) = newest_journal(bronze).await?;
    for partition in 0..partitions {
        let place = (generation.cast_signed(), partition.cast_signed());
        if let Some(reached) = bronze.progress(&tables::progress_in_journal(generation, partition)).await? {
            until.insert(place, reached.unsigned_abs());
        }
    }
    for place in sums.keys().copied().chain(refused.iter().map(|(place, _)| *place)).collect::<Vec<_>>() {
        if let std::collections::btree_map::Entry::Vacant(entry) = until.entry(place) {
            let progress = tables::progress_in_journal(place.0.unsigned_abs(), place.1.unsigned_abs());
            entry.insert(bronze.progress(&progress).await?.map_or(0, i64::unsigned_abs));
        }
    }
    // The dead letters are committed first, so they may be ahead.
    for (place, offset) in refused {
        if until.get(&place).is_some_and(|until| offset < *until) {
            sums.entry(place).or_default().add(offset);
        }
    }
    for (place, until) in until {
        let found = sums.get(&place).copied().unwrap_or_default();
        // A copy of a journal goes on where the one it was copied from ended.
        let begin = tables::begin_in_journal(place.0.unsigned_abs(), place.1.unsigned_abs());
        let from = bronze.progress(&begin).await?.map_or(0, i64::unsigned_abs);
        if found != Sums::between(from, until) {
            let events = name([&mut *bronze, &mut *dead_letters, &mut *silver], place, from..until).await?;
            let check = format!("records of the journal's generation {}, partition {}", place.0, place.1);
            let expected = until.saturating_sub(from);
            findings.push(Finding { check, source: None, hour: None, expected, found: found.count, events });
        }
    }
    Ok(())
}

/// Which offsets are missing or there more than once, and which events they are, as far as other tables tell.
async fn name(tables: [&mut Table; 3], place: Place, range: Range<u64>) -> Result<Vec<String>, Error> {
    let [bronze, dead_letters, silver] = tables;
    let mut offsets = Vec::new();
    for table in [&mut *bronze, &mut *dead_letters] {
        each(table, |at, offset| {
            if at == place && offset < range.end {
                offsets.push(offset);
            }
        })
        .await?;
    }
    offsets.sort_unstable();
    let irregular = irregular(&offsets, range);
    let mut named: Vec<String> = irregular.iter().map(Irregular::text).collect();
    for table in [silver, dead_letters, bronze] {
        let found = identities(table, place, &irregular).await?;
        named.extend(found.into_iter().map(|(offset, identity)| format!("offset {offset} is {identity} (says {})", table.name())));
    }
    named.dedup();
    Ok(named)
}

/// What is wrong about some offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Irregular {
    /// From, and one past the last.
    Missing(u64, u64),
    Again(u64),
}

impl Irregular {
    fn text(&self) -> String {
        match self {
            Self::Missing(from, until) if *until == from + 1 => format!("offset {from} is missing"),
            Self::Missing(from, until) => format!("offsets {from} to {} are missing", until - 1),
            Self::Again(offset) => format!("offset {offset} is there again"),
        }
    }

    fn has(&self, of: u64) -> bool {
        match self {
            Self::Missing(from, until) => (*from..*until).contains(&of),
            Self::Again(offset) => *offset == of,
        }
    }
}

/// What is irregular about sorted offsets that should be those of the range.
fn irregular(offsets: &[u64], range: Range<u64>) -> Vec<Irregular> {
    let mut found = Vec::new();
    let mut next = range.start;
    for offset in offsets.iter().copied().chain([range.end]) {
        if found.len() == RANGES_MAX {
            break;
        }
        if offset > next {
            found.push(Irregular::Missing(next, offset));
        } else if offset < next {
            found.push(Irregular::Again(offset));
        }
        next = next.max(offset.saturating_add(1));
    }
    found
}

/// Some of the events that a table has at these offsets.
async fn identities(table: &mut Table, place: Place, offsets: &[Irregular]) -> Result<Vec<(u64, String)>, Error> {
    let files = table.files().await?;
    let columns = ["journal_generation", "journal_partition", "journal_offset", "source", "event_id"];
    let mut batches = table.stream(&files, Some(&columns))?;
    let mut found = Vec::new();
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let (generations, partitions) = (batch.column(0).as_primitive::<Int32Type>(), batch.column(1).as_primitive::<Int32Type>());
        let (at, sources, ids) =
            (batch.column(2).as_primitive::<Int64Type>(), batch.column(3).as_string::<i32>(), batch.column(4).as_string::<i32>());
        for row in 0..batch.num_rows() {
            let offset = at.value(row).unsigned_abs();
            if (generations.value(row), partitions.value(row)) == place && offsets.iter().any(|irregular| irregular.has(offset)) {
                found.push((offset, format!("{}/{}", sources.value(row), ids.value(row))));
            }
        }
        if found.len() >= RANGES_MAX {
            break;
        }
    }
    found.sort();
    found.truncate(RANGES_MAX);
    Ok(found)
}

async fn each(table: &mut Table, mut take: impl FnMut(Place, u64)) -> Result<(), Error> {
    let files = table.files().await?;
    let mut columns = vec!["journal_generation", "journal_partition", "journal_offset"];
    let is_dead_letters = table.name() == tables::DEAD_LETTERS;
    if is_dead_letters {
        columns.push("stage");
    }
    let mut batches = table.stream(&files, Some(&columns))?;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let (generations, partitions) = (batch.column(0).as_primitive::<Int32Type>(), batch.column(1).as_primitive::<Int32Type>());
        let offsets = batch.column(2).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            if !is_dead_letters || rows::is_before_silver(batch.column(3).as_string::<i32>().value(row)) {
                take((generations.value(row), partitions.value(row)), offsets.value(row).unsigned_abs());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_irregular_is_named() {
        let check = |offsets: &[u64], until: u64, expect: &[&str]| {
            assert_eq!(irregular(offsets, 0..until).iter().map(Irregular::text).collect::<Vec<_>>(), expect, "{offsets:?}")
        };
        check(&[0, 1, 2], 3, &[]);
        check(&[], 0, &[]);
        check(&[], 2, &["offsets 0 to 1 are missing"]);
        check(&[0, 2, 2, 5], 7, &["offset 1 is missing", "offset 2 is there again", "offsets 3 to 4 are missing", "offset 6 is missing"]);
        let later = irregular(&[5, 6, 8], 5..9);
        assert_eq!(later.iter().map(Irregular::text).collect::<Vec<_>>(), ["offset 7 is missing"]);
    }
}
