//! What changes from one plan to another, and for whom that is a break.
//!
//! For producers a change is compatible when every event that the old plan has no complaint about is one that the new plan has no complaint about. What cannot be shown to be so is called a break.
//! For queries it is compatible when what a column is does not change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::file::{self, PlanFile, TypeFile, place};
use super::{Column, Error, Policy, UnknownTypes};

/// Keywords that say nothing about which values are valid.
const ANNOTATIONS: [&str; 9] = ["title", "description", "examples", "default", "deprecated", "$comment", "readOnly", "writeOnly", "pii"];
/// Keywords that only forbid, each by itself: without one, no value becomes invalid.
const RESTRICTIONS: [&str; 6] = ["enum", "const", "pattern", "format", "multipleOf", "uniqueItems"];
/// Bounds from below, and from above.
const LOWER: [&str; 5] = ["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"];
const UPPER: [&str; 5] = ["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"];

/// What a change means for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing.
    None,
    /// Nothing breaks.
    Compatible,
    /// Something may break that worked.
    Breaking,
}

/// One thing that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Where in the plan, such as `types.order.properties.price`.
    pub path: String,
    /// The line and the column in the new plan, or, of what is gone, in the old one.
    pub line_and_column: Option<(u64, u64)>,
    /// What changed, in words.
    pub what: String,
    /// For those who send events.
    pub producers: Effect,
    /// For those who query the tables.
    pub queries: Effect,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Compatible => "compatible",
            Self::Breaking => "breaking",
        })
    }
}

/// What changes from the old plan to the new one, in the order of their paths. Both must be sound plans.
///
/// # Errors
///
/// The first problem of a text that is no plan, with its place.
pub fn diff(old: (&str, &str), new: (&str, &str)) -> Result<Vec<Change>, Error> {
    super::Plan::parse(old.0, old.1)?;
    super::Plan::parse(new.0, new.1)?;
    let (old, new) = (file::read(old.0, old.1)?, file::read(new.0, new.1)?);
    let mut changes = Changes::default();
    changes.plan(&old, &new);
    for name in old.types.keys().chain(new.types.keys()).collect::<BTreeSet<_>>() {
        changes.event_type(name, &old, &new);
    }
    changes.found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(changes.found)
}

#[derive(Debug, Default)]
struct Changes {
    found: Vec<Change>,
}

type Place = Option<(u64, u64)>;

impl Changes {
    fn note(&mut self, path: &str, line_and_column: Place, what: impl Into<String>, producers: Effect, queries: Effect) {
        self.found.push(Change { path: path.to_owned(), line_and_column, what: what.into(), producers, queries });
    }

    fn plan(&mut self, old: &PlanFile, new: &PlanFile) {
        use Effect::{Breaking, Compatible, None as Nothing};
        if old.version != new.version {
            self.note("version", None, format!("{} becomes {}", old.version, new.version), Nothing, Nothing);
        }
        if old.unknown_types != new.unknown_types {
            let producers = if new.unknown_types == UnknownTypes::Violation { Breaking } else { Compatible };
            self.note("unknown_types", None, format!("{:?} becomes {:?}", old.unknown_types, new.unknown_types), producers, Nothing);
        }
        if old.require_subject != new.require_subject {
            let producers = if new.require_subject { Breaking } else { Compatible };
            self.note("require_subject", None, format!("{} becomes {}", old.require_subject, new.require_subject), producers, Nothing);
        }
        let policy = |plan: &PlanFile, source: &_| plan.sources.get(source).and_then(|rules| rules.policy).unwrap_or(plan.default_policy);
        let mut policies = vec![("default_policy".to_owned(), old.default_policy, new.default_policy)];
        for source in old.sources.keys().chain(new.sources.keys()).collect::<BTreeSet<_>>() {
            policies.push((format!("sources.{}", source.as_str()), policy(old, source), policy(new, source)));
        }
        for (path, was, is) in policies.into_iter().filter(|(_, was, is)| was != is) {
            // What is valid stays valid; what is not is treated otherwise.
            let queries = if was == Policy::Flag { Breaking } else { Compatible };
            self.note(&path, None, format!("what breaks the plan was treated as {was:?} and is as {is:?}"), Compatible, queries);
        }
        self.personal(old, new);
    }

