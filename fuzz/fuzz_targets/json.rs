//! Strict JSON: what is taken is JSON to others too and within its limits, what is refused is not or is beyond them, and what is canonical reads as the same again.
#![no_main]

use contract::json::{self, Limits, Value, canonical};
use libfuzzer_sys::fuzz_target;

const NARROW: Limits = Limits { depth_max: 4, string_bytes_max: 8 };

fuzz_target!(|bytes: &[u8]| {
    let wide = json::parse_strict(bytes, &Limits::default());
    let narrow = json::parse_strict(bytes, &NARROW);
    let others = serde_json::from_slice::<serde_json::Value>(bytes);
    match &wide {
        Ok(value) => {
            assert_eq!(others.as_ref().ok(), Some(&value.into()));
            let text = canonical(value);
            let again = json::parse_strict(text.as_bytes(), &Limits::default()).expect("what is canonical can be read");
            assert_eq!(canonical(&again), text);
        }
        Err(violation) if others.is_ok() => {
            assert!(["duplicate_key", "too_deep", "string_too_long"].contains(&violation.code.as_str()), "{violation:?}");
        }
        // At most what it says has the size of the input, cut down.
        Err(violation) => assert!(violation.message.len() < 1_000, "{violation:?}"),
    }
    if let Ok(value) = narrow {
        assert!(is_within(&value, NARROW.depth_max), "{value:?}");
        assert_eq!(wide, Ok(value));
    }
});

fn is_within(value: &Value<'_>, depth: usize) -> bool {
    let is_short = |text: &str| text.len() <= NARROW.string_bytes_max;
    match value {
        Value::String(text) => is_short(text),
        Value::Array(items) => depth > 0 && items.iter().all(|item| is_within(item, depth - 1)),
        Value::Object(members) => depth > 0 && members.iter().all(|(name, item)| is_short(name) && is_within(item, depth - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}
