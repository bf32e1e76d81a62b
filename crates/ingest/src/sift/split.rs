//! Takes a body apart into the bytes of its events, what they share, and the key.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use contract::json::Value;
use contract::wire::split;
use contract::{Violation, json};
use serde::Serialize;
use serde_json::Map;
use serde_json::value::{RawValue, to_raw_value};

use crate::config::Config;
use crate::form::{Form, Query};

const URL_SAFE: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// The fields of a pixel's event that may be written as JSON.
const JSON_PARAMETERS: [&str; 4] = ["properties", "context", "traits", "integrations"];

#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The exact bytes of each event, sharing the body's memory.
    pub(super) events: Vec<Bytes>,
    pub(super) envelope: Option<Box<RawValue>>,
    /// The write key in the body.
    pub(super) key: Option<String>,
}

/// What the events of a request share, as it is stored with each of them.
#[derive(Default, Serialize)]
struct Shared<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    call: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    integrations: Option<&'a RawValue>,
    #[serde(rename = "sentAt", skip_serializing_if = "Option::is_none")]
    sent_at: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<BTreeMap<&'a str, Value<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<&'a Map<String, serde_json::Value>>,
}

pub(super) fn parts(form: &Form, body: &Bytes, query: &Query, config: &Config) -> Result<Parts, Violation> {
    let slices = |pieces: Vec<&[u8]>| pieces.into_iter().map(|piece| body.slice_ref(piece)).collect();
    match form {
        Form::Native => Ok(Parts { events: slices(split::native(body, config.events_max)?), ..Parts::default() }),
        Form::CloudeventBatch => Ok(Parts { events: slices(split::cloudevents_batch(body, config.events_max)?), ..Parts::default() }),
        Form::CloudeventStructured => Ok(Parts { events: vec![body.clone()], ..Parts::default() }),
        Form::CloudeventBinary(attributes) => {
            let shared = Shared { attributes: Some(attributes), ..Shared::default() };
            Ok(Parts { events: vec![body.clone()], envelope: stored(&shared)?, key: None })
        }
        Form::SegmentBatch => {
            let batch = split::segment_batch(body, config.events_max)?;
            let shared = Shared { context: batch.context, integrations: batch.integrations, sent_at: batch.sent_at, ..Shared::default() };
            let any = batch.context.is_some() || batch.integrations.is_some() || batch.sent_at.is_some();
            let envelope = if any { stored(&shared)? } else { None };
            Ok(Parts { events: slices(batch.events), envelope, key: batch.write_key.filter(|key| !key.is_empty()) })
        }
        Form::SegmentCall(call) => {
            let event = body.slice_ref(body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii());
            let key = key_of(form, &event);
            let shared = Shared { call: Some(call.as_str()), ..Shared::default() };
            Ok(Parts { events: vec![event], envelope: stored(&shared)?, key })
        }
        Form::SegmentQuery(call) => {
            let shared = Shared { call: Some(call.as_str()), query: Some(fields(query, &config.json)), ..Shared::default() };
            Ok(Parts { events: vec![Bytes::new()], envelope: stored(&shared)?, key: None })
        }
    }
}

/// The write key in a body, which need not be sound in other respects.
pub(super) fn key_of(form: &Form, body: &[u8]) -> Option<String> {
    match form {
        Form::SegmentBatch | Form::SegmentCall(_) => split::write_key(body).filter(|key| !key.is_empty()),
        Form::Native | Form::SegmentQuery(_) | Form::CloudeventBinary(_) | Form::CloudeventStructured | Form::CloudeventBatch => None,
    }
}

/// The JSON in the address of a pixel: base64 of either alphabet, with or without padding. A `+` that was not encoded has arrived as a space.
pub(super) fn pixel_data(text: &[u8]) -> Result<Bytes, Violation> {
    if text.is_empty() {
        return Err(Violation::new("missing_field", "/data", "is missing; send the event as base64 of its JSON in the parameter `data`"));
    }
    let to_url_safe = |byte: &u8| match byte {
        b' ' | b'+' => b'-',
        b'/' => b'_',
        other => *other,
    };
    let url_safe: Vec<u8> = text.iter().map(to_url_safe).collect();
    let decoded = URL_SAFE.decode(url_safe);
    decoded.map(Bytes::from).map_err(|_| Violation::new("invalid_base64", "/data", "is not base64; send the event as base64 of its JSON"))
}

/// The parameters of a pixel as the fields of an event, without the key. The first of a name counts.
fn fields<'a>(query: &'a Query, limits: &json::Limits) -> BTreeMap<&'a str, Value<'a>> {
    let mut fields = BTreeMap::new();
    for (name, text) in query.pairs().iter().filter(|(name, _)| name != "writeKey") {
        fields.entry(name.as_str()).or_insert_with(|| field(name, text, limits));
    }
    fields
}

fn field<'a>(name: &str, text: &'a str, limits: &json::Limits) -> Value<'a> {
    let object = JSON_PARAMETERS.contains(&name).then(|| json::parse_strict(text.as_bytes(), limits).ok()).flatten();
    object.filter(|value| value.as_object().is_some()).unwrap_or_else(|| Value::String(text.into()))
}

fn stored(shared: &Shared<'_>) -> Result<Option<Box<RawValue>>, Violation> {
    to_raw_value(shared).map(Some).map_err(|error| Violation::new("invalid_json", "", error.to_string()))
}