    /// What is kept of personal data: nothing for producers, but what was text may be a hash from now on.
    fn personal(&mut self, old: &PlanFile, new: &PlanFile) {
        use Effect::{Breaking, Compatible, None as Nothing};
        for field in old.pii.keys().chain(new.pii.keys()).collect::<BTreeSet<_>>() {
            let mark = |plan: &PlanFile| plan.pii.get(field).map(|mark| mark.value).unwrap_or_default();
            let at = new.pii.get(field).or_else(|| old.pii.get(field)).and_then(place);
            if mark(old) != mark(new) {
                let what = format!("personal data here was treated as {:?} and is as {:?}", mark(old), mark(new));
                self.note(&format!("pii.{field}"), at, what, Nothing, Breaking);
            }
        }
        if old.consent != new.consent {
            let what = "events without the consent that is asked for are kept without content, and what is asked for changes";
            self.note("consent", None, what, Nothing, Compatible);
        }
        for source in old.sources.keys().chain(new.sources.keys()).collect::<BTreeSet<_>>() {
            let kept = |plan: &PlanFile| plan.sources.get(source).and_then(|rules| rules.client_address);
            if kept(old) != kept(new) {
                let path = format!("sources.{}.client_address", source.as_str());
                self.note(&path, None, "what is kept of clients' addresses changes", Nothing, Breaking);
            }
        }
    }

    fn event_type(&mut self, name: &str, old: &PlanFile, new: &PlanFile) {
        use Effect::{Breaking, Compatible, None as Nothing};
        let path = format!("types.{name}");
        let demands = |rules: &TypeFile, plan: &PlanFile| rules.require_subject.unwrap_or(plan.require_subject);
        let (was, is) = match (old.types.get(name), new.types.get(name)) {
            (Some(was), Some(is)) => (was, is),
            (Some(was), None) => {
                // As an unknown type its events follow the rules of the whole plan.
                let demands = new.require_subject && !demands(&was.value, old);
                let producers = if new.unknown_types == UnknownTypes::Allow && !demands { Compatible } else { Breaking };
                return self.note(&path, place(was), "the event type is gone", producers, Breaking);
            }
            (None, Some(is)) => {
                let rules = &is.value;
                let demands = demands(rules, new) && !old.require_subject;
                let asks_nothing = rules.required.is_empty()
                    && rules.additional_properties
                    && rules.schema.is_none()
                    && !demands
                    && rules.properties.values().all(|schema| is_anything(&schema.value));
                // The old plan may have had no complaint about events of this type, whatever was in them.
                let could_come = old.unknown_types == UnknownTypes::Allow;
                let (what, producers) = match (could_come, asks_nothing) {
                    (true, false) => ("a new event type, which could be sent before as anything", Breaking),
                    _ => ("a new event type", Compatible),
                };
                return self.note(&path, place(is), what, producers, Compatible);
            }
            (None, None) => return,
        };
        let at = place(is);
        let (was, is) = (&was.value, &is.value);
        if was.require_subject != is.require_subject {
            let producers = match (demands(was, old), demands(is, new)) {
                (false, true) => Breaking,
                (true, false) => Compatible,
                _ => Nothing,
            };
            self.note(
                &format!("{path}.require_subject"),
                at,
                format!("{} becomes {}", demands(was, old), demands(is, new)),
                producers,
                Nothing,
            );
        }
        if was.additional_properties != is.additional_properties {
            let producers = if is.additional_properties { Compatible } else { Breaking };
            let what = format!("{} becomes {}", was.additional_properties, is.additional_properties);
            self.note(&format!("{path}.additional_properties"), at, what, producers, Nothing);
        }
        if was.consent != is.consent {
            self.note(&format!("{path}.consent"), at, "the consent that is asked for changes", Nothing, Compatible);
        }
        self.required(&path, was, is);
        for property in was.properties.keys().chain(is.properties.keys()).collect::<BTreeSet<_>>() {
            self.property(&format!("{path}.properties.{property}"), (was, old), (is, new), property);
        }
        self.whole(&format!("{path}.schema"), (was, old), (is, new));
    }

