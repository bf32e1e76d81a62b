//! Takes a batch for the table it should be, and its columns for what they are.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::{Field, SchemaRef};

use crate::Error;

/// The zone of all instants in the tables.
pub(crate) const UTC: &str = "UTC";

/// What the texts or payloads of one Arrow array may have, in bytes: its offsets are signed 32-bit numbers.
pub(crate) const BYTES_MAX: usize = i32::MAX as usize;

/// The batch with exactly the columns of `schema`, in its order.
///
/// Engines hand the same rows over in other types (`LargeUtf8`, `Utf8View`, a timestamp in another unit or zone), with the partition columns at the end, and
/// without columns that were added later: that is put right. Anything else is an [`Error::Column`].
pub(crate) fn conform(batch: &RecordBatch, schema: &SchemaRef, table: &'static str) -> Result<RecordBatch, Error> {
    let columns: Vec<ArrayRef> = schema.fields().iter().map(|field| column_as(batch, field, table)).collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn column_as(batch: &RecordBatch, field: &Field, table: &'static str) -> Result<ArrayRef, Error> {
    let wrong = |problem: String| Error::Column { table, column: field.name().clone(), problem };
    let column = match batch.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Arc::clone(column),
        Some(column) => {
            let strict = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(column, field.data_type(), &strict).map_err(|error| wrong(error.to_string()))?
        }
        None if field.is_nullable() => new_null_array(field.data_type(), batch.num_rows()),
        None => return Err(wrong("it is missing".to_owned())),
    };
    if !field.is_nullable() && column.logical_null_count() > 0 {
        return Err(wrong("it has nulls".to_owned()));
    }
    Ok(column)
}

/// The columns of a batch by name and type, for a batch that went through [`conform`].
pub(crate) struct Columns<'a> {
    pub(crate) batch: &'a RecordBatch,
    pub(crate) table: &'static str,
}

impl<'a> Columns<'a> {
    fn get<T: 'static>(&self, name: &str) -> Result<&'a T, Error> {
        let column = self.batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref());
        column.ok_or_else(|| Error::Column {
            table: self.table,
            column: name.to_owned(),
            problem: "it is missing or of another type".to_owned(),
        })
    }

    pub(crate) fn text(&self, name: &str) -> Result<&'a StringArray, Error> {
        self.get(name)
    }

    pub(crate) fn bytes(&self, name: &str) -> Result<&'a BinaryArray, Error> {
        self.get(name)
    }

    pub(crate) fn instant(&self, name: &str) -> Result<&'a TimestampMicrosecondArray, Error> {
        self.get(name)
    }

    pub(crate) fn flag(&self, name: &str) -> Result<&'a BooleanArray, Error> {
        self.get(name)
    }

    pub(crate) fn int32(&self, name: &str) -> Result<&'a Int32Array, Error> {
        self.get(name)
    }

    pub(crate) fn int64(&self, name: &str) -> Result<&'a Int64Array, Error> {
        self.get(name)
    }
}

/// A value that may be null.
pub(crate) fn text_at(column: &StringArray, row: usize) -> Option<&str> {
    use arrow::array::Array as _;
    column.is_valid(row).then(|| column.value(row))
}

/// The rows of the given numbers, as columns of `schema`, each taken from the column of the same name. Those that `made` has are taken from there, as they are.
pub(crate) fn select(
    batch: &RecordBatch,
    rows: &Selection,
    schema: &SchemaRef,
    table: &'static str,
    made: Vec<(&str, ArrayRef)>,
) -> Result<RecordBatch, Error> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let column = match made.iter().find(|(name, _)| name == field.name()) {
            Some((_, column)) => Arc::clone(column),
            None => rows.of(&column_as(batch, field, table)?)?,
        };
        columns.push(column);
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// Which rows of a batch, and in which order.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    rows: arrow::array::UInt32Array,
    /// All rows in their order: nothing need be copied.
    all: bool,
}

impl Selection {
    pub(crate) fn new(rows: Vec<u32>, of: usize) -> Self {
        let all = rows.len() == of && rows.iter().enumerate().all(|(at, row)| at == *row as usize);
        Self { rows: rows.into(), all }
    }

    pub(crate) fn rows(&self) -> &[u32] {
        self.rows.values()
    }

    pub(crate) fn of(&self, column: &ArrayRef) -> Result<ArrayRef, Error> {
        if self.all { Ok(Arc::clone(column)) } else { Ok(take(column, &self.rows, None)?) }
    }
}
