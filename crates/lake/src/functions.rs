//! Functions for statements, beside DataFusion's own.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Int64Array, StringArray};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};

/// A function of two texts that gives the same for the same.
pub fn of_two_texts(
    name: &'static str,
    gives: DataType,
    of: impl Fn(&StringArray, &StringArray) -> ArrayRef + Send + Sync + 'static,
) -> ScalarUDF {
    let evaluate = move |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let texts = |number: usize| arrays.get(number).and_then(|array| array.as_string_opt::<i32>());
        match (texts(0), texts(1)) {
            (Some(one), Some(other)) => Ok(ColumnarValue::Array(of(one, other))),
            _ => Err(DataFusionError::Execution(format!("{name} takes two texts"))),
        }
    };
    create_udf(name, vec![DataType::Utf8, DataType::Utf8], gives, Volatility::Immutable, Arc::new(evaluate))
}

/// `unix_micros`, as Spark has it: an instant as microseconds.
pub(crate) fn unix_micros() -> ScalarUDF {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    create_udf("unix_micros", vec![instant], DataType::Int64, Volatility::Immutable, Arc::new(micros))
}

fn micros(arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(arguments)?;
    match arrays.first().and_then(|array| array.as_primitive_opt::<TimestampMicrosecondType>()) {
        Some(times) => Ok(ColumnarValue::Array(Arc::new(times.iter().collect::<Int64Array>()))),
        None => Err(DataFusionError::Execution("unix_micros takes an instant".to_owned())),
    }
}
