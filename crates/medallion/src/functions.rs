//! Functions that take a property out of JSON, as SQL has them in every engine. A value that is something else than was asked for is null.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit};
use contract::json;
use serde_json::value::RawValue;

const ZONE: &str = "UTC";
/// Digits of an amount, and how many of them are after the point.
const AMOUNT_DIGITS: u8 = 16;
const AMOUNT_SCALE: i8 = 6;
/// What an amount is below, in millionths.
const AMOUNT_END: i128 = 10_i128.pow(16);
/// Digits of a number that are looked at: more than any 64-bit number has.
const DIGITS_MAX: usize = 30;

/// A function of a JSON object, as text, and the name of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// A text.
    Text,
    /// A whole number, however it is written: JSON has but one kind of number.
    Integer,
    /// A number.
    Number,
    /// A number as a decimal one with six digits after the point, rounded half away from zero. It is below ten billion. Sums of such numbers are the same in whatever order they are added.
    Decimal,
    /// True or false.
    Boolean,
    /// A time, as the gate reads it.
    Time,
    /// Anything, as JSON.
    Json,
}

impl Function {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Text, Self::Integer, Self::Number, Self::Decimal, Self::Boolean, Self::Time, Self::Json];

    /// What it is called in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "json_text",
            Self::Integer => "json_integer",
            Self::Number => "json_number",
            Self::Decimal => "json_decimal",
            Self::Boolean => "json_boolean",
            Self::Time => "json_time",
            Self::Json => "json_value",
        }
    }

    /// What it gives.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Text | Self::Json => DataType::Utf8,
            Self::Integer => DataType::Int64,
            Self::Number => DataType::Float64,
            Self::Decimal => DataType::Decimal128(AMOUNT_DIGITS, AMOUNT_SCALE),
            Self::Boolean => DataType::Boolean,
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some(ZONE.into())),
        }
    }

    /// Its values for objects and names, of which there are as many.
    pub fn evaluate(self, objects: &StringArray, names: &StringArray) -> ArrayRef {
        let values = objects.iter().zip(names).map(|(object, name)| property(object?, name?));
        match self {
            Self::Json => Arc::new(values.map(|value| value.map(|raw| raw.get().to_owned())).collect::<StringArray>()),
            Self::Text => Arc::new(values.map(|value| serde_json::from_str::<String>(value?.get()).ok()).collect::<StringArray>()),
            Self::Integer => Arc::new(values.map(|value| integer(value?)).collect::<Int64Array>()),
            Self::Number => Arc::new(values.map(|value| serde_json::from_str::<f64>(value?.get()).ok()).collect::<Float64Array>()),
            Self::Decimal => {
                let amounts: Decimal128Array = values.map(|value| amount(value?.get())).collect();
                Arc::new(amounts.with_data_type(self.data_type()))
            }
            Self::Boolean => Arc::new(values.map(|value| serde_json::from_str::<bool>(value?.get()).ok()).collect::<BooleanArray>()),
            Self::Time => Arc::new(values.map(|value| time(value?)).collect::<TimestampMicrosecondArray>().with_timezone(ZONE)),
        }
    }
}

/// The value of a property; `None` also for null, and for what is no JSON object.
fn property<'a>(object: &'a str, name: &str) -> Option<&'a RawValue> {
    let mut properties: HashMap<Cow<'a, str>, &'a RawValue> = serde_json::from_str(object).ok()?;
    properties.remove(name).filter(|value| value.get() != "null")
}

fn integer(value: &RawValue) -> Option<i64> {
    let whole = serde_json::from_str::<i64>(value.get()).ok();
    // Up to 2^53 a float is exact.
    let float =
        || serde_json::from_str::<f64>(value.get()).ok().filter(|float| float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0);
    whole.or_else(|| float().map(|float| float as i64))
}

fn time(value: &RawValue) -> Option<i64> {
    let value = json::parse_strict(value.get().as_bytes(), &json::Limits::WIDEST).ok()?;
    contract::time::parse(&value).ok().map(contract::Timestamp::micros)
}

