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

use std::borrow::Cow;

use super::exposure::FEATURE_EXPOSURE;
use super::fields::Fields;
use super::{Envelope, query};
use crate::json::{Object, Value};
use crate::{Event, Violation, json};

pub(super) fn decode<'a>(payload: &'a [u8], envelope: &Envelope<'a>, limits: &json::Limits) -> Result<Event<'a>, Vec<Violation>> {
    let mut fields = match &envelope.query {
        // A page view needs no field at all, so an address without parameters is an event too.
        Some(_) if payload.trim_ascii().is_empty() => Fields::of(Value::Object(Object::new()))?,
        Some(_) | None => Fields::parse(payload, limits)?,
    };
    if let Some(query) = &envelope.query {
        fields.fill(&query::nest(query));
    }
    let mut event = Event { context: context(&mut fields, envelope), ..common(&mut fields, envelope) };
    let call = fields.text("type").or_else(|| envelope.call.clone());
    read_call(call.as_deref(), &mut event, &mut fields);
    fields.finish(event)
}

fn common<'a>(fields: &mut Fields<'a>, envelope: &Envelope<'a>) -> Event<'a> {
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

fn context<'a>(fields: &mut Fields<'a>, envelope: &Envelope<'a>) -> Object<'a> {
    let mut context = fields.object("context");
    context.fill(&envelope.context);
    if let Some(channel) = fields.text("channel") {
        context.insert_if_absent("channel", Value::String(channel));
    }
    context
}

fn read_call<'a>(call: Option<&str>, event: &mut Event<'a>, fields: &mut Fields<'a>) {
    match call {
        Some("track") => {
            let name = fields.event_type("event", "the event's name");
            let exposure = name.eq_ignore_ascii_case("Experiment Viewed");
            event.event_type = if exposure { Cow::Borrowed(FEATURE_EXPOSURE) } else { name.clone() };
            event.name = Some(name);
            event.properties = fields.object("properties");
        }
        Some("page") => view("page_view", event, fields),
        Some("screen") => view("screen_view", event, fields),
        Some("identify") => {
            event.event_type = Cow::Borrowed("identify");
            event.properties = traits(event, fields);
        }
        Some("group") => {
            event.event_type = Cow::Borrowed("group");
            event.properties = fields.object("traits");
            add_id("group_id", fields.id("groupId"), event);
        }
        Some("alias") => {
            event.event_type = Cow::Borrowed("alias");
            event.properties = fields.object("properties");
            add_id("previous_id", fields.id("previousId"), event);
        }
        Some(_) => fields.violation("unknown_call", "type", "must be one of track, page, screen, identify, group, alias"),
        None => fields.violation("missing_field", "type", "is missing; send one of track, page, screen, identify, group, alias"),
    }
}

fn view<'a>(event_type: &'static str, event: &mut Event<'a>, fields: &mut Fields<'a>) {
    event.event_type = Cow::Borrowed(event_type);
    event.name = fields.text("name");
    event.properties = fields.object("properties");
    if let Some(category) = fields.text("category") {
        event.properties.insert_if_absent("category", Value::String(category));
    }
}

fn traits<'a>(event: &Event<'a>, fields: &mut Fields<'a>) -> Object<'a> {
    let in_context = || event.context.get("traits").and_then(Value::as_object).cloned();
    fields.optional_object("traits").or_else(in_context).unwrap_or_default()
}

fn add_id<'a>(name: &'static str, id: Option<Cow<'a, str>>, event: &mut Event<'a>) {
    if let Some(id) = id {
        event.properties.insert_if_absent(name, Value::String(id));
    }
}
