//! The rows that are there, counted by source and hour of receipt.

use arrow::array::{AsArray as _, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int32Type, Int64Type};
use contract::Identity;
use futures::StreamExt as _;
use lake::{Added, Table};
use medallion::ledger::{self, Counts};

use super::frontier::Frontier;
use crate::error::Error;
use crate::retention::{EVENT_DATE, day_of};
use crate::tables;

/// The newest versions of a table among which the commit of an interrupted step is looked for.
const UNDECIDED_VERSIONS_MAX: i64 = 256;
/// The columns that tell a row's place in the journal.
const PLACE: [&str; 3] = ["journal_generation", "journal_partition", "journal_offset"];

/// Which rows are counted: those for whose value in this column the function holds.
pub(super) type Which = Option<(&'static str, fn(&str) -> bool)>;

/// Dead letters of the gate: what never became a row of Bronze.
pub(super) const REFUSED: Which = Some(("stage", is_before_silver));
/// Dead letters that were rows of Bronze.
pub(super) const OF_BRONZE: Which = Some(("stage", |stage| !is_before_silver(stage)));
/// The exposures among Silver's events.
pub(super) const EXPOSURES: Which = Some(("event_type", |event_type| event_type == contract::wire::FEATURE_EXPOSURE));

/// Whether the record of such a dead letter never became a row of Bronze.
pub(crate) fn is_before_silver(stage: &str) -> bool {
    matches!(stage, "gate" | "bronze")
}

/// The rows of a table at the version of its handle, as counts of one measure.
pub(super) async fn count(table: &mut Table, which: Which, measure: &'static str) -> Result<Counts, Error> {
    count_from(table, None, which, measure).await
}

/// The same of a table divided by the day of the event, from a day on.
pub(super) async fn count_from(table: &mut Table, from: Option<i64>, which: Which, measure: &'static str) -> Result<Counts, Error> {
    let mut files = table.files().await?;
    files.retain(|file| from.is_none_or(|from| day_of(file, EVENT_DATE).is_none_or(|day| day >= from)));
    count_in(table, &files, &[], which, measure, |_| None).await
}

/// What Bronze has from versions after that up to which everything is decided, of which Silver has decided nevertheless.
pub(super) async fn decided_beyond(bronze: &Table, frontier: &Frontier, measure: &'static str) -> Result<Counts, Error> {
    let mut counts = Counts::default();
    let files = bronze.added(frontier.whole(), bronze.version()).await?;
    for version in files.chunk_by(|a, b| a.version == b.version) {
        let number = version.first().map_or(-1, |file| file.version);
        let decided = |batch: &RecordBatch| Some(digests(batch).map(|digest| Some(frontier.has(&digest, number))).collect());
        counts.merge(&count_in(bronze, version, &[], None, measure, decided).await?);
    }
    Ok(counts)
}

/// The rows that a step of Silver put into this table, and that Silver's own commits do not know of when Silver has come as far as this.
pub(super) async fn undecided(table: &Table, frontier: &Frontier, measure: &'static str) -> Result<Counts, Error> {
    let after = (table.version() - UNDECIDED_VERSIONS_MAX).max(-1);
    let newest = match table.added(after, table.version()).await {
        Ok(newest) => newest,
        // A log that was trimmed to less than that ends with versions that were decided about long ago.
        Err(error) if error.kind() == lake::ErrorKind::Missing => return Ok(Counts::default()),
        Err(error) => return Err(error.into()),
    };
    let input = |file: &Added| file.info.get("input_version").and_then(serde_json::Value::as_i64);
    let files: Vec<Added> = newest.into_iter().filter(|file| input(file).is_some_and(|input| input > frontier.whole())).collect();
    let which = if table.name() == tables::DEAD_LETTERS { OF_BRONZE } else { None };
    let undecided = |batch: &RecordBatch| {
        let (generations, partitions) = (batch.column(3).as_primitive::<Int32Type>(), batch.column(4).as_primitive::<Int32Type>());
        let offsets = batch.column(5).as_primitive::<Int64Type>();
        let place =
            |row| (generations.value(row).cast_unsigned(), partitions.value(row).cast_unsigned(), offsets.value(row).cast_unsigned());
        Some(digests(batch).enumerate().map(|(row, digest)| Some(!frontier.has_place(&digest, place(row)))).collect())
    };
    count_in(table, &files, &PLACE, which, measure, undecided).await
}

/// The digests of the rows' identities. The first two columns are source and id.
fn digests(batch: &RecordBatch) -> impl Iterator<Item = [u8; 16]> {
    let (sources, ids) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
    (0..batch.num_rows()).map(|row| Identity { source: sources.value(row), event_id: ids.value(row) }.digest())
}

/// Counts the rows of files for which `which` holds and the mask says so.
async fn count_in(
    table: &Table,
    files: &[Added],
    more: &[&'static str],
    which: Which,
    measure: &'static str,
    mask: impl Fn(&RecordBatch) -> Option<BooleanArray>,
) -> Result<Counts, Error> {
    let mut columns = vec!["source", "event_id", "received_at"];
    columns.extend(more);
    columns.extend(which.map(|(column, _)| column));
    let mut counts = Counts::default();
    let mut batches = table.stream(files, Some(&columns))?;
    while let Some(batch) = batches.next().await {
        let mut batch = batch?;
        if let Some((_, holds)) = which {
            let values = batch.column(columns.len() - 1).as_string::<i32>();
            let mask: BooleanArray = values.iter().map(|value| Some(value.is_some_and(holds))).collect();
            batch = filter_record_batch(&batch, &mask).map_err(medallion::Error::from)?;
        }
        if let Some(mask) = mask(&batch) {
            batch = filter_record_batch(&batch, &mask).map_err(medallion::Error::from)?;
        }
        counts.merge(&ledger::of_rows(&batch, measure)?);
    }
    Ok(counts)
}
