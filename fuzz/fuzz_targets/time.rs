//! Times: what is read is written, and reads as the same again; and, from the first 32 bytes as microseconds, which time an event counts as having happened at.
#![no_main]

use contract::time::{event_time, parse, parse_text};
use contract::{Timestamp, json};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    text(&String::from_utf8_lossy(input));
    if let Some((micros, _)) = input.as_chunks::<8>().0.split_first_chunk::<4>() {
        instants(micros.map(i64::from_le_bytes));
    }
});

fn text(text: &str) {
    let read = parse_text(text);
    assert_eq!(parse(&json::Value::String(text.into())), read);
    if let Ok(Value::Number(number)) = serde_json::from_str::<Value>(text)
        && number.to_string() == text.trim()
    {
        assert_eq!(parse(&json::Value::Number(number)), read, "{text} as a number and as a text");
    }
    let Ok(time) = read else { return };
    assert!((Timestamp::MIN..=Timestamp::MAX).contains(&time));
    let written = time.to_rfc3339();
    assert_eq!(parse_text(&written), Ok(time));
    assert!(written.starts_with(&time.date_text()) && time.hour() <= time);
    assert_eq!(parse_text(&time.date_text()).map(Timestamp::date), Ok(time.date()));
}

/// What code makes may lie outside of the years that are read.
fn instants([client, sent, received, tolerance]: [i64; 4]) {
    let [client, sent, received] = [client, sent, received].map(Timestamp);
    for time in [client, sent, received] {
        assert!(parse_text(&time.to_rfc3339()).is_ok(), "{}", time.0);
        assert_eq!(time.date_text().len(), 10);
        let _same_day = (time.hour(), time.date());
    }
    for (client, sent) in [(None, None), (Some(client), None), (Some(client), Some(sent)), (None, Some(sent))] {
        let found = event_time(client, sent, received, tolerance);
        assert!(found.at <= received, "{found:?} is later than {received:?}");
        assert!(found.corrected || client.is_none_or(|client| client == found.at));
    }
}
