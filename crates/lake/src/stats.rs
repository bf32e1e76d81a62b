//! Statistics of a file as the Delta log keeps them: rows, and per column the nulls and bounds of the values. Pure.
//!
//! A reader skips a file by these, so a bound may be wide but never narrow: a shortened text or a time rounded to the milliseconds the protocol
//! knows is rounded down for the minimum and up for the maximum, and what has no safe bound has none.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch};
use arrow::compute::{max, max_string, min, min_string};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema, TimeUnit, TimestampMicrosecondType,
};
use serde_json::{Map, Value};

/// Delta indexes the first 32 columns unless a table says otherwise.
const COLUMNS_MAX: usize = 32;
/// Characters of a text that the log keeps.
const TEXT_CHARS_MAX: usize = 32;
/// Characters kept at most where the last one cannot be told from the mark that says "and anything after".
const TEXT_CHARS_WIDEST: usize = 64;
/// Greater than any character that may follow.
const GREATEST: char = char::MAX;

/// The statistics of the rows of one file.
#[derive(Debug, Clone)]
pub(crate) struct Stats {
    rows: u64,
    columns: Vec<Column>,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    nulls: u64,
    bounds: Bounds,
}

/// The least and the greatest value seen.
#[derive(Debug, Clone)]
enum Bounds {
    /// No type with bounds, or a value that has none (NaN).
    Without,
    Integer(Option<(i64, i64)>),
    Date(Option<(i64, i64)>),
    Time(Option<(i64, i64)>),
    Float(Option<(f64, f64)>),
    Text(Option<(String, String)>),
}

impl Stats {
    /// Statistics of no rows yet. `wanted` names the columns; when it is empty the first 32 that are not binary are taken.
    pub(crate) fn new(schema: &Schema, wanted: &[String]) -> Self {
        let fields = schema
            .fields()
            .iter()
            .filter(|field| if wanted.is_empty() { !matches!(field.data_type(), DataType::Binary) } else { wanted.contains(field.name()) });
        let fields = fields.filter(|field| !field.data_type().is_nested());
        let limit = if wanted.is_empty() { COLUMNS_MAX } else { usize::MAX };
        let column =
            |field: &arrow::datatypes::FieldRef| Column { name: field.name().clone(), nulls: 0, bounds: Bounds::of(field.data_type()) };
        Self { rows: 0, columns: fields.take(limit).map(column).collect() }
    }

    /// Counts these rows in.
    pub(crate) fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
        for column in &mut self.columns {
            if let Some(values) = batch.column_by_name(&column.name) {
                column.nulls += values.null_count() as u64;
                column.bounds.widen(values);
            }
        }
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// As the log keeps them.
    pub(crate) fn to_json(&self) -> String {
        let (mut least, mut greatest, mut nulls) = (Map::new(), Map::new(), Map::new());
        for column in &self.columns {
            nulls.insert(column.name.clone(), column.nulls.into());
            let (min, max) = column.bounds.to_json();
            if let Some(min) = min {
                least.insert(column.name.clone(), min);
            }
            if let Some(max) = max {
                greatest.insert(column.name.clone(), max);
            }
        }
        serde_json::json!({ "numRecords": self.rows, "minValues": least, "maxValues": greatest, "nullCount": nulls }).to_string()
    }
}

