//! What an experiment is: who is in it, what they see, and by what it is judged. It is written in YAML, beside the tracking plan.
//!
//! ```yaml
//! key: checkout-button              # as the exposures name it; the file's name where it is left out
//! description: Does a green button sell more?
//! subject: person                   # person | user | anonymous: what was assigned
//! variations:                       # the first one is the control
//!   - {key: control, weight: 0.5}
//!   - {key: treatment, weight: 0.5}
//! start: 2026-11-01
//! end: 2026-12-01                   # left out: it is still running
//! attribution_days: 14              # what a subject does counts from its first exposure on, for that long
//! before_days: 14                   # what it did before is taken out of the result (CUPED); 0: not
//! exclude: {where: "client_ip LIKE '10.%'"}
//! segments: {device: {column: device_type}, plan: {property: plan}}
//! metrics:
//!   primary: [purchase]
//!   secondary: [revenue]
//!   guardrail: [crashes]
//! ```
//!
//! Metrics are shared by all experiments of a folder and lie in its `metrics.yaml`:
//!
//! ```yaml
//! purchase: {type: proportion, event: {event_type: conversion}}
//! revenue: {type: sum, event: {event_type: conversion}, property: value, cap: 500}
//! crashes: {type: count, event: {event_type: error, properties: {fatal: true}}, lower_is_better: true}
//! ```

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Deserializer, Serialize};

mod events;
mod metric;
#[cfg(test)]
mod tests;

pub use events::{Events, Scalar, Test, Within, literal};
pub use metric::{Kind, Metric};

/// Days that an attribution window, or the time before, has at most.
pub const DAYS_MAX: u32 = 90;
/// Variations, metrics, segments, funnel steps and quantiles of one experiment at most.
pub const PARTS_MAX: usize = 20;
const KEY_CHARS_MAX: usize = 100;
/// What is left of a table's name once `experiment_exposures_` stands before it.
const TABLE_CHARS_MAX: usize = 36;
/// What a name of a metric or a segment has at most: it names columns.
const NAME_CHARS_MAX: usize = 40;
/// What weights may be together.
const TOGETHER: std::ops::RangeInclusive<f64> = 0.99..=1.01;

/// An experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// As the exposures name it.
    #[serde(default)]
    pub key: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// What was assigned to a variation.
    #[serde(default)]
    pub subject: Subject,
    /// What subjects see; the first one is the control.
    pub variations: Vec<Variation>,
    /// Exposures from here on count.
    #[serde(deserialize_with = "instant")]
    pub start: DateTime<Utc>,
    /// Exposures before this count; `None`: it is still running.
    #[serde(default, deserialize_with = "maybe_instant")]
    pub end: Option<DateTime<Utc>>,
    /// How long after its first exposure what a subject does counts, in days.
    #[serde(default = "Definition::default_attribution_days")]
    pub attribution_days: u32,
    /// How long before its first exposure a subject is looked at to take out of the result what was so before, in days; zero is not at all.
    #[serde(default)]
    pub before_days: u32,
    /// Which events are its exposures.
    #[serde(default)]
    pub exposure: Exposure,
    /// Internal traffic: events that do not count. Bots never do.
    #[serde(default)]
    pub exclude: Option<Events>,
    /// By what the result is broken down: what the first exposure says.
    #[serde(default)]
    pub segments: BTreeMap<String, Segment>,
    /// By what it is judged.
    pub metrics: Roles,
    /// Who sees it.
    #[serde(default)]
    pub assignment: Assignment,
    /// How it is judged.
    #[serde(default)]
    pub analysis: Analysis,
}

/// What is assigned to a variation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A person: the user, where one is known; else the anonymous id, which belongs to the user it was first seen with if that was before the attribution window was over.
    #[default]
    Person,
    /// A user: events without a user id do not count.
    User,
    /// A device: events without an anonymous id do not count.
    Anonymous,
}

/// One of the things that subjects may see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variation {
    /// As the exposures name it.
    pub key: String,
    /// Its share of the subjects.
    pub weight: f64,
}

/// Which events are exposures, and where they name experiment and variation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exposure {
    /// Events of this type.
    pub event_type: String,
    /// The property that names the experiment; `None`: as our own exposures do, and what is known of other clients.
    #[serde(default)]
    pub experiment: Option<String>,
    /// The property that names the variation; `None`: as above.
    #[serde(default)]
    pub variation: Option<String>,
}

impl Default for Exposure {
    fn default() -> Self {
        Self { event_type: "feature_exposure".to_owned(), experiment: None, variation: None }
    }
}

/// What a segment is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Segment {
    /// A text column of `silver.events`, such as `device_type`.
    Column(String),
    /// A property of the exposure.
    Property(String),
}

/// The metrics, by what they are there for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    /// What decides.
    pub primary: Vec<String>,
    /// What explains.
    #[serde(default)]
    pub secondary: Vec<String>,
    /// What must not get worse.
    #[serde(default)]
    pub guardrail: Vec<String>,
}

