//! The plan as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use serde_saphyr::{Spanned, UserMessageFormatter};

use super::{ClientAddress, Consent, Error, Pii, Policy, UnknownTypes};
use crate::SourceName;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanFile {
    pub(super) version: String,
    /// For the plan's readers.
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default)]
    pub(super) default_policy: Policy,
    #[serde(default)]
    pub(super) unknown_types: UnknownTypes,
    #[serde(default)]
    pub(super) require_subject: bool,
    #[serde(default)]
    pub(super) sources: BTreeMap<SourceName, SourceRules>,
    #[serde(default)]
    pub(super) pii: BTreeMap<String, Spanned<Pii>>,
    #[serde(default)]
    pub(super) consent: Consent,
    #[serde(default)]
    pub(super) definitions: Map<String, Value>,
    #[serde(default)]
    pub(super) types: BTreeMap<String, Spanned<TypeFile>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceRules {
    #[serde(default)]
    pub(super) policy: Option<Policy>,
    #[serde(default)]
    pub(super) client_address: Option<ClientAddress>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TypeFile {
    #[serde(default)]
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) require_subject: Option<bool>,
    #[serde(default)]
    pub(super) properties: BTreeMap<String, Spanned<Value>>,
    #[serde(default)]
    pub(super) required: Vec<Spanned<String>>,
    #[serde(default = "yes")]
    pub(super) additional_properties: bool,
    #[serde(default)]
    pub(super) schema: Option<Spanned<Value>>,
    /// In the place of the plan's.
    #[serde(default)]
    pub(super) consent: Option<Consent>,
}

fn yes() -> bool {
    true
}

/// The line and the column, where the reader of the text knows them.
pub(super) fn place<T>(spanned: &Spanned<T>) -> Option<(u64, u64)> {
    let location = spanned.defined;
    (location.line() > 0).then_some((location.line(), location.column()))
}

pub(super) fn read(text: &str, filename: &str) -> Result<PlanFile, Error> {
    serde_saphyr::from_str(text).map_err(|error| {
        let place = error.location().filter(|location| location.line() > 0).map(|location| (location.line(), location.column()));
        let message = error.without_snippet().render_with_formatter(&UserMessageFormatter);
        let said_twice = place.map(|(line, column)| format!(" at line {line}, column {column}"));
        let message = said_twice.and_then(|place| message.strip_suffix(&place)).unwrap_or(&message);
        Error::new(filename, place, "", message)
    })
}
