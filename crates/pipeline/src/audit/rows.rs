//! The rows that are there, counted by source and hour of receipt.

use arrow::array::{AsArray as _, BooleanArray};
use arrow::compute::filter_record_batch;
use futures::StreamExt as _;
use lake::{Added, Table};
use medallion::ledger::{self, Counts};

use crate::error::Error;
use crate::tables;

/// The newest versions of a table among which the commit of an interrupted step is looked for.
const UNDECIDED_VERSIONS_MAX: i64 = 256;

/// Which rows are counted: those for whose value in this column the function holds.
pub(super) type Which = Option<(&'static str, fn(&str) -> bool)>;

/// Dead letters of the gate: what never became a row of Bronze.
pub(super) const REFUSED: Which = Some(("stage", is_before_silver));
/// Dead letters that were rows of Bronze.
pub(super) const OF_BRONZE: Which = Some(("stage", |stage| !is_before_silver(stage)));
/// The exposures among Silver's events.
pub(super) const EXPOSURES: Which = Some(("event_type", |event_type| event_type == contract::wire::FEATURE_EXPOSURE));

/// Whether the record of such a dead letter never became a row of Bronze.
pub(super) fn is_before_silver(stage: &str) -> bool {
    matches!(stage, "gate" | "bronze")
}

/// The rows of a table at the version of its handle, as counts of one measure.
pub(super) async fn count(table: &mut Table, which: Which, measure: &'static str) -> Result<Counts, Error> {
    let files = table.files().await?;
    count_in(table, &files, which, measure).await
}

async fn count_in(table: &Table, files: &[Added], which: Which, measure: &'static str) -> Result<Counts, Error> {
    let mut columns = vec!["source", "event_id", "received_at"];
    columns.extend(which.map(|(column, _)| column));
    let mut counts = Counts::default();
    let mut batches = table.stream(files, Some(&columns))?;
    while let Some(batch) = batches.next().await {
        let mut batch = batch?;
        if let Some((_, holds)) = which {
            let values = batch.column(3).as_string::<i32>();
            let mask: BooleanArray = values.iter().map(|value| Some(value.is_some_and(holds))).collect();
            batch = filter_record_batch(&batch, &mask).map_err(medallion::Error::from)?;
        }
        counts.merge(&ledger::of_rows(&batch, measure)?);
    }
    Ok(counts)
}

/// The rows that a step of Silver put into this table, and that Silver's own commit does not know of when Silver has come to this version of Bronze.
pub(super) async fn undecided(table: &Table, bronze_version: i64, measure: &'static str) -> Result<Counts, Error> {
    let after = (table.version() - UNDECIDED_VERSIONS_MAX).max(-1);
    let newest = match table.added(after, table.version()).await {
        Ok(newest) => newest,
        // A log that was trimmed to less than that ends with versions that were decided about long ago.
        Err(error) if error.kind() == lake::ErrorKind::Missing => return Ok(Counts::default()),
        Err(error) => return Err(error.into()),
    };
    let input = |file: &Added| file.info.get("input_version").and_then(serde_json::Value::as_i64);
    let files: Vec<Added> = newest.into_iter().filter(|file| input(file).is_some_and(|input| input > bronze_version)).collect();
    count_in(table, &files, if table.name() == tables::DEAD_LETTERS { OF_BRONZE } else { None }, measure).await
}
