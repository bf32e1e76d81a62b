//! The rows of a query over one table, value by value.

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Date32Type, Int64Type};
use chrono::NaiveDate;
use lake::Lake;

use crate::error::Error;

/// What is read of each row of a query over one table, whose place in the statement is `{}`. Where there is no table there are no rows.
///
/// # Errors
/// `Retry` when the store fails; `Query` for a table that is not as it is made.
pub(crate) async fn collect<T>(
    lake: &Lake,
    table: &str,
    sql: &str,
    read: impl Fn(&RecordBatch, usize) -> Option<T>,
) -> Result<Vec<T>, Error> {
    let Some(provider) = lake.provider(table).await? else { return Ok(Vec::new()) };
    let session = lake.bare_session()?;
    session.register_table(table, provider).map_err(Error::query(table))?;
    let batches = async { session.sql(&sql.replace("{}", table)).await?.collect().await };
    let batches = batches.await.map_err(Error::query(table))?;
    Ok(batches.iter().flat_map(|batch| (0..batch.num_rows()).filter_map(|row| read(batch, row))).collect())
}

pub(crate) fn date(batch: &RecordBatch, column: usize, row: usize) -> Option<NaiveDate> {
    let days = batch.column(column).as_primitive_opt::<Date32Type>().filter(|days| days.is_valid(row))?;
    arrow::temporal_conversions::date32_to_datetime(days.value(row)).map(|time| time.date())
}

pub(crate) fn integer(batch: &RecordBatch, column: usize, row: usize) -> Option<i64> {
    let numbers = batch.column(column).as_primitive_opt::<Int64Type>().filter(|numbers| numbers.is_valid(row));
    numbers.map(|numbers| numbers.value(row))
}

/// A whole number; nothing is zero.
pub(crate) fn whole(batch: &RecordBatch, column: usize, row: usize) -> u64 {
    integer(batch, column, row).and_then(|number| u64::try_from(number).ok()).unwrap_or_default()
}

/// A decimal number, to the nearest float: from its digits, for a division by a power of ten would round once more. Nothing is zero.
pub(crate) fn number(batch: &RecordBatch, column: usize, row: usize) -> f64 {
    text(batch, column, row).parse().unwrap_or_default()
}

pub(crate) fn text(batch: &RecordBatch, column: usize, row: usize) -> String {
    let texts = batch.column(column).as_string_opt::<i32>().filter(|texts| texts.is_valid(row));
    texts.map(|texts| texts.value(row).to_owned()).unwrap_or_default()
}
