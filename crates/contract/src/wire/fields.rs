//! Takes the fields of one JSON object one by one, and keeps account of what is wrong with them.

use std::borrow::Cow;

use super::EVENT_TYPE_CHARS_MAX;
use crate::json::{Object, Value};
use crate::violation::pointer_token;
use crate::{EventId, Timestamp, Violation, json, time};

/// The fields of an object that are still to be taken, and the violations met while taking.
///
/// A field that is `null` is absent throughout. Each method that takes a field returns what an absent one would give when the field is wrong: the violation
/// is noted, and [`Fields::finish`] turns it into the error.
pub(super) struct Fields<'a> {
    rest: Object<'a>,
    violations: Vec<Violation>,
}

impl<'a> Fields<'a> {
    /// Reads one event's bytes, which must be an object.
    pub(super) fn parse(payload: &'a [u8], limits: &json::Limits) -> Result<Self, Vec<Violation>> {
        Self::of(json::parse_strict(payload, limits).map_err(|violation| vec![violation])?)
    }

    pub(super) fn of(value: Value<'a>) -> Result<Self, Vec<Violation>> {
        match value {
            Value::Object(rest) => Ok(Self { rest, violations: Vec::new() }),
            other => Err(vec![Violation::new("wrong_type", "", format!("must be an object, is {}", other.kind()))]),
        }
    }

    /// The value itself, or the error if anything was wrong.
    pub(super) fn finish<T>(self, value: T) -> Result<T, Vec<Violation>> {
        if self.violations.is_empty() { Ok(value) } else { Err(self.violations) }
    }

    /// Notes what is wrong with the field of this name.
    pub(super) fn violation(&mut self, code: &str, name: &str, message: impl Into<String>) {
        self.violations.push(Violation::new(code, format!("/{}", pointer_token(name)), message));
    }

    /// The field as it is.
    pub(super) fn take(&mut self, name: &str) -> Option<Value<'a>> {
        self.rest.remove(name).filter(|value| !value.is_null())
    }

    /// What no one has taken.
    pub(super) fn take_rest(&mut self) -> Object<'a> {
        std::mem::take(&mut self.rest)
    }

    /// Fills in fields that are absent.
    pub(super) fn fill(&mut self, defaults: &Object<'a>) {
        self.rest.fill(defaults);
    }

    /// A text. An empty one is absent.
    pub(super) fn text(&mut self, name: &str) -> Option<Cow<'a, str>> {
        match self.take(name)? {
            Value::String(text) => Some(text).filter(|text| !text.is_empty()),
            other => {
                self.wrong_type(name, "a string", &other);
                None
            }
        }
    }

    /// A text that must be there.
    pub(super) fn required_text(&mut self, name: &str, what: &str) -> Cow<'a, str> {
        let wrong_before = self.violations.len();
        let text = self.text(name);
        if text.is_none() && self.violations.len() == wrong_before {
            self.violation("missing_field", name, format!("is missing; send {what}"));
        }
        text.unwrap_or_default()
    }

    /// An id: a text, or a number or boolean as its text.
    pub(super) fn id(&mut self, name: &str) -> Option<Cow<'a, str>> {
        let text = match self.take(name)? {
            Value::String(text) => Ok(text),
            other => scalar_text(&other),
        };
        match text {
            Ok(text) => Some(text).filter(|text| !text.is_empty()),
            Err(problem) => {
                self.violation("wrong_type", name, problem);
                None
            }
        }
    }

    /// The id of the event itself.
    pub(super) fn event_id(&mut self, name: &str) -> Option<EventId> {
        let id = EventId::try_from(self.id(name)?.into_owned());
        id.map_err(|problem| self.violation("invalid_event_id", name, format!("{problem}; shorten it"))).ok()
    }

    /// The type of the event, within [`EVENT_TYPE_CHARS_MAX`].
    pub(super) fn event_type(&mut self, name: &str, what: &str) -> Cow<'a, str> {
        let event_type = self.required_text(name, what);
        let chars = event_type.chars().count();
        if chars > EVENT_TYPE_CHARS_MAX {
            let message = format!("has {chars} characters, at most {EVENT_TYPE_CHARS_MAX} are taken; shorten it");
            self.violation("event_type_too_long", name, message);
        }
        event_type
    }

    /// A time.
    pub(super) fn time(&mut self, name: &str) -> Option<Timestamp> {
        let value = self.take(name)?;
        self.time_of(name, &value)
    }

    /// [`Fields::time`] of a value that was taken before.
    pub(super) fn time_of(&mut self, name: &str, value: &Value<'_>) -> Option<Timestamp> {
        let wrong = |problem: time::Invalid| self.violation("invalid_time", name, problem.to_string());
        time::parse(value).map_err(wrong).ok()
    }

    /// An object; an absent one is empty.
    pub(super) fn object(&mut self, name: &str) -> Object<'a> {
        self.optional_object(name).unwrap_or_default()
    }

    /// An object.
    pub(super) fn optional_object(&mut self, name: &str) -> Option<Object<'a>> {
        match self.take(name)? {
            Value::Object(object) => Some(object),
            Value::Array(items) if items.is_empty() => Some(Object::new()),
            other => {
                self.wrong_type(name, "an object", &other);
                None
            }
        }
    }

    fn wrong_type(&mut self, name: &str, wanted: &str, value: &Value<'_>) {
        let message = format!("must be {wanted}, is {}", value.kind());
        self.violation("wrong_type", name, message);
    }
}

/// The text of a string, a boolean or a number; the error says what is wrong. Beyond 2^53 a float is not one number but a range of them, so two clients' numbers could
/// become one text.
pub(super) fn scalar_text<'a>(value: &Value<'a>) -> Result<Cow<'a, str>, String> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(flag) => Ok(Cow::Borrowed(if *flag { "true" } else { "false" })),
        Value::Number(number) if number.is_f64() && number.as_f64().is_none_or(|float| float.abs() >= EXACT_MAX) => {
            Err("is a number with more digits than a 64-bit float holds; send it as a string".to_owned())
        }
        Value::Number(_) => Ok(Cow::Owned(json::canonical(value))),
        other => Err(format!("must be a string, is {}", other.kind())),
    }
}
