//! The strict reader.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_json::de::{Read, SliceRead, StrRead};

use super::object::Members;
use super::{DEPTH_CEILING, Limits, Value};
use crate::Violation;
use crate::violation::pointer_token;

/// Reads one JSON value and nothing after it.
///
/// Stricter than most parsers, because what two parsers read differently would differ between Bronze's readers: a key that is there twice
/// (`duplicate_key`), nesting beyond the limit (`too_deep`, in constant stack however deep the input is), a string beyond the limit
/// (`string_too_long`), and whatever is not JSON of RFC 8259 in UTF-8, such as a lone surrogate, NaN or a number beyond a 64-bit float's range (`invalid_json`,
/// with line and column, the column in bytes).
///
/// # Errors
///
/// The first problem found, with its place.
pub fn parse_strict<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Value<'a>, Violation> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(StrRead::new(text), limits),
        // For the place of the first problem, which this or another one is.
        Err(_) => parse(SliceRead::new(bytes), limits),
    }
}

fn parse<'a>(read: impl Read<'a>, limits: &Limits) -> Result<Value<'a>, Violation> {
    let problem = RefCell::new(None);
    let reader = Reader { limits, problem: &problem, depth_left: limits.depth_max.min(DEPTH_CEILING) };
    let mut deserializer = serde_json::Deserializer::new(read);
    let outcome = reader.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    outcome.map_err(|error| problem.take().unwrap_or_else(|| syntax(&error)))
}

fn syntax(error: &serde_json::Error) -> Violation {
    if error.is_eof() && error.line() == 1 && error.column() == 0 {
        return Violation::new("invalid_json", "", "nothing here: send a JSON value");
    }
    let message = format!("{error}; send JSON as of RFC 8259, in UTF-8");
    Violation::new("invalid_json", "", message)
}

/// Reads one value at some depth. A problem of ours is left in `problem`, without its place; each level that it passes on the way out puts its own
/// part before that, so that sound input pays nothing for places.
#[derive(Clone, Copy)]
struct Reader<'a> {
    limits: &'a Limits,
    problem: &'a RefCell<Option<Violation>>,
    depth_left: usize,
}

impl<'a> Reader<'a> {
    fn refuse<E: serde::de::Error>(&self, violation: Violation) -> E {
        let error = E::custom(&violation.code);
        self.problem.replace(Some(violation));
        error
    }

    fn below<E: serde::de::Error>(&self) -> Result<Reader<'a>, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Reader { depth_left, ..*self }),
            None => {
                let max = self.limits.depth_max.min(DEPTH_CEILING);
                Err(self.refuse(Violation::new("too_deep", "", format!("nested deeper than {max} levels; send a flatter event"))))
            }
        }
    }

    fn placed<E>(&self, token: impl FnOnce() -> String, error: E) -> E {
        if let Some(violation) = self.problem.borrow_mut().as_mut() {
            violation.field = format!("/{}{}", token(), violation.field);
        }
        error
    }

    fn check_length<E: serde::de::Error>(&self, text: &str) -> Result<(), E> {
        let max = self.limits.string_bytes_max;
        if text.len() <= max {
            return Ok(());
        }
        let message = format!("has {} bytes, at most {max} are taken; shorten it", text.len());
        Err(self.refuse(Violation::new("string_too_long", "", message)))
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value<'de>, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value<'de>, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, value: &'de str) -> Result<Value<'de>, E> {
        self.check_length(value)?;
        Ok(Value::String(Cow::Borrowed(value)))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value<'de>, E> {
        self.check_length(value)?;
        Ok(Value::String(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value<'de>, A::Error> {
        let below = self.below()?;
        let mut array = Vec::new();
        loop {
            match items.next_element_seed(below) {
                Ok(Some(item)) => array.push(item),
                Ok(None) => return Ok(Value::Array(array)),
                Err(error) => return Err(self.placed(|| array.len().to_string(), error)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value<'de>, A::Error> {
        let below = self.below()?;
        let mut members = Members::default();
        while let Some(name) = access.next_key_seed(Name)? {
            self.check_length(&name)?;
            let Some(place) = members.place(&name) else {
                let field = format!("/{}", pointer_token(&name));
                return Err(self.refuse(Violation::new("duplicate_key", field, "is there twice; send each key once")));
            };
            match access.next_value_seed(below) {
                Ok(value) => members.put(place, name, value),
                Err(error) => return Err(self.placed(|| pointer_token(&name), error)),
            }
        }
        Ok(Value::Object(members.finish()))
    }
}

/// Reads the name of a member.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}
