//! One value of a record batch as JSON.
//!
//! Whole numbers are numbers, times are RFC 3339 text with microseconds, bytes are text where they are UTF-8 and base64 where not, decimals are text because a JSON
//! reader would round them, and what JSON has no number for (not a number, infinity) is null.

use arrow::array::{Array, ArrayRef, AsArray as _};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contract::Timestamp;
use serde_json::{Map, Value};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MILLIS_PER_DAY: i64 = 86_400_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// The value at a row.
///
/// # Errors
///
/// When Arrow cannot show a value of a type that JSON has nothing for.
pub(crate) fn json(array: &dyn Array, row: usize) -> Result<Value, ArrowError> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Float16 => f32::from(array.as_primitive::<Float16Type>().value(row)).into(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row).into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).into(),
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).into(),
        DataType::Utf8View => array.as_string_view().value(row).into(),
        DataType::Binary => bytes(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => bytes(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => bytes(array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => bytes(array.as_fixed_size_binary().value(row)),
        DataType::Date32 => date(i64::from(array.as_primitive::<Date32Type>().value(row))),
        DataType::Date64 => date(array.as_primitive::<Date64Type>().value(row).div_euclid(MILLIS_PER_DAY)),
        DataType::Timestamp(unit, zone) => time(micros(array, row, *unit), zone.is_some()),
        DataType::List(_) => list(&array.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => list(&array.as_list::<i64>().value(row))?,
        DataType::FixedSizeList(..) => list(&array.as_fixed_size_list().value(row))?,
        DataType::Struct(_) => structure(array, row)?,
        DataType::Map(..) => map(array, row)?,
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            match json(dictionary.keys(), row)?.as_u64().and_then(|key| usize::try_from(key).ok()) {
                Some(key) => json(dictionary.values().as_ref(), key)?,
                None => Value::Null,
            }
        }
        _ => shown(array, row)?,
    })
}

fn bytes(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes).map_or_else(|_| STANDARD.encode(bytes), str::to_owned).into()
}

fn date(days: i64) -> Value {
    Timestamp(days.saturating_mul(MICROS_PER_DAY)).date_text().into()
}

fn micros(array: &dyn Array, row: usize, unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().value(row).saturating_mul(MICROS_PER_SECOND),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row).saturating_mul(1_000),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row),
        TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().value(row).div_euclid(1_000),
    }
}

/// An instant is shown in UTC. A time without a zone is no instant, so it gets no `Z`.
fn time(micros: i64, has_zone: bool) -> Value {
    let text = Timestamp(micros).to_rfc3339();
    match text.strip_suffix('Z') {
        Some(local) if !has_zone => local.into(),
        _ => text.into(),
    }
}

fn list(items: &ArrayRef) -> Result<Value, ArrowError> {
    (0..items.len()).map(|row| json(items.as_ref(), row)).collect::<Result<Vec<_>, _>>().map(Value::Array)
}

fn structure(array: &dyn Array, row: usize) -> Result<Value, ArrowError> {
    let array = array.as_struct();
    let fields = array.fields().iter().zip(array.columns());
    let fields = fields.map(|(field, column)| Ok((field.name().clone(), json(column.as_ref(), row)?)));
    fields.collect::<Result<Map<_, _>, ArrowError>>().map(Value::Object)
}

fn map(array: &dyn Array, row: usize) -> Result<Value, ArrowError> {
    let entries = array.as_map().value(row);
    let mut fields = Map::new();
    if let [keys, values] = entries.columns() {
        for entry in 0..entries.len() {
            let key = match json(keys.as_ref(), entry)? {
                Value::String(key) => key,
                other => other.to_string(),
            };
            fields.insert(key, json(values.as_ref(), entry)?);
        }
    }
    Ok(Value::Object(fields))
}

fn shown(array: &dyn Array, row: usize) -> Result<Value, ArrowError> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array, &options)?;
    Ok(formatter.value(row).try_to_string()?.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int64Array, ListArray, StringArray,
        StructArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
    };
    use arrow::datatypes::Field;
    use serde_json::json as value;

    use super::*;

    fn check(array: &dyn Array, expect: Value) {
        let found: Vec<Value> = (0..array.len()).map(|row| json(array, row).unwrap()).collect();
        assert_eq!(Value::Array(found), expect, "{:?}", array.data_type());
    }

    #[test]
    fn values_become_json() {
        check(&Int64Array::from(vec![Some(i64::MAX), None, Some(-1)]), value!([i64::MAX, null, -1]));
        check(&UInt64Array::from(vec![u64::MAX]), value!([u64::MAX]));
        check(&Float64Array::from(vec![1.5, f64::NAN, f64::INFINITY]), value!([1.5, null, null]));
        check(&BooleanArray::from(vec![true, false]), value!([true, false]));
        check(&StringArray::from(vec!["é", ""]), value!(["é", ""]));
        check(&BinaryArray::from(vec![&b"{\"a\":1}"[..], &b"\xff\x00"[..]]), value!(["{\"a\":1}", "/wA="]));
        check(&Date32Array::from(vec![0, -1, 20_541]), value!(["1970-01-01", "1969-12-31", "2026-03-29"]));
        check(&Decimal128Array::from(vec![12_345]).with_precision_and_scale(10, 2).unwrap(), value!(["123.45"]));
    }

    #[test]
    fn instants_are_in_utc_with_microseconds() {
        let at = 1_774_787_696_789_000;
        let zoned = TimestampMicrosecondArray::from(vec![at]);
        check(&zoned.clone().with_timezone("UTC"), value!(["2026-03-29T12:34:56.789000Z"]));
        check(&zoned, value!(["2026-03-29T12:34:56.789000"]));
        check(&TimestampNanosecondArray::from(vec![-1]).with_timezone("+00:00"), value!(["1969-12-31T23:59:59.999999Z"]));
    }

    #[test]
    fn nested_values_are_nested() {
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
        check(&lists, value!([[1, null], null, []]));
        let field = |name| Arc::new(Field::new(name, DataType::Int64, true));
        let column = || Arc::new(Int64Array::from(vec![Some(7), None])) as ArrayRef;
        check(&StructArray::from(vec![(field("b"), column()), (field("a"), column())]), value!([{"b": 7, "a": 7}, {"b": null, "a": null}]));
        let words: DictionaryArray<Int32Type> = ["x", "y", "x"].into_iter().collect();
        check(&words, value!(["x", "y", "x"]));
    }
}
