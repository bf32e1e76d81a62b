//! What the targets have in common: what holds of every event, and files that an input damages.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;
use std::sync::LazyLock;

use contract::json::Value;
use contract::mask::{Key, Masked, Masks, Unmaskable};
use contract::plan::{Pii, PiiMark};
use contract::{Erased, Event, Person, Plan, WireFormat, json, wire};
use serde::Deserialize;
use serde_json::value::RawValue;
use tempfile::TempDir;

static PLAN: LazyLock<Plan> = LazyLock::new(Plan::built_in);

/// What is marked in every event: of its properties, and of its context.
static MARKED: [(&str, &[(&str, Pii)]); 2] = [
    ("properties", &[("email", Pii::Hash), ("a", Pii::Drop), ("x", Pii::Truncate), ("b/*/c", Pii::Hash), ("b/*/d", Pii::Drop)]),
    ("context", &[("ip", Pii::Truncate), ("os/version", Pii::Hash)]),
];
static MASKS: LazyLock<Masks> = LazyLock::new(|| {
    let in_part = |(part, marks): &(&str, &[(&str, Pii)])| {
        marks.iter().map(|(place, pii)| PiiMark { field: format!("/{part}/{place}"), pii: *pii }).collect::<Vec<_>>()
    };
    Masks::of(&MARKED.iter().flat_map(in_part).collect::<Vec<_>>())
});
/// What hashes are made with, in all targets.
pub const PII_KEY: [u8; 32] = [7; 32];

/// The widest limits that there are.
pub fn widest() -> json::Limits {
    json::Limits::WIDEST
}

/// Holds an event that was read to what is true of all of them.
pub fn check_event(event: &Event<'_>, format: WireFormat, payload: &[u8], envelope: Option<&str>) {
    assert!(!event.event_type.is_empty() && event.event_type.chars().count() <= wire::EVENT_TYPE_CHARS_MAX, "{event:?}");
    assert!(PLAN.validate(event).len() <= contract::plan::VIOLATIONS_MAX);

    // Written in Tidegate's own shape it is the same event again; but for PostHog's exposures, which are looked through for fewer names than ours.
    let written = serde_json::to_vec(&native(event)).expect("an event can be written");
    let again = wire::decode(WireFormat::Native, &written, None, &widest());
    if event.name.as_deref() != Some("$feature_flag_called") {
        assert_eq!(again.as_ref(), Ok(event), "{}", String::from_utf8_lossy(&written));
    }

    // Whoever asks to be erased by an id that the event has is found, in both of the ways there are.
    for id in [&event.user_id, &event.anonymous_id].into_iter().flatten() {
        assert!(Person::new([id.clone().into_owned()]).has(format.as_str(), payload, envelope), "{id:?} is not found");
        let mut erased = Erased::new([7; 32]);
        erased.insert(erased.digest(id));
        assert!(erased.has(event), "{id:?} is not kept out");
    }
    check_marked(event, format, payload, envelope);
}

/// What is marked goes, and nothing else does.
fn check_marked(event: &Event<'_>, format: WireFormat, payload: &[u8], envelope: Option<&str>) {
    let envelope = envelope.map(|text| RawValue::from_string(text.to_owned()).expect("it was JSON before"));
    let masked = mask(&MASKS, format, payload, envelope.as_deref()).expect("what can be read can be masked");
    let read = envelope_of(&masked);
    let after = wire::decode(format, &masked.payload, read.as_deref(), &widest()).expect("what is masked can be read");
    let head = |event: &Event<'_>| {
        let ids = [&event.user_id, &event.anonymous_id, &event.session_id, &event.name].map(|id| id.as_deref().map(str::to_owned));
        (event.event_id.clone(), event.event_type.to_string(), event.client_time, event.sent_at, ids)
    };
    assert_eq!(head(event), head(&after));
    for ((part, marks), (before, after)) in MARKED.iter().zip([(&event.properties, &after.properties), (&event.context, &after.context)]) {
        assert!(after.iter().all(|(name, _)| before.get(name).is_some()), "{part}: {before:?} {after:?}");
        for (name, value) in before.iter() {
            let marked = marks.iter().any(|(place, _)| place.split('/').next() == Some(name));
            // Data that is no object, in which anything may be; and the traits, which are properties.
            let may_be = ["data", "data_base64", "traits"].contains(&name);
            assert!(marked || may_be || after.get(name) == Some(value), "{name} of the {part} is not marked: {before:?} {after:?}");
        }
        for (place, pii) in *marks {
            let places: Vec<&str> = place.split('/').collect();
            assert!(after.get(places[0]).is_none_or(|value| is_masked(value, &places[1..], *pii)), "{place}: {after:?}");
        }
    }
    if format == WireFormat::Native {
        assert_eq!(unmarked(payload), unmarked(&masked.payload), "the bytes of what is not marked are others");
    }
}

