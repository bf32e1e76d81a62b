//! Two builds of Silver, held against each other row by row.
//!
//! First the digests of their rows are compared day by day; where they differ, bucket by bucket of the identities; and only what lies in these is looked at row by
//! row. Two builds that have not come equally far in Bronze are compared up to where both are: what only one of them can have is left out, on both sides.
//!
//! What a row should be is not taken from either: it is made anew from Bronze, and so the build that is wrong is named.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{AsArray as _, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int32Type, Int64Type};
use contract::Identity;
use futures::StreamExt as _;
use lake::{Added, Lake, Table};
use medallion::digest::{self, Digest};
use serde::Serialize;

use crate::audit::frontier::Frontier;
use crate::config::Config;
use crate::error::Error;
use crate::replay::{self, Days};
use crate::retention::kept_from;
use crate::tables::{self, Names};

mod expected;
mod rows;

use expected::Expected;
use rows::Side;

/// Differences that are named.
const NAMED_MAX: usize = 100;
/// Buckets of the identities of one day.
const BUCKETS: usize = 256;
/// Rows of one day that are held in memory at a time, of both sides together, unless one bucket has more.
const HELD_MAX: u64 = 200_000;

/// Two builds of Silver, compared.
#[derive(Debug, Clone, Serialize)]
pub struct Compared {
    /// Whether they are the same, row by row and column by column.
    pub identical: bool,
    /// The name of the one.
    pub left: String,
    /// The name of the other.
    pub right: String,
    /// The version of Bronze up to which both have decided about everything.
    pub bronze_version: i64,
    /// Rows of the one that were compared.
    pub rows_left: u64,
    /// Rows of the other that were compared.
    pub rows_right: u64,
    /// The days that differ.
    pub days: Vec<Day>,
    /// The rows that differ, at most 100.
    pub differences: Vec<Difference>,
}

/// A day on which they differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Day {
    /// The event date.
    pub event_date: String,
    /// Rows of the one.
    pub rows_left: u64,
    /// Rows of the other.
    pub rows_right: u64,
    /// The digest of the one's rows.
    pub digest_left: String,
    /// The digest of the other's.
    pub digest_right: String,
}

/// A row that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The event date.
    pub event_date: String,
    /// The event's source.
    pub source: String,
    /// The event's id.
    pub event_id: String,
    /// What is not the same.
    pub what: String,
    /// Why, as far as Bronze tells.
    pub why: String,
    /// The columns that differ, where both have the row.
    pub columns: Vec<ColumnDifference>,
}

/// A column that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnDifference {
    /// Its name.
    pub column: String,
    /// Its value in the one; nothing for null.
    pub left: Option<String>,
    /// Its value in the other.
    pub right: Option<String>,
}

/// Compares two builds of Silver: `silver` is the live one.
///
/// # Errors
/// `Setting` for a name that is none, or that the lake does not have; else as the lake says.
pub async fn diff(lake: &Lake, left: &str, right: &str, config: &Config) -> Result<Compared, Error> {
    let mut left = Build::open(lake, left).await?;
    let mut right = Build::open(lake, right).await?;
    let missing = || Error::NoTable { location: lake.location().to_string(), table: tables::BRONZE.to_owned() };
    let bronze = lake.reader(tables::BRONZE).await?.ok_or_else(missing)?;
    let mut common = left.reached.common(&right.reached);
    common.look_beyond(&bronze).await?;
    let days = [left.days, right.days];

    let mut compared = Compared {
        identical: true,
        left: left.name.clone(),
        right: right.name.clone(),
        bronze_version: common.whole(),
        rows_left: 0,
        rows_right: 0,
        days: Vec::new(),
        differences: Vec::new(),
    };
    // A rebuild has what Bronze has, also of days that Silver keeps no longer.
    let from = kept_from(&mut left.table).await?.max(kept_from(&mut right.table).await?);
    let (left_files, right_files) = (left.by_day(days, from).await?, right.by_day(days, from).await?);
    let mut expected = Expected::new(lake.clone(), config.rules());
    let none = Vec::new();
    for day in left_files.keys().chain(right_files.keys()).cloned().collect::<BTreeSet<_>>() {
        let files = |files: &'_ BTreeMap<String, Vec<Added>>| files.get(&day).unwrap_or(&none).clone();
        let left = Side { table: &left.table, files: files(&left_files), common: &common };
        let right = Side { table: &right.table, files: files(&right_files), common: &common };
        let (one, other) = (left.tally().await?, right.tally().await?);
        compared.rows_left += one.rows;
        compared.rows_right += other.rows;
        if one == other {
            continue;
        }
        compared.identical = false;
        compared.days.push(Day {
            event_date: day.clone(),
            rows_left: one.rows,
            rows_right: other.rows,
            digest_left: one.digest.to_hex(),
            digest_right: other.digest.to_hex(),
        });
        if compared.differences.len() < NAMED_MAX {
            let names = [compared.left.as_str(), compared.right.as_str()];
            let room = NAMED_MAX - compared.differences.len();
            let found = rows::differences(&day, names, &left, &right, room, &mut expected).await?;
            compared.differences.extend(found);
        }
    }
    Ok(compared)
}

