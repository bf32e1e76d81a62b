//! Which variation a subject sees. Pure: docs/sdk-contract.md, "Experiments". The hashing is GrowthBook's (versions 1 and 2), so subjects of a running experiment stay where they are.

use std::collections::HashSet;

use ::experiments::assignment::{HashVersion, choose, hash, ranges};
use serde::Deserialize;

use crate::ConfigError;

/// An experiment that this process assigns subjects in. It can be read from a document with these fields.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Experiment {
    /// Of the experiment.
    pub id: String,
    /// Their ids, the control first; at least two.
    pub variations: Vec<String>,
    /// The share of each, together 1; equal ones where nothing is said.
    #[serde(default)]
    pub weights: Option<Vec<f64>>,
    /// The share of all subjects that take part, 0 to 1. Raising it moves nobody who takes part already.
    #[serde(default = "all")]
    pub coverage: f64,
    /// What the hash is seeded with, if not the id.
    #[serde(default)]
    pub seed: Option<String>,
    /// 1 or 2.
    #[serde(default = "newest")]
    pub hash_version: u32,
    /// Which id is assigned.
    #[serde(default)]
    pub subject: Subject,
}

/// Which id of a subject an experiment assigns by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The user.
    #[default]
    UserId,
    /// The browser or device.
    AnonymousId,
}

fn all() -> f64 {
    1.0
}

fn newest() -> u32 {
    2
}

impl Experiment {
    /// Equal shares of all users. Whether it is sound is found when a client is made with it.
    pub fn new<V: Into<String>>(id: impl Into<String>, variations: impl IntoIterator<Item = V>) -> Self {
        Self {
            id: id.into(),
            variations: variations.into_iter().map(Into::into).collect(),
            weights: None,
            coverage: all(),
            seed: None,
            hash_version: newest(),
            subject: Subject::default(),
        }
    }

    /// The share of each variation, together 1.
    #[must_use]
    pub fn weights(mut self, weights: impl Into<Vec<f64>>) -> Self {
        self.weights = Some(weights.into());
        self
    }

    /// The share of all subjects that take part, 0 to 1.
    #[must_use]
    pub fn coverage(mut self, coverage: f64) -> Self {
        self.coverage = coverage;
        self
    }

    /// What the hash is seeded with, if not the id.
    #[must_use]
    pub fn seed(mut self, seed: impl Into<String>) -> Self {
        self.seed = Some(seed.into());
        self
    }

    /// 1 or 2 (which it is where nothing is said).
    #[must_use]
    pub fn hash_version(mut self, version: u32) -> Self {
        self.hash_version = version;
        self
    }

    /// Which id is assigned.
    #[must_use]
    pub fn subject(mut self, subject: Subject) -> Self {
        self.subject = subject;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |message: &str| Err(ConfigError::Experiment { id: self.id.clone(), message: message.to_owned() });
        if self.id.is_empty() {
            return wrong("it has no id");
        }
        let different: HashSet<&String> = self.variations.iter().filter(|id| !id.is_empty()).collect();
        if different.len() < 2 || different.len() < self.variations.len() {
            return wrong("variations must be at least two different ids");
        }
        if let Some(weights) = &self.weights {
            let together: f64 = weights.iter().sum();
            if weights.len() != self.variations.len() || weights.iter().any(|weight| *weight < 0.0) || !(0.99..=1.01).contains(&together) {
                return wrong(&format!("weights must be {} shares that are 1 together", self.variations.len()));
            }
        }
        if !(0.0..=1.0).contains(&self.coverage) {
            return wrong("coverage must be between 0 and 1");
        }
        if ![1, 2].contains(&self.hash_version) {
            return wrong("hash_version must be 1 or 2");
        }
        Ok(())
    }

    /// What this subject sees; nothing where it does not take part.
    pub(crate) fn variation(&self, subject: &str) -> Option<&str> {
        let seed = self.seed.as_deref().filter(|seed| !seed.is_empty()).unwrap_or(&self.id);
        let version = if self.hash_version == 1 { HashVersion::One } else { HashVersion::Two };
        let ranges = ranges(self.variations.len(), self.weights.as_deref(), self.coverage);
        let place = choose(hash(seed, subject, version), &ranges)?;
        self.variations.get(place).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::cases;

    #[test]
    fn hashing() {
        for case in cases("hashing.json") {
            let text = |field: &str| case[field].as_str().unwrap().to_owned();
            let version = if case["version"] == 1 { HashVersion::One } else { HashVersion::Two };
            let hash = hash(&text("seed"), &text("value"), version);
            assert!((hash - case["hash"].as_f64().unwrap()).abs() < 1e-12, "{case}: {hash}");
        }
    }

    #[test]
    fn assignment() {
        for case in cases("assignment.json") {
            let experiment: Experiment = serde_json::from_value(case["experiment"].clone()).unwrap();
            experiment.check().unwrap();
            for (subject, variation) in case["variations"].as_object().unwrap() {
                assert_eq!(experiment.variation(subject), variation.as_str(), "{}: {subject}", case["what"]);
            }
        }
    }

    #[test]
    fn what_is_set_up_wrongly_is_found() {
        let sound = || Experiment::new("e", ["a", "b"]);
        sound().check().unwrap();
        let check = |experiment: Experiment, told: &str| {
            let message = experiment.check().unwrap_err().to_string();
            assert!(message.contains(told), "{message}");
        };
        check(Experiment::new("", ["a", "b"]), "no id");
        check(Experiment::new("e", ["a"]), "two different");
        check(Experiment::new("e", ["a", "a"]), "two different");
        check(Experiment::new("e", ["a", "b", ""]), "two different");
        check(sound().weights([1.0]), "2 shares");
        check(sound().weights([0.5, 0.6]), "2 shares");
        check(sound().weights([-0.5, 1.5]), "2 shares");
        check(sound().weights([f64::NAN, 1.0]), "2 shares");
        check(sound().coverage(1.1), "coverage");
        check(sound().coverage(f64::NAN), "coverage");
        check(sound().hash_version(3), "hash_version");
        let unknown = serde_json::from_str::<Experiment>(r#"{"id": "e", "variations": ["a", "b"], "wieghts": [1, 0]}"#).unwrap_err();
        assert!(unknown.to_string().contains("wieghts"), "{unknown}");
    }
}
