//! CloudEvents 1.0, in structured mode (the payload is the event) and binary mode (the payload is the data, the attributes are in the envelope).
//!
//! - The identity is `source` and `id`: the event id is the two with one space between them, which is unambiguous because a URI reference holds no
//!   space (one that does is refused). Where that is longer than an event id may be, it is `ce:` and the hexadecimal BLAKE3 digest of the source's
//!   length (64 bits, little endian), the source and the id; no joined id looks like that, for want of a space.
//! - `type` is the event type, `time` the client's time.
//! - Data that is an object is the properties; any other JSON and text is their `data`, any other bytes are their `data_base64`.
//! - The user is the extension attribute `userid`, else `user_id` or `userId` of the data; in the same way `anonymousid` and `sessionid`.
//! - All other attributes are kept in the context, under `cloudevents`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::Envelope;
use super::fields::{Fields, scalar_text};
use crate::id::EVENT_ID_CHARS_MAX;
use crate::json::{Object, Value};
use crate::violation::below;
use crate::{Event, EventId, Violation, json};

pub(super) fn decode<'a>(payload: &'a [u8], envelope: &Envelope<'a>, limits: &json::Limits) -> Result<Event<'a>, Vec<Violation>> {
    let (mut fields, properties) = match &envelope.attributes {
        Some(attributes) => {
            let fields = Fields::of(Value::Object(attributes.clone()))?;
            let properties = data_of_bytes(payload, content_type(attributes), limits)?;
            (fields, properties)
        }
        None => structured(payload, limits)?,
    };
    let (event_id, identity) = identity(&mut fields);
    let version = fields.required_text("specversion", "\"1.0\"");
    if !version.is_empty() && version != "1.0" {
        fields.violation("unsupported_version", "specversion", "must be \"1.0\"");
    }
    let mut event = Event {
        event_id,
        event_type: fields.event_type("type", "the event's type"),
        client_time: fields.time("time"),
        user_id: fields.id("userid").or_else(|| find_id(&properties, ["user_id", "userId"])),
        anonymous_id: fields.id("anonymousid").or_else(|| find_id(&properties, ["anonymous_id", "anonymousId"])),
        session_id: fields.id("sessionid"),
        properties,
        ..Event::default()
    };
    let mut attributes = fields.take_rest();
    for (name, value) in identity {
        attributes.insert(name, Value::String(value));
    }
    event.context.insert("cloudevents", Value::Object(attributes));
    fields.finish(event)
}

fn structured<'a>(payload: &'a [u8], limits: &json::Limits) -> Result<(Fields<'a>, Object<'a>), Vec<Violation>> {
    let mut fields = Fields::parse(payload, limits)?;
    let data = fields.take("data");
    let encoded = fields.text("data_base64");
    let properties = match (data, encoded) {
        (Some(data), _) => as_properties(data),
        (None, None) => Object::new(),
        (None, Some(encoded)) => match STANDARD.decode(encoded.as_bytes()) {
            Ok(bytes) => {
                let content_type = fields.text("datacontenttype");
                let properties = data_of_bytes(&bytes, content_type.as_deref(), limits)?.into_owned();
                fields.fill(&content_type.map(|kind| ("datacontenttype", Value::String(kind))).into_iter().collect());
                properties
            }
            Err(_) => {
                fields.violation("invalid_base64", "data_base64", "is not base64; send the bytes in the standard alphabet, padded");
                Object::new()
            }
        },
    };
    Ok((fields, properties))
}

fn content_type<'a>(attributes: &'a Object<'_>) -> Option<&'a str> {
    attributes.get("datacontenttype").and_then(Value::as_str)
}

/// Whether the payload of an event in binary mode is JSON. `None` of an event in structured mode.
pub(crate) fn data_is_json(envelope: Option<&RawValue>) -> Option<bool> {
    let envelope = json::parse_strict(envelope?.get().as_bytes(), &json::Limits::WIDEST).ok()?;
    Some(content_type(envelope.get("attributes")?.as_object()?).is_none_or(is_json))
}

/// The data of an event whose format does not say what it is, by its content type; with none it is JSON.
fn data_of_bytes<'a>(bytes: &'a [u8], content_type: Option<&str>, limits: &json::Limits) -> Result<Object<'a>, Vec<Violation>> {
    if bytes.is_empty() {
        return Ok(Object::new());
    }
    if content_type.is_none_or(is_json) {
        let data = json::parse_strict(bytes, limits).map_err(|violation| vec![below("/data", violation)])?;
        return Ok(as_properties(data));
    }
    let (name, text) = match std::str::from_utf8(bytes) {
        Ok(text) => ("data", Cow::Borrowed(text)),
        Err(_) => ("data_base64", Cow::Owned(STANDARD.encode(bytes))),
    };
    Ok(Object::from_iter([(name, Value::String(text))]))
}

pub(crate) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.is_empty() || essence.ends_with("/json") || essence.ends_with("+json")
}

fn as_properties(data: Value<'_>) -> Object<'_> {
    match data {
        Value::Object(properties) => properties,
        other => Object::from_iter([("data", other)]),
    }
}

/// The event id, and the two attributes it was made from.
fn identity<'a>(fields: &mut Fields<'a>) -> (Option<EventId>, [(&'static str, Cow<'a, str>); 2]) {
    let source = fields.required_text("source", "where the event comes from, as a URI reference");
    let id = fields.required_text("id", "the event's id, unique within its source");
    if source.contains(char::is_whitespace) {
        fields.violation("invalid_attribute", "source", "must be a URI reference, without whitespace");
    }
    let event_id = EventId::try_from(joined(&source, &id)).ok();
    (event_id, [("source", source), ("id", id)])
}

fn joined(source: &str, id: &str) -> String {
    if source.chars().count() + 1 + id.chars().count() <= EVENT_ID_CHARS_MAX {
        return format!("{source} {id}");
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(source.len() as u64).to_le_bytes());
    hasher.update(source.as_bytes());
    hasher.update(id.as_bytes());
    format!("ce:{}", hasher.finalize().to_hex())
}

fn find_id<'a>(properties: &Object<'a>, names: [&str; 2]) -> Option<Cow<'a, str>> {
    let values = names.into_iter().filter_map(|name| properties.get(name)).filter(|value| !value.is_null());
    values.filter_map(|value| scalar_text(value).ok()).find(|id| !id.is_empty())
}
