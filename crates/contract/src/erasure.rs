//! Persons who asked to be erased: which events are theirs, and what is left of one.
//!
//! What is left is a row without content: the event's identity, where and when it came. So the books still balance, and a copy that comes later is known for one. Which events are a
//! person's is told in two ways. Whoever erases knows the ids and looks for them everywhere in an event ([`Person`]). Later arrivals are held against a list that does not hold the
//! ids, only keyed digests of them ([`Erased`]).

use std::collections::HashSet;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::wire::decode;
use crate::{Event, Receipt, Verdict, Violation, WireFormat, json};

/// An id of fewer characters is no evidence when it is found in some text; it counts as a user's or an anonymous id only.
const TELLING_CHARS_MIN: usize = 8;
/// The same for one of digits, which prices and counters have too.
const TELLING_DIGITS_MIN: usize = 12;
/// Members of JSON objects that hold an id, for events that cannot be decoded.
const ID_MEMBERS: [&str; 6] = ["user_id", "userId", "anonymous_id", "anonymousId", "previousId", "previous_id"];

/// The ids of a person, to look for.
#[derive(Debug, Clone)]
pub struct Person {
    ids: HashSet<String>,
    /// Those that are evidence wherever they stand.
    telling: Vec<Needle>,
}

impl Person {
    /// A person with these ids, users' and anonymous ones; empty ones are left out.
    pub fn new(ids: impl IntoIterator<Item = String>) -> Self {
        let ids: HashSet<String> = ids.into_iter().filter(|id| !id.is_empty()).collect();
        let telling = ids.iter().filter(|id| is_telling(id)).map(|id| Needle::new(id)).collect();
        Self { ids, telling }
    }

    /// All of the ids.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.ids.iter().map(String::as_str)
    }

    /// Whether an event is the person's: its user or anonymous id is one of theirs, or a telling id stands as a whole in one of its texts. A decoded text counts, and so does one
    /// that is percent-encoded, as in an address. An event that cannot be read is theirs if a member for ids has one of them, or the bytes do.
    pub fn has(&self, format: &str, payload: &[u8], envelope: Option<&str>) -> bool {
        let envelope: Option<&RawValue> = envelope.and_then(|text| serde_json::from_str(text).ok());
        let decoded = format
            .parse()
            .map_err(drop)
            .and_then(|format: WireFormat| decode(format, payload, envelope, &json::Limits::WIDEST).map_err(drop));
        let is_theirs = match &decoded {
            Ok(event) => self.is_named_by(event),
            Err(()) => self.is_in_members(payload),
        };
        is_theirs || self.is_mentioned(payload) || envelope.is_some_and(|envelope| self.is_mentioned(envelope.get().as_bytes()))
    }

    /// Whether a text is one of the ids.
    pub fn is(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    fn is_named_by(&self, event: &Event<'_>) -> bool {
        [&event.user_id, &event.anonymous_id].into_iter().flatten().any(|id| self.ids.contains(&**id))
    }

    /// Whether a telling id stands as a whole in a text, or in one of the texts of some JSON.
    pub fn is_mentioned(&self, bytes: &[u8]) -> bool {
        if self.telling.is_empty() {
            return false;
        }
        // Most events hold nothing like it, and need not be parsed for that. One with escapes may hold anything.
        let is_likely = contains(bytes, b"\\u") || self.telling.iter().any(|needle| needle.may_be_in(bytes));
        if !is_likely {
            return false;
        }
        match serde_json::from_slice::<Value>(bytes) {
            Ok(value) => self.is_in_value(&value),
            Err(_) => self.telling.iter().any(|needle| needle.is_in(bytes)),
        }
    }

    fn is_in_value(&self, value: &Value) -> bool {
        let is_in = |text: &str| self.telling.iter().any(|needle| needle.is_in(text.as_bytes()));
        match value {
            Value::String(text) => is_in(text),
            Value::Array(values) => values.iter().any(|value| self.is_in_value(value)),
            Value::Object(members) => members.iter().any(|(name, value)| is_in(name) || self.is_in_value(value)),
            // A telling id of digits may be written as a number.
            Value::Number(number) => is_in(&number.to_string()),
            Value::Null | Value::Bool(_) => false,
        }
    }

    fn is_in_members(&self, payload: &[u8]) -> bool {
        let Ok(Value::Object(members)) = serde_json::from_slice::<Value>(payload) else { return false };
        ID_MEMBERS.iter().filter_map(|name| members.get(*name)).any(|value| match value {
            Value::String(text) => self.ids.contains(text),
            Value::Number(number) => self.ids.contains(&number.to_string()),
            _ => false,
        })
    }
}