    fn required(&mut self, path: &str, was: &TypeFile, is: &TypeFile) {
        let names =
            |rules: &TypeFile| -> BTreeMap<String, Place> { rules.required.iter().map(|name| (name.value.clone(), place(name))).collect() };
        let (was, is) = (names(was), names(is));
        let path = format!("{path}.required");
        for (name, at) in is.iter().filter(|(name, _)| !was.contains_key(*name)) {
            self.note(&path, *at, format!("{name} must be sent now"), Effect::Breaking, Effect::Compatible);
        }
        for (name, at) in was.iter().filter(|(name, _)| !is.contains_key(*name)) {
            self.note(&path, *at, format!("{name} may be left out now, so its column may be null"), Effect::Compatible, Effect::Breaking);
        }
    }

    fn property(&mut self, path: &str, (was, old): (&TypeFile, &PlanFile), (is, new): (&TypeFile, &PlanFile), name: &str) {
        use Effect::{Breaking, Compatible};
        match (was.properties.get(name), is.properties.get(name)) {
            (Some(was), Some(is)) => self.schema(path, was, old, is, new),
            (Some(gone), None) => {
                let producers = if is.additional_properties { Compatible } else { Breaking };
                self.note(path, place(gone), "the property is gone, and with it its column", producers, Breaking);
            }
            (None, Some(added)) if was.additional_properties && !is_anything(&added.value) => {
                self.note(path, place(added), "a new property, which could be sent before as anything", Breaking, Compatible);
            }
            (None, Some(added)) => self.note(path, place(added), "a new property", Compatible, Compatible),
            (None, None) => {}
        }
    }

    fn schema(&mut self, path: &str, was: &Spanned<Value>, old: &PlanFile, is: &Spanned<Value>, new: &PlanFile) {
        let (at, was, is) = (place(is), &was.value, &is.value);
        let refers = has_reference(was) || has_reference(is);
        let definitions_differ = refers && old.definitions != new.definitions;
        if was == is && !definitions_differ {
            return;
        }
        let (from, to) = (Column::of(was), Column::of(is));
        let queries = if from == to { Effect::Compatible } else { Effect::Breaking };
        let type_changed = if from == to { String::new() } else { format!("; its column was {from} and is {to}") };
        let (what, producers) = if definitions_differ {
            ("a definition that it refers to changed, and it cannot be shown that all that was valid still is", Effect::Breaking)
        } else if is_wider(was, is) {
            ("its schema takes all that it took", Effect::Compatible)
        } else {
            ("its schema takes less, or it cannot be shown that it does not", Effect::Breaking)
        };
        self.note(path, at, format!("{what}{type_changed}"), producers, queries);
    }

    fn whole(&mut self, path: &str, (was, old): (&TypeFile, &PlanFile), (is, new): (&TypeFile, &PlanFile)) {
        match (&was.schema, &is.schema) {
            (Some(was), Some(is)) => self.schema(path, was, old, is, new),
            (Some(was), None) => self.note(path, place(was), "the schema of the whole is gone", Effect::Compatible, Effect::Compatible),
            (None, Some(is)) if is_anything(&is.value) => {}
            (None, Some(is)) => self.note(path, place(is), "a new schema of the whole", Effect::Breaking, Effect::Compatible),
            (None, None) => {}
        }
    }
}

fn is_anything(schema: &Value) -> bool {
    match schema {
        Value::Bool(all) => *all,
        Value::Object(keywords) => keywords.keys().all(|keyword| ANNOTATIONS.contains(&keyword.as_str())),
        _ => false,
    }
}

fn has_reference(schema: &Value) -> bool {
    match schema {
        Value::Object(keywords) => {
            keywords.keys().any(|keyword| matches!(keyword.as_str(), "$ref" | "$dynamicRef")) || keywords.values().any(has_reference)
        }
        Value::Array(items) => items.iter().any(has_reference),
        _ => false,
    }
}

/// Whether it can be shown that every value that is valid under the old schema is valid under the new one: keyword by keyword, each of which holds by itself.
fn is_wider(old: &Value, new: &Value) -> bool {
    if is_anything(new) || matches!(old, Value::Bool(false)) {
        return true;
    }
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return false };
    let keywords = old.keys().chain(new.keys()).collect::<BTreeSet<_>>();
    keywords.into_iter().all(|keyword| is_wider_in(keyword, old, new))
}

