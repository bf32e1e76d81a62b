//! How far each bucket of identities has come in Silver, and what is to be decided about next.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use contract::Identity;

use crate::columns::{Columns, conform};
use crate::{Error, schema};

/// Into how many buckets the identities are divided, and so over how many workers the making of Silver can be. Progress is kept by bucket in the tables
/// of the lake: another number would be another lake.
pub const BUCKETS: u32 = 16;

/// The bucket of an identity, by its digest: the first 8 bytes, little endian, modulo [`BUCKETS`].
pub fn bucket_of(digest: &[u8; 16]) -> u32 {
    let [a, b, c, d, e, f, g, h, ..] = *digest;
    (u64::from_le_bytes([a, b, c, d, e, f, g, h]) % u64::from(BUCKETS)) as u32
}

/// The rows whose identity is in these buckets.
///
/// # Errors
///
/// [`Error::Column`] when the rows have no identity.
pub fn in_buckets(batch: &RecordBatch, buckets: &BTreeSet<u32>) -> Result<RecordBatch, Error> {
    if (0..BUCKETS).all(|bucket| buckets.contains(&bucket)) {
        return Ok(batch.clone());
    }
    let identities = conform(batch, &schema::identity(), "the rows")?;
    let columns = Columns { batch: &identities, table: "the rows" };
    let (sources, ids) = (columns.text("source")?, columns.text("event_id")?);
    let is_in = |row| buckets.contains(&bucket_of(&Identity { source: sources.value(row), event_id: ids.value(row) }.digest()));
    let mask: BooleanArray = (0..batch.num_rows()).map(|row| Some(is_in(row))).collect();
    Ok(filter_record_batch(batch, &mask)?)
}

/// The version of Bronze up to which the tables have what was decided about one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reached {
    /// Silver's events: what they have is decided.
    pub silver: i64,
    /// The exposures, which are committed before and may be ahead after a crash.
    pub exposures: i64,
    /// The dead letters, likewise.
    pub dead_letters: i64,
}

impl Reached {
    /// From the progress of the three tables, -1 where there is none. What is behind Silver is as good as level with it: there was nothing to commit.
    pub fn new(silver: i64, exposures: i64, dead_letters: i64) -> Self {
        Self { silver, exposures: exposures.max(silver), dead_letters: dead_letters.max(silver) }
    }

    /// The first version at which a table that is ahead stands.
    fn ahead(&self) -> Option<i64> {
        [self.exposures, self.dead_letters].into_iter().filter(|ahead| *ahead > self.silver).min()
    }
}

/// What is to be decided about next: these buckets, in versions of Bronze after `after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The buckets, all equally far.
    pub buckets: BTreeSet<u32>,
    /// The version of Bronze that they have come to.
    pub after: i64,
    /// The version not to go beyond.
    pub through_max: i64,
    /// Whether `through_max` has to be reached in one step, because a table has everything up to there.
    pub whole: bool,
    /// How far the tables are, the same for all of the buckets.
    pub reached: Reached,
}

/// The buckets that are furthest behind, as far as they can go together. `None` when all are at the newest version.
///
/// A table that is ahead bounds the step: up to there it has every row, behind it none. So does the place of other buckets: from there on all go on in one step.
pub fn next(reached: &BTreeMap<u32, Reached>, newest: i64, versions_max: i64) -> Option<Task> {
    let last = *reached.values().min()?;
    let after = last.silver;
    if after >= newest {
        return None;
    }
    let buckets = reached.iter().filter(|(_, reached)| **reached == last).map(|(bucket, _)| *bucket).collect();
    if let Some(ahead) = last.ahead() {
        return Some(Task { buckets, after, through_max: ahead, whole: true, reached: last });
    }
    let others = reached.values().map(|reached| reached.silver).filter(|silver| *silver > after).min();
    let window = newest.min(after.saturating_add(versions_max));
    Some(Task { buckets, after, through_max: others.map_or(window, |others| window.min(others)), whole: false, reached: last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_bucket() {
        use crate::testing::{arrival, json_rows};
        let arrivals: Vec<_> = (0..200).map(|number| arrival(number, "{}")).collect();
        let all = crate::bronze::batch(&arrivals).unwrap();
        let mut rows = Vec::new();
        for bucket in 0..BUCKETS {
            let some = in_buckets(&all, &BTreeSet::from([bucket])).unwrap();
            assert!(some.num_rows() > 0 && some.num_rows() < 40, "bucket {bucket} has {} of 200 rows", some.num_rows());
            rows.extend(json_rows(&some));
        }
        let offset = |row: &serde_json::Value| row["journal_offset"].as_i64();
        rows.sort_by_key(offset);
        assert_eq!(rows, json_rows(&all));
        assert_eq!(in_buckets(&all, &(0..BUCKETS).collect()).unwrap(), all);
        assert_eq!(in_buckets(&all, &BTreeSet::new()).unwrap().num_rows(), 0);
    }

    fn check(reached: &[(i64, i64, i64)], newest: i64, expect: Option<(&[u32], i64, i64, bool)>) {
        let reached =
            (0..).zip(reached).map(|(bucket, (silver, exposures, letters))| (bucket, Reached::new(*silver, *exposures, *letters)));
        let task = next(&reached.collect(), newest, 100);
        let found = task.map(|task| (task.buckets.into_iter().collect::<Vec<_>>(), task.after, task.through_max, task.whole));
        assert_eq!(found, expect.map(|(buckets, after, through, whole)| (buckets.to_vec(), after, through, whole)));
    }

    #[test]
    fn buckets_go_on_together_where_they_can() {
        check(&[], 9, None);
        check(&[(9, 3, 9), (9, -1, -1)], 9, None);
        check(&[(3, 1, 2), (3, -1, 3)], 9, Some((&[0, 1], 3, 9, false)));
        check(&[(3, 1, 2), (3, -1, 3)], 900, Some((&[0, 1], 3, 103, false)));
        // One that was taken over from another worker catches up first.
        check(&[(7, 7, 7), (3, 2, 2), (5, 5, 5)], 9, Some((&[1], 3, 5, false)));
        check(&[(7, 7, 7), (3, 2, 2), (3, 3, 3)], 9, Some((&[1, 2], 3, 7, false)));
    }

    #[test]
    fn what_a_table_has_already_bounds_the_step() {
        check(&[(3, 6, 2)], 9, Some((&[0], 3, 6, true)));
        check(&[(3, 6, 8)], 9, Some((&[0], 3, 6, true)));
        // Then those first that no crash left behind: they are equally far in Silver.
        check(&[(3, 6, 6), (3, 3, 3)], 9, Some((&[1], 3, 9, false)));
        check(&[(5, 6, 6), (3, 3, 3)], 9, Some((&[1], 3, 5, false)));
    }
}