/// Whether this id is evidence wherever it stands as a whole.
pub fn is_telling(id: &str) -> bool {
    let chars = id.chars().count();
    if id.bytes().all(|byte| byte.is_ascii_digit()) { chars >= TELLING_DIGITS_MIN } else { chars >= TELLING_CHARS_MIN }
}

/// An id to look for in texts.
#[derive(Debug, Clone)]
struct Needle {
    /// As it is, and percent-encoded where that differs.
    forms: Vec<Vec<u8>>,
}

impl Needle {
    fn new(id: &str) -> Self {
        let plain = id.as_bytes().to_vec();
        let mut forms = vec![plain.clone()];
        for lower in [false, true] {
            let encoded = percent_encoded(id, lower);
            if !forms.contains(&encoded) {
                forms.push(encoded);
            }
        }
        Self { forms }
    }

    /// Whether it may stand there, in JSON or not: escapes are for whoever parses it.
    fn may_be_in(&self, bytes: &[u8]) -> bool {
        self.forms.iter().any(|form| contains(bytes, form) || form.iter().any(|byte| matches!(byte, b'"' | b'\\' | b'/')))
    }

    /// Whether it stands there as a whole.
    fn is_in(&self, bytes: &[u8]) -> bool {
        self.forms.iter().any(|form| {
            let mut from = 0;
            while let Some(at) = find(bytes.get(from..).unwrap_or_default(), form) {
                let (start, end) = (from + at, from + at + form.len());
                let before = start.checked_sub(1).and_then(|at| bytes.get(at));
                // A full stop or the like ends a sentence and not a name, unless the name goes on behind it.
                let mut rest = bytes.get(end..).unwrap_or_default();
                while let [b'.' | b'-' | b'_' | b'~' | b'+', others @ ..] = rest
                    && others.first().is_none_or(|next| !is_of_name(*next))
                {
                    rest = others;
                }
                if before.is_none_or(|byte| !is_of_name(*byte)) && rest.first().is_none_or(|byte| !is_of_name(*byte)) {
                    return true;
                }
                from = start + 1;
            }
            false
        })
    }
}

/// Whether a byte goes on with a name that it stands next to.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@' | b'+' | b'~') || byte >= 0x80
}

/// With all bytes but the unreserved ones of RFC 3986 (section 2.3) as `%` and two digits.
fn percent_encoded(text: &str, lower: bool) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(byte);
        } else {
            let digits = if lower { format!("%{byte:02x}") } else { format!("%{byte:02X}") };
            encoded.extend(digits.bytes());
        }
    }
    encoded
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    find(bytes, part).is_some()
}

/// Where a part begins. It is looked for by its first byte, which is rare enough in texts of events.
fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, part)
}

/// The list of erased persons, as keyed digests of their ids: it tells whether an id is on it, and not which ids are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erased {
    key: [u8; 32],
    digests: HashSet<[u8; 16]>,
}

impl Erased {
    /// An empty list with this key, which was drawn at random once.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key, digests: HashSet::new() }
    }

    /// The key of its digests.
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// The digest of an id: the first half of BLAKE3 in keyed mode.
    pub fn digest(&self, id: &str) -> [u8; 16] {
        let mut digest = [0; 16];
        digest.copy_from_slice(&blake3::keyed_hash(&self.key, id.as_bytes()).as_bytes()[..16]);
        digest
    }

    /// Puts an id on the list, by its digest.
    pub fn insert(&mut self, digest: [u8; 16]) {
        self.digests.insert(digest);
    }

    /// Whether nobody is on it.
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// How many ids are on it.
    pub fn len(&self) -> usize {
        self.digests.len()
    }

    /// Whether the user or the anonymous id of an event is on it.
    pub fn has(&self, event: &Event<'_>) -> bool {
        !self.is_empty() && [&event.user_id, &event.anonymous_id].into_iter().flatten().any(|id| self.digests.contains(&self.digest(id)))
    }

    /// The same for an event as it came. One that cannot be decoded is nobody's.
    pub fn has_payload(&self, receipt: &Receipt, payload: &[u8]) -> bool {
        !self.is_empty()
            && receipt.format != WireFormat::Erased
            && decode(receipt.format, payload, receipt.envelope.as_deref(), &json::Limits::WIDEST).is_ok_and(|event| self.has(&event))
    }
}

/// The bytes of a digest or a key as the table of erased ids has them: two hexadecimal digits each. `None` for anything else.
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

