//! From a call to the bytes of one event.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::clock::{micros, time_text};
use crate::finite;
use crate::scope::Scope;
use crate::stats::{Outcome, Reason};

pub(crate) const EVENT_ID_CHARS_MAX: usize = 100;
pub(crate) const EVENT_TYPE_CHARS_MAX: usize = 256;
/// Of an event's JSON: what the gate takes, unless it is set up otherwise.
pub(crate) const EVENT_BYTES_MAX: usize = 256 * 1024;
const SENT_AT_BYTES: usize = r#","sent_at":"2026-11-23T10:00:00.123Z"}"#.len();

/// What happened, to whom. Made of what is known and given to [`Client::track`](crate::Client::track).
///
/// ```
/// # use tidegate_sdk::Event;
/// Event::new("signup").user_id("u1").property("tier", "free");
/// ```
///
/// What cannot be sent, such as a number that is not finite, is found by the call that tracks it: it is counted, and told, and never an error or a panic here.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "an event is sent by `Client::track`"]
pub struct Event {
    event_type: String,
    event_id: String,
    event_time: Option<String>,
    user_id: String,
    anonymous_id: String,
    session_id: String,
    name: String,
    properties: Map<String, Value>,
    context: Map<String, Value>,
    /// The first thing about it that cannot be sent.
    fault: Option<String>,
}

impl Event {
    /// An event of a type, which has 1 to 256 characters.
    pub fn new(event_type: impl Into<String>) -> Self {
        Self {
            event_type: event_type.into(),
            event_id: String::new(),
            event_time: None,
            user_id: String::new(),
            anonymous_id: String::new(),
            session_id: String::new(),
            name: String::new(),
            properties: Map::new(),
            context: Map::new(),
            fault: None,
        }
    }

    /// A page was shown; `title` and `referrer` are properties that are often known besides.
    pub fn page_view(url: impl Into<String>) -> Self {
        Self::new("page_view").property("url", url.into())
    }

    /// What is known of a user, as properties; with an `anonymous_id`, also who that was.
    pub fn identify(user_id: impl ToString) -> Self {
        Self::new("identify").user_id(user_id)
    }

    /// A goal was reached, such as `purchase`; `value` and `currency` are properties that are often known besides.
    pub fn conversion(name: impl Into<String>) -> Self {
        Self::new("conversion").name(name)
    }

    /// A subject was shown a variation. [`Client::variation`](crate::Client::variation) sends it by itself.
    pub fn exposure(experiment_id: impl Into<String>, variation_id: impl Into<String>) -> Self {
        Self::new("feature_exposure").property("experiment_id", experiment_id.into()).property("variation_id", variation_id.into())
    }

    /// The user, where one is signed in.
    pub fn user_id(mut self, id: impl ToString) -> Self {
        self.user_id = id.to_string();
        self
    }

    /// The browser or device, where the user is not known, or not yet.
    pub fn anonymous_id(mut self, id: impl ToString) -> Self {
        self.anonymous_id = id.to_string();
        self
    }

    /// The visit.
    pub fn session_id(mut self, id: impl ToString) -> Self {
        self.session_id = id.to_string();
        self
    }

    /// A name within the type, such as that of a conversion's goal.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// When it happened, if that is not when it is tracked. Times of `chrono`, `jiff` and `time` will do.
    pub fn event_time(mut self, time: impl Into<SystemTime>) -> Self {
        match time_text(micros(time.into())) {
            Some(text) => self.event_time = Some(text),
            None => self.found(|| "event_time is no time of the calendar".to_owned()),
        }
        self
    }

    /// The same as a text, which is for the gate to read.
    pub fn event_time_text(mut self, time: impl Into<String>) -> Self {
        self.event_time = Some(time.into());
        self
    }

    /// An id of one's own, of 1 to 100 characters: a second event with the same one is the same event, and counted once. Without it the call gives one.
    pub fn event_id(mut self, id: impl ToString) -> Self {
        self.event_id = id.to_string();
        self
    }

    /// One property. A value that was given for it before is replaced.
    pub fn property(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        let name = name.into();
        match json(&value) {
            Ok(value) => drop(self.properties.insert(name, value)),
            Err(error) => self.found(|| format!("property {name}: {error}")),
        }
        self
    }

    /// Several properties: a struct or a map. What is not in it stays.
    pub fn properties(mut self, properties: impl Serialize) -> Self {
        match object(&properties) {
            Ok(object) => self.properties.extend(object),
            Err(error) => self.found(|| format!("properties: {error}")),
        }
        self
    }

    /// Where it happened, such as `page` or `device`, beside what the client and the scope say.
    pub fn context(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        let name = name.into();
        match json(&value) {
            Ok(value) => drop(self.context.insert(name, value)),
            Err(error) => self.found(|| format!("context {name}: {error}")),
        }
        self
    }

