//! From the plan as it is written to one that can check.

use std::collections::BTreeMap;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use rules::{Rules, TypeRules};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::file::{PlanFile, TypeFile, place};
use super::{Column, Consent, Error, Pii, PiiMark, Plan, Source, pii};
use crate::mask::Masks;
use crate::violation::pointer_token;

/// What is known of one event type besides its rules.
#[derive(Debug)]
pub(super) struct EventType {
    pub(super) description: Option<String>,
    pub(super) pii: Vec<PiiMark>,
    pub(super) masks: Masks,
    pub(super) consent: Option<Consent>,
    pub(super) columns: Vec<(String, Column)>,
    /// The schema of each property, as it is written.
    pub(super) schemas: BTreeMap<String, Value>,
    /// That of the properties as a whole.
    pub(super) whole: Option<Value>,
}

/// The plan, or all that is wrong with it.
pub(super) fn plan(file: PlanFile, filename: &str) -> Result<Plan, Vec<Error>> {
    let (mut types, mut checks) = (BTreeMap::new(), BTreeMap::new());
    let mut problems = Vec::new();
    let mut pii = Vec::new();
    for (field, mark) in file.pii {
        if let Err(problem) = pii::check_place(&field) {
            problems.push(Error::new(filename, place(&mark), format!("pii.{field}"), problem));
        }
        if mark.value != Pii::None {
            pii.push(PiiMark { field, pii: mark.value });
        }
    }
    for (name, rules) in file.types {
        let scope = Scope { filename, path: format!("types.{name}"), definitions: &file.definitions, pii: &pii };
        let (event_type, rules) = scope.event_type(rules, &mut problems);
        types.insert(name.clone(), event_type);
        checks.insert(name, rules);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Plan {
        version: file.version,
        rules: Rules {
            policy: file.default_policy,
            unknown_types: file.unknown_types,
            require_subject: file.require_subject,
            types: checks,
        },
        sources: file
            .sources
            .into_iter()
            .map(|(name, rules)| (name, Source { policy: rules.policy, client_address: rules.client_address }))
            .collect(),
        masks: Masks::of(&pii),
        pii,
        consent: file.consent,
        definitions: file.definitions,
        types,
    })
}

/// Where in the plan we are.
struct Scope<'a> {
    filename: &'a str,
    path: String,
    definitions: &'a Map<String, Value>,
    /// What is marked in every type.
    pii: &'a [PiiMark],
}

impl Scope<'_> {
    fn event_type(&self, rules: Spanned<TypeFile>, problems: &mut Vec<Error>) -> (EventType, TypeRules) {
        let rules = rules.value;
        let mut properties = BTreeMap::new();
        let mut marks = pii::Marks::new(self.definitions, self.pii);
        for (name, schema) in &rules.properties {
            let path = format!("{}.properties.{name}", self.path);
            let field = format!("/properties/{}", pointer_token(name));
            match self.validator(&path, schema) {
                Ok(validator) => _ = properties.insert(name.clone(), validator),
                Err(problem) => problems.push(problem),
            }
            if let Err(problem) = marks.collect(&field, &schema.value) {
                problems.push(Error::new(self.filename, place(schema), path, problem));
            }
        }
        for name in rules.required.iter().filter(|name| !rules.properties.contains_key(&name.value)) {
            let message = format!("{:?} is not among the type's properties; add it there, with {{}} if it may be anything", name.value);
            problems.push(Error::new(self.filename, place(name), format!("{}.required", self.path), message));
        }
        let columns = rules.properties.iter().map(|(name, schema)| (name.clone(), Column::of(&schema.value))).collect();
        let whole_path = format!("{}.schema", self.path);
        let whole = rules.schema.as_ref().map(|schema| self.validator(&whole_path, schema)).transpose();
        let checks = TypeRules {
            require_subject: rules.require_subject,
            properties,
            required: rules.required.into_iter().map(|name| name.value).collect(),
            additional_properties: rules.additional_properties,
            whole: whole.unwrap_or_else(|problem| {
                problems.push(problem);
                None
            }),
        };
        let marks = marks.into_found();
        let event_type = EventType {
            description: rules.description,
            masks: Masks::of(&marks),
            pii: marks,
            consent: rules.consent,
            columns,
            schemas: rules.properties.into_iter().map(|(name, schema)| (name, schema.value)).collect(),
            whole: rules.schema.map(|schema| schema.value),
        };
        (event_type, checks)
    }

    fn validator(&self, path: &str, schema: &Spanned<Value>) -> Result<Validator, Error> {
        if !matches!(schema.value, Value::Object(_) | Value::Bool(_)) {
            let message = "is no JSON Schema; write an object such as {type: string}";
            return Err(Error::new(self.filename, place(schema), path, message));
        }
        rules::validator(&schema.value, self.definitions).map_err(|error| {
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
