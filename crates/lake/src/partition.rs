//! Rows by partition: which rows go to which folder, and partition values as Delta writes them. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray, UInt32Array, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{Row, RowConverter, Rows, SortField};

use crate::error::Error;
use crate::schema;

/// The folder of rows whose partition column is null.
const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";

/// The rows of one partition.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// The values of the partition columns, in their order, as Delta writes them.
    pub(crate) values: Vec<Option<String>>,
    /// The rows without the partition columns, in the order they were given.
    pub(crate) batches: Vec<RecordBatch>,
}

/// Rows of a table, as its schema has them, divided by its partition columns.
pub(crate) fn divide(table: &str, schema: &SchemaRef, partition_by: &[String], batches: &[RecordBatch]) -> Result<Vec<Part>, Error> {
    let conformed = batches.iter().map(|batch| schema::conform(table, schema, batch)).collect::<Result<Vec<_>, _>>()?;
    split(&conformed, partition_by).map_err(|error| Error::schema(table, error.to_string()))
}

/// Divides rows by the values of the partition columns. Parts are ordered by those values; rows keep their order.
pub(crate) fn split(batches: &[RecordBatch], partition_by: &[String]) -> Result<Vec<Part>, ArrowError> {
    if partition_by.is_empty() {
        let batches: Vec<RecordBatch> = batches.iter().filter(|batch| batch.num_rows() > 0).cloned().collect();
        return Ok(if batches.is_empty() { Vec::new() } else { vec![Part { values: Vec::new(), batches }] });
    }
    let mut parts: BTreeMap<Box<[u8]>, Part> = BTreeMap::new();
    let mut converter = None;
    for batch in batches.iter().filter(|batch| batch.num_rows() > 0) {
        let keys: Vec<ArrayRef> =
            partition_by.iter().map(|name| batch.column_by_name(name).cloned().ok_or_else(|| missing(name))).collect::<Result<_, _>>()?;
        let converter = match &mut converter {
            Some(converter) => converter,
            none => none.insert(RowConverter::new(keys.iter().map(|key| SortField::new(key.data_type().clone())).collect())?),
        };
        let rows = converter.convert_columns(&keys)?;
        let data = without(batch, partition_by)?;
        for (key, indices) in group(&rows) {
            let first = indices.first().copied().unwrap_or_default() as usize;
            let taken =
                if indices.len() == batch.num_rows() { data.clone() } else { take_record_batch(&data, &UInt32Array::from(indices))? };
            if let Some(part) = parts.get_mut(&key) {
                part.batches.push(taken);
                continue;
            }
            let values = keys.iter().map(|column| value(column, first)).collect::<Result<_, _>>()?;
            parts.insert(key, Part { values, batches: vec![taken] });
        }
    }
    Ok(parts.into_values().collect())
}

/// Row numbers by key. Neighbours mostly share one, so the map is asked once a run.
fn group(rows: &Rows) -> BTreeMap<Box<[u8]>, Vec<u32>> {
    let mut groups: BTreeMap<Box<[u8]>, Vec<u32>> = BTreeMap::new();
    let mut run: Option<(Row<'_>, Vec<u32>)> = None;
    for (number, key) in (0..).zip(rows) {
        match &mut run {
            Some((current, numbers)) if *current == key => numbers.push(number),
            _ => {
                if let Some((ended, numbers)) = run.replace((key, vec![number])) {
                    groups.entry(ended.data().into()).or_default().extend(numbers);
                }
            }
        }
    }
    if let Some((ended, numbers)) = run {
        groups.entry(ended.data().into()).or_default().extend(numbers);
    }
    groups
}

/// A batch without the partition columns, which are in the log and not in the files.
fn without(batch: &RecordBatch, partition_by: &[String]) -> Result<RecordBatch, ArrowError> {
    let kept: Vec<usize> =
        (0..batch.num_columns()).filter(|index| !partition_by.contains(batch.schema_ref().field(*index).name())).collect();
    batch.project(&kept)
}

/// A partition value as Delta writes it: `2026-11-23`, `7`, `true`, or the text itself.
fn value(column: &ArrayRef, row: usize) -> Result<Option<String>, ArrowError> {
    if column.is_null(row) {
        return Ok(None);
    }
    let text = cast_with_options(&column.slice(row, 1), &DataType::Utf8, &CastOptions::default())?;
    match text.as_string::<i32>().iter().next().flatten() {
        // Delta has no way to write it: the empty string is its null.
        Some("") => Err(ArrowError::InvalidArgumentError("an empty string cannot be a partition value".to_owned())),
        text => Ok(text.map(str::to_owned)),
    }
}

/// The column that every row of a file has.
pub(crate) fn column(value: Option<&str>, data_type: &DataType, rows: usize) -> Result<ArrayRef, ArrowError> {
    let Some(value) = value else { return Ok(new_null_array(data_type, rows)) };
    if *data_type == DataType::Utf8 {
        return Ok(Arc::new(StringArray::new_repeated(value, rows)));
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let one = cast_with_options(&StringArray::from(vec![value]), data_type, &strict)?;
    arrow::compute::take(&one, &UInt32Array::from_value(0, rows), None)
}

/// The value in the one way Delta writes it, or an error if it is not a value of that type.
pub(crate) fn canonical(text: &str, data_type: &DataType) -> Result<String, ArrowError> {
    let value = value(&column(Some(text), data_type, 1)?, 0)?;
    value.ok_or_else(|| ArrowError::InvalidArgumentError(format!("`{text}` is not a value")))
}

/// The folder of a partition below the table's, with a slash at its end; empty without partition columns. Readers take the values from the log: the
/// folder is for people and for listing.
pub(crate) fn folder(partition_by: &[String], values: &[Option<String>]) -> String {
    let mut folder = String::new();
    for (column, value) in partition_by.iter().zip(values) {
        let value = value.as_deref().map_or_else(|| NULL_FOLDER.to_owned(), escaped);
        folder.push_str(&format!("{column}={value}/"));
    }
    folder
}

/// Hive's way to put any text into a folder's name.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn missing(name: &str) -> ArrowError {
    ArrowError::SchemaError(format!("the rows have no column {name}"))
}

/// A batch may have rows and no columns; then only this tells how many.
pub(crate) fn row_count(rows: usize) -> RecordBatchOptions {
    RecordBatchOptions::new().with_row_count(Some(rows))
}

#[cfg(test)]
mod tests;