    /// Takes from a scope what was not said before.
    pub fn in_scope(mut self, scope: &Scope) -> Self {
        for (own, scopes) in
            [(&mut self.user_id, &scope.user_id), (&mut self.anonymous_id, &scope.anonymous_id), (&mut self.session_id, &scope.session_id)]
        {
            if own.is_empty() {
                own.clone_from(scopes);
            }
        }
        for (name, value) in &scope.context {
            if !self.context.contains_key(name) {
                self.context.insert(name.clone(), value.clone());
            }
        }
        if let Some(fault) = &scope.fault {
            self.found(|| fault.clone());
        }
        self
    }

    fn found(&mut self, fault: impl FnOnce() -> String) {
        self.fault.get_or_insert_with(fault);
    }

    /// What is wrong with it under a tracking plan.
    #[cfg(feature = "plan")]
    pub(crate) fn check(&self, rules: &rules::Rules) -> Vec<rules::Violation> {
        rules.check(&self.event_type, !self.user_id.is_empty() || !self.anonymous_id.is_empty(), &self.properties)
    }

    /// The id that the caller gave; empty where none.
    pub(crate) fn given_id(&self) -> &str {
        &self.event_id
    }

    /// Its id, and its JSON without the brace at the end: `sent_at` is written when it is sent.
    ///
    /// `context` is the client's, `random` makes the id.
    pub(crate) fn write(&self, context: &Map<String, Value>, now: SystemTime, random: [u8; 10]) -> Result<(String, Vec<u8>), Unsendable> {
        if let Some(fault) = &self.fault {
            return Err(Unsendable::invalid(fault.clone()));
        }
        let type_chars = self.event_type.chars().count();
        if !(1..=EVENT_TYPE_CHARS_MAX).contains(&type_chars) {
            return Err(Unsendable::invalid(format!(
                "the event type has {type_chars} characters, it must be a text of 1 to {EVENT_TYPE_CHARS_MAX}"
            )));
        }
        let id_chars = self.event_id.chars().count();
        if id_chars > EVENT_ID_CHARS_MAX {
            return Err(Unsendable::invalid(format!("the event id has {id_chars} characters, at most {EVENT_ID_CHARS_MAX} are taken")));
        }
        let now = micros(now);
        let event_id = if id_chars == 0 { event_id(now, random) } else { self.event_id.clone() };
        let event_time = match &self.event_time {
            Some(given) => given.clone(),
            None => {
                time_text(now).ok_or_else(|| Unsendable::invalid("the clock of this machine tells no time of the calendar".to_owned()))?
            }
        };
        let merged;
        let context = if self.context.is_empty() {
            context
        } else {
            merged = context.iter().chain(&self.context).map(|(name, value)| (name.clone(), value.clone())).collect();
            &merged
        };
        let wire = Wire {
            event_id: &event_id,
            event_type: &self.event_type,
            event_time: &event_time,
            user_id: &self.user_id,
            anonymous_id: &self.anonymous_id,
            session_id: &self.session_id,
            name: &self.name,
            properties: &self.properties,
            context,
        };
        let mut payload = serde_json::to_vec(&wire).map_err(|error| Unsendable::invalid(error.to_string()))?;
        payload.pop();
        let bytes = payload.len() + SENT_AT_BYTES;
        if bytes > EVENT_BYTES_MAX {
            let message = format!("the event has {bytes} bytes of JSON, at most {EVENT_BYTES_MAX} are taken");
            return Err(Unsendable { code: "too_large", message });
        }
        Ok((event_id, payload))
    }
}

/// In the order that the contract has.
#[derive(Serialize)]
struct Wire<'a> {
    event_id: &'a str,
    event_type: &'a str,
    event_time: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    user_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    anonymous_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    session_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "Map::is_empty")]
    properties: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    context: &'a Map<String, Value>,
}

/// What a call was given cannot be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unsendable {
    /// `invalid` or `too_large`.
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl From<Unsendable> for Outcome {
    fn from(why: Unsendable) -> Self {
        Self::Dropped(Reason { code: why.code.into(), message: why.message.into() })
    }
}

impl Unsendable {
    fn invalid(message: String) -> Self {
        Self { code: "invalid", message }
    }
}

/// A UUIDv7 (RFC 9562, 5.7) of these microseconds since 1970; before it is as 1970.
fn event_id(micros: i64, random: [u8; 10]) -> String {
    let millis = u64::try_from(micros.div_euclid(1_000)).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().to_string()
}

/// As JSON, the same value or an error.
pub(crate) fn json(value: &impl Serialize) -> Result<Value, String> {
    finite::check(value).map_err(|error| error.to_string())?;
    serde_json::to_value(value).map_err(|error| error.to_string())
}

fn object(value: &impl Serialize) -> Result<Map<String, Value>, String> {
    match json(value)? {
        Value::Object(object) => Ok(object),
        // As of a struct without fields.
        Value::Null => Ok(Map::new()),
        _ => Err("they must be a struct or a map".to_owned()),
    }
}

