//! The tracking plan: which events there are, what their properties look like, and what happens to those that differ.
//!
//! A plan is one file, YAML or JSON:
//!
//! ```yaml
//! version: "2026-11-23"
//! default_policy: quarantine       # quarantine | reject | flag
//! unknown_types: allow             # allow | violation
//! require_subject: false           # must every event have user_id or anonymous_id?
//! sources:
//!   web: {policy: flag, client_address: truncate}   # keep | truncate | drop, instead of the gate's setting
//! pii:                             # what is personal in events of every type
//!   /context/ip: truncate          # none | hash | drop | truncate
//! consent: {required: [analytics], unknown: deny}   # without it, only that an event came is kept
//! definitions:                     # JSON Schemas to refer to as "#/$defs/currency"
//!   currency: {type: string, pattern: "^[A-Z]{3}$"}
//! types:
//!   conversion:
//!     description: A goal was reached.
//!     require_subject: true        # for this type, instead of the plan's
//!     properties:                  # a JSON Schema (draft 2020-12) for each property
//!       value: {type: number, minimum: 0}
//!       currency: {$ref: "#/$defs/currency"}
//!       email: {type: string, pii: hash}
//!     required: [value]
//!     additional_properties: true  # false: a property not named above is a violation
//!     schema: {}                   # a JSON Schema for the properties as a whole, if they hang together
//! ```
//!
//! A property that is `null` counts as absent. `format` is checked, `pattern` is a regular expression without look-around (so that it takes linear
//! time), and nothing is ever fetched: a `$ref` reaches only what is in the plan. `pii` (`none`, `hash`, `drop`, `truncate`) may stand in the schema of a
//! property, of its `properties` and `items`, and in a definition it refers to; reading the plan collects the marks, see [`Plan::pii`]. What they come to is in [`crate::mask`].

use std::collections::BTreeMap;

use rules::Rules;
use serde_json::{Map, Value, json};

use crate::mask::Masks;
use crate::{Event, SourceName, Violation};

mod column;
mod compile;
mod consent;
pub mod diff;
mod error;
mod file;
mod pii;
mod shape;
#[cfg(test)]
mod tests;

pub use column::Column;
pub use consent::{Consent, UnknownConsent};
pub use error::Error;
pub use pii::{ClientAddress, Pii, PiiMark};
pub use rules::{Policy, UnknownTypes, VIOLATIONS_MAX};
pub use shape::{Field, Shape};

/// A tracking plan, ready to check events. It is large; share it behind an `Arc`.
#[derive(Debug)]
pub struct Plan {
    version: String,
    rules: Rules,
    sources: BTreeMap<SourceName, Source>,
    /// What is marked in every type, and so in one that the plan does not name.
    pii: Vec<PiiMark>,
    masks: Masks,
    consent: Consent,
    definitions: Map<String, Value>,
    types: BTreeMap<String, compile::EventType>,
}

/// What the plan says of one source.
#[derive(Debug, Clone, Copy)]
struct Source {
    policy: Option<Policy>,
    client_address: Option<ClientAddress>,
}

impl Plan {
    /// The plan that holds where none is given: page and screen views, feature exposures, conversions, identify; any other type is allowed.
    #[expect(clippy::expect_used, reason = "the text is part of the program, and a test reads it")]
    pub fn built_in() -> Self {
        Self::parse(include_str!("plan/built_in.yaml"), "built_in.yaml").expect("the built-in plan is sound")
    }

    /// Reads a plan, YAML or JSON. `filename` is for messages only.
    ///
    /// # Errors
    ///
    /// The first problem, with its place.
    pub fn parse(text: &str, filename: &str) -> Result<Self, Error> {
        // There is at least one, where there is no plan.
        Self::check(text, filename)
            .map_err(|problems| problems.into_iter().next().unwrap_or_else(|| Error::new(filename, None, "", "is no plan")))
    }

    /// The same, for who wants to know of everything that is wrong. What cannot be read as a plan at all is one problem; the schemas are looked at only in what can.
    ///
    /// # Errors
    ///
    /// All problems, in the order of the event types' names.
    pub fn check(text: &str, filename: &str) -> Result<Self, Vec<Error>> {
        compile::plan(file::read(text, filename).map_err(|problem| vec![problem])?, filename)
    }

