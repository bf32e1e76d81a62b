//! Batches and single calls in Segment's shape. Before a zero byte: the envelope that the gate keeps for all of a request's events.
#![no_main]

use contract::{WireFormat, json, wire};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate_fuzz::{check_event, check_pieces, parts};

const EVENTS_MAX: usize = 50;

/// A batch as another parser has it.
#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    batch: Vec<&'a RawValue>,
    #[serde(rename = "writeKey", default)]
    write_key: Option<String>,
}

fuzz_target!(|input: &[u8]| {
    let (envelope, body) = parts(input);
    let envelope: Option<&RawValue> = envelope.and_then(|bytes| serde_json::from_slice(bytes).ok());
    check(body, envelope);

    let batch = wire::split::segment_batch(body, EVENTS_MAX);
    // Of a whole body only: another parser stops where it has seen enough.
    if let (Ok(batch), Ok(expect)) = (&batch, serde_json::from_slice::<Batch<'_>>(body)) {
        let expected: Vec<&[u8]> = expect.batch.iter().map(|event| event.get().as_bytes()).collect();
        assert_eq!((&batch.events, &batch.write_key), (&expected, &expect.write_key));
    }
    let Ok(batch) = batch else { return };
    assert!(batch.events.len() <= EVENTS_MAX);
    assert_eq!(wire::split::write_key(body), batch.write_key);
    check_pieces(body, &batch.events);
    for event in batch.events {
        check(event, envelope);
    }
});

fn check(event: &[u8], envelope: Option<&RawValue>) {
    match wire::decode(WireFormat::Segment, event, envelope, &json::Limits::default()) {
        Ok(read) => check_event(&read, WireFormat::Segment, event, envelope.map(RawValue::get)),
        Err(violations) => assert!(!violations.is_empty()),
    }
}
