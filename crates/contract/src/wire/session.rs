//! Where clients put the session's id.

use std::borrow::Cow;

use super::fields::scalar_text;
use crate::Event;
use crate::json::Object;

/// Gives an event without a session id of its own the first of these that is one: `session_id`, `sessionId` and `session.id` of the context, `session_id`
/// of the properties. What stands there and is no id is left alone, not a violation: those places are the client's own.
pub(super) fn fill(event: &mut Event<'_>) {
    if event.session_id.is_none() {
        event.session_id = find(&event.context, &event.properties);
    }
}

fn find<'a>(context: &Object<'a>, properties: &Object<'a>) -> Option<Cow<'a, str>> {
    let nested = context.get("session").and_then(|session| session.get("id"));
    let places = [context.get("session_id"), context.get("sessionId"), nested, properties.get("session_id")];
    places.into_iter().flatten().filter(|value| !value.is_null()).find_map(|value| scalar_text(value).ok().filter(|id| !id.is_empty()))
}
