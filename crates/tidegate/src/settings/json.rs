//! Values of files and of the environment as JSON, in which settings are put together.

use serde_json::{Number, Value};

/// A value of a TOML file.
pub(super) fn of_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Float(number) => Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number),
        toml::Value::Boolean(flag) => Value::Bool(flag),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(items) => items.into_iter().map(of_toml).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, of_toml(value))).collect(),
    }
}

/// A text of the environment, read as what the default of its setting is. What cannot be read as that stays text, for the error to show.
pub(super) fn of_text(text: &str, default: &Value) -> Value {
    let text = text.trim();
    let read = match default {
        Value::Number(_) => {
            let integer = text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<u64>().map(Value::from));
            integer.or_else(|_| text.parse::<f64>().map(Value::from)).ok()
        }
        Value::Bool(_) => text.parse::<bool>().map(Value::from).ok(),
        Value::Array(_) => Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()),
        // Not set by default: it can be unset again.
        Value::Null if text.is_empty() => Some(Value::Null),
        Value::Null | Value::String(_) | Value::Object(_) => None,
    };
    read.unwrap_or_else(|| Value::from(text))
}

/// A value as it is written in TOML; `None` where it is not set.
pub(super) fn to_toml(value: &Value) -> Option<toml::Value> {
    match value {
        Value::Null => None,
        Value::Bool(flag) => Some(toml::Value::Boolean(*flag)),
        Value::Number(number) => Some(match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => toml::Value::Integer(integer),
            (None, Some(float)) => toml::Value::Float(float),
            (None, None) => toml::Value::String(number.to_string()),
        }),
        Value::String(text) => Some(toml::Value::String(text.clone())),
        Value::Array(items) => Some(toml::Value::Array(items.iter().filter_map(to_toml).collect())),
        Value::Object(fields) => {
            let fields = fields.iter().filter_map(|(key, value)| Some((key.clone(), to_toml(value)?)));
            Some(toml::Value::Table(fields.collect()))
        }
    }
}
