//! Takes a request's body apart into the exact bytes of its events, without copying them.
//!
//! Only as much is read as is needed to find where an event ends: brackets and strings. So one event that is broken inside (a lone
//! surrogate, a byte that is not UTF-8, a missing colon) spoils only itself, and is named when it is decoded. A body whose outer shape is broken is
//! refused as a whole. For a body that is valid JSON the pieces are exactly what any JSON parser would see. Nothing recurses, so no depth of nesting
//! needs more than a few bytes of stack.

use serde_json::value::RawValue;

use crate::Violation;
use crate::violation::below;

mod scan;
#[cfg(test)]
mod tests;

use scan::Scanner;

/// The parts of a Segment batch.
#[derive(Debug, Clone, Default)]
pub struct SegmentBatch<'a> {
    /// The bytes of each event, in order.
    pub events: Vec<&'a [u8]>,
    /// The context for all events. Absent where `null`.
    pub context: Option<&'a RawValue>,
    /// The integrations for all events. Absent where `null`.
    pub integrations: Option<&'a RawValue>,
    /// When the client says it sent the batch, unread. Absent where `null`.
    pub sent_at: Option<&'a RawValue>,
    /// The write key in the body.
    pub write_key: Option<String>,
}

/// The events of a body in Tidegate's own shape: one value, an array, or lines with one value each (NDJSON; blank lines are skipped). Whether each is an object, and
/// sound, is for [`super::decode`] to say: a bad line or element spoils only itself. A byte order mark at the front is skipped.
///
/// A body that begins with `[` is an array. Any other is lines if it is not a single value and at least one of its lines is a whole object: a broken object that
/// was written over several lines stays one broken event.
///
/// # Errors
///
/// A body that holds nothing (`empty_body`; an empty array is fine), an array whose outer shape is broken (`invalid_json`), more than
/// `events_max` events (`too_many_events`).
pub fn native(body: &[u8], events_max: usize) -> Result<Vec<&[u8]>, Violation> {
    let body = trimmed(body);
    if body.is_empty() {
        return Err(Violation::new("empty_body", "", "nothing here: send an event, an array of events, or one event a line"));
    }
    if body.starts_with(b"[") {
        return array(body, events_max);
    }
    if scan::is_one_value(body) {
        return bounded(std::iter::once(body), events_max);
    }
    let lines = || body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let whole_object = |line: &[u8]| line.starts_with(b"{") && scan::is_one_value(line);
    if lines().any(whole_object) { bounded(lines(), events_max) } else { bounded(std::iter::once(body), events_max) }
}

/// The parts of a Segment batch: `{"batch": [...], "context": {...}, "integrations": {...}, "sentAt": "...", "writeKey": "..."}`. Other keys are passed over.
///
/// # Errors
///
/// As [`native`]; also a body that is no object or has no `batch` (`missing_field`), one of these keys twice (`duplicate_key`) or with a value of the wrong type
/// (`wrong_type`).
pub fn segment_batch(body: &[u8], events_max: usize) -> Result<SegmentBatch<'_>, Violation> {
    let mut parts = SegmentBatch::default();
    let mut seen = Vec::new();
    let mut scanner = Scanner::new(trimmed(body));
    scanner.object(|key, value| {
        let known = ["batch", "context", "integrations", "sentAt", "writeKey"].into_iter().find(|name| *name == key);
        let Some(name) = known else { return Ok(()) };
        let field = format!("/{name}");
        if seen.contains(&name) {
            return Err(Violation::new("duplicate_key", field, "is there twice; send each key once"));
        }
        seen.push(name);
        match name {
            "batch" if value.starts_with(b"[") => parts.events = array(value, events_max).map_err(|violation| below(&field, violation))?,
            "batch" => return Err(Violation::new("wrong_type", field, "must be an array of events")),
            "context" => parts.context = raw(&field, value)?,
            "integrations" => parts.integrations = raw(&field, value)?,
            "sentAt" => parts.sent_at = raw(&field, value)?,
            _ => parts.write_key = text(&field, value)?,
        }
        Ok(())
    })?;
    if !seen.contains(&"batch") {
        return Err(Violation::new("missing_field", "/batch", "is missing; send an array of events"));
    }
    Ok(parts)
}

/// The events of a CloudEvents batch: an array.
///
/// # Errors
///
/// As [`native`], and a body that is no array (`wrong_type`).
pub fn cloudevents_batch(body: &[u8], events_max: usize) -> Result<Vec<&[u8]>, Violation> {
    let body = trimmed(body);
    if body.starts_with(b"[") { array(body, events_max) } else { Err(Violation::new("wrong_type", "", "must be an array of CloudEvents")) }
}

/// The `writeKey` at the top level of one Segment call, where clients put it in the body. `None` where there is none or the body is no object; whether the
/// body is sound is for [`super::decode`] to say.
pub fn write_key(body: &[u8]) -> Option<String> {
    let mut found = None;
    let mut scanner = Scanner::new(trimmed(body));
    let whole = scanner.object(|key, value| {
        if key == "writeKey" && found.is_none() {
            found = text("/writeKey", value)?;
        }
        Ok(())
    });
    whole.ok().and(found)
}

fn trimmed(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii()
}

fn array(body: &[u8], events_max: usize) -> Result<Vec<&[u8]>, Violation> {
    let mut events = Vec::new();
    Scanner::new(body).array(|event| {
        if events.len() == events_max {
            return Err(too_many(events_max));
        }
        events.push(event);
        Ok(())
    })?;
    Ok(events)
}

fn bounded<'a>(events: impl Iterator<Item = &'a [u8]>, events_max: usize) -> Result<Vec<&'a [u8]>, Violation> {
    let mut taken = Vec::new();
    for event in events {
        if taken.len() == events_max {
            return Err(too_many(events_max));
        }
        taken.push(event);
    }
    Ok(taken)
}

fn too_many(events_max: usize) -> Violation {
    Violation::new("too_many_events", "", format!("more than {events_max} events; send fewer in one request"))
}

fn raw<'a>(field: &str, value: &'a [u8]) -> Result<Option<&'a RawValue>, Violation> {
    let raw: &RawValue = serde_json::from_slice(value).map_err(|error| Violation::new("invalid_json", field, error.to_string()))?;
    Ok(Some(raw).filter(|raw| raw.get() != "null"))
}

fn text(field: &str, value: &[u8]) -> Result<Option<String>, Violation> {
    serde_json::from_slice(value).map_err(|_| Violation::new("wrong_type", field, "must be a string"))
}
