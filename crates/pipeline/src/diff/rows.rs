//! One day of two builds, down to the rows and columns that differ.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array as _, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use lake::{Added, Table};
use medallion::digest::{self, Digest};

use super::expected::Expected;
use super::{BUCKETS, ColumnDifference, Difference, HELD_MAX, Tally, bucket_of, identities, read};
use crate::audit::frontier::Frontier;
use crate::error::Error;

/// A day of a build.
#[derive(Debug)]
pub(super) struct Side<'a> {
    pub(super) table: &'a Table,
    pub(super) files: Vec<Added>,
    pub(super) common: &'a Frontier,
}

/// A row of one side.
#[derive(Debug, Clone)]
struct Row {
    digest: Digest,
    /// Of one row.
    batch: RecordBatch,
}

/// Source and event id.
type Key = (String, String);

impl Side<'_> {
    pub(super) async fn tally(&self) -> Result<Tally, Error> {
        let mut tally = Tally::default();
        read(self.table, &self.files, self.common, |batch| tally.add(&batch)).await?;
        Ok(tally)
    }

    async fn by_bucket(&self) -> Result<Vec<Tally>, Error> {
        let mut tallies = vec![Tally::default(); BUCKETS];
        let add = |batch: RecordBatch| {
            let mut rows = vec![Vec::new(); BUCKETS];
            for (row, identity) in identities(&batch).enumerate() {
                if let Some(rows) = rows.get_mut(bucket_of(identity)) {
                    rows.push(row);
                }
            }
            for (tally, rows) in tallies.iter_mut().zip(rows) {
                if !rows.is_empty() {
                    tally.add(&pick(&batch, &rows)?)?;
                }
            }
            Ok(())
        };
        read(self.table, &self.files, self.common, add).await?;
        Ok(tallies)
    }

    /// The rows in these buckets.
    async fn rows(&self, buckets: &BTreeSet<usize>) -> Result<BTreeMap<Key, Vec<Row>>, Error> {
        let mut rows = BTreeMap::<Key, Vec<Row>>::new();
        let add = |batch: RecordBatch| {
            for (row, identity) in identities(&batch).enumerate().filter(|(_, identity)| buckets.contains(&bucket_of(*identity))) {
                // A row of its own, and not a slice that keeps the whole batch in memory.
                let batch = pick(&batch, &[row])?;
                let digest = digest::rows(&batch)?;
                rows.entry((identity.source.to_owned(), identity.event_id.to_owned())).or_default().push(Row { digest, batch });
            }
            Ok(())
        };
        read(self.table, &self.files, self.common, add).await?;
        Ok(rows)
    }
}

/// These rows of a batch.
fn pick(batch: &RecordBatch, rows: &[usize]) -> Result<RecordBatch, Error> {
    let mut mask = vec![false; batch.num_rows()];
    for row in rows {
        if let Some(slot) = mask.get_mut(*row) {
            *slot = true;
        }
    }
    Ok(filter_record_batch(batch, &BooleanArray::from(mask)).map_err(medallion::Error::from)?)
}

/// The rows of a day that differ, at most so many.
pub(super) async fn differences(
    day: &str,
    names: [&str; 2],
    left: &Side<'_>,
    right: &Side<'_>,
    room: usize,
    expected: &mut Expected,
) -> Result<Vec<Difference>, Error> {
    let (left_tallies, right_tallies) = (left.by_bucket().await?, right.by_bucket().await?);
    let differing = left_tallies.iter().zip(&right_tallies).enumerate().filter(|(_, (one, other))| one != other);
    let differing: Vec<(usize, u64)> = differing.map(|(bucket, (one, other))| (bucket, one.rows + other.rows)).collect();
    let mut found = Vec::new();
    for buckets in lots(&differing, HELD_MAX) {
        if found.len() >= room {
            break;
        }
        let (one, other) = (left.rows(&buckets).await?, right.rows(&buckets).await?);
        for key in one.keys().chain(other.keys()).collect::<BTreeSet<_>>() {
            let of = |rows: &BTreeMap<Key, Vec<Row>>| rows.get(key).cloned().unwrap_or_default();
            if found.len() < room
                && let Some(difference) = compare(day, names, key, &of(&one), &of(&other), expected).await?
            {
                found.push(difference);
            }
        }
    }
    Ok(found)
}

/// Buckets with their rows, in lots that are not over the bound together.
fn lots(buckets: &[(usize, u64)], rows_max: u64) -> Vec<BTreeSet<usize>> {
    let mut lots: Vec<BTreeSet<usize>> = Vec::new();
    let mut rows = u64::MAX;
    for (bucket, more) in buckets {
        rows = rows.saturating_add(*more);
        match lots.last_mut().filter(|_| rows <= rows_max) {
            Some(lot) => {
                lot.insert(*bucket);
            }
            None => {
                lots.push(BTreeSet::from([*bucket]));
                rows = *more;
            }
        }
    }
    lots
}

async fn compare(
    day: &str,
    names: [&str; 2],
    key: &Key,
    left: &[Row],
    right: &[Row],
    expected: &mut Expected,
) -> Result<Option<Difference>, Error> {
    let digests = |rows: &[Row]| {
        let mut digests: Vec<String> = rows.iter().map(|row| row.digest.to_hex()).collect();
        digests.sort_unstable();
        digests
    };
    if digests(left) == digests(right) {
        return Ok(None);
    }
    let [one, other] = names;
    let what = match (left.len(), right.len()) {
        (0, 1) => format!("only {other} has it"),
        (1, 0) => format!("only {one} has it"),
        (1, 1) => "the rows differ".to_owned(),
        (left, right) => format!("{one} has it {left} times, {other} {right} times"),
    };
    let columns = match (left, right) {
        ([left], [right]) => columns(&left.batch, &right.batch)?,
        _ => Vec::new(),
    };
    let sides = [(one, left), (other, right)].map(|(name, rows)| (name, rows.iter().map(|row| row.digest).collect::<Vec<_>>()));
    let (source, event_id) = key;
    let why = expected.explain(source, event_id, &sides).await?;
    Ok(Some(Difference { event_date: day.to_owned(), source: source.clone(), event_id: event_id.clone(), what, why, columns }))
}

/// The columns in which two rows differ.
fn columns(left: &RecordBatch, right: &RecordBatch) -> Result<Vec<ColumnDifference>, Error> {
    let mut columns = Vec::new();
    for field in left.schema_ref().fields() {
        let text = |batch: &RecordBatch| -> Result<Option<String>, Error> {
            let Some(column) = batch.column_by_name(field.name()).filter(|column| column.is_valid(0)) else { return Ok(None) };
            let formatter = ArrayFormatter::try_new(column.as_ref(), &FormatOptions::default()).map_err(medallion::Error::from)?;
            Ok(Some(formatter.value(0).to_string()))
        };
        let (left, right) = (text(left)?, text(right)?);
        if left != right {
            columns.push(ColumnDifference { column: field.name().clone(), left, right });
        }
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_held_within_a_bound() {
        let check = |buckets: &[(usize, u64)], expect: &[&[usize]]| {
            let found: Vec<Vec<usize>> = lots(buckets, 10).into_iter().map(|lot| lot.into_iter().collect()).collect();
            assert_eq!(found, expect);
        };
        check(&[], &[]);
        check(&[(3, 40)], &[&[3]]);
        check(&[(1, 4), (2, 6), (3, 1), (4, 40), (5, 1), (6, 9)], &[&[1, 2], &[3], &[4], &[5, 6]]);
    }
}
