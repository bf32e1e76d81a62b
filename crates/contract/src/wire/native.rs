//! Tidegate's own shape: `event_id`, `event_type` (required), `event_time`, `sent_at`, `user_id`, `anonymous_id`, `session_id`, `name`, `properties`, `context`.

use super::fields::Fields;
use crate::{Event, Violation, json};

pub(super) fn decode<'a>(payload: &'a [u8], limits: &json::Limits) -> Result<Event<'a>, Vec<Violation>> {
    let mut fields = Fields::parse(payload, limits)?;
    let event = Event {
        event_id: fields.event_id("event_id"),
        event_type: fields.event_type("event_type", "the event's type, such as \"page_view\""),
        name: fields.text("name"),
        client_time: fields.time("event_time"),
        sent_at: fields.time("sent_at"),
        user_id: fields.id("user_id"),
        anonymous_id: fields.id("anonymous_id"),
        session_id: fields.id("session_id"),
        properties: fields.object("properties"),
        context: fields.object("context"),
    };
    fields.finish(event)
}
