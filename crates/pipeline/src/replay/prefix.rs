//! The order of identities: by the front of their digests. Pure.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::DataType;
use contract::Identity;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};

use crate::error::Error;

/// The name of the function in SQL.
pub(super) const FUNCTION: &str = "identity_prefix";
/// More than any prefix: everything is done.
pub(super) const END: i64 = i64::MAX;

/// The first 63 bits of the identity's digest, but never [`END`].
pub(super) fn of(source: &str, event_id: &str) -> i64 {
    let digest = Identity { source, event_id }.digest();
    let mut front = [0; 8];
    front.copy_from_slice(digest.first_chunk::<8>().unwrap_or(&[0; 8]));
    (u64::from_be_bytes(front) >> 1).cast_signed().min(END - 1)
}

/// How many of a million identities come before that one.
pub(super) fn millionths(prefix: i64) -> u32 {
    u32::try_from(i128::from(prefix) * 1_000_000 / i128::from(END)).unwrap_or_default()
}

/// The prefixes of rows of a table, by their `source` and `event_id`.
///
/// # Errors
/// Where they have no such columns.
pub(super) fn column(batch: &RecordBatch, table: &'static str) -> Result<Int64Array, Error> {
    let text = |name: &str| {
        let missing = || medallion::Error::Column { table, column: name.to_owned(), problem: "it is missing or no text".to_owned() };
        batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>()).ok_or_else(missing)
    };
    let (sources, ids) = (text("source")?, text("event_id")?);
    Ok((0..batch.num_rows()).map(|row| of(sources.value(row), ids.value(row))).collect())
}

/// The rows of identities after that prefix.
pub(super) fn after(batch: &RecordBatch, table: &'static str, prefix: i64) -> Result<RecordBatch, Error> {
    let prefixes = column(batch, table)?;
    let mask: BooleanArray = prefixes.values().iter().map(|found| Some(*found > prefix)).collect();
    Ok(filter_record_batch(batch, &mask).map_err(medallion::Error::from)?)
}

/// The same as a function for SQL: of source and event id.
pub(super) fn function() -> ScalarUDF {
    let texts = vec![DataType::Utf8, DataType::Utf8];
    create_udf(FUNCTION, texts, DataType::Int64, Volatility::Immutable, Arc::new(evaluate))
}

fn evaluate(arguments: &[ColumnarValue]) -> Result<ColumnarValue, DataFusionError> {
    let arrays = ColumnarValue::values_to_arrays(arguments)?;
    let text = |number: usize| arrays.get(number).and_then(|array| array.as_string_opt::<i32>());
    let (Some(sources), Some(ids)) = (text(0), text(1)) else {
        return Err(DataFusionError::Execution(format!("{FUNCTION} takes two texts")));
    };
    let prefixes: Int64Array = (0..sources.len().min(ids.len())).map(|row| of(sources.value(row), ids.value(row))).collect();
    Ok(ColumnarValue::Array(Arc::new(prefixes) as ArrayRef))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_spread_and_never_end() {
        let mut all: Vec<i64> = (0..10_000).map(|number| of("web", &format!("event-{number}"))).collect();
        assert!(all.iter().all(|prefix| (0..END).contains(prefix)));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 10_000);
        let middle = millionths(all[5_000]);
        assert!((450_000..550_000).contains(&middle), "{middle}");
        assert_eq!((millionths(0), millionths(END)), (0, 1_000_000));
        assert_ne!(of("ab", "c"), of("a", "bc"));
    }
}