fn is_wider_in(keyword: &str, old: &Map<String, Value>, new: &Map<String, Value>) -> bool {
    let (was, is) = (old.get(keyword), new.get(keyword));
    if was == is || ANNOTATIONS.contains(&keyword) {
        return true;
    }
    let number = |value: Option<&Value>| value.and_then(Value::as_f64);
    match keyword {
        "type" => match (was, is) {
            (_, None) => true,
            (Some(was), Some(is)) => {
                types(was).iter().all(|name| types(is).contains(name) || (*name == "integer" && types(is).contains(&"number")))
            }
            (None, Some(_)) => false,
        },
        "enum" if is.is_some() => match (was.and_then(Value::as_array), is.and_then(Value::as_array)) {
            (Some(was), Some(is)) => was.iter().all(|value| is.contains(value)),
            _ => false,
        },
        "required" => match (was.and_then(Value::as_array), is.and_then(Value::as_array)) {
            (_, None) => is.is_none(),
            (Some(was), Some(is)) => is.iter().all(|name| was.contains(name)),
            (None, Some(is)) => is.is_empty(),
        },
        _ if LOWER.contains(&keyword) => is.is_none() || number(was).zip(number(is)).is_some_and(|(was, is)| is <= was),
        _ if UPPER.contains(&keyword) => is.is_none() || number(was).zip(number(is)).is_some_and(|(was, is)| is >= was),
        _ if RESTRICTIONS.contains(&keyword) => is.is_none(),
        _ => false,
    }
}

