//! The type of the column that a property is in queries.

use std::fmt;

use serde_json::Value;

/// The type of the column that a property is in queries, as far as its schema tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Column {
    /// `type: string`.
    Text,
    /// `type: integer`.
    Integer,
    /// `type: number`.
    Number,
    /// `type: boolean`.
    Boolean,
    /// `type: string` with `format: date-time`.
    Time,
    /// Anything else: its JSON.
    Json,
}

impl Column {
    /// What the schema of a property tells.
    pub(super) fn of(schema: &Value) -> Self {
        let types: Vec<&str> = match schema.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect(),
            _ => Vec::new(),
        };
        match types.as_slice() {
            ["string"] if schema.get("format").and_then(Value::as_str) == Some("date-time") => Self::Time,
            ["string"] => Self::Text,
            ["integer"] => Self::Integer,
            ["number"] | ["integer", "number"] | ["number", "integer"] => Self::Number,
            ["boolean"] => Self::Boolean,
            _ => Self::Json,
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "a text",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Time => "a time",
            Self::Json => "JSON",
        })
    }
}
