//! The rows of a statement, for a page.

use ::console::pages::explore::{Answer, Column, Kind};
use ::console::{Error, Reader};
use arrow::datatypes::{DataType, Schema};
use futures::StreamExt as _;
use tokio::time::Instant;

use crate::output::cell;

/// The most rows of a statement that a page asks by itself.
pub(super) const OWN_MAX: usize = 20_000;

/// The first rows of the answer.
///
/// # Errors
///
/// What is wrong with the statement, or that the store does not answer.
pub(super) async fn collect(reader: &Reader, sql: &str, rows_max: usize) -> Result<Answer, Error> {
    let began = Instant::now();
    let mut batches = reader.ask(sql).await?;
    let mut answer = Answer { columns: columns(&batches.schema()), ..Answer::default() };
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|error| reader.explain(&error))?;
        for row in 0..batch.num_rows() {
            if answer.rows.len() == rows_max {
                answer.has_more = true;
                break;
            }
            let cells = batch.columns().iter().map(|column| cell::json(column.as_ref(), row)).collect::<Result<Vec<_>, _>>();
            answer.rows.push(cells.map_err(|error| reader.explain(&error.into()))?);
        }
        if answer.has_more {
            break;
        }
    }
    answer.took = i64::try_from(began.elapsed().as_micros()).unwrap_or(i64::MAX);
    Ok(answer)
}

fn columns(schema: &Schema) -> Vec<Column> {
    let kind = |data_type: &DataType| match data_type {
        found if found.is_numeric() => Kind::Number,
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Kind::Time,
        _ => Kind::Other,
    };
    schema.fields().iter().map(|field| Column { name: field.name().clone(), kind: kind(field.data_type()) }).collect()
}
