//! Which properties events of a type have, and of which kind.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::value::RawValue;

/// Types and properties that are told apart; the rest is left out.
const TYPES_MAX: usize = 500;
const PROPERTIES_MAX: usize = 200;
/// Events of a type that are needed on both sides.
const EVENTS_MIN: u64 = 50;
/// The least change of a share, and how many standard deviations it has to be.
const SHARE_MIN: f64 = 0.2;
const DEVIATIONS_MIN: f64 = 6.0;

/// What a property is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Absent,
    Null,
    Text,
    Number,
    Boolean,
    List,
    Object,
}

impl Kind {
    const ALL: [Self; 7] = [Self::Absent, Self::Null, Self::Text, Self::Number, Self::Boolean, Self::List, Self::Object];

    fn of(json: &str) -> Self {
        match json.as_bytes().first() {
            Some(b'"') => Self::Text,
            Some(b'{') => Self::Object,
            Some(b'[') => Self::List,
            Some(b't' | b'f') => Self::Boolean,
            Some(b'n') | None => Self::Null,
            Some(_) => Self::Number,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "absent",
            Self::Null => "null",
            Self::Text => "text",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::List => "a list",
            Self::Object => "an object",
        })
    }
}

/// The properties of a type.
#[derive(Debug, Clone, Default)]
struct Shape {
    events: u64,
    /// By name and kind, without those that are absent.
    properties: BTreeMap<String, BTreeMap<Kind, u64>>,
}

impl Shape {
    /// Which part of the events has the property so.
    fn share(&self, property: &str, kind: Kind) -> f64 {
        let kinds = self.properties.get(property);
        let count = match kind {
            Kind::Absent => self.events - kinds.map_or(0, |kinds| kinds.values().sum::<u64>().min(self.events)),
            kind => kinds.and_then(|kinds| kinds.get(&kind)).copied().unwrap_or_default(),
        };
        count as f64 / self.events as f64
    }

    fn most(&self, property: &str) -> Kind {
        let by_share = |one: &Kind, other: &Kind| self.share(property, *one).total_cmp(&self.share(property, *other));
        Kind::ALL.into_iter().max_by(by_share).unwrap_or(Kind::Absent)
    }
}

/// The shapes of event types.
#[derive(Debug, Clone, Default)]
pub(super) struct Shapes(BTreeMap<String, Shape>);

impl Shapes {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds an event with these properties, as JSON.
    pub(super) fn add(&mut self, event_type: &str, properties: &str) {
        if self.0.len() >= TYPES_MAX && !self.0.contains_key(event_type) {
            return;
        }
        let shape = self.0.entry(event_type.to_owned()).or_default();
        shape.events += 1;
        let Ok(properties) = serde_json::from_str::<BTreeMap<String, &RawValue>>(properties) else { return };
        for (name, value) in properties {
            if shape.properties.len() < PROPERTIES_MAX || shape.properties.contains_key(&name) {
                *shape.properties.entry(name).or_default().entry(Kind::of(value.get())).or_default() += 1;
            }
        }
    }

    /// What is different in the other: type, property, and what it was and is.
    pub(super) fn changes(&self, now: &Self) -> Vec<(String, String, String)> {
        let mut changes = Vec::new();
        for (event_type, before) in &self.0 {
            let Some(now) = now.0.get(event_type).filter(|now| now.events >= EVENTS_MIN && before.events >= EVENTS_MIN) else { continue };
            let names: BTreeSet<&String> = before.properties.keys().chain(now.properties.keys()).collect();
            for name in names {
                if Kind::ALL.into_iter().any(|kind| is_far(before, now, name, kind)) {
                    changes.push((event_type.clone(), name.clone(), said(before, now, name)));
                }
            }
        }
        changes
    }
}

/// Whether two shares differ by much, and by more than chance: the pooled z of two proportions.
fn is_far(before: &Shape, now: &Shape, property: &str, kind: Kind) -> bool {
    let (one, other) = (before.share(property, kind), now.share(property, kind));
    let (n, m) = (before.events as f64, now.events as f64);
    let pooled = (one * n + other * m) / (n + m);
    let deviation = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
    (other - one).abs() >= SHARE_MIN && (other - one).abs() >= DEVIATIONS_MIN * deviation
}

fn said(before: &Shape, now: &Shape, property: &str) -> String {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let (was, is) = (before.most(property), now.most(property));
    if was == is {
        let there = |shape: &Shape| percent(1.0 - shape.share(property, Kind::Absent));
        return format!("is in {} of them, was in {}", there(now), there(before));
    }
    format!("is {is} in {}, was {was} in {}", percent(now.share(property, is)), percent(before.share(property, was)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(events: &[(&str, usize)]) -> Shapes {
        let mut shapes = Shapes::default();
        for (properties, times) in events {
            (0..*times).for_each(|_| shapes.add("order", properties));
        }
        shapes
    }

    fn check(before: &[(&str, usize)], now: &[(&str, usize)], expect: &[(&str, &str)]) {
        let changes = shapes(before).changes(&shapes(now));
        let found: Vec<(&str, &str)> = changes.iter().map(|(_, property, what)| (property.as_str(), what.as_str())).collect();
        assert_eq!(found, expect, "{before:?} {now:?}");
    }

    #[test]
    fn changes_are_told_and_chance_is_not() {
        let usual = r#"{"price": 3, "name": "a"}"#;
        check(&[(usual, 100)], &[(usual, 60)], &[]);
        check(&[(usual, 100)], &[(r#"{"price": "3", "name": "a"}"#, 100)], &[("price", "is text in 100 %, was a number in 100 %")]);
        check(&[(usual, 100)], &[(r#"{"name": "a"}"#, 100)], &[("price", "is absent in 100 %, was a number in 100 %")]);
        check(&[(r#"{"name": "a"}"#, 100)], &[(usual, 100)], &[("price", "is a number in 100 %, was absent in 100 %")]);
        check(&[(usual, 400)], &[(usual, 240), (r#"{"name": "a"}"#, 160)], &[("price", "is in 60 % of them, was in 100 %")]);
        // Too few to tell, and too little of a change.
        check(&[(usual, 100)], &[(r#"{"name": "a"}"#, 49)], &[]);
        check(&[(usual, 400)], &[(usual, 340), (r#"{"name": "a"}"#, 60)], &[]);
        check(&[("no json", 100)], &[("null", 100)], &[]);
    }

    #[test]
    fn there_are_bounds() {
        let many: Vec<String> = (0..PROPERTIES_MAX + 10).map(|number| format!("\"p{number}\": 1")).collect();
        let mut shapes = Shapes::default();
        shapes.add("order", &format!("{{{}}}", many.join(",")));
        assert_eq!(shapes.0["order"].properties.len(), PROPERTIES_MAX);
        (0..TYPES_MAX + 10).for_each(|number| shapes.add(&format!("t{number}"), "{}"));
        assert_eq!(shapes.0.len(), TYPES_MAX);
    }
}