/// A JSON number in millionths. Its digits are taken as they are written: no float comes between.
fn amount(number: &str) -> Option<i128> {
    if !number.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return None;
    }
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: i64 = exponent.parse().ok()?;
    let (is_negative, unsigned) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = format!("{whole}{}", fraction.chars().take(DIGITS_MAX).collect::<String>());
    let digits = digits.trim_start_matches('0');
    if digits.len() > DIGITS_MAX * 2 {
        return None;
    }
    let kept = i64::try_from(fraction.len().min(DIGITS_MAX)).ok()?;
    let shift = exponent.saturating_sub(kept).saturating_add(i64::from(AMOUNT_SCALE));
    let value: i128 = if digits.is_empty() { 0 } else { digits.chars().take(DIGITS_MAX).collect::<String>().parse().ok()? };
    // Digits that were left off are before the point where there are so many.
    let left_off = i64::try_from(digits.len().saturating_sub(DIGITS_MAX)).ok()?;
    let millionths = scaled(value, shift.saturating_add(left_off))?;
    (millionths < AMOUNT_END).then_some(if is_negative { -millionths } else { millionths })
}

/// `value * 10^shift`, rounded half up; `None` where it is too large.
fn scaled(value: i128, shift: i64) -> Option<i128> {
    let power = |exponent: i64| u32::try_from(exponent).ok().and_then(|exponent| 10_i128.checked_pow(exponent));
    if value == 0 {
        return Some(0);
    }
    if shift >= 0 {
        return value.checked_mul(power(shift)?);
    }
    // What is below all digits is nothing.
    let Some(divisor) = power(-shift) else { return Some(0) };
    Some((value + divisor / 2) / divisor)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array as _, AsArray as _};
    use arrow::compute::cast;

    use super::*;

    #[test]
    fn values_that_are_something_else_are_null() {
        let object = r#"{"t": "x", "n": 2.5, "w": 3.0, "i": 7, "b": true, "at": "2026-11-23T10:00:00Z", "o": {"a": 1}, "z": null}"#;
        let check = |function: Function, object: &str, name: &str, expect: &str| {
            let found = function.evaluate(&StringArray::from(vec![object]), &StringArray::from(vec![name]));
            assert_eq!(*found.data_type(), function.data_type());
            let found = cast(&found, &DataType::Utf8).unwrap();
            assert_eq!(found.as_string::<i32>().iter().next().unwrap().unwrap_or_default(), expect, "{function:?} {name}");
        };
        check(Function::Text, object, "t", "x");
        check(Function::Text, object, "i", "");
        check(Function::Integer, object, "i", "7");
        check(Function::Integer, object, "w", "3");
        check(Function::Integer, object, "n", "");
        check(Function::Number, object, "n", "2.5");
        check(Function::Number, object, "t", "");
        check(Function::Decimal, object, "n", "2.500000");
        check(Function::Decimal, object, "t", "");
        check(Function::Decimal, object, "o", "");
        check(Function::Boolean, object, "b", "true");
        check(Function::Time, object, "at", "2026-11-23T10:00:00Z");
        check(Function::Json, object, "o", "{\"a\": 1}");
        check(Function::Json, object, "z", "");
        check(Function::Json, object, "none", "");
        check(Function::Text, "no json", "a", "");
    }

    #[test]
    fn amounts_are_what_is_written() {
        let check = |number: &str, expect: Option<i128>| assert_eq!(amount(number), expect, "{number}");
        check("0", Some(0));
        check("-0.0", Some(0));
        check("12.34", Some(12_340_000));
        check("-12.34", Some(-12_340_000));
        check("0.1234565", Some(123_457));
        check("-0.1234565", Some(-123_457));
        check("0.1234564999", Some(123_456));
        check("1e3", Some(1_000_000_000));
        check("1.5e-7", Some(0));
        check("5e-7", Some(1));
        check("1e-400", Some(0));
        check("0e999999999999", Some(0));
        check("9999999999.999999", Some(9_999_999_999_999_999));
        check("9999999999.9999999", None);
        check("1e+22", None);
        check("1e400", None);
        check("123456789012345678901234567890123456789", None);
        check("0.000000000000000000000000000000000000001", Some(0));
        check("\"1\"", None);
        check("true", None);
    }
}
