//! One thing that is wrong with one event.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One thing that is wrong with one event: a stable code for programs, the field, and a message for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// A stable, snake_case word, such as `missing_field` or `invalid_time`.
    pub code: String,
    /// The place in the event as a JSON pointer, such as `/properties/price`; empty for the event itself.
    pub field: String,
    /// What is wrong and what to do, as a lowercase fragment.
    pub message: String,
}

impl Violation {
    /// A violation of `code` at `field`.
    pub fn new(code: &str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), field: field.into(), message: message.into() }
    }
}

/// The longest key that is shown whole in a JSON pointer, in characters.
const POINTER_TOKEN_CHARS_MAX: usize = 128;

/// A key as one part of a JSON pointer (RFC 6901: `~` is `~0`, `/` is `~1`). A key beyond 128 characters is cut and ends in `…`, so that a violation
/// stays small whatever a client sends.
pub fn pointer_token(key: &str) -> String {
    let mut token = String::with_capacity(key.len().min(POINTER_TOKEN_CHARS_MAX));
    for (index, c) in key.chars().enumerate() {
        if index == POINTER_TOKEN_CHARS_MAX {
            token.push('…');
            break;
        }
        match c {
            '~' => token.push_str("~0"),
            '/' => token.push_str("~1"),
            other => token.push(other),
        }
    }
    token
}

/// What a value is, with its article, for messages.
pub(crate) fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
