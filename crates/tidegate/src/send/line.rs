//! One line: whether it is an event, of which shape, and with which id.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The shape of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Tidegate's own.
    Native,
    /// Segment's.
    Segment,
}

impl Shape {
    fn id_field(self) -> &'static str {
        match self {
            Self::Native => "event_id",
            Self::Segment => "messageId",
        }
    }
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "as_written")]
    event_id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_written", rename = "messageId")]
    message_id: Option<&'a RawValue>,
    #[serde(rename = "type")]
    call: Option<IgnoredAny>,
    event_type: Option<IgnoredAny>,
}

/// The value, also if it is `null`: an `Option` alone could not tell that from a field that is not there.
fn as_written<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A line that is a JSON object.
pub(crate) struct Event<'a> {
    line: &'a [u8],
    /// `None` where a key that matters is there twice: that is for the gate to refuse.
    fields: Option<Fields<'a>>,
}

/// Reads a line without blanks around it.
///
/// # Errors
///
/// Why it is no JSON object.
pub(crate) fn read(line: &[u8]) -> Result<Event<'_>, String> {
    if let Ok(fields) = serde_json::from_slice::<Fields<'_>>(line)
        && line.starts_with(b"{")
    {
        return Ok(Event { line, fields: Some(fields) });
    }
    match serde_json::from_slice::<IgnoredAny>(line) {
        Ok(_) if line.starts_with(b"{") => Ok(Event { line, fields: None }),
        Ok(_) => Err("is JSON, but no object".to_owned()),
        // It is one line, whatever the parser calls it.
        Err(error) => Err(format!("is no JSON: {}", error.to_string().replace(" at line 1 column ", " at column "))),
    }
}

impl<'a> Event<'a> {
    /// What it looks like: Segment's calls have a `type` and no `event_type`.
    pub(crate) fn shape(&self) -> Shape {
        let is_call = self.fields.as_ref().is_some_and(|fields| fields.call.is_some() && fields.event_type.is_none());
        if is_call { Shape::Segment } else { Shape::Native }
    }

    /// The bytes to send: those of the line, with an id if it has none.
    pub(crate) fn with_id(&self, shape: Shape, new_id: impl FnOnce() -> String) -> Cow<'a, [u8]> {
        let Some(fields) = &self.fields else { return Cow::Borrowed(self.line) };
        let id = match shape {
            Shape::Native => fields.event_id,
            Shape::Segment => fields.message_id,
        };
        match id.map(RawValue::get) {
            // The gate takes both for absent and would make an id of its own, another one each time.
            Some(absent @ ("null" | "\"\"")) => self.replaced(absent, &format!("\"{}\"", new_id())),
            Some(_) => Cow::Borrowed(self.line),
            None => self.inserted(shape.id_field(), &new_id()),
        }
    }

    fn replaced(&self, part: &'a str, by: &str) -> Cow<'a, [u8]> {
        let at = (part.as_ptr() as usize).saturating_sub(self.line.as_ptr() as usize);
        let (Some(before), Some(after)) = (self.line.get(..at), self.line.get(at + part.len()..)) else { return Cow::Borrowed(self.line) };
        Cow::Owned([before, by.as_bytes(), after].concat())
    }

    fn inserted(&self, field: &str, id: &str) -> Cow<'a, [u8]> {
        let rest = self.line.strip_prefix(b"{").unwrap_or(self.line).trim_ascii_start();
        let comma = if rest.starts_with(b"}") { "" } else { "," };
        Cow::Owned([format!("{{\"{field}\":\"{id}\"{comma}").as_bytes(), rest].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, shape: Shape, expect: &str) {
        let event = read(line.as_bytes()).unwrap_or_else(|problem| panic!("{line}: {problem}"));
        assert_eq!(event.shape(), shape, "{line}");
        let sent = event.with_id(shape, || "new".to_owned());
        assert_eq!(String::from_utf8_lossy(&sent), expect, "{line}");
    }

    #[test]
    fn an_event_without_id_gets_one_and_others_stay_as_they_are() {
        use Shape::{Native, Segment};
        let same = |line: &str, shape| check(line, shape, line);
        same(r#"{"event_id":"a","event_type":"x"}"#, Native);
        same(r#"{"event_id":7,"event_type":"x","price":1.0000000000000000001}"#, Native);
        same(r#"{"type":"track","messageId":"a"}"#, Segment);
        same(r#"{"event_id":"a","event_id":"b"}"#, Native);
        check(r#"{"event_type":"x"}"#, Native, r#"{"event_id":"new","event_type":"x"}"#);
        check("{ }", Native, r#"{"event_id":"new"}"#);
        check(r#"{"type":"page"}"#, Segment, r#"{"messageId":"new","type":"page"}"#);
        check(r#"{"type":"page","event_type":"x"}"#, Native, r#"{"event_id":"new","type":"page","event_type":"x"}"#);
        check(r#"{"event_type":"x", "event_id" : null }"#, Native, r#"{"event_type":"x", "event_id" : "new" }"#);
        check(r#"{"type":"page","messageId":""}"#, Segment, r#"{"type":"page","messageId":"new"}"#);
    }

    #[test]
    fn what_is_no_object_is_no_event() {
        for line in ["", "x", "{", "[1]", "1", "null", "\"a\"", "{} {}", "{\"a\":}"] {
            assert!(read(line.as_bytes()).is_err(), "{line}");
        }
    }
}
