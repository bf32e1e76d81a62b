//! Checks one event.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use crate::properties::{Properties, Property};
use crate::violation::{json_type, pointer_token};
use crate::{FEATURE_EXPOSURE, Rules, TypeRules, UnknownTypes, Violation};

/// How many violations are reported for one event at most. The verdict hangs on there being any, not on their number.
pub const VIOLATIONS_MAX: usize = 20;

/// How many of an enum's values a message names.
const OPTIONS_SHOWN_MAX: usize = 10;

impl Rules {
    /// What is wrong with an event of this type, at most [`VIOLATIONS_MAX`] things; empty when nothing is. A property that is null counts as absent.
    pub fn check(&self, event_type: &str, has_subject: bool, properties: &impl Properties) -> Vec<Violation> {
        let known = self.types.get(event_type);
        let mut found = Vec::new();
        if known.is_none() && self.unknown_types == UnknownTypes::Violation {
            found.push(Violation::new(
                "unknown_event_type",
                "/event_type",
                "is not in the tracking plan; add the type to the plan, or correct its spelling",
            ));
        }
        // Who saw a variation is what an exposure says, so one without a subject says nothing, whatever the plan.
        let demanded = known.and_then(|rules| rules.require_subject).unwrap_or(self.require_subject) || event_type == FEATURE_EXPOSURE;
        if demanded && !has_subject {
            found.push(Violation::new("missing_subject", "", "has neither a user id nor an anonymous id; send at least one"));
        }
        if let Some(rules) = known {
            check_properties(rules, properties, &mut found);
        }
        found.truncate(VIOLATIONS_MAX);
        found
    }
}

fn check_properties(rules: &TypeRules, properties: &impl Properties, found: &mut Vec<Violation>) {
    let present = |name: &str| properties.get(name).is_some_and(|value| !value.is_null());
    for name in rules.required.iter().filter(|name| !present(name)) {
        found.push(Violation::new("missing_property", field_of(name), "is required by the tracking plan"));
    }
    for (name, value) in properties.iter().filter(|(_, value)| !value.is_null()) {
        match rules.properties.get(name) {
            Some(validator) => check_value(validator, || field_of(name), &value.to_json(), found),
            None if rules.additional_properties => {}
            None => found.push(Violation::new("unknown_property", field_of(name), "is not in the tracking plan for this type")),
        }
    }
    if let Some(validator) = &rules.whole {
        let present = properties.iter().filter(|(_, value)| !value.is_null());
        let whole = Value::Object(present.map(|(name, value)| (name.to_owned(), value.to_json().into_owned())).collect());
        check_value(validator, || "/properties".to_owned(), &whole, found);
    }
}

fn field_of(name: &str) -> String {
    format!("/properties/{}", pointer_token(name))
}

fn check_value(validator: &Validator, field: impl Fn() -> String, value: &Value, found: &mut Vec<Violation>) {
    let room = VIOLATIONS_MAX.saturating_sub(found.len());
    if room > 0 && !validator.is_valid(value) {
        let field = &field();
        found.extend(validator.iter_errors(value).take(room).map(|error| violation(field, &error)));
    }
}

/// The violation that stands for a schema's error. Messages name what the plan wants, never the value itself: it may be personal, and it is in the event.
fn violation(field: &str, error: &ValidationError<'_>) -> Violation {
    let mut field = format!("{field}{}", error.instance_path());
    let (code, message) = match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            field = format!("{field}/{}", pointer_token(name));
            ("missing_property", "is required by the tracking plan".to_owned())
        }
        ValidationErrorKind::Type { kind } => ("wrong_type", format!("must be {}, is {}", wanted(kind), json_type(error.instance()))),
        ValidationErrorKind::Enum { options } => ("not_in_enum", format!("must be {}", one_of(options))),
        ValidationErrorKind::Constant { expected_value } => ("not_in_enum", format!("must be {expected_value}")),
        ValidationErrorKind::AdditionalProperties { .. } | ValidationErrorKind::UnevaluatedProperties { .. } => {
            ("unknown_property", "has properties that are not in the tracking plan".to_owned())
        }
        _ => ("violates_schema", format!("does not fit the tracking plan: {}", error.masked_with("it"))),
    };
    Violation::new(code, field, message)
}

fn wanted(kind: &TypeKind) -> String {
    let article = |name: &str| match name {
        "null" => "null".to_owned(),
        "array" | "integer" | "object" => format!("an {name}"),
        other => format!("a {other}"),
    };
    match kind {
        TypeKind::Single(one) => article(one.as_str()),
        TypeKind::Multiple(several) => several.iter().map(|one| article(one.as_str())).collect::<Vec<_>>().join(" or "),
    }
}

fn one_of(options: &Value) -> String {
    let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
    let shown: Vec<String> = options.iter().take(OPTIONS_SHOWN_MAX).map(Value::to_string).collect();
    let more = options.len().saturating_sub(OPTIONS_SHOWN_MAX);
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("one of {}{rest}", shown.join(", "))
}