/// A build of Silver at the version that was there when the comparison began.
#[derive(Debug)]
struct Build {
    name: String,
    table: Table,
    reached: Frontier,
    days: Days,
}

impl Build {
    async fn open(lake: &Lake, name: &str) -> Result<Self, Error> {
        let names = Names::of(name)?;
        let Some(mut table) = lake.reader(&names.events().name).await? else {
            let builds: Vec<String> = tables::builds(&lake.tables().await?).iter().map(Names::silver).collect();
            let known = if builds.is_empty() { "no rebuild".to_owned() } else { format!("the rebuilds {}", builds.join(", ")) };
            return Err(Error::Setting(format!("the lake has no table {}; it has {known}", names.events().name)));
        };
        let days = if names.is_live() { Days::all() } else { replay::days_of(&table).await? };
        let reached = Frontier::of(&mut table).await?;
        Ok(Self { name: name.to_owned(), table, reached, days })
    }

    /// Its files, by event date, of the days that both are to have, and keep.
    async fn by_day(&mut self, days: [Days; 2], from: Option<i64>) -> Result<BTreeMap<String, Vec<Added>>, Error> {
        let mut by_day = BTreeMap::<String, Vec<Added>>::new();
        for file in self.table.files().await? {
            let day = file.partition_values.get("event_date").cloned().flatten().unwrap_or_default();
            let number = day.parse::<chrono::NaiveDate>().map(|date| date.to_epoch_days());
            let is_kept = |number: i32| from.is_none_or(|from| i64::from(number) >= from);
            if number.is_ok_and(|number| is_kept(number) && days.iter().all(|days| days.has(number))) {
                by_day.entry(day).or_default().push(file);
            }
        }
        Ok(by_day)
    }
}

/// Rows that were counted, and which they are, every column included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    rows: u64,
    digest: Digest,
}

impl Tally {
    fn add(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        self.rows += batch.num_rows() as u64;
        self.digest.merge(&digest::rows(batch)?);
        Ok(())
    }
}

/// The rows that both sides can have.
fn comparable(batch: RecordBatch, common: &Frontier) -> Result<RecordBatch, Error> {
    let number = |name: &str| batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int32Type>());
    let offsets = batch.column_by_name("journal_offset").and_then(|column| column.as_primitive_opt::<Int64Type>());
    let (Some(generations), Some(partitions), Some(offsets)) = (number("journal_generation"), number("journal_partition"), offsets) else {
        return Ok(batch);
    };
    let is_decided = |(row, identity): (usize, Identity<'_>)| {
        let place = (generations.value(row).cast_unsigned(), partitions.value(row).cast_unsigned(), offsets.value(row).cast_unsigned());
        Some(common.has_place(&identity.digest(), place))
    };
    let mask: BooleanArray = identities(&batch).enumerate().map(is_decided).collect();
    Ok(filter_record_batch(&batch, &mask).map_err(medallion::Error::from)?)
}

/// The identities of rows that have them.
fn identities(batch: &RecordBatch) -> impl Iterator<Item = Identity<'_>> {
    let text = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    let pairs = text("source").zip(text("event_id"));
    pairs.into_iter().flat_map(|(sources, ids)| {
        sources.iter().zip(ids).map(|(source, id)| Identity { source: source.unwrap_or_default(), event_id: id.unwrap_or_default() })
    })
}

/// Which bucket of a day an identity is in.
fn bucket_of(identity: Identity<'_>) -> usize {
    // Another byte than those that choose the partition of the journal and the bucket of the work: all are even in it.
    identity.digest().last().copied().map_or(0, usize::from) % BUCKETS
}

async fn read(
    table: &Table,
    files: &[Added],
    common: &Frontier,
    mut take: impl FnMut(RecordBatch) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut batches = table.stream(files, None)?;
    while let Some(batch) = batches.next().await {
        take(comparable(batch?, common)?)?;
    }
    Ok(())
}