/// Ends the JSON of an event.
pub(crate) fn push_whole(body: &mut Vec<u8>, payload: &[u8], sent_at: &str) {
    body.extend_from_slice(payload);
    body.extend_from_slice(br#","sent_at":""#);
    body.extend_from_slice(sent_at.as_bytes());
    body.extend_from_slice(br#""}"#);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::vectors::cases;

    #[test]
    fn ids() {
        for case in cases("ids.json") {
            let random = u128::from_str_radix(case["random"].as_str().unwrap(), 16).unwrap().to_be_bytes();
            let random = random[6..].try_into().unwrap();
            assert_eq!(event_id(case["millis"].as_i64().unwrap() * 1_000, random), case["event_id"], "{case}");
        }
    }

    #[test]
    fn times() {
        for case in cases("times.json") {
            assert_eq!(time_text(case["micros"].as_i64().unwrap()).unwrap(), case["text"]);
        }
    }

    #[test]
    fn events() {
        let library = json!({"library": {"name": "tidegate-test", "version": "1.2.3"}});
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_428_000_123);
        for case in cases("events.json") {
            let what = &case["what"];
            let mut event = Event::new("");
            for (field, value) in case["call"].as_object().unwrap() {
                let text = || value.as_str().unwrap();
                event = match field.as_str() {
                    "event_type" => Event { event_type: text().to_owned(), ..event },
                    "event_id" => event.event_id(text()),
                    "event_time" => event.event_time_text(text()),
                    "user_id" => event.user_id(text()),
                    "anonymous_id" => event.anonymous_id(text()),
                    "session_id" => event.session_id(text()),
                    "name" => event.name(text()),
                    "properties" => event.properties(value),
                    // One name at a time: what is no object has no such call.
                    "context" if !value.is_object() => continue,
                    "context" => value.as_object().unwrap().iter().fold(event, |event, (name, value)| event.context(name, value)),
                    other => panic!("{other}"),
                };
            }
            if let Some(repeat) = case.pointer("/repeat/properties").and_then(Value::as_object) {
                for (name, length) in repeat {
                    event = event.property(name, "x".repeat(length.as_u64().unwrap() as usize));
                }
            }
            let written = event.write(library.as_object().unwrap(), now, *b"0123456789");
            if let Some(code) = case.get("dropped") {
                if case["call"]["context"].is_string() {
                    continue;
                }
                assert_eq!(written.unwrap_err().code, code, "{what}");
                continue;
            }
            let (id, payload) = written.unwrap();
            let mut body = Vec::new();
            push_whole(&mut body, &payload, "2026-11-23T10:00:01.000Z");
            let mut sent: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(sent["event_id"], id, "{what}");
            assert_eq!(sent.as_object_mut().unwrap().remove("sent_at").unwrap(), "2026-11-23T10:00:01.000Z");
            if case["call"].get("event_id").is_none_or(|given| given == "") {
                assert_eq!(id, event_id(1_795_428_000_123_000, *b"0123456789"), "{what}");
                sent["event_id"] = case["event"]["event_id"].clone();
            }
            assert_eq!(sent, case["event"], "{what}");
            let text = String::from_utf8(payload).unwrap();
            let order = ["event_id", "event_type", "event_time", "user_id", "anonymous_id", "session_id", "name", "properties", "context"];
            let places = order.iter().filter(|field| sent.get(field).is_some()).map(|field| text.find(&format!("\"{field}\":")).unwrap());
            assert!(places.is_sorted_by(|a, b| a < b), "the order of the fields: {what}");
        }
    }

    #[test]
    fn what_is_no_json_is_found() {
        let check = |event: Event, told: &str| {
            let refused = event.write(&Map::new(), SystemTime::UNIX_EPOCH, [0; 10]).unwrap_err();
            assert!(refused.code == "invalid" && refused.message.contains(told), "{told}: {refused:?}");
        };
        check(Event::new("t").property("x", f64::NAN), "property x: the number NaN is not finite");
        check(Event::new("t").property("x", [Some(1.0), None, Some(f32::INFINITY)]), "not finite");
        check(Event::new("t").properties(json!([1])), "a struct or a map");
        check(Event::new("t").property("x", BTreeMap::from([((1, 2), 3)])), "key must be a string");
        check(Event::new("t").property("x", u128::MAX), "out of range");
        check(Event::new("t").context("x", BTreeMap::from([("y", f64::NEG_INFINITY)])), "context x");
        check(Event::new("t").in_scope(&Scope::new().context("x", f64::NAN)), "context x");
        // The first one is told.
        check(Event::new("t").property("x", f64::NAN).properties(7), "property x");
    }

    #[test]
    fn a_time_before_1970_and_one_that_no_calendar_has() {
        let before = Event::new("t").event_time(SystemTime::UNIX_EPOCH - Duration::from_millis(1));
        assert_eq!(before.event_time.as_deref(), Some("1969-12-31T23:59:59.999Z"));
        if let Some(far) = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(i64::MAX as u64 / 2)) {
            assert!(Event::new("t").event_time(far).fault.is_some());
        }
    }

    #[test]
    fn a_scope_says_what_the_event_does_not() {
        let scope = Scope::new().user_id("u1").session_id("s1").context("page", "a").context("locale", "de");
        let event = Event::new("t").user_id("u2").context("page", "b").in_scope(&scope);
        assert_eq!(event, Event::new("t").user_id("u2").session_id("s1").context("page", "b").context("locale", "de"));
    }
}