impl Receipt {
    /// What is left of the note on an event whose content was erased.
    pub fn erase(&mut self) {
        self.format = WireFormat::Erased;
        self.sent_at = None;
        let why = || Violation::new("erased", "", "a person asked for it, and the content is gone");
        self.violations = if self.verdict == Verdict::Refused { vec![why()] } else { Vec::new() };
        self.client_ip = None;
        self.user_agent = None;
        self.envelope = None;
        self.client_retries = None;
        self.truncated_from = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_from_hexadecimal_digits() {
        assert_eq!(from_hex("00ff1A"), Some([0, 255, 26]));
        for bad in ["", "00ff1", "00ff1a00", "00ff1g", "+0ff1a", "é0ff1"] {
            assert_eq!(from_hex::<3>(bad), None, "{bad}");
        }
    }

    fn has(ids: &[&str], format: &str, payload: &str) -> bool {
        Person::new(ids.iter().map(|id| (*id).to_owned())).has(format, payload.as_bytes(), None)
    }

    #[test]
    fn events_are_the_persons_by_their_ids_wherever_they_stand() {
        let check = |id: &str, payload: &str, expect: bool| assert_eq!(has(&[id], "native", payload), expect, "{id} {payload}");
        let event = |rest: &str| format!(r#"{{"event_type":"a",{rest}}}"#);
        for id in ["u7", "alice@example.org", "1234"] {
            check(id, &event(&format!(r#""user_id":"{id}""#)), true);
            check(id, &event(&format!(r#""anonymous_id":"{id}""#)), true);
        }
        check("1234", &event(r#""user_id":1234"#), true);
        // A short id is none in another place.
        check("u7", &event(r#""properties":{"seat":"u7"}"#), false);
        check("12345678", &event(r#""properties":{"price":12345678}"#), false);
        check("123456789012", &event(r#""properties":{"order":123456789012}"#), true);
        for text in [
            "alice@example.org",
            "mail to alice@example.org.",
            "<alice@example.org>",
            "https://x.example/?to=alice@example.org&a=1",
            "https://x.example/?to=alice%40example.org",
            r"\u0061lice@example.org",
        ] {
            check("alice@example.org", &event(&format!(r#""properties":{{"a":[{{"b":"{text}"}}]}}"#)), true);
        }
        for text in ["malice@example.org", "alice@example.organic", "alice@example.org.uk", "alice"] {
            check("alice@example.org", &event(&format!(r#""properties":{{"a":"{text}"}}"#)), false);
        }
        check("alice@example.org", &event(r#""properties":{"alice@example.org":1}"#), true);
        check("a/b\"c\\d-long", &event(r#""properties":{"x":"a\/b\"c\\d-long"}"#), true);
    }

    #[test]
    fn what_cannot_be_decoded_is_looked_at_too() {
        assert!(has(&["u7"], "segment", r#"{"userId":"u7","type":"no such call"}"#));
        assert!(has(&["u7"], "native", r#"{"user_id":"u7"}"#));
        assert!(!has(&["u7"], "native", r#"{"user_id":"u8"}"#));
        assert!(has(&["alice@example.org"], "native", r#"{"user_id":"alice@example.org","#));
        assert!(!has(&["u7"], "erased", ""));
        let person = Person::new(["alice@example.org".to_owned()]);
        assert!(person.has("native", b"{}", Some(r#"{"context":{"traits":{"email":"alice@example.org"}}}"#)));
        assert!(person.is("alice@example.org") && !person.is("bob") && person.is_mentioned(b"to alice@example.org"));
    }

    #[test]
    fn the_list_knows_ids_and_does_not_hold_them() {
        let mut list = Erased::new([7; 32]);
        let event = Event { anonymous_id: Some("alice@example.org".into()), ..Event::default() };
        assert!(!list.has(&event));
        list.insert(list.digest("alice@example.org"));
        assert!(list.has(&event) && list.len() == 1);
        assert_ne!(list.digest("a"), Erased::new([8; 32]).digest("a"), "digests hang on the key");
        let receipt = br#"{"source":"web","event_id":"a","received_at":0,"format":"native","verdict":"accepted","plan_version":"1","client_ip":"::1"}"#;
        let mut receipt = Receipt::from_bytes(receipt).unwrap();
        let payload = br#"{"event_type":"a","user_id":"alice@example.org"}"#;
        assert!(list.has_payload(&receipt, payload) && !list.has_payload(&receipt, b"{}"));
        receipt.erase();
        assert!(!list.has_payload(&receipt, payload), "what was erased is not erased again");
        let text = r#"{"source":"web","event_id":"a","received_at":0,"format":"erased","verdict":"accepted","plan_version":"1"}"#;
        assert_eq!(String::from_utf8(receipt.to_bytes().unwrap()).unwrap(), text);
    }
}