/// What a metric is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It decides.
    Primary,
    /// It explains.
    Secondary,
    /// It must not get worse.
    Guardrail,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
            Self::Guardrail => "guardrail",
        })
    }
}

impl Roles {
    /// All of them, the primary ones first.
    pub fn iter(&self) -> impl Iterator<Item = (Role, &str)> {
        self.primary
            .iter()
            .map(|name| (Role::Primary, name.as_str()))
            .chain(self.secondary.iter().map(|name| (Role::Secondary, name.as_str())))
            .chain(self.guardrail.iter().map(|name| (Role::Guardrail, name.as_str())))
    }
}

/// Who sees it, for whoever assigns: the hashing is that of [`crate::assignment`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Assignment {
    /// What is hashed with a subject's id; the key where it is left out.
    pub seed: Option<String>,
    /// 1 or 2.
    pub hash_version: u8,
    /// The share of all subjects that are in it, within 0 and 1.
    pub coverage: f64,
    /// A part of all subjects that several experiments divide among them.
    pub namespace: Option<Part>,
    /// Subjects that are kept out of this and all other experiments with the same holdout.
    pub holdout: Option<Holdout>,
    /// Whom it is for, in words or as the client's own condition. It is not evaluated here.
    pub targeting: Option<String>,
}

impl Default for Assignment {
    fn default() -> Self {
        Self { seed: None, hash_version: 2, coverage: 1.0, namespace: None, holdout: None, targeting: None }
    }
}

/// A part of a namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The namespace.
    pub name: String,
    /// Where the part begins, within 0 and 1.
    pub from: f64,
    /// Where it ends, itself not in it.
    pub to: f64,
}

/// Subjects that are kept out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holdout {
    /// Its name, which experiments share.
    pub name: String,
    /// How many of all subjects, within 0 and 1.
    pub share: f64,
}

/// How a result is judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Analysis {
    /// Of all intervals.
    pub confidence: f64,
    /// With how many subjects the always-valid intervals are tightest.
    pub tightest_at_subjects: u64,
    /// The relative effects that were thought likely before: a normal distribution around zero with this standard deviation. `None`: any was as likely as any other.
    pub prior_standard_deviation: Option<f64>,
    /// The smallest relative effect worth finding: how many subjects that takes is told.
    pub lift_worth_finding: Option<f64>,
    /// What is drawn by chance is drawn by this.
    pub seed: u64,
}

impl Default for Analysis {
    fn default() -> Self {
        Self { confidence: 0.95, tightest_at_subjects: 5_000, prior_standard_deviation: None, lift_worth_finding: None, seed: 7 }
    }
}

/// What is wrong with a definition: where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(pub(crate) String);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Problem {}

/// An experiment with the metrics it is judged by: all that is needed to make its tables and its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    /// The experiment.
    pub definition: Definition,
    /// Its metrics, the primary ones first.
    pub metrics: Vec<(Role, Metric)>,
}

impl Experiment {
    /// Joins a definition with its metrics.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn new(definition: Definition, metrics: &BTreeMap<String, Metric>) -> Result<Self, Problem> {
        definition.check()?;
        let mut chosen: Vec<(Role, Metric)> = Vec::new();
        for (role, name) in definition.metrics.iter() {
            let Some(metric) = metrics.get(name) else {
                let names: Vec<&str> = metrics.keys().map(String::as_str).collect();
                return Err(Problem(format!("there is no metric {name}; there are {}", names.join(", "))));
            };
            if chosen.iter().any(|(_, other)| other.name == name) {
                return Err(Problem(format!("the metric {name} is named twice")));
            }
            let metric = Metric { name: name.to_owned(), ..metric.clone() };
            metric.check(definition.attribution_days).map_err(|Problem(what)| Problem(format!("metric {name}: {what}")))?;
            chosen.push((role, metric));
        }
        if chosen.len() > PARTS_MAX {
            return Err(Problem(format!("there are {} metrics; at most {PARTS_MAX} are taken", chosen.len())));
        }
        Ok(Self { definition, metrics: chosen })
    }

    /// What the names of its tables end in: the key, in what names of tables may have.
    pub fn table_name(&self) -> String {
        table_name(&self.definition.key)
    }
}