    /// The version that the plan states of itself.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What happens to an event of this source that breaks the plan.
    pub fn policy(&self, source: &SourceName) -> Policy {
        self.sources.get(source).and_then(|source| source.policy).unwrap_or(self.rules.policy)
    }

    /// What is wrong with the event under this plan, at most [`VIOLATIONS_MAX`] things; empty when nothing is.
    pub fn validate(&self, event: &Event<'_>) -> Vec<Violation> {
        let has_subject = event.user_id.is_some() || event.anonymous_id.is_some();
        self.rules.check(&event.event_type, has_subject, &event.properties)
    }

    /// The event types of the plan, in order of name.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.types.keys().map(String::as_str)
    }

    /// What the plan says an event type is for. `None` where it says nothing or does not name the type.
    pub fn description(&self, event_type: &str) -> Option<&str> {
        self.types.get(event_type)?.description.as_deref()
    }

    /// The properties of an event type, in order of name, and what each is in queries. Empty where the plan does not name the type.
    pub fn columns(&self, event_type: &str) -> &[(String, Column)] {
        self.types.get(event_type).map_or(&[], |found| &found.columns)
    }

    /// The properties of an event type, in order of name, and what each may be. Empty where the plan does not name the type.
    pub fn fields(&self, event_type: &str) -> Vec<Field> {
        let (Some(found), Some(rules)) = (self.types.get(event_type), self.rules.types.get(event_type)) else { return Vec::new() };
        let field = |(name, schema): (&String, &Value)| Field::new(name, schema, rules.required.contains(name), &self.definitions);
        found.schemas.iter().map(field).collect()
    }

    /// The places with personal data in events of a type, those that are marked in every type first. Marks of [`Pii::None`] are left out.
    pub fn pii(&self, event_type: &str) -> &[PiiMark] {
        self.types.get(event_type).map_or(&self.pii, |found| &found.pii)
    }

    /// The same, as what an event of this type is masked with.
    pub fn masks(&self, event_type: &str) -> &Masks {
        self.types.get(event_type).map_or(&self.masks, |found| &found.masks)
    }

    /// Whether anything is marked in any type: then what cannot be read may hold personal data too.
    pub fn marks_any(&self) -> bool {
        !self.masks.is_empty() || self.types.values().any(|found| !found.masks.is_empty())
    }

    /// Whether the content of an event may be kept, by what its person has consented to.
    pub fn has_consent(&self, event: &Event<'_>) -> bool {
        let own = self.types.get(&*event.event_type).and_then(|found| found.consent.as_ref());
        own.unwrap_or(&self.consent).allows(event)
    }

    /// What is kept of the address that this source's clients send from, where the plan says so.
    pub fn client_address(&self, source: &SourceName) -> Option<ClientAddress> {
        self.sources.get(source)?.client_address
    }

    /// What surely happens to an event that breaks the plan, whichever source it is of: it is rejected only where every source's is.
    pub fn policy_of_all(&self) -> Policy {
        let milder = self.sources.values().filter_map(|source| source.policy).find(|policy| *policy != Policy::Reject);
        if self.rules.policy == Policy::Reject { milder.unwrap_or(Policy::Reject) } else { self.rules.policy }
    }

    /// What is for who checks events before they are sent, as a plan's file in JSON: one policy, and no sources and descriptions.
    pub fn for_producers(&self, policy: Policy) -> Value {
        let types = self.types.iter().filter_map(|(name, found)| {
            let rules = self.rules.types.get(name)?;
            let mut own = json!({
                "properties": found.schemas, "required": rules.required, "additional_properties": rules.additional_properties,
            });
            if let Some(require_subject) = rules.require_subject {
                own["require_subject"] = json!(require_subject);
            }
            if let Some(whole) = &found.whole {
                own["schema"] = whole.clone();
            }
            Some((name.clone(), own))
        });
        json!({
            "version": self.version, "default_policy": policy, "unknown_types": self.rules.unknown_types, "require_subject": self.rules.require_subject,
            "definitions": self.definitions, "types": types.collect::<Map<_, _>>(),
        })
    }
}
