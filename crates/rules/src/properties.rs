//! What the properties of an event are to the checks, whatever tree they were read into.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// The properties of an event.
pub trait Properties {
    /// What one of them is.
    type Property: Property;

    /// The property of this name.
    fn get(&self, name: &str) -> Option<&Self::Property>;

    /// Name and value of each, in the order of names' bytes.
    fn iter(&self) -> impl Iterator<Item = (&str, &Self::Property)>;
}

/// The value of a property.
pub trait Property {
    /// Whether it is `null`, and so counts as absent.
    fn is_null(&self) -> bool;

    /// The value as validators take it. Asked for of a property that a schema is for, and of all where one is for the whole.
    fn to_json(&self) -> Cow<'_, Value>;
}

impl Properties for Map<String, Value> {
    type Property = Value;

    fn get(&self, name: &str) -> Option<&Value> {
        Self::get(self, name)
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        Self::iter(self).map(|(name, value)| (name.as_str(), value))
    }
}

impl Property for Value {
    fn is_null(&self) -> bool {
        Self::is_null(self)
    }

    fn to_json(&self) -> Cow<'_, Value> {
        Cow::Borrowed(self)
    }
}
