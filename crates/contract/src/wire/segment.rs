//! The shape of Segment's clients, and of those that copy it (RudderStack, Jitsu and others).
//!
//! | call | `event_type` | `name` | properties |
//! |---|---|---|---|
//! | `track` | the event's name; `feature_exposure` for "Experiment Viewed" | the event's name | `properties` |
//! | `page` | `page_view` | `name` | `properties`, `category` |
//! | `screen` | `screen_view` | `name` | `properties`, `category` |
//! | `identify` | `identify` | | `traits`, else those of the context, where RudderStack's clients put them |
//! | `group` | `group` | | `traits`, `groupId` as `group_id` |
//! | `alias` | `alias` | | `properties`, `previousId` as `previous_id` |
//!
//! The client's time is `timestamp`, else `originalTimestamp`: where a client sends both, the first is what its caller said and the second when it was called
//! (RudderStack's for Node). `sentAt` is the event's own, else the batch's. `channel` is kept in the context.

use serde_json::{Map, Value};

use super::exposure::FEATURE_EXPOSURE;
use super::fields::Fields;
use super::{Envelope, query};
use crate::{Event, Violation, json};

pub(super) fn decode(payload: &[u8], envelope: &Envelope, limits: &json::Limits) -> Result<Event, Vec<Violation>> {
    let mut fields = match &envelope.query {
        // A page view needs no field at all, so an address without parameters is an event too.
        Some(_) if payload.trim_ascii().is_empty() => Fields::of(Value::Object(Map::new()))?,
        Some(_) | None => Fields::parse(payload, limits)?,
    };
    if let Some(query) = &envelope.query {
        fields.fill(query::nest(query));
    }
    let mut event = Event { context: context(&mut fields, envelope), ..common(&mut fields, envelope) };
    let call = fields.text("type").or_else(|| envelope.call.clone());
    read_call(call.as_deref(), &mut event, &mut fields);
    fields.finish(event)
}

fn common(fields: &mut Fields, envelope: &Envelope) -> Event {
    let said = fields.time("timestamp");
    let sent_at = fields.take("sentAt").or_else(|| envelope.sent_at.clone());
    Event {
        event_id: fields.event_id("messageId"),
        client_time: said.or_else(|| fields.time("originalTimestamp")),
        sent_at: sent_at.and_then(|sent_at| fields.time_of("sentAt", &sent_at)),
        user_id: fields.id("userId"),
        anonymous_id: fields.id("anonymousId"),
        session_id: fields.id("session_id"),
        ..Event::default()
    }
}

fn context(fields: &mut Fields, envelope: &Envelope) -> Map<String, Value> {
    let mut context = fields.object("context");
    for (key, value) in &envelope.context {
        let own = context.entry(key.as_str()).or_insert(Value::Null);
        if own.is_null() {
            *own = value.clone();
        }
    }
    if let Some(channel) = fields.text("channel") {
        context.entry("channel").or_insert(Value::String(channel));
    }
    context
}

fn read_call(call: Option<&str>, event: &mut Event, fields: &mut Fields) {
    match call {
        Some("track") => {
            let name = fields.event_type("event", "the event's name");
            let exposure = name.eq_ignore_ascii_case("Experiment Viewed");
            event.event_type = if exposure { FEATURE_EXPOSURE.to_owned() } else { name.clone() };
            event.name = Some(name);
            event.properties = fields.object("properties");
        }
        Some("page") => view("page_view", event, fields),
        Some("screen") => view("screen_view", event, fields),
        Some("identify") => {
            event.event_type = "identify".to_owned();
            event.properties = traits(event, fields);
        }
        Some("group") => {
            event.event_type = "group".to_owned();
            event.properties = fields.object("traits");
            add_id("group_id", fields.id("groupId"), event);
        }
        Some("alias") => {
            event.event_type = "alias".to_owned();
            event.properties = fields.object("properties");
            add_id("previous_id", fields.id("previousId"), event);
        }
        Some(_) => fields.violation("unknown_call", "/type", "must be one of track, page, screen, identify, group, alias"),
        None => fields.violation("missing_field", "/type", "is missing; send one of track, page, screen, identify, group, alias"),
    }
}

fn view(event_type: &str, event: &mut Event, fields: &mut Fields) {
    event.event_type = event_type.to_owned();
    event.name = fields.text("name");
    event.properties = fields.object("properties");
    if let Some(category) = fields.text("category") {
        event.properties.entry("category").or_insert(Value::String(category));
    }
}

fn traits(event: &Event, fields: &mut Fields) -> Map<String, Value> {
    let in_context = || event.context.get("traits").and_then(Value::as_object).cloned();
    fields.optional_object("traits").or_else(in_context).unwrap_or_default()
}

fn add_id(name: &str, id: Option<String>, event: &mut Event) {
    if let Some(id) = id {
        event.properties.entry(name).or_insert(Value::String(id));
    }
}
