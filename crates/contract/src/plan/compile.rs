//! From the plan as it is written to one that can check.

use std::collections::BTreeMap;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value, json};
use serde_saphyr::Spanned;

use super::file::{PlanFile, TypeRules, place};
use super::{Column, Error, PiiMark, Plan, pii};
use crate::violation::pointer_token;

/// One event type, ready to check. Each property has its own validator, so that the properties of an event can be checked where they are.
#[derive(Debug)]
pub(super) struct EventType {
    pub(super) description: Option<String>,
    pub(super) require_subject: Option<bool>,
    pub(super) properties: BTreeMap<String, Validator>,
    pub(super) required: Vec<String>,
    pub(super) additional_properties: bool,
    /// For the properties as a whole.
    pub(super) whole: Option<Validator>,
    pub(super) pii: Vec<PiiMark>,
    pub(super) columns: Vec<(String, Column)>,
    /// The schema of each property, as it is written.
    pub(super) schemas: BTreeMap<String, Value>,
}

/// The plan, or all that is wrong with it.
pub(super) fn plan(file: PlanFile, filename: &str) -> Result<Plan, Vec<Error>> {
    let mut types = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, rules) in file.types {
        let scope = Scope { filename, path: format!("types.{name}"), definitions: &file.definitions };
        types.insert(name, scope.event_type(rules, &mut problems));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Plan {
        version: file.version,
        default_policy: file.default_policy,
        unknown_types: file.unknown_types,
        require_subject: file.require_subject,
        sources: file.sources.into_iter().map(|(name, rules)| (name, rules.policy)).collect(),
        definitions: file.definitions,
        types,
    })
}

/// Where in the plan we are.
struct Scope<'a> {
    filename: &'a str,
    path: String,
    definitions: &'a Map<String, Value>,
}

impl Scope<'_> {
    fn event_type(&self, rules: Spanned<TypeRules>, problems: &mut Vec<Error>) -> EventType {
        let rules = rules.value;
        let mut properties = BTreeMap::new();
        let mut marks = Vec::new();
        for (name, schema) in &rules.properties {
            let path = format!("{}.properties.{name}", self.path);
            let field = format!("/properties/{}", pointer_token(name));
            match self.validator(&path, schema) {
                Ok(validator) => _ = properties.insert(name.clone(), validator),
                Err(problem) => problems.push(problem),
            }
            if let Err(problem) = pii::collect(&field, &schema.value, self.definitions, 0, &mut marks) {
                problems.push(Error::new(self.filename, place(schema), path, problem));
            }
        }
        for name in rules.required.iter().filter(|name| !rules.properties.contains_key(&name.value)) {
            let message = format!("{:?} is not among the type's properties; add it there, with {{}} if it may be anything", name.value);
            problems.push(Error::new(self.filename, place(name), format!("{}.required", self.path), message));
        }
        let columns = rules.properties.iter().map(|(name, schema)| (name.clone(), Column::of(&schema.value))).collect();
        let whole_path = format!("{}.schema", self.path);
        let whole = rules.schema.map(|schema| self.validator(&whole_path, &schema)).transpose();
        EventType {
            description: rules.description,
            require_subject: rules.require_subject,
            properties,
            required: rules.required.into_iter().map(|name| name.value).collect(),
            additional_properties: rules.additional_properties,
            whole: whole.unwrap_or_else(|problem| {
                problems.push(problem);
                None
            }),
            pii: marks,
            columns,
            schemas: rules.properties.into_iter().map(|(name, schema)| (name, schema.value)).collect(),
        }
    }

    fn validator(&self, path: &str, schema: &Spanned<Value>) -> Result<Validator, Error> {
        let whole = match &schema.value {
            Value::Object(own) => {
                let mut own = own.clone();
                if !self.definitions.is_empty() {
                    own.entry("$defs").or_insert_with(|| json!(self.definitions));
                }
                Value::Object(own)
            }
            Value::Bool(_) => schema.value.clone(),
            _ => {
                let message = "is no JSON Schema; write an object such as {type: string}";
                return Err(Error::new(self.filename, place(schema), path, message));
            }
        };
        // Formats are checked because who writes one means it; a misspelt one is an error rather than no check. Patterns run in linear time, and nothing is fetched.
        let options = jsonschema::options().with_draft(Draft::Draft202012).offline();
        let options = options.should_validate_formats(true).should_ignore_unknown_formats(false);
        let built = options.with_pattern_options(PatternOptions::regex()).build(&whole);
        built.map_err(|error| {
            let path = format!("{path}{}", error.instance_path().as_str().replace('/', "."));
            Error::new(self.filename, place(schema), path, problem(&error))
        })
    }
}

/// What is wrong with a schema, in words that help who wrote it.
fn problem(error: &ValidationError<'_>) -> String {
    if let ValidationErrorKind::Referencing(why) = error.kind() {
        return format!("the $ref leads nowhere ({why}); put the schema under definitions: and refer to it as \"#/$defs/NAME\"");
    }
    match error.instance_path().as_str().rsplit('/').next() {
        Some("type") => "must be string, number, integer, boolean, object, array or null, or a list of these".to_owned(),
        Some("pattern") => {
            "is no regular expression, or one with look-around or a back-reference, which would not run in linear time".to_owned()
        }
        Some("format") => "is not the name of a known format, such as date-time, date, email, uri or uuid".to_owned(),
        _ => format!("is no JSON Schema: {error}"),
    }
}
