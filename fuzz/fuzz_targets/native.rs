//! Bodies in Tidegate's own shape: taken apart, and each event read.
#![no_main]

use contract::{WireFormat, json, wire};
use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::{check_event, check_pieces, elements};

const EVENTS_MAX: usize = 50;

fuzz_target!(|body: &[u8]| {
    let events = wire::split::native(body, EVENTS_MAX);
    if let Some(expect) = elements(body) {
        // What is an array to others is the same one here.
        assert_eq!(events.clone().ok(), (expect.len() <= EVENTS_MAX).then_some(expect));
    }
    let Ok(events) = events else { return };
    assert!(events.len() <= EVENTS_MAX);
    check_pieces(body, &events);
    for event in events {
        match wire::decode(WireFormat::Native, event, None, &json::Limits::default()) {
            Ok(read) => check_event(&read, WireFormat::Native, event, None),
            Err(violations) => assert!(!violations.is_empty()),
        }
    }
});
