//! Writes an event as a client would: in the native shape from the web pages, in Segment's from the app.

use contract::{Timestamp, id};
use serde::Serialize;

use super::facts::Facts;
use super::flaws::Flaw;
use super::random::Random;
use super::session::{Draft, Kind, Session};
use super::visitor::Visitor;

/// The library that the app's events say they come from.
const APP_LIBRARY: (&str, &str) = ("harbourside-app", "4.2.0");
/// The same for the web pages.
const WEB_LIBRARY: (&str, &str) = ("harbourside-web", "1.18.3");
/// A text that no one can read as a time.
const NO_TIME: &str = "the day before yesterday";
/// Of a broken line so many hundredths are left.
const LEFT_OF_BROKEN: usize = 60;

#[derive(Serialize)]
struct Native<'a> {
    event_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    event_time: &'a str,
    sent_at: &'a str,
    anonymous_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    session_id: &'a str,
    properties: &'a Facts,
    context: &'a Facts,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Segment<'a> {
    message_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    timestamp: &'a str,
    anonymous_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<&'a Facts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traits: Option<&'a Facts>,
    context: &'a Facts,
}

/// The id of an event: a UUIDv7 of the time by the client's clock.
pub(crate) fn event_id(visitor: &Visitor, at: i64, random: &mut Random) -> String {
    id::uuid_v7(Timestamp(at + visitor.skew_micros), random.ten_bytes()).as_str().to_owned()
}

/// One event's bytes. `sent_at` is by the client's clock; in Segment's shape it stands on the batch and not here.
pub(crate) fn write(visitor: &Visitor, session: &Session, draft: &Draft, event_id: &str, sent_at: i64, flaw: Option<Flaw>) -> String {
    let draft = &flawed(draft, flaw);
    let event_time = match flaw {
        Some(Flaw::UnreadableTime) => NO_TIME.to_owned(),
        _ => Timestamp(draft.at + visitor.skew_micros).to_rfc3339(),
    };
    let context = context(visitor, session, draft);
    let mut text = if visitor.device.is_app {
        segment(visitor, draft, event_id, &event_time, &context, flaw == Some(Flaw::NoType))
    } else {
        let sent_at = Timestamp(sent_at).to_rfc3339();
        let properties = properties(draft);
        let event = Native {
            event_id,
            event_type: (flaw != Some(Flaw::NoType)).then(|| event_type(draft.kind)),
            name: name(draft),
            event_time: &event_time,
            sent_at: &sent_at,
            anonymous_id: &visitor.anonymous_id,
            user_id: draft.user_id.as_deref(),
            session_id: &session.id,
            properties: &properties,
            context: &context,
        };
        json(&event)
    };
    if flaw == Some(Flaw::BrokenJson) {
        text.truncate(text.floor_char_boundary(text.len() * LEFT_OF_BROKEN / 100));
    }
    text
}

/// The whole of a request in Segment's shape, with events of one visitor.
pub(crate) fn segment_batch<'a>(events: impl Iterator<Item = &'a str>, sent_at: i64) -> String {
    let events: Vec<&str> = events.collect();
    format!(
        r#"{{"batch":[{}],"context":{{"library":{{"name":"{}","version":"{}"}}}},"sentAt":"{}"}}"#,
        events.join(","),
        APP_LIBRARY.0,
        APP_LIBRARY.1,
        Timestamp(sent_at).to_rfc3339()
    )
}

fn segment(visitor: &Visitor, draft: &Draft, message_id: &str, timestamp: &str, context: &Facts, without_type: bool) -> String {
    let call = match draft.kind {
        Kind::Page => "page",
        Kind::Identify => "identify",
        Kind::Exposure(_) | Kind::Purchase | Kind::Other(_) => "track",
    };
    let event = match draft.kind {
        Kind::Page | Kind::Identify => None,
        Kind::Exposure(_) => Some("Experiment Viewed"),
        Kind::Purchase | Kind::Other(_) => Some(event_type(draft.kind)),
    };
    let properties = properties(draft);
    let is_identify = draft.kind == Kind::Identify;
    json(&Segment {
        message_id,
        r#type: (!without_type).then_some(call),
        event,
        name: name(draft).filter(|_| draft.kind == Kind::Page),
        timestamp,
        anonymous_id: &visitor.anonymous_id,
        user_id: draft.user_id.as_deref(),
        properties: (!is_identify).then_some(&properties),
        traits: is_identify.then_some(&properties),
        context,
    })
}

/// The draft with that part of the flaw that lies in what it says. The kind of event that a flaw needs is made of any other.
fn flawed(draft: &Draft, flaw: Option<Flaw>) -> Draft {
    let mut draft = draft.clone();
    match flaw {
        Some(Flaw::ValueIsText) => {
            draft.kind = Kind::Purchase;
            draft.properties = Facts::default().with("goal", "purchase").with("value", "12,90 EUR").with("currency", "EUR");
        }
        Some(Flaw::NoVariation) => {
            draft.kind = Kind::Exposure(super::experiment::Variation::Control);
            draft.properties = Facts::default().with("experiment_id", super::experiment::ID);
        }
        Some(Flaw::NoType | Flaw::UnreadableTime | Flaw::BrokenJson) | None => {}
    }
    draft
}

fn event_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Page => "page_view",
        Kind::Identify => "identify",
        Kind::Exposure(_) => "feature_exposure",
        Kind::Purchase => "conversion",
        Kind::Other(event_type) => event_type,
    }
}

fn name(draft: &Draft) -> Option<&'static str> {
    match draft.kind {
        Kind::Page => Some(draft.page.title),
        Kind::Purchase => Some("purchase"),
        Kind::Identify | Kind::Exposure(_) | Kind::Other(_) => None,
    }
}

fn properties(draft: &Draft) -> Facts {
    match draft.kind {
        Kind::Page => page(draft),
        Kind::Identify | Kind::Exposure(_) | Kind::Purchase | Kind::Other(_) => draft.properties.clone(),
    }
}

fn page(draft: &Draft) -> Facts {
    Facts::default()
        .with("url", draft.page.url())
        .with("path", draft.page.path.clone())
        .with("title", draft.page.title)
        .with_some("referrer", draft.referrer.clone())
}

fn context(visitor: &Visitor, session: &Session, draft: &Draft) -> Facts {
    let campaign = session
        .way_in
        .campaign
        .map(|[source, medium, name]| Facts::default().with("source", source).with("medium", medium).with("name", name));
    let context = Facts::default()
        .with("userAgent", visitor.device.agent)
        .with("locale", visitor.place.locale)
        .with("timezone", visitor.place.time_zone)
        .with_some("campaign", campaign);
    let context = if draft.kind == Kind::Page { context } else { context.with("page", page(draft)) };
    if visitor.device.is_app {
        return context.with("sessionId", session.id.clone());
    }
    let (name, version) = WEB_LIBRARY;
    context.with("library", Facts::default().with("name", name).with("version", version))
}

/// Of texts and numbers this cannot fail.
fn json(event: &impl Serialize) -> String {
    serde_json::to_string(event).unwrap_or_default()
}
