//! Properties of an event as they will be written: in their order, and with no more types than needed.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// Names and values, in order. Null values are left out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts(pub(crate) Vec<(&'static str, Fact)>);

/// A value.
#[derive(Debug, Clone)]
pub(crate) enum Fact {
    Text(Cow<'static, str>),
    Whole(u32),
    /// An amount of money in hundredths, written as a decimal number.
    Cents(u32),
    Nested(Facts),
}

impl Facts {
    pub(crate) fn with(mut self, name: &'static str, fact: impl Into<Fact>) -> Self {
        self.0.push((name, fact.into()));
        self
    }

    /// Adds what is there.
    pub(crate) fn with_some(self, name: &'static str, fact: Option<impl Into<Fact>>) -> Self {
        match fact {
            Some(fact) => self.with(name, fact),
            None => self,
        }
    }
}

impl From<&'static str> for Fact {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Fact {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<Facts> for Fact {
    fn from(facts: Facts) -> Self {
        Self::Nested(facts)
    }
}

impl Serialize for Facts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, fact) in &self.0 {
            map.serialize_entry(name, fact)?;
        }
        map.end()
    }
}

impl Serialize for Fact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Whole(number) => serializer.serialize_u32(*number),
            Self::Cents(cents) => serializer.serialize_f64(f64::from(*cents) / 100.0),
            Self::Nested(facts) => facts.serialize(serializer),
        }
    }
}