/// Masks with the key of all targets, and holds that to being the same once more.
///
/// # Errors
///
/// [`Unmaskable`].
pub fn mask(masks: &Masks, format: WireFormat, payload: &[u8], envelope: Option<&RawValue>) -> Result<Masked, Unmaskable> {
    let key = Key::new(PII_KEY);
    let masked = masks.mask(format, payload, envelope, &key, &widest())?;
    let again = masks.mask(format, &masked.payload, envelope_of(&masked).as_deref(), &key, &widest());
    assert_eq!(again.as_ref(), Ok(&masked), "masked twice is not masked once");
    Ok(masked)
}

fn envelope_of(masked: &Masked) -> Option<Box<RawValue>> {
    masked.envelope.clone().map(|text| RawValue::from_string(text).expect("an envelope is JSON"))
}

/// Whether nothing is left at these places of what is marked there. A value where none was foreseen is masked as a whole.
pub fn is_masked(value: &Value<'_>, places: &[&str], pii: Pii) -> bool {
    match (places, value) {
        (_, Value::Null) => true,
        (["*", rest @ ..], Value::Array(values)) => values.iter().all(|value| is_masked(value, rest, pii)),
        (["*", rest @ ..], Value::Object(members)) => members.iter().all(|(_, value)| is_masked(value, rest, pii)),
        ([name, rest @ ..], Value::Object(members)) => members.get(name).is_none_or(|value| is_masked(value, rest, pii)),
        // Whatever is marked there in the strictest way is done to it.
        ([_, ..], Value::Array(values)) => values.iter().all(|value| is_masked(value, places, pii)),
        ([_, ..], value) => pii != Pii::Drop && leaf_is(value, Pii::Hash),
        ([], Value::Array(values)) if pii != Pii::Drop => values.iter().all(|value| is_masked(value, places, pii)),
        ([], Value::Object(members)) if pii != Pii::Drop => members.iter().all(|(_, value)| is_masked(value, places, pii)),
        ([], value) => leaf_is(value, pii),
    }
}

fn leaf_is(value: &Value<'_>, pii: Pii) -> bool {
    let is_hash = |text: &str| text.strip_prefix("hash:").is_some_and(|digits| digits.len() == 32);
    match (pii, value) {
        (Pii::None, _) => true,
        (Pii::Drop, _) => false,
        (Pii::Hash, Value::String(text)) => is_hash(text),
        (Pii::Hash, _) => false,
        (Pii::Truncate, Value::String(text)) => {
            text.chars().count() <= 3 || text.starts_with('@') || is_hash(text) || text.parse::<IpAddr>().is_ok()
        }
        (Pii::Truncate, value) => matches!(value, Value::Number(_)),
    }
}

/// The properties that are not marked, as they are written.
fn unmarked(payload: &[u8]) -> Option<BTreeMap<String, &str>> {
    #[derive(Deserialize)]
    struct Payload<'a> {
        #[serde(borrow)]
        properties: Option<BTreeMap<String, &'a RawValue>>,
    }
    let payload: Payload<'_> = serde_json::from_slice(payload.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(payload)).ok()?;
    let is_marked = |name: &str| MARKED[0].1.iter().any(|(place, _)| place.split('/').next() == Some(name));
    Some(payload.properties?.into_iter().filter(|(name, _)| !is_marked(name)).map(|(name, value)| (name, value.get())).collect())
}

