//! Arrow schemas and Delta schemas, and how a table may grow.

use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use deltalake::kernel::StructType;
use deltalake::kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};

use crate::error::Error;
use crate::partition::row_count;

/// The Delta schema of a table. Refuses the types that Delta has no equal for, so that what is read is what was written, to the type.
pub(crate) fn to_delta(table: &str, schema: &Schema) -> Result<StructType, Error> {
    let delta: StructType = schema.try_into_kernel().map_err(|error| Error::schema(table, error.to_string()))?;
    let back = from_delta(table, &delta)?;
    for (wanted, kept) in schema.fields().iter().zip(back.fields()) {
        if wanted.data_type() != kept.data_type() {
            return Err(Error::schema(
                table,
                format!(
                    "column {} would come back as {} when written as {}, use the former",
                    wanted.name(),
                    kept.data_type(),
                    wanted.data_type()
                ),
            ));
        }
        if has_local_time(wanted.data_type()) {
            return Err(Error::schema(table, format!("column {} is a time without a zone, use microseconds in UTC", wanted.name())));
        }
    }
    Ok(delta)
}

/// The Arrow schema of a Delta table.
pub(crate) fn from_delta(table: &str, delta: &StructType) -> Result<Schema, Error> {
    delta.try_into_arrow().map_err(|error| Error::schema(table, error.to_string()))
}

/// Times without a zone need a table feature that older readers do not know.
fn has_local_time(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(_, zone) => zone.is_none(),
        DataType::List(item) | DataType::LargeList(item) | DataType::Map(item, _) => has_local_time(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_local_time(field.data_type())),
        _ => false,
    }
}

/// What a table's schema becomes when these columns are wanted: `None` when it has them all, the grown schema when nullable columns are missing.
/// Columns of the table that are not wanted stay, if they are nullable: newer software has added them.
pub(crate) fn grow(table: &str, current: &Schema, wanted: &Schema) -> Result<Option<Schema>, Error> {
    let mut fields = current.fields().to_vec();
    for field in wanted.fields() {
        match current.field_with_name(field.name()) {
            Ok(existing) if existing.data_type() != field.data_type() => {
                return Err(Error::schema(
                    table,
                    format!(
                        "column {} is {} there and {} is wanted, use a new column",
                        field.name(),
                        existing.data_type(),
                        field.data_type()
                    ),
                ));
            }
            Ok(existing) if !existing.is_nullable() && field.is_nullable() => {
                return Err(Error::schema(table, format!("column {} does not take nulls", field.name())));
            }
            Ok(_) => {}
            Err(_) if field.is_nullable() => fields.push(Arc::new(Field::new(field.name(), field.data_type().clone(), true))),
            Err(_) => {
                return Err(Error::schema(table, format!("column {} is new and must take nulls: the rows there have none", field.name())));
            }
        }
    }
    if let Some(missing) = current.fields().iter().find(|field| !field.is_nullable() && wanted.field_with_name(field.name()).is_err()) {
        return Err(Error::schema(table, format!("column {} takes no nulls and would not be written", missing.name())));
    }
    Ok((fields.len() > current.fields().len()).then(|| Schema::new(fields)))
}

/// The batch with exactly the table's columns in the table's order; columns it lacks are null.
pub(crate) fn conform(table: &str, schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, Error> {
    if let Some(extra) = batch.schema_ref().fields().iter().find(|field| schema.field_with_name(field.name()).is_err()) {
        return Err(Error::schema(table, format!("the rows have a column {} that the table has not", extra.name())));
    }
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let column = match batch.column_by_name(field.name()) {
            Some(column) => Arc::clone(column),
            None => new_null_array(field.data_type(), batch.num_rows()),
        };
        if column.data_type() != field.data_type() {
            return Err(Error::schema(
                table,
                format!("column {} is {} and the rows have {}", field.name(), field.data_type(), column.data_type()),
            ));
        }
        if !field.is_nullable() && column.null_count() > 0 {
            return Err(Error::schema(table, format!("column {} takes no nulls and the rows have {}", field.name(), column.null_count())));
        }
        columns.push(column);
    }
    let options = row_count(batch.num_rows());
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(|error| Error::schema(table, error.to_string()))
}

#[cfg(test)]
mod tests;
