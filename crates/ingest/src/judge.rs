//! Decides on one event: is it sound, is it within the plan, and what follows.

use contract::mask::{self, Masked};
use contract::plan::Policy;
use contract::wire::{self, Envelope};
use contract::{Erased, Event, EventId, Plan, Timestamp, Verdict, Violation, WireFormat, json};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::keys::Scope;

/// What an event is judged by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) policy: Policy,
    /// What the key of the request may do.
    pub(crate) scope: &'a Scope,
    pub(crate) format: WireFormat,
    pub(crate) envelope: &'a Envelope<'a>,
    pub(crate) json: &'a json::Limits,
    pub(crate) event_bytes_max: usize,
    pub(crate) erased: &'a Erased,
    /// The envelope as it came.
    pub(crate) raw_envelope: Option<&'a RawValue>,
    pub(crate) pii_key: &'a mask::Key,
    /// Whether a gate has had it before, and masked what the plan of that time marked.
    pub(crate) masked_before: bool,
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judgement {
    /// The id that the client gave, as far as it could be read.
    pub(crate) event_id: Option<EventId>,
    pub(crate) sent_at: Option<Timestamp>,
    pub(crate) verdict: Verdict,
    /// Why; empty for [`Verdict::Accepted`] only.
    pub(crate) violations: Vec<Violation>,
    /// What is stored of its content.
    pub(crate) kept: Kept,
}

/// What is stored of an event's content.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kept {
    /// All of it, of a refused one its front.
    Whole,
    /// What is left once the personal data that the plan marks is out of it.
    Masked(Masked),
    /// Nothing, for it cannot be read, and the plan marks personal data that may be anywhere in it.
    Nothing,
    /// Nothing, and it is known for what was kept out.
    Out(Why),
}

/// Why the content of an event is kept out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// Its person asked to be erased.
    Erased,
    /// Its person has not consented to what the plan asks for.
    NoConsent,
}

impl Why {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Erased => "erased",
            Self::NoConsent => "no_consent",
        }
    }
}

impl Judgement {
    /// Of what cannot be read.
    pub(crate) fn refused(event_id: Option<EventId>, violations: Vec<Violation>, plan: &Plan) -> Self {
        let kept = if plan.marks_any() { Kept::Nothing } else { Kept::Whole };
        Self { event_id, sent_at: None, verdict: Verdict::Refused, violations, kept }
    }
}

pub(crate) fn judge(payload: &[u8], rules: &Rules<'_>) -> Judgement {
    if payload.len() > rules.event_bytes_max {
        let message = format!("has {} bytes, at most {} are taken; send less in one event", payload.len(), rules.event_bytes_max);
        let violations = vec![Violation::new("event_too_large", "", message)];
        return Judgement::refused(readable_id(payload, rules.format), violations, rules.plan);
    }
    let event = match wire::decode_in(rules.format, payload, rules.envelope, rules.json) {
        Ok(event) => event,
        Err(violations) => return Judgement::refused(readable_id(payload, rules.format), violations, rules.plan),
    };
    let out = if rules.erased.has(&event) { Some(Why::Erased) } else { Some(Why::NoConsent).filter(|_| !rules.plan.has_consent(&event)) };
    if let Some(why) = out {
        return Judgement {
            event_id: event.event_id,
            sent_at: None,
            verdict: Verdict::Accepted,
            violations: Vec::new(),
            kept: Kept::Out(why),
        };
    }
    let (verdict, violations) = decide(&event, rules);
    let masks = rules.plan.masks(&event.event_type);
    if masks.is_empty() {
        return Judgement { event_id: event.event_id, sent_at: event.sent_at, verdict, violations, kept: Kept::Whole };
    }
    match masks.mask(rules.format, payload, rules.raw_envelope, rules.pii_key, rules.json) {
        Ok(masked) => Judgement { event_id: event.event_id, sent_at: event.sent_at, verdict, violations, kept: Kept::Masked(masked) },
        Err(problem) => {
            let violations = vec![Violation::new("cannot_be_masked", "", problem.to_string())];
            Judgement::refused(event.event_id, violations, rules.plan)
        }
    }
}

fn decide(event: &Event<'_>, rules: &Rules<'_>) -> (Verdict, Vec<Violation>) {
    if !rules.scope.allows_type(&event.event_type) {
        let message = format!(
            "may not be {:?} with this key, which is for {}; send it with a key that may",
            event.event_type,
            rules.scope.event_types.join(", ")
        );
        return (Verdict::Refused, vec![Violation::new("event_type_not_allowed", type_field(rules.format), message)]);
    }
    let mut violations = rules.plan.validate(event);
    if rules.masked_before {
        // What was masked need not look as the plan wants it to.
        let masks = rules.plan.masks(&event.event_type);
        violations.retain(|violation| !masks.explains(&violation.field, event));
    }
    let verdict = match (violations.is_empty(), rules.policy) {
        (true, _) => Verdict::Accepted,
        (false, Policy::Quarantine) => Verdict::Quarantined,
        (false, Policy::Reject) => Verdict::Refused,
        (false, Policy::Flag) => Verdict::Flagged,
    };
    (verdict, violations)
}

