//! Properties as columns: functions that take one out of the JSON, and for each event type of the plan the statement of a view that has them all.
//!
//! The properties of an event are one column of JSON in Silver, so a new property needs no new column and no rewriting. A view says what each one is to be; a value that is something else is null there.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit};
use contract::plan::Column;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use datafusion::prelude::SessionContext;
use serde_json::Value;
use serde_json::value::RawValue;

/// The schema of the views.
pub(crate) const SCHEMA: &str = "events";
/// The columns of Silver that every view has.
const COMMON: [&str; 26] = [
    "source",
    "event_id",
    "name",
    "event_time",
    "event_date",
    "received_at",
    "is_late",
    "user_id",
    "anonymous_id",
    "session_id",
    "page_url",
    "page_path",
    "page_title",
    "page_referrer",
    "campaign_source",
    "campaign_medium",
    "campaign_name",
    "device_type",
    "os",
    "browser",
    "is_bot",
    "locale",
    "experiment_id",
    "variation_id",
    "plan_version",
    "plan_violations",
];
const ZONE: &str = "UTC";

/// Makes the functions.
pub(crate) fn register_functions(session: &SessionContext) {
    for column in [Column::Text, Column::Integer, Column::Number, Column::Boolean, Column::Time, Column::Json] {
        session.register_udf(create_udf(
            function(column),
            vec![DataType::Utf8, DataType::Utf8],
            data_type(column),
            Volatility::Immutable,
            Arc::new(move |arguments: &[ColumnarValue]| evaluate(column, arguments)),
        ));
    }
}

/// The statement that is the view of an event type. A property that is called like a column that is there already is called `property_` and its name.
pub(crate) fn view(event_type: &str, properties: &[(String, Column)]) -> String {
    let property = |(name, column): &(String, Column)| {
        let is_taken = COMMON.contains(&name.as_str()) || ["properties", "context"].contains(&name.as_str());
        let shown = if is_taken { format!("property_{name}") } else { name.clone() };
        format!("{}(properties, {}) AS {}", function(*column), text(name), identifier(&shown))
    };
    let columns: Vec<String> = COMMON.iter().map(|name| (*name).to_owned()).chain(properties.iter().map(property)).collect();
    let columns = columns.join(", ");
    format!("SELECT {columns}, properties, context FROM silver.events WHERE event_type = {}", text(event_type))
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

fn function(column: Column) -> &'static str {
    match column {
        Column::Text => "json_text",
        Column::Integer => "json_integer",
        Column::Number => "json_number",
        Column::Boolean => "json_boolean",
        Column::Time => "json_time",
        Column::Json => "json_value",
    }
}

fn data_type(column: Column) -> DataType {
    match column {
        Column::Text | Column::Json => DataType::Utf8,
        Column::Integer => DataType::Int64,
        Column::Number => DataType::Float64,
        Column::Boolean => DataType::Boolean,
        Column::Time => DataType::Timestamp(TimeUnit::Microsecond, Some(ZONE.into())),
    }
}

fn evaluate(column: Column, arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(arguments)?;
    let texts = |number: usize| arrays.get(number).and_then(|array| array.as_string_opt::<i32>());
    let (Some(objects), Some(names)) = (texts(0), texts(1)) else {
        return Err(DataFusionError::Execution(format!("{} takes a JSON object as text, and the name of a property", function(column))));
    };
    let values = objects.iter().zip(names).map(|(object, name)| property(object?, name?));
    Ok(ColumnarValue::Array(match column {
        Column::Json => Arc::new(values.map(|value| value.map(|raw| raw.get().to_owned())).collect::<StringArray>()) as ArrayRef,
        Column::Text => Arc::new(values.map(|value| serde_json::from_str::<String>(value?.get()).ok()).collect::<StringArray>()),
        Column::Integer => Arc::new(values.map(|value| integer(value?)).collect::<Int64Array>()),
        Column::Number => Arc::new(values.map(|value| serde_json::from_str::<f64>(value?.get()).ok()).collect::<Float64Array>()),
        Column::Boolean => Arc::new(values.map(|value| serde_json::from_str::<bool>(value?.get()).ok()).collect::<BooleanArray>()),
        Column::Time => Arc::new(values.map(|value| time(value?)).collect::<TimestampMicrosecondArray>().with_timezone(ZONE)),
    }))
}

/// The value of a property; `None` also for null, and for what is no JSON object.
fn property<'a>(object: &'a str, name: &str) -> Option<&'a RawValue> {
    let mut properties: HashMap<std::borrow::Cow<'a, str>, &'a RawValue> = serde_json::from_str(object).ok()?;
    properties.remove(name).filter(|value| value.get() != "null")
}

/// A whole number, however it is written: JSON has but one kind of number.
fn integer(value: &RawValue) -> Option<i64> {
    let whole = serde_json::from_str::<i64>(value.get()).ok();
    // Up to 2^53 a float is exact.
    let float =
        || serde_json::from_str::<f64>(value.get()).ok().filter(|float| float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0);
    whole.or_else(|| float().map(|float| float as i64))
}

fn time(value: &RawValue) -> Option<i64> {
    let value: Value = serde_json::from_str(value.get()).ok()?;
    contract::time::parse(&value).ok().map(contract::Timestamp::micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn values_that_are_something_else_are_null() {
        let session = SessionContext::new();
        register_functions(&session);
        let object = r#"{"t": "x", "n": 2.5, "w": 3.0, "i": 7, "b": true, "at": "2026-11-23T10:00:00Z", "o": {"a": 1}, "z": null}"#;
        for (call, expected) in [
            ("json_text({}, 't')", "x"),
            ("json_text({}, 'i')", ""),
            ("json_integer({}, 'i')", "7"),
            ("json_integer({}, 'w')", "3"),
            ("json_integer({}, 'n')", ""),
            ("json_number({}, 'n')", "2.5"),
            ("json_number({}, 't')", ""),
            ("json_boolean({}, 'b')", "true"),
            ("json_time({}, 'at')", "2026-11-23T10:00:00Z"),
            ("json_value({}, 'o')", "{\"a\": 1}"),
            ("json_value({}, 'z')", ""),
            ("json_value({}, 'none')", ""),
            ("json_text('no json', 'a')", ""),
        ] {
            let sql = format!("SELECT CAST({} AS VARCHAR)", call.replace("{}", &text(object)));
            let batches = session.sql(&sql).await.unwrap().collect().await.unwrap();
            let found = arrow::compute::cast(batches[0].column(0), &DataType::Utf8).unwrap();
            assert_eq!(found.as_string::<i32>().iter().next().unwrap().unwrap_or_default(), expected, "{sql}");
        }
    }

    #[test]
    fn names_are_quoted_and_do_not_collide() {
        let sql = view("it's \"x\"", &[("user_id".to_owned(), Column::Text), ("price".to_owned(), Column::Number)]);
        assert!(sql.starts_with("SELECT source, "), "{sql}");
        assert!(
            sql.contains("json_text(properties, 'user_id') AS \"property_user_id\", json_number(properties, 'price') AS \"price\""),
            "{sql}"
        );
        assert!(sql.ends_with("WHERE event_type = 'it''s \"x\"'"), "{sql}");
    }
}