/// An event in Tidegate's own shape.
pub fn native(event: &Event<'_>) -> serde_json::Value {
    let time = |time: Option<contract::Timestamp>| time.map(contract::Timestamp::to_rfc3339);
    serde_json::json!({
        "event_id": event.event_id, "event_type": event.event_type, "name": event.name, "event_time": time(event.client_time), "sent_at": time(event.sent_at),
        "user_id": event.user_id, "anonymous_id": event.anonymous_id, "session_id": event.session_id,
        "properties": event.properties, "context": event.context,
    })
}

/// The pieces are parts of the body, one behind the other.
pub fn check_pieces(body: &[u8], pieces: &[&[u8]]) {
    let mut end = body.as_ptr_range().start;
    for piece in pieces {
        let Range { start, end: behind } = piece.as_ptr_range();
        assert!(end <= start && behind <= body.as_ptr_range().end, "a piece lies elsewhere");
        end = behind;
    }
}

/// What another parser takes for the elements of an array; `None` where the body is none to it.
pub fn elements(body: &[u8]) -> Option<Vec<&[u8]>> {
    let elements: Vec<&RawValue> = serde_json::from_slice(body).ok()?;
    Some(elements.into_iter().map(|element| element.get().as_bytes()).collect())
}

/// An input of two parts: what comes before the first zero byte, and what comes behind it. Without one, all is the second.
pub fn parts(input: &[u8]) -> (Option<&[u8]>, &[u8]) {
    match input.iter().position(|byte| *byte == 0) {
        Some(at) => (input.get(..at), input.get(at + 1..).unwrap_or_default()),
        None => (None, input),
    }
}

/// A folder that goes with its value: in memory, where the system has such a place, for a disk that syncs would be all that is measured.
pub fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a folder")
}

/// One thing that is done to one of several files: from a place on, some bytes go and others come.
///
/// In an input: which file, how, the place (two bytes, the lower first), how many bytes go, how many come, and those that come.
#[derive(Debug, Clone, Copy)]
pub struct Damage<'a> {
    /// Which file, to be taken modulo how many there are.
    pub which: usize,
    how: u8,
    at: usize,
    cut: usize,
    bytes: &'a [u8],
}

impl<'a> Damage<'a> {
    /// How often an input may do something.
    const TIMES_MAX: usize = 8;

    /// All that an input does.
    pub fn all(input: &'a [u8]) -> Vec<Self> {
        let mut rest = input;
        std::iter::from_fn(|| Self::take(&mut rest)).take(Self::TIMES_MAX).collect()
    }

    fn take(rest: &mut &'a [u8]) -> Option<Self> {
        let ([which, how, low, high, cut, count], behind) = rest.split_first_chunk()?;
        let (bytes, behind) = behind.split_at(usize::from(*count).min(behind.len()));
        *rest = behind;
        let at = usize::from(u16::from_le_bytes([*low, *high]));
        Some(Self { which: usize::from(*which), how: *how, at, cut: usize::from(*cut), bytes })
    }

    /// Whether checksums are made to fit afterwards, as by somebody who wants the change to go unseen.
    pub fn is_sealed(&self) -> bool {
        self.how & 1 == 1
    }

    /// Whether the whole file goes.
    pub fn removes(&self) -> bool {
        self.how & 2 == 2
    }

    /// Does it to a file.
    pub fn to(&self, file: &mut Vec<u8>) {
        let at = self.at % (file.len() + 1);
        file.splice(at..(at + self.cut).min(file.len()), self.bytes.iter().copied());
    }

    /// Does it within a stretch that keeps its length.
    pub fn within(&self, stretch: &mut [u8]) {
        let at = self.at % (stretch.len() + 1);
        for (old, new) in stretch.iter_mut().skip(at).zip(self.bytes) {
            *old = *new;
        }
    }
}