impl Bounds {
    fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Self::Integer(None),
            DataType::Date32 => Self::Date(None),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Self::Time(None),
            DataType::Float32 | DataType::Float64 => Self::Float(None),
            DataType::Utf8 => Self::Text(None),
            _ => Self::Without,
        }
    }

    fn widen(&mut self, values: &ArrayRef) {
        match self {
            Self::Without => {}
            Self::Integer(seen) => wider(seen, integers(values)),
            Self::Date(seen) => wider(seen, ends::<Date32Type, i64>(values)),
            Self::Time(seen) => wider(seen, ends::<TimestampMicrosecondType, i64>(values)),
            Self::Float(seen) => {
                let found = ends::<Float64Type, f64>(values).or_else(|| ends::<Float32Type, f64>(values));
                if found.is_some_and(|(min, max)| !min.is_finite() || !max.is_finite()) {
                    *self = Self::Without; // JSON has no way to write these
                } else {
                    wider(seen, found);
                }
            }
            Self::Text(seen) => {
                let Some(values) = values.as_string_opt::<i32>() else { return };
                let (Some(min), Some(max)) = (min_string(values), max_string(values)) else { return };
                match seen {
                    None => *seen = Some((min.to_owned(), max.to_owned())),
                    Some((least, greatest)) => {
                        if min < least.as_str() {
                            min.clone_into(least);
                        }
                        if max > greatest.as_str() {
                            max.clone_into(greatest);
                        }
                    }
                }
            }
        }
    }

    fn to_json(&self) -> (Option<Value>, Option<Value>) {
        match self {
            Self::Integer(Some((min, max))) => (Some((*min).into()), Some((*max).into())),
            Self::Float(Some((min, max))) => (Some((*min).into()), Some((*max).into())),
            Self::Date(Some((min, max))) => (date(*min), date(*max)),
            Self::Time(Some((min, max))) => (time(min.div_euclid(1000)), time(max.saturating_add(999).div_euclid(1000))),
            Self::Text(Some((min, max))) => (Some(shortened_down(min).into()), shortened_up(max).map(Value::from)),
            _ => (None, None),
        }
    }
}

fn wider<T: PartialOrd + Copy>(seen: &mut Option<(T, T)>, found: Option<(T, T)>) {
    *seen = match (*seen, found) {
        (Some((least, greatest)), Some((min, max))) => {
            Some((if min < least { min } else { least }, if max > greatest { max } else { greatest }))
        }
        (seen, found) => seen.or(found),
    };
}

fn integers(values: &ArrayRef) -> Option<(i64, i64)> {
    match values.data_type() {
        DataType::Int8 => ends::<Int8Type, i64>(values),
        DataType::Int16 => ends::<Int16Type, i64>(values),
        DataType::Int32 => ends::<Int32Type, i64>(values),
        _ => ends::<Int64Type, i64>(values),
    }
}

/// Arrow orders NaN above all numbers, so that it shows as the maximum.
fn ends<T: ArrowPrimitiveType, W: From<T::Native>>(values: &ArrayRef) -> Option<(W, W)> {
    let values: &PrimitiveArray<T> = values.as_primitive_opt()?;
    Some((min(values)?.into(), max(values)?.into()))
}

fn date(days: i64) -> Option<Value> {
    let time = chrono::DateTime::from_timestamp(days.checked_mul(86_400)?, 0)?;
    four_digit_year(&time).then(|| time.format("%Y-%m-%d").to_string().into())
}

fn time(millis: i64) -> Option<Value> {
    let time = chrono::DateTime::from_timestamp_millis(millis)?;
    four_digit_year(&time).then(|| time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string().into())
}

/// Readers differ on how other years are written.
fn four_digit_year(time: &chrono::DateTime<chrono::Utc>) -> bool {
    (1..=9999).contains(&chrono::Datelike::year(time))
}

fn shortened_down(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// A text that is not less than any that begins like this one; none if there is no short one.
fn shortened_up(text: &str) -> Option<String> {
    let mut rest = text.chars();
    let mut short: String = rest.by_ref().take(TEXT_CHARS_MAX).collect();
    let mut following = rest.next();
    if following.is_none() {
        return Some(short);
    }
    let mut chars = TEXT_CHARS_MAX;
    while following == Some(GREATEST) {
        short.push(GREATEST);
        chars += 1;
        if chars >= TEXT_CHARS_WIDEST {
            return None;
        }
        following = rest.next();
    }
    short.push(GREATEST);
    Some(short)
}

#[cfg(test)]
mod tests;