/// Where a client of this format says what type an event is of.
fn type_field(format: WireFormat) -> &'static str {
    match format {
        WireFormat::Native | WireFormat::Erased => "/event_type",
        WireFormat::Segment => "/event",
        WireFormat::Cloudevents => "/type",
    }
}

/// The id of an event that could not be read as a whole, so that whoever looks for it finds it. None is looked for in CloudEvents, where it is
/// made of two attributes that may be the very problem.
fn readable_id(payload: &[u8], format: WireFormat) -> Option<EventId> {
    #[derive(Deserialize)]
    struct Native {
        event_id: Value,
    }
    #[derive(Deserialize)]
    struct Segment {
        #[serde(rename = "messageId")]
        message_id: Value,
    }
    let id = match format {
        WireFormat::Native => serde_json::from_slice::<Native>(payload).ok()?.event_id,
        WireFormat::Segment => serde_json::from_slice::<Segment>(payload).ok()?.message_id,
        WireFormat::Cloudevents | WireFormat::Erased => return None,
    };
    match id {
        Value::String(text) => EventId::try_from(text).ok(),
        Value::Number(number) => EventId::try_from(number.to_string()).ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = r#"{"version": "1", "types": {"buy": {"properties": {"price": {"type": "number"}}, "required": ["price"]}}}"#;

    fn check(policy: Policy, format: WireFormat, payload: &str, expect: (Verdict, Option<&str>, &[(&str, &str)])) {
        let plan = Plan::parse(PLAN, "plan.json").unwrap();
        let envelope = Envelope { call: Some("track".into()), ..Envelope::default() };
        let (json, erased, scope) = (json::Limits::default(), Erased::default(), Scope::default());
        let rules = Rules {
            plan: &plan,
            policy,
            scope: &scope,
            format,
            envelope: &envelope,
            json: &json,
            event_bytes_max: 200,
            erased: &erased,
            raw_envelope: None,
            pii_key: &mask::Key::new([7; 32]),
            masked_before: false,
        };
        let judgement = judge(payload.as_bytes(), &rules);
        let violations: Vec<(&str, &str)> =
            judgement.violations.iter().map(|violation| (violation.code.as_str(), violation.field.as_str())).collect();
        let id = judgement.event_id.as_ref().map(EventId::as_str);
        assert_eq!((judgement.verdict, id, violations.as_slice()), expect, "{payload}");
    }

    #[test]
    fn the_policy_decides_on_what_breaks_the_plan() {
        use WireFormat::Native;
        let sound = r#"{"event_id":"a","event_type":"buy","properties":{"price":1}}"#;
        let broken = r#"{"event_id":"a","event_type":"buy"}"#;
        let missing: &[(&str, &str)] = &[("missing_property", "/properties/price")];
        for policy in [Policy::Quarantine, Policy::Reject, Policy::Flag] {
            check(policy, Native, sound, (Verdict::Accepted, Some("a"), &[]));
        }
        check(Policy::Quarantine, Native, broken, (Verdict::Quarantined, Some("a"), missing));
        check(Policy::Reject, Native, broken, (Verdict::Refused, Some("a"), missing));
        check(Policy::Flag, Native, broken, (Verdict::Flagged, Some("a"), missing));
    }

    #[test]
    fn what_cannot_be_read_is_refused_whatever_the_policy() {
        use WireFormat::{Cloudevents, Native, Segment};
        fn refused<'a>(id: Option<&'a str>, violations: &'a [(&'a str, &'a str)]) -> (Verdict, Option<&'a str>, &'a [(&'a str, &'a str)]) {
            (Verdict::Refused, id, violations)
        }
        check(Policy::Flag, Native, "", refused(None, &[("invalid_json", "")]));
        check(Policy::Flag, Native, r#"{"event_id":"a"}"#, refused(Some("a"), &[("missing_field", "/event_type")]));
        check(
            Policy::Flag,
            Native,
            r#"{"event_id":7,"event_type":"x","sent_at":"soon"}"#,
            refused(Some("7"), &[("invalid_time", "/sent_at")]),
        );
        check(Policy::Flag, Native, r#"{"event_id":{},"event_type":"x"}"#, refused(None, &[("wrong_type", "/event_id")]));
        check(Policy::Flag, Segment, r#"{"messageId":"m","type":"track"}"#, refused(Some("m"), &[("missing_field", "/event")]));
        check(
            Policy::Flag,
            Segment,
            r#"{"messageId":"m","event":"Buy","userId":1,"userId":2}"#,
            refused(Some("m"), &[("duplicate_key", "/userId")]),
        );
        check(Policy::Flag, Cloudevents, "{", refused(None, &[("invalid_json", "")]));
        let long = format!(r#"{{"event_id":"a","event_type":"{}"}}"#, "x".repeat(200));
        check(Policy::Flag, Native, &long, refused(Some("a"), &[("event_too_large", "")]));
    }
}
