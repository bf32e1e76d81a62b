//! What a tracking plan allows: the checks that the gate and the SDK for Rust have in common, so that both come to the same verdict.
//!
//! A plan is written, read with all its problems told, and compared in `contract`; here is what is left of it when an event is to be checked.

use std::collections::BTreeMap;

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use thiserror::Error;

mod check;
mod properties;
mod violation;

pub use check::VIOLATIONS_MAX;
pub use properties::{Properties, Property};
pub use violation::{Violation, pointer_token};

/// The event type that says who saw which variation of an experiment.
pub const FEATURE_EXPOSURE: &str = "feature_exposure";

/// What happens to an event that breaks the plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Taken, and kept as a dead letter; the answer says so.
    #[default]
    Quarantine,
    /// Not taken.
    Reject,
    /// Taken into Silver, marked.
    Flag,
}

/// What an event is whose type the plan does not name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownTypes {
    /// As good as any.
    #[default]
    Allow,
    /// A violation (`unknown_event_type`).
    Violation,
}

/// A plan, ready to check events.
#[derive(Debug)]
pub struct Rules {
    /// What happens to an event that breaks it.
    pub policy: Policy,
    /// What an event is whose type is not among the types.
    pub unknown_types: UnknownTypes,
    /// Whether an event must say whom it is of.
    pub require_subject: bool,
    /// By event type.
    pub types: BTreeMap<String, TypeRules>,
}

/// One event type. Each property has its own validator, so that the properties of an event can be checked where they are.
#[derive(Debug)]
pub struct TypeRules {
    /// For this type, instead of the plan's.
    pub require_subject: Option<bool>,
    /// By name.
    pub properties: BTreeMap<String, Validator>,
    /// Those that must be there.
    pub required: Vec<String>,
    /// Whether there may be others.
    pub additional_properties: bool,
    /// For the properties as a whole.
    pub whole: Option<Validator>,
}

/// A text that is no plan.
#[derive(Debug, Error)]
#[error("the tracking plan cannot be read: {0}")]
pub struct RulesError(String);

impl Rules {
    /// Reads a plan that is written as JSON, as in the code that `tidegate plan codegen` makes of one.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong. `tidegate plan check` tells all of it, and where.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        let file: PlanFile = serde_json::from_str(text).map_err(|error| RulesError(error.to_string()))?;
        let mut types = BTreeMap::new();
        for (name, rules) in file.types {
            let built = |schema: &Value| validator(schema, &file.definitions).map_err(|error| RulesError(format!("types.{name}: {error}")));
            let properties = rules.properties.iter().map(|(property, schema)| Ok((property.clone(), built(schema)?)));
            let rules = TypeRules {
                require_subject: rules.require_subject,
                properties: properties.collect::<Result<_, RulesError>>()?,
                required: rules.required,
                additional_properties: rules.additional_properties,
                whole: rules.schema.as_ref().map(built).transpose()?,
            };
            types.insert(name, rules);
        }
        Ok(Self { policy: file.default_policy, unknown_types: file.unknown_types, require_subject: file.require_subject, types })
    }
}

/// A schema that checks as plans do: formats are checked because who writes one means it, and a misspelt one is an error rather than no check; patterns run in linear time; nothing is
/// fetched, a `$ref` reaches only the definitions.
///
/// # Errors
///
/// What is wrong with the schema.
pub fn validator(schema: &Value, definitions: &Map<String, Value>) -> Result<Validator, ValidationError<'static>> {
    let mut whole = schema.clone();
    if let Value::Object(own) = &mut whole
        && !definitions.is_empty()
    {
        own.entry("$defs").or_insert_with(|| json!(definitions));
    }
    let options = jsonschema::options().with_draft(Draft::Draft202012).offline();
    let options = options.should_validate_formats(true).should_ignore_unknown_formats(false);
    options.with_pattern_options(PatternOptions::regex()).build(&whole)
}

/// What of a plan's file is for the checks; all else in it is not looked at.
#[derive(Debug, Deserialize)]
struct PlanFile {
    #[serde(default)]
    default_policy: Policy,
    #[serde(default)]
    unknown_types: UnknownTypes,
    #[serde(default)]
    require_subject: bool,
    #[serde(default)]
    definitions: Map<String, Value>,
    #[serde(default)]
    types: BTreeMap<String, TypeFile>,
}

#[derive(Debug, Deserialize)]
struct TypeFile {
    #[serde(default)]
    require_subject: Option<bool>,
    #[serde(default)]
    properties: BTreeMap<String, Value>,
    #[serde(default)]
    required: Vec<String>,
    #[serde(default = "yes")]
    additional_properties: bool,
    #[serde(default)]
    schema: Option<Value>,
}

fn yes() -> bool {
    true
}