/// The key in lower case letters, digits and underscores.
fn table_name(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

impl Definition {
    fn default_attribution_days() -> u32 {
        14
    }

    /// The share of each variation.
    pub fn weights(&self) -> Vec<f64> {
        self.variations.iter().map(|variation| variation.weight).collect()
    }

    fn check(&self) -> Result<(), Problem> {
        let problem = |what: String| Err(Problem(what));
        let table = table_name(&self.key);
        let is_table = table.starts_with(|c: char| c.is_ascii_alphanumeric()) && table.chars().count() <= TABLE_CHARS_MAX;
        if self.key.chars().count() > KEY_CHARS_MAX || !is_table {
            return problem(format!(
                "key: `{}` must begin with a letter or digit and have at most {TABLE_CHARS_MAX} characters, for it names tables",
                self.key
            ));
        }
        if !(2..=PARTS_MAX).contains(&self.variations.len()) {
            return problem(format!("variations: there must be 2 to {PARTS_MAX}, the control first; there are {}", self.variations.len()));
        }
        for (number, variation) in self.variations.iter().enumerate() {
            if variation.key.is_empty() || self.variations.iter().take(number).any(|other| other.key == variation.key) {
                return problem(format!("variations: number {} needs a key that no other one has", number + 1));
            }
            if !(variation.weight > 0.0 && variation.weight < 1.0) {
                return problem(format!("variations: the weight of {} must be between 0 and 1", variation.key));
            }
        }
        let together: f64 = self.weights().iter().sum();
        if !TOGETHER.contains(&together) {
            return problem(format!("variations: the weights are {together} together, and must be 1"));
        }
        if self.end.is_some_and(|end| end <= self.start) {
            return problem("end: it must be after the start".to_owned());
        }
        if !(1..=DAYS_MAX).contains(&self.attribution_days) {
            return problem(format!("attribution_days: must be 1 to {DAYS_MAX}, not {}", self.attribution_days));
        }
        if self.before_days > DAYS_MAX {
            return problem(format!("before_days: must be 0 to {DAYS_MAX}, not {}", self.before_days));
        }
        if self.metrics.primary.is_empty() {
            return problem("metrics.primary: name the metric that decides".to_owned());
        }
        if self.segments.len() > PARTS_MAX {
            return problem(format!("segments: at most {PARTS_MAX} are taken"));
        }
        for (name, segment) in &self.segments {
            check_name("segments", name)?;
            if name == "all" {
                return problem("segments: everybody is in `all`; give it another name".to_owned());
            }
            if let Segment::Column(column) = segment
                && !is_name(column)
            {
                return problem(format!("segments.{name}: `{column}` is no column of silver.events"));
            }
        }
        self.assignment.check()?;
        self.analysis.check()
    }
}

impl Assignment {
    fn check(&self) -> Result<(), Problem> {
        let problem = |what: &str| Err(Problem(format!("assignment.{what}")));
        let is_share = |share: f64| (0.0..=1.0).contains(&share);
        if !matches!(self.hash_version, 1 | 2) {
            return problem("hash_version: must be 1 or 2");
        }
        if !is_share(self.coverage) {
            return problem("coverage: must be 0 to 1");
        }
        if self
            .namespace
            .as_ref()
            .is_some_and(|part| part.name.is_empty() || !is_share(part.from) || !is_share(part.to) || part.from >= part.to)
        {
            return problem("namespace: needs a name, and from and to within 0 and 1, the first one smaller");
        }
        if self.holdout.as_ref().is_some_and(|holdout| holdout.name.is_empty() || !is_share(holdout.share)) {
            return problem("holdout: needs a name, and a share of 0 to 1");
        }
        Ok(())
    }
}

impl Analysis {
    fn check(&self) -> Result<(), Problem> {
        let problem = |what: &str| Err(Problem(format!("analysis.{what}")));
        if !(self.confidence > 0.5 && self.confidence < 1.0) {
            return problem("confidence: must be above 0.5 and below 1, such as 0.95");
        }
        if self.tightest_at_subjects == 0 {
            return problem("tightest_at_subjects: must be 1 or more");
        }
        if self.prior_standard_deviation.is_some_and(|deviation| !(deviation > 0.0 && deviation.is_finite())) {
            return problem("prior_standard_deviation: must be above 0, such as 0.1");
        }
        if self.lift_worth_finding.is_some_and(|lift| !(lift != 0.0 && lift.is_finite() && lift > -1.0)) {
            return problem("lift_worth_finding: must be a relative effect, such as 0.05");
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.len() <= NAME_CHARS_MAX && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_part)
}

fn check_name(place: &str, name: &str) -> Result<(), Problem> {
    if is_name(name) {
        Ok(())
    } else {
        Err(Problem(format!(
            "{place}: `{name}` must have at most {NAME_CHARS_MAX} lower case letters, digits and underscores, a letter first, for it names columns"
        )))
    }
}

/// A day, which is its beginning in UTC, or an instant with its zone.
fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    time_of(&String::deserialize(deserializer)?)
}

fn maybe_instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    Option::<String>::deserialize(deserializer)?.map(|text| time_of(&text)).transpose()
}

fn time_of<E: serde::de::Error>(text: &str) -> Result<DateTime<Utc>, E> {
    let day = text.parse::<NaiveDate>().ok().and_then(|day| day.and_hms_opt(0, 0, 0)).map(|time| time.and_utc());
    day.or_else(|| DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc()))
        .ok_or_else(|| E::custom(format!("`{text}` is no time; write 2026-11-01 or 2026-11-01T12:00:00Z")))
}
