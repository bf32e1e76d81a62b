//! Whether a table of Gold is what its model makes of what it says it was made of.

use std::collections::{BTreeSet, HashMap};

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{OwnedRow, RowConverter, SortField};
use lake::Lake;

use super::fed::Fed;
use crate::error::Error;

/// Partitions that are made and compared at a time: bounds the memory.
const PARTITIONS_MAX: usize = 4;

/// Where a table of Gold is not what its model makes of its input.
#[derive(Debug, Default)]
pub(crate) struct Unlike {
    /// The partitions concerned.
    pub(crate) partitions: BTreeSet<String>,
    /// Rows of the table as the model makes it.
    pub(crate) expected: u64,
    /// Rows that it has.
    pub(crate) found: u64,
}

impl Fed {
    /// Makes the rows of the whole table anew from the versions of its inputs that it says it was made of, and tells where the two differ. `None`: it was never made, or by
    /// another definition, or one of these versions cannot be read any more.
    pub(crate) async fn unlike(&mut self, lake: &Lake) -> Result<Option<Unlike>, Error> {
        let versions: Vec<i64> = self.inputs().iter().map(|feed| feed.through).collect();
        if self.is_of_another_definition() || versions.iter().any(|version| *version < 0) {
            return Ok(None);
        }
        let partitions: Vec<String> = self.partitions(lake).await?.into_iter().collect();
        let files = self.table().files().await?;
        let by = self.model().partition_by.clone();
        let mut unlike = Unlike::default();
        for lot in partitions.chunks(PARTITIONS_MAX) {
            let made = match self.compute(lake, lot, &versions).await {
                Err(Error::Lake(error)) if error.kind() == lake::ErrorKind::Missing => return Ok(None),
                made => made?,
            };
            let is_of_lot =
                |file: &&lake::Added| file.partition_values.get(&by).and_then(Option::as_ref).is_some_and(|value| lot.contains(value));
            let files: Vec<lake::Added> = files.iter().filter(is_of_lot).cloned().collect();
            let names: Vec<String> = self.schema().fields().iter().map(|field| field.name().clone()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let there = self.table().read(&files, Some(&names)).await?;
            let compared = compare(self.schema(), &by, &made, &there)?;
            unlike.partitions.extend(compared.partitions);
            unlike.expected += compared.expected;
            unlike.found += compared.found;
        }
        Ok(Some(unlike))
    }
}

/// Compares rows as multisets: one that is there twice is not the same as one that is there once.
fn compare(schema: &SchemaRef, by: &str, made: &[RecordBatch], there: &[RecordBatch]) -> Result<Unlike, Error> {
    let failed = medallion::Error::from;
    let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let converter = RowConverter::new(fields).map_err(failed)?;
    let mut unlike = Unlike::default();
    let mut surplus: HashMap<OwnedRow, (i64, String)> = HashMap::new();
    for (batches, sign, total) in [(made, 1, &mut unlike.expected), (there, -1, &mut unlike.found)] {
        for batch in batches {
            *total += batch.num_rows() as u64;
            let values = cast(batch.column(schema.index_of(by).map_err(failed)?), &DataType::Utf8).map_err(failed)?;
            let values = values.as_string::<i32>();
            let rows = converter.convert_columns(batch.columns()).map_err(failed)?;
            for number in 0..rows.num_rows() {
                let value = || if values.is_valid(number) { values.value(number).to_owned() } else { String::new() };
                surplus.entry(rows.row(number).owned()).or_insert_with(|| (0, value())).0 += sign;
            }
        }
    }
    unlike.partitions.extend(surplus.into_values().filter(|(count, _)| *count != 0).map(|(_, value)| value));
    Ok(unlike)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    #[test]
    fn rows_are_compared_as_often_as_they_are_there() {
        let batch = |rows: &[(&str, Option<i64>)]| {
            let days: StringArray = rows.iter().map(|(day, _)| Some(*day)).collect();
            let numbers: Int64Array = rows.iter().map(|(_, number)| *number).collect();
            let columns: [(&str, ArrayRef, bool); 2] = [("day", Arc::new(days), true), ("n", Arc::new(numbers), true)];
            RecordBatch::try_from_iter_with_nullable(columns).unwrap()
        };
        let check = |made: &[(&str, Option<i64>)], there: &[(&str, Option<i64>)], expect: &[&str]| {
            let (made, there) = (batch(made), batch(there));
            let unlike = compare(&made.schema(), "day", std::slice::from_ref(&made), &[there]).unwrap();
            assert_eq!(unlike.partitions.iter().map(String::as_str).collect::<Vec<_>>(), expect);
        };
        check(&[("a", Some(1)), ("b", None)], &[("b", None), ("a", Some(1))], &[]);
        check(&[("a", Some(1))], &[("a", Some(1)), ("a", Some(1))], &["a"]);
        check(&[("a", Some(1)), ("b", Some(2))], &[("a", Some(1)), ("b", Some(3))], &["b"]);
        check(&[("a", None)], &[("a", Some(0)), ("c", Some(0))], &["a", "c"]);
    }
}
