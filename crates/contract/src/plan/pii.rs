//! Marks on properties with personal data.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::violation::pointer_token;

/// How far schemas are followed into one another, so that one that refers to itself comes to an end.
const DEPTH_MAX: usize = 16;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PiiMark {
    /// The place as a JSON pointer, with `*` for every element of an array: `/properties/guests/*/email`.
    pub field: String,
    /// How it is to be kept.
    pub pii: Pii,
}

/// Whether a mark for all event types can be held to: it is for a member of the context or of the properties.
pub(super) fn check_place(field: &str) -> Result<(), String> {
    let inside = ["/context/", "/properties/"].iter().find_map(|part| field.strip_prefix(part));
    match inside {
        Some(rest) if rest.split('/').all(|part| !part.is_empty()) => Ok(()),
        _ => Err("must be a JSON pointer into the context or the properties, such as /context/ip".to_owned()),
    }
}

/// Adds the marks in a schema that holds for the value at `field`. The error names the place of a mark that is none.
pub(super) fn collect(
    field: &str,
    schema: &Value,
    definitions: &Map<String, Value>,
    depth: usize,
    marks: &mut Vec<PiiMark>,
) -> Result<(), String> {
    let Value::Object(schema) = schema else { return Ok(()) };
    if depth == DEPTH_MAX {
        return Ok(());
    }
    if let Some(mark) = schema.get("pii") {
        let pii = Pii::deserialize(mark).map_err(|_| format!("pii at {field} must be none, hash, drop or truncate"))?;
        let new = PiiMark { field: field.to_owned(), pii };
        if pii != Pii::None && !marks.contains(&new) {
            marks.push(new);
        }
    }
    let referred = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix("#/$defs/"));
    if let Some(definition) = referred.and_then(|name| definitions.get(name)) {
        collect(field, definition, definitions, depth + 1, marks)?;
    }
    for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        collect(&format!("{field}/{}", pointer_token(name)), inner, definitions, depth + 1, marks)?;
    }
    if let Some(items) = schema.get("items") {
        collect(&format!("{field}/*"), items, definitions, depth + 1, marks)?;
    }
    for branch in ["allOf", "anyOf", "oneOf"].iter().filter_map(|name| schema.get(*name)).filter_map(Value::as_array).flatten() {
        collect(field, branch, definitions, depth + 1, marks)?;
    }
    Ok(())
}
