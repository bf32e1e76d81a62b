//! Rows of several tables in one batch.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, StructArray, new_null_array};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use pyo3::PyResult;

use crate::refused;

/// A table whose rows are among the results, and the column they are in.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) schema: fn() -> SchemaRef,
}

/// In a null row every column is null.
fn fields(part: &Part) -> Fields {
    (part.schema)().fields().iter().map(|field| Arc::new(field.as_ref().clone().with_nullable(true))).collect()
}

/// A column for each table, and `told`.
pub(crate) fn schema(parts: &[Part]) -> Schema {
    let tables = parts.iter().map(|part| Field::new(part.name, DataType::Struct(fields(part)), true));
    Schema::new(tables.chain([Field::new("told", DataType::Utf8, true)]).collect::<Vec<_>>())
}

/// Batches of results in the making.
#[derive(Debug)]
pub(crate) struct Results<'a> {
    parts: &'a [Part],
    schema: SchemaRef,
    rows_max: usize,
    batches: Vec<RecordBatch>,
}

impl<'a> Results<'a> {
    pub(crate) fn new(parts: &'a [Part], rows_max: usize) -> Self {
        Self { parts, schema: Arc::new(schema(parts)), rows_max, batches: Vec::new() }
    }

    /// Adds rows of the table of this number.
    pub(crate) fn add(&mut self, number: usize, rows: &RecordBatch) -> PyResult<()> {
        let Some(part) = self.parts.get(number) else { return Ok(()) };
        let fields = fields(part);
        let mut from = 0;
        while from < rows.num_rows() {
            let some = rows.slice(from, self.rows_max.min(rows.num_rows() - from));
            from += some.num_rows();
            let column = StructArray::try_new(fields.clone(), some.columns().to_vec(), None).map_err(refused)?;
            self.push(number, some.num_rows(), Arc::new(column))?;
        }
        Ok(())
    }

    /// Adds the row that tells what was done.
    pub(crate) fn tell(&mut self, told: &str) -> PyResult<()> {
        self.push(self.parts.len(), 1, Arc::new(StringArray::from(vec![told])))
    }

    fn push(&mut self, number: usize, rows: usize, column: ArrayRef) -> PyResult<()> {
        let columns = self
            .schema
            .fields()
            .iter()
            .enumerate()
            .map(|(at, field)| if at == number { Arc::clone(&column) } else { new_null_array(field.data_type(), rows) });
        self.batches.push(RecordBatch::try_new(Arc::clone(&self.schema), columns.collect()).map_err(refused)?);
        Ok(())
    }

    pub(crate) fn finish(self) -> Vec<RecordBatch> {
        self.batches
    }
}
