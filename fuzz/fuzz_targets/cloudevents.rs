//! CloudEvents, one and many. Before a zero byte: the envelope, whose `attributes` make it one in binary mode.
#![no_main]

use contract::{WireFormat, json, wire};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use tidegate_fuzz::{check_event, check_pieces, elements, parts};

const EVENTS_MAX: usize = 50;

fuzz_target!(|input: &[u8]| {
    let (envelope, body) = parts(input);
    let envelope: Option<&RawValue> = envelope.and_then(|bytes| serde_json::from_slice(bytes).ok());
    check(body, envelope);

    let events = wire::split::cloudevents_batch(body, EVENTS_MAX);
    if let Some(expect) = elements(body) {
        assert_eq!(events.clone().ok(), (expect.len() <= EVENTS_MAX).then_some(expect));
    }
    let Ok(events) = events else { return };
    assert!(events.len() <= EVENTS_MAX);
    check_pieces(body, &events);
    for event in events {
        check(event, None);
    }
});

fn check(event: &[u8], envelope: Option<&RawValue>) {
    match wire::decode(WireFormat::Cloudevents, event, envelope, &json::Limits::default()) {
        Ok(read) => check_event(&read, WireFormat::Cloudevents, event, envelope.map(RawValue::get)),
        Err(violations) => assert!(!violations.is_empty()),
    }
}