fn types(value: &Value) -> Vec<&str> {
    match value {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{Event, Plan};

    fn effects(old: &str, new: &str) -> Vec<(String, Effect, Effect)> {
        let found = diff((old, "old.yaml"), (new, "new.yaml")).unwrap();
        found.into_iter().map(|change| (change.path, change.producers, change.queries)).collect()
    }

    #[test]
    fn each_change_is_told_with_what_it_means() {
        use Effect::{Breaking, Compatible, None as Nothing};
        let plan = |types: &str| format!("version: '1'\ntypes:\n  buy: {types}\n");
        let check = |old: &str, new: &str, path: &str, producers: Effect, queries: Effect| {
            let expected = if path.is_empty() { Vec::new() } else { vec![(format!("types.buy{path}"), producers, queries)] };
            assert_eq!(effects(&plan(old), &plan(new)), expected, "{old} -> {new}");
        };
        let price = |schema: &str| format!("{{properties: {{price: {schema}}}}}");
        check(&price("{type: number}"), &price("{type: number, description: x}"), ".properties.price", Compatible, Compatible);
        check(&price("{type: integer}"), &price("{type: number}"), ".properties.price", Compatible, Breaking);
        check(&price("{type: number}"), &price("{type: string}"), ".properties.price", Breaking, Breaking);
        check(&price("{type: number, minimum: 1}"), &price("{type: number, minimum: 0}"), ".properties.price", Compatible, Compatible);
        check(&price("{type: number, minimum: 0}"), &price("{type: number, minimum: 1}"), ".properties.price", Breaking, Compatible);
        check(&price("{enum: [1, 2]}"), &price("{enum: [1, 2, 3]}"), ".properties.price", Compatible, Compatible);
        check(&price("{enum: [1, 2]}"), &price("{enum: [1]}"), ".properties.price", Breaking, Compatible);
        check("{}", &price("{type: number}"), ".properties.price", Breaking, Compatible);
        check("{}", &price("{}"), ".properties.price", Compatible, Compatible);
        check(&price("{type: number}"), "{}", ".properties.price", Compatible, Breaking);
        check("{properties: {a: {}}}", "{properties: {a: {}}, required: [a]}", ".required", Breaking, Compatible);
        check("{properties: {a: {}}, required: [a]}", "{properties: {a: {}}}", ".required", Compatible, Breaking);
        check("{}", "{additional_properties: false}", ".additional_properties", Breaking, Nothing);
        check("{}", "{schema: {minProperties: 1}}", ".schema", Breaking, Compatible);
        check("{}", "{require_subject: true}", ".require_subject", Breaking, Nothing);
        check("{}", "{require_subject: false}", ".require_subject", Nothing, Nothing);
        check("{}", "{}", "", Nothing, Nothing);
        let (one, two) = ("version: '1'\ntypes: {a: {}}\n", "version: '1'\nunknown_types: violation\ntypes: {b: {}}\n");
        let gone = |subject: bool| format!("version: '1'\nrequire_subject: true\ntypes: {{a: {{require_subject: {subject}}}}}\n");
        let nothing = "version: '1'\nrequire_subject: true\ntypes: {}\n";
        assert_eq!(
            effects(&gone(false), nothing),
            [("types.a".to_owned(), Breaking, Breaking)],
            "it asked for no subject, and the plan does"
        );
        assert_eq!(effects(&gone(true), nothing), [("types.a".to_owned(), Compatible, Breaking)]);
        let expected = [("types.a", Breaking, Breaking), ("types.b", Compatible, Compatible), ("unknown_types", Breaking, Nothing)];
        assert_eq!(effects(one, two), expected.map(|(path, producers, queries)| (path.to_owned(), producers, queries)));
    }

    fn schema() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(json!({})),
            Just(json!({"type": "string"})),
            Just(json!({"type": ["string", "integer"]})),
            Just(json!({"type": "integer"})),
            (0_i64..4).prop_map(|least| json!({"type": "number", "minimum": least})),
            (0_i64..4).prop_map(|most| json!({"maximum": most})),
            (0_u64..3).prop_map(|most| json!({"type": "string", "maxLength": most})),
            prop::collection::vec(0_i64..4, 1..3).prop_map(|values| json!({"enum": values})),
        ]
    }

    fn plan() -> impl Strategy<Value = Value> {
        let rules = (prop::collection::btree_map("[ab]", schema(), 0..3), any::<bool>(), any::<bool>(), prop::option::of(any::<bool>()));
        let rules = rules.prop_map(|(properties, requires, open, subject)| {
            let required: Vec<&String> = properties.keys().filter(|_| requires).collect();
            let mut rules = json!({"properties": properties, "required": required, "additional_properties": open});
            if let Some(subject) = subject {
                rules["require_subject"] = subject.into();
            }
            rules
        });
        (prop::collection::btree_map("[xy]", rules, 0..3), any::<bool>(), any::<bool>()).prop_map(|(types, strict, subject)| {
            let unknown = if strict { "violation" } else { "allow" };
            json!({"version": "1", "unknown_types": unknown, "require_subject": subject, "types": types})
        })
    }

    fn event() -> impl Strategy<Value = Event<'static>> {
        let value = prop_oneof![(0_i64..5).prop_map(Value::from), "[a-c]{0,3}".prop_map(Value::from), Just(json!(1.5)), Just(json!(true))];
        let properties = prop::collection::btree_map("[abc]", value, 0..3);
        ("[xyz]", properties, any::<bool>()).prop_map(|(event_type, properties, known)| Event {
            event_type: event_type.into(),
            user_id: known.then(|| "u".into()),
            properties: properties.into_iter().map(|(name, value)| (name, value.into())).collect(),
            ..Event::default()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn what_is_called_compatible_breaks_no_event(old in plan(), new in plan(), events in prop::collection::vec(event(), 1..40)) {
            let (old, new) = (old.to_string(), new.to_string());
            let changes = diff((&old, "old"), (&new, "new")).unwrap();
            let (before, after) = (Plan::parse(&old, "old").unwrap(), Plan::parse(&new, "new").unwrap());
            let broken = |event: &&Event<'_>| before.validate(event).is_empty() && !after.validate(event).is_empty();
            if let Some(event) = events.iter().find(broken) {
                prop_assert!(changes.iter().any(|change| change.producers == Effect::Breaking), "{event:?} breaks: {changes:?}\n{old}\n{new}");
            }
            if changes.is_empty() {
                prop_assert_eq!(old, new);
            }
        }

        #[test]
        fn a_plan_is_compatible_with_itself(plan in plan()) {
            let plan = plan.to_string();
            prop_assert_eq!(diff((&plan, "a"), (&plan, "b")).unwrap(), []);
        }
    }
}
