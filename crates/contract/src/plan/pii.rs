//! Marks on properties with personal data.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json;
use crate::violation::pointer_token;

/// How far schemas are followed into one another, so that one that refers to itself comes to an end.
const DEPTH_MAX: usize = 16;
/// How many schemas are looked at for one event type: those that refer to one another, in several ways at each step, come to no end that anybody would wait for.
const STEPS_MAX: usize = 100_000;

/// How a property with personal data is to be kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pii {
    /// As it is.
    #[default]
    None,
    /// As a keyed hash, which still tells equal from different.
    Hash,
    /// Not at all.
    Drop,
    /// Shortened, such as an address without its last part.
    Truncate,
}

/// What is kept of the address that a client sends from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAddress {
    /// All of it.
    #[default]
    Keep,
    /// The network: the first 24 bits of IPv4, the first 48 bits of IPv6.
    Truncate,
    /// Nothing.
    Drop,
}

/// A place in an event with personal data.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PiiMark {
    /// The place as a JSON pointer, with `*` for every element of an array: `/properties/guests/*/email`.
    pub field: String,
    /// How it is to be kept.
    pub pii: Pii,
}

/// Whether a mark for all event types can be held to: it is for a member of the context or of the properties, and one that an event can have.
pub(super) fn check_place(field: &str) -> Result<(), String> {
    let inside = ["/context/", "/properties/"].iter().find_map(|part| field.strip_prefix(part));
    match inside {
        Some(rest) if rest.split('/').nth(json::DEPTH_CEILING).is_some() => {
            Err(format!("reaches deeper than any event does; name a place of at most {} parts", json::DEPTH_CEILING))
        }
        Some(rest) if rest.split('/').all(|part| !part.is_empty()) => Ok(()),
        _ => Err("must be a JSON pointer into the context or the properties, such as /context/ip".to_owned()),
    }
}

/// Collects the marks of an event type.
#[derive(Debug)]
pub(super) struct Marks<'a> {
    definitions: &'a Map<String, Value>,
    steps_left: usize,
    /// In the order in which they were found.
    found: Vec<PiiMark>,
    known: HashSet<PiiMark>,
}

impl<'a> Marks<'a> {
    /// To begin with, those of every event type.
    pub(super) fn new(definitions: &'a Map<String, Value>, of_all: &[PiiMark]) -> Self {
        Self { definitions, steps_left: STEPS_MAX, found: of_all.to_vec(), known: of_all.iter().cloned().collect() }
    }

    /// All that were collected.
    pub(super) fn into_found(self) -> Vec<PiiMark> {
        self.found
    }

    /// Adds the marks in a schema that holds for the value at `field`. The error names the place of a mark that is none.
    pub(super) fn collect(&mut self, field: &str, schema: &Value) -> Result<(), String> {
        self.collect_at(field, schema, 0)
    }

    fn collect_at(&mut self, field: &str, schema: &Value, depth: usize) -> Result<(), String> {
        let Value::Object(schema) = schema else { return Ok(()) };
        if depth == DEPTH_MAX {
            return Ok(());
        }
        let too_many = "holds schemas that refer to one another in too many ways to look for pii in all; refer to fewer, or less deep";
        self.steps_left = self.steps_left.checked_sub(1).ok_or(too_many)?;
        if let Some(mark) = schema.get("pii") {
            let pii = Pii::deserialize(mark).map_err(|_| format!("pii at {field} must be none, hash, drop or truncate"))?;
            let new = PiiMark { field: field.to_owned(), pii };
            if pii != Pii::None && self.known.insert(new.clone()) {
                self.found.push(new);
            }
        }
        let definitions = self.definitions;
        let referred = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix("#/$defs/"));
        if let Some(definition) = referred.and_then(|name| definitions.get(name)) {
            self.collect_at(field, definition, depth + 1)?;
        }
        for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            self.collect_at(&format!("{field}/{}", pointer_token(name)), inner, depth + 1)?;
        }
        if let Some(items) = schema.get("items") {
            self.collect_at(&format!("{field}/*"), items, depth + 1)?;
        }
        for branch in ["allOf", "anyOf", "oneOf"].iter().filter_map(|name| schema.get(*name)).filter_map(Value::as_array).flatten() {
            self.collect_at(field, branch, depth + 1)?;
        }
        Ok(())
    }
}
