//! The columns of a model's table, as its query gives them and as a table can keep them; and whether rows have the keys that the model says.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::row::{RowConverter, SortField};
use medallion::gold::Model;

use crate::error::Error;

/// What a table keeps of the columns that a query gives: every column may be null, and has a type that Delta and its readers share.
pub(super) fn kept(model: &Model, given: &Schema) -> Result<SchemaRef, Error> {
    let keep = |field: &Arc<Field>| match kept_type(field.data_type()) {
        Some(data_type) => Ok(Field::new(field.name(), data_type, true)),
        None => {
            let what = format!("its column {} is {}, which no table can keep; cast it to another type", field.name(), field.data_type());
            Err(Error::Setting(format!("{}: {what}", model.name)))
        }
    };
    let fields = given.fields().iter().map(keep).collect::<Result<Vec<_>, _>>()?;
    if let Some(key) = model.keys.iter().find(|key| fields.iter().all(|field| field.name() != *key)) {
        let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        return Err(Error::Setting(format!(
            "{}: its query gives no column {key}, which is one of its keys; it gives {}",
            model.name,
            names.join(", ")
        )));
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn kept_type(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => DataType::Utf8,
        DataType::Dictionary(_, values) => kept_type(values)?,
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(..) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Float16 => DataType::Float32,
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32
        | DataType::Decimal128(..) => data_type.clone(),
        _ => return None,
    })
}

/// The rows in the columns of the table.
pub(super) fn fitted(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Error> {
    let columns: Result<Vec<ArrayRef>, _> =
        batch.columns().iter().zip(schema.fields()).map(|(column, field)| cast(column, field.data_type())).collect();
    let made = columns.and_then(|columns| RecordBatch::try_new(Arc::clone(schema), columns));
    Ok(made.map_err(medallion::Error::from)?)
}

/// Makes sure that no two rows have the same keys: a table in which they had would count twice.
pub(super) fn check_keys(model: &Model, batches: &[RecordBatch]) -> Result<(), Error> {
    let Some(first) = batches.first() else { return Ok(()) };
    let schema = first.schema();
    let numbers = model.keys.iter().map(|key| schema.index_of(key)).collect::<Result<Vec<_>, _>>().map_err(medallion::Error::from)?;
    let fields = numbers.iter().map(|number| SortField::new(schema.field(*number).data_type().clone())).collect();
    let converter = RowConverter::new(fields).map_err(medallion::Error::from)?;
    let mut seen = HashSet::new();
    for batch in batches {
        let keys: Vec<ArrayRef> = numbers.iter().map(|number| Arc::clone(batch.column(*number))).collect();
        let rows = converter.convert_columns(&keys).map_err(medallion::Error::from)?;
        for number in 0..rows.num_rows() {
            if !seen.insert(rows.row(number).owned()) {
                let value = |column: &ArrayRef| cast(&column.slice(number, 1), &DataType::Utf8).ok();
                let texts = keys.iter().filter_map(value).map(|text| {
                    use arrow::array::{Array as _, AsArray as _};
                    let text = text.as_string::<i32>();
                    if text.is_valid(0) { text.value(0).to_owned() } else { "null".to_owned() }
                });
                let what = format!("its query gives two rows for {} = {}", model.keys.join(", "), texts.collect::<Vec<_>>().join(", "));
                return Err(Error::Model { model: model.name.clone(), what });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::*;

    fn model() -> Model {
        Model::parse("x", "-- grain: x\n-- keys: a, b\n-- reads: silver.events\nSELECT").unwrap()
    }

    #[test]
    fn types_are_those_that_every_reader_has() {
        let given = Schema::new(vec![
            Field::new("a", DataType::UInt64, false),
            Field::new("b", DataType::Dictionary(DataType::Int32.into(), DataType::Utf8View.into()), false),
            Field::new("c", DataType::Timestamp(TimeUnit::Nanosecond, None), true),
        ]);
        let schema = kept(&model(), &given).unwrap();
        let types: Vec<String> = schema.fields().iter().map(|field| field.data_type().to_string()).collect();
        assert_eq!(types, ["Int64", "Utf8", "Timestamp(µs, \"UTC\")"]);
        assert!(schema.fields().iter().all(|field| field.is_nullable()));
        let missing = kept(&model(), &Schema::new(vec![Field::new("a", DataType::Int64, true)])).unwrap_err().to_string();
        assert_eq!(missing, "gold.x: its query gives no column b, which is one of its keys; it gives a");
        let list = Field::new("b", DataType::new_list(DataType::Int64, true), true);
        let unkept = kept(&model(), &Schema::new(vec![Field::new("a", DataType::Int64, true), list])).unwrap_err().to_string();
        assert!(unkept.contains("its column b is List") && unkept.contains("cast it"), "{unkept}");
    }

    #[test]
    fn keys_are_there_once() {
        let batch = |a: &[Option<i64>], b: &[&str]| {
            let columns: Vec<(&str, ArrayRef)> =
                vec![("a", Arc::new(Int64Array::from(a.to_vec()))), ("b", Arc::new(StringArray::from(b.to_vec())))];
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
        };
        check_keys(&model(), &[]).unwrap();
        check_keys(&model(), &[batch(&[Some(1), None], &["x", "x"]), batch(&[Some(1)], &["y"])]).unwrap();
        let twice = check_keys(&model(), &[batch(&[None], &["x"]), batch(&[Some(1), None], &["x", "x"])]).unwrap_err().to_string();
        assert_eq!(twice, "the model gold.x cannot be made: its query gives two rows for a, b = null, x");
    }
}
