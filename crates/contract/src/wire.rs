//! The wire formats, and how each becomes one [`Event`].
//!
//! [`split`] takes a request's body apart into the exact bytes of its events; [`decode`] reads one event. Both the gate and the Silver stage decode,
//! the one from a request and the other from Bronze, so decoding depends on nothing but its arguments.
//!
//! What holds for every format:
//!
//! - `null` means absent, and so does an empty string where an id or a name is expected.
//! - An id may be a JSON string, a number or a boolean; the latter two are taken as their text (`7` becomes `"7"`). A number that a 64-bit
//!   float cannot hold exactly is a violation, because two ids could become one.
//! - Where an object is expected, an empty array is an empty object: PHP writes it so.
//! - A field that is not known is kept where it came, in the payload, and ignored here.
//! - Times are read by [`crate::time::parse`]; one that cannot be read is a violation, never a guess.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::json::{Object, Value};
use crate::{Event, Violation, WireFormat, json};

mod cloudevents;
mod exposure;
mod fields;
mod native;
mod query;
mod segment;
mod session;
pub mod split;
#[cfg(test)]
mod tests;

pub(crate) use cloudevents::{data_is_json, is_json};
pub use exposure::FEATURE_EXPOSURE;

/// The longest event type, in characters.
pub const EVENT_TYPE_CHARS_MAX: usize = 256;

/// What the gate knows about an event outside of the event's own bytes, read from [`crate::Receipt::envelope`], with the texts of `'a` there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Envelope<'a> {
    /// The call that the request's path implied (`track`, `page` …). The event's own `type` goes before it.
    pub call: Option<Cow<'a, str>>,
    /// The context of the request, such as a Segment batch's. The event's own keys go before it, key by key at the top level.
    pub context: Object<'a>,
    /// The batch's `sentAt`, unread. The event's own goes before it.
    pub sent_at: Option<Value<'a>>,
    /// The attributes of a CloudEvent in binary mode, by lowercase name without `ce-`; `datacontenttype` stands for the `Content-Type` header. `None`: the
    /// event is in structured mode.
    pub attributes: Option<Object<'a>>,
    /// The parameters of a pixel's address, by name; a name with dots reaches inside (`context.page.url`). The event's own fields go before them. `None`: the
    /// event did not come as a pixel's address.
    pub query: Option<Object<'a>>,
}

impl<'a> Envelope<'a> {
    /// Reads an envelope. A request with many events reads it once and decodes each with [`decode_in`].
    ///
    /// Keys other than `type`, `context`, `sentAt`, `attributes` and `query` (such as `integrations`) are kept in Bronze and not needed here.
    pub fn parse(envelope: Option<&'a RawValue>, limits: &json::Limits) -> Result<Self, Vec<Violation>> {
        let Some(raw) = envelope else { return Ok(Self::default()) };
        let value = json::parse_strict(raw.get().as_bytes(), limits).map_err(|violation| vec![violation])?;
        let mut fields = fields::Fields::of(value)?;
        let envelope = Self {
            call: fields.text("type"),
            context: fields.object("context"),
            sent_at: fields.take("sentAt"),
            attributes: fields.optional_object("attributes"),
            query: fields.optional_object("query"),
        };
        fields.finish(envelope)
    }
}

/// Reads one event from its bytes and its envelope. The same bytes give the same event, wherever and whenever.
///
/// # Errors
///
/// Every problem found, each with the place in the event; at least one.
pub fn decode<'a>(
    format: WireFormat,
    payload: &'a [u8],
    envelope: Option<&'a RawValue>,
    limits: &json::Limits,
) -> Result<Event<'a>, Vec<Violation>> {
    decode_in(format, payload, &Envelope::parse(envelope, limits)?, limits)
}

/// [`decode`] with an envelope that was already read.
///
/// # Errors
///
/// As [`decode`].
pub fn decode_in<'a>(
    format: WireFormat,
    payload: &'a [u8],
    envelope: &Envelope<'a>,
    limits: &json::Limits,
) -> Result<Event<'a>, Vec<Violation>> {
    let mut event = match format {
        WireFormat::Native => native::decode(payload, limits),
        WireFormat::Segment => segment::decode(payload, envelope, limits),
        WireFormat::Cloudevents => cloudevents::decode(payload, envelope, limits),
        WireFormat::Erased => Err(vec![Violation::new("erased", "", "a person asked for it, and the content is gone")]),
    }?;
    exposure::normalise(&mut event);
    session::fill(&mut event);
    Ok(event)
}
