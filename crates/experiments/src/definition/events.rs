//! Which events are meant.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{PARTS_MAX, Problem};

/// Which events are meant: those for which all of this holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// Those of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// Those with such properties.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, Test>,
    /// Those for which this SQL over the columns of `silver.events` holds.
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<String>,
}

/// What a property must be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Test {
    /// This.
    Is(Scalar),
    /// One of these.
    OneOf(Vec<Scalar>),
    /// A number within bounds.
    Within(Within),
}

/// A text, a number or a truth value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// True or false.
    Flag(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

/// Bounds of a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Within {
    /// It is this or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// It is this or less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
}

impl Events {
    /// Whether nothing is said: all are meant.
    pub fn is_empty(&self) -> bool {
        self.event_type.is_none() && self.properties.is_empty() && self.holds.is_none()
    }

    /// As SQL over the columns of `silver.events`, in what DataFusion and Spark both run.
    pub fn sql(&self) -> String {
        let event_type = self.event_type.iter().map(|name| format!("event_type = {}", literal(name)));
        let properties = self.properties.iter().map(|(name, test)| test.sql(name));
        let holds = self.holds.iter().map(|sql| format!("({sql})"));
        let parts: Vec<String> = event_type.chain(properties).chain(holds).collect();
        if parts.is_empty() { "TRUE".to_owned() } else { parts.join(" AND ") }
    }

    pub(super) fn check(&self, place: &str) -> Result<(), Problem> {
        if self.properties.len() > PARTS_MAX {
            return Err(Problem(format!("{place}: at most {PARTS_MAX} properties are looked at")));
        }
        for (name, test) in &self.properties {
            let is_none = match test {
                Test::Is(value) => !value.is_finite(),
                Test::OneOf(values) => values.is_empty() || values.len() > 1_000 || !values.iter().all(Scalar::is_finite),
                Test::Within(Within { at_least, at_most }) => {
                    let bounds: Vec<f64> = at_least.iter().chain(at_most).copied().collect();
                    bounds.is_empty() || !bounds.iter().all(|bound| bound.is_finite())
                }
            };
            if is_none {
                return Err(Problem(format!(
                    "{place}.properties.{name}: write a value, a list of up to 1,000, or bounds such as {{at_least: 10}}"
                )));
            }
        }
        Ok(())
    }
}

impl Scalar {
    fn is_finite(&self) -> bool {
        !matches!(self, Self::Number(number) if !number.is_finite())
    }

    fn sql(&self, name: &str) -> String {
        let name = literal(name);
        match self {
            Self::Flag(true) => format!("json_boolean(properties, {name})"),
            Self::Flag(false) => format!("NOT json_boolean(properties, {name})"),
            Self::Number(number) => format!("json_number(properties, {name}) = {}", double(*number)),
            Self::Text(text) => format!("json_text(properties, {name}) = {}", literal(text)),
        }
    }
}

impl Test {
    fn sql(&self, name: &str) -> String {
        match self {
            Self::Is(value) => value.sql(name),
            Self::OneOf(values) => {
                let parts: Vec<String> = values.iter().map(|value| value.sql(name)).collect();
                format!("({})", parts.join(" OR "))
            }
            Self::Within(Within { at_least, at_most }) => {
                let bound = |sign: &str, bound: &f64| format!("json_number(properties, {}) {sign} {}", literal(name), double(*bound));
                let parts: Vec<String> =
                    at_least.iter().map(|least| bound(">=", least)).chain(at_most.iter().map(|most| bound("<=", most))).collect();
                parts.join(" AND ")
            }
        }
    }
}

/// A text in SQL. Spark would read a backslash as the beginning of something else, so it is written as its number; DataFusion knows the function too.
pub fn literal(text: &str) -> String {
    let quoted = |part: &str| format!("'{}'", part.replace('\'', "''"));
    if !text.contains('\\') {
        return quoted(text);
    }
    let parts: Vec<String> = text.split('\\').map(quoted).collect();
    format!("concat({})", parts.join(", chr(92), "))
}

fn double(number: f64) -> String {
    format!("CAST('{number}' AS DOUBLE)")
}
