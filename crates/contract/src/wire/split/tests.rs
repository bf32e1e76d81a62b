use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn texts<'a>(events: &[&'a [u8]]) -> Vec<&'a str> {
    events.iter().map(|event| std::str::from_utf8(event).unwrap()).collect()
}

#[test]
fn takes_native_bodies_apart() {
    let check = |body: &str, expected: &[&str]| assert_eq!(texts(&native(body.as_bytes(), 10).unwrap()), expected, "{body}");
    check(r#"{"a":1}"#, &[r#"{"a":1}"#]);
    check(" {\"a\": {\n \"b\": [1, 2]}}\r\n ", &["{\"a\": {\n \"b\": [1, 2]}}"]);
    check("\u{feff}{}", &["{}"]);
    check("[]", &[]);
    check(r#" [ {"a":"]},["} ,{"b":"\"]"},  7 , "x" , null ] "#, &[r#"{"a":"]},["}"#, r#"{"b":"\"]"}"#, "7", "\"x\"", "null"]);
    check("{\"a\":1}\n{\"b\":2}", &[r#"{"a":1}"#, r#"{"b":2}"#]);
    check("{\"a\":1}\r\n\r\n  \n\t{\"b\":2}\r\n", &[r#"{"a":1}"#, r#"{"b":2}"#]);
}

#[test]
fn a_broken_event_spoils_only_itself() {
    let check = |body: &[u8], expected: &[&[u8]]| assert_eq!(native(body, 10).unwrap(), expected, "{:?}", String::from_utf8_lossy(body));
    check(b"{\"a\":\n{\"b\":2}\nnonsense\n{\"c\":3}", &[b"{\"a\":", b"{\"b\":2}", b"nonsense", b"{\"c\":3}"]);
    check(
        b"[{\"a\":\"\xff\"},{\"b\":2},{\"c\" 3},{\"d\":[}},{\"\\ud800\":1}]",
        &[b"{\"a\":\"\xff\"}", b"{\"b\":2}", b"{\"c\" 3}", b"{\"d\":[}}", b"{\"\\ud800\":1}"],
    );
    // Written over several lines and cut off: one broken event, not one for each line.
    check(b"{\n  \"a\": {},\n  \"tags\": [\n    \"x\"\n", &[b"{\n  \"a\": {},\n  \"tags\": [\n    \"x\""]);
    check(b"{\"a\":1}{\"b\":2}", &[b"{\"a\":1}{\"b\":2}"]);
    check(b"a=1&b=2", &[b"a=1&b=2"]);
}

#[test]
fn refuses_broken_bodies() {
    let check = |body: &[u8], code: &str| {
        let violation = native(body, 3).unwrap_err();
        assert_eq!(violation.code, code, "{violation:?} for {:?}", String::from_utf8_lossy(body));
    };
    for empty in [&b""[..], b" \r\n", b"\xef\xbb\xbf"] {
        check(empty, "empty_body");
    }
    for broken in [&b"["[..], b"[1", b"[1,", b"[1,]", b"[,1]", b"[1 2]", b"[1]]", b"[1]{}", b"[{}", b"[\"a]", b"[\"a\\", b"[:]"] {
        check(broken, "invalid_json");
    }
    check(b"[1,2,3,4]", "too_many_events");
    check(b"{}\n{}\n{}\n{}", "too_many_events");
    check(&b"[".repeat(1_000_000), "invalid_json");
    assert_eq!(native(b"[1,2,3]", 3).unwrap().len(), 3);
    assert_eq!(native(b"[1,2,[]", 3).unwrap_err().message, "the body is not complete JSON: expected ',' or ']' after an element at byte 7");
}

#[test]
fn takes_a_segment_batch_apart() {
    let body = br#"{"batch": [{"type": "track"}, {"a": [1]} ], "sentAt":"2026-11-23T10:00:00Z", "context" : {"library": {"name": "x"}},
        "integrations": null, "\u0077riteKey": "key", "other": {"batch": [1]}}"#;
    let batch = segment_batch(body, 10).unwrap();
    assert_eq!(texts(&batch.events), [r#"{"type": "track"}"#, r#"{"a": [1]}"#]);
    assert_eq!(batch.context.map(RawValue::get), Some(r#"{"library": {"name": "x"}}"#));
    assert_eq!(batch.sent_at.map(RawValue::get), Some(r#""2026-11-23T10:00:00Z""#));
    assert_eq!((batch.integrations.map(RawValue::get), batch.write_key.as_deref()), (None, Some("key")));
    assert!(segment_batch(br#"{"batch":[],"writeKey":null}"#, 0).is_ok_and(|batch| batch.events.is_empty() && batch.write_key.is_none()));
}

#[test]
fn refuses_broken_segment_batches() {
    let check = |body: &[u8], code: &str, field: &str| {
        let violation = segment_batch(body, 2).unwrap_err();
        assert_eq!(
            (violation.code.as_str(), violation.field.as_str()),
            (code, field),
            "{violation:?} for {:?}",
            String::from_utf8_lossy(body)
        );
    };
    check(b"{}", "missing_field", "/batch");
    check(b"[]", "invalid_json", "");
    check(b"", "invalid_json", "");
    check(br#"{"batch":{}}"#, "wrong_type", "/batch");
    check(br#"{"batch":null}"#, "wrong_type", "/batch");
    check(br#"{"batch":[1,]}"#, "invalid_json", "/batch");
    check(br#"{"batch":[1,2,3]}"#, "too_many_events", "/batch");
    check(br#"{"batch":[],"batch":[]}"#, "duplicate_key", "/batch");
    check(br#"{"batch":[],"context":{"a":}}"#, "invalid_json", "/context");
    check(br#"{"batch":[],"writeKey":7}"#, "wrong_type", "/writeKey");
    check(br#"{"batch":[]"#, "invalid_json", "");
    check(br#"{"batch":[],}"#, "invalid_json", "");
    check(br#"{"batch" []}"#, "invalid_json", "");
    check(br#"{batch:[]}"#, "invalid_json", "");
    check(b"{\"\xff\":[]}", "invalid_json", "");
}

#[test]
fn finds_the_write_key_of_one_call() {
    let check = |body: &str, expected: Option<&str>| assert_eq!(write_key(body.as_bytes()).as_deref(), expected, "{body}");
    check(r#"{"type":"track","writeKey":"k"}"#, Some("k"));
    check(r#"{"properties":{"writeKey":"k"}}"#, None);
    check(r#"{"writeKey":7}"#, None);
    check(r#"{"writeKey":"k""#, None);
    check("[]", None);
}

#[test]
fn a_cloudevents_batch_is_an_array() {
    assert_eq!(texts(&cloudevents_batch(b" [{\"id\":\"1\"}, {}]", 2).unwrap()), [r#"{"id":"1"}"#, "{}"]);
    assert_eq!(cloudevents_batch(b"{}", 2).unwrap_err().code, "wrong_type");
}

proptest! {
    #[test]
    fn pieces_are_the_exact_bytes(elements in prop::collection::vec(("[ \n\t]{0,3}", "[\\[\\]{},\"\\\\a-c]{0,5}", any::<i32>(), "[ \r\n]{0,3}"), 0..6)) {
        let pieces: Vec<String> = elements.iter().map(|(_, text, number, _)| json!({"text": text, "list": [number, [text]]}).to_string()).collect();
        let body = elements.iter().zip(&pieces).map(|((before, _, _, after), piece)| format!("{before}{piece}{after}")).collect::<Vec<_>>().join(",");
        let body = format!("[{body}]");
        let events = native(body.as_bytes(), 10).unwrap();
        prop_assert_eq!(texts(&events), pieces.iter().map(String::as_str).collect::<Vec<_>>());

        let lines = pieces.join("\n");
        let events = native(lines.as_bytes(), 10);
        prop_assert!(pieces.is_empty() || texts(&events.unwrap()) == pieces);
    }

    #[test]
    fn agrees_with_serde_json(body in "[-\\[\\]{}\",:0-9\\\\ \n]{0,30}") {
        let body = format!("[{body}");
        let expected: Result<Vec<Value>, _> = serde_json::from_str(&body);
        if let Ok(expected) = expected {
            let events = native(body.as_bytes(), usize::MAX).unwrap();
            let read: Vec<Value> = events.into_iter().map(|event| serde_json::from_slice(event).unwrap()).collect();
            prop_assert_eq!(read, expected);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), brackets in "[\\[\\]{}\",:\\\\ \n0]{0,40}") {
        for body in [bytes.as_slice(), brackets.as_bytes()] {
            let within = |event: &&[u8]| body.as_ptr_range().contains(&event.as_ptr()) || event.is_empty();
            prop_assert!(native(body, 100).iter().flatten().all(within));
            prop_assert!(cloudevents_batch(body, 100).iter().flatten().all(within));
            prop_assert!(segment_batch(body, 100).iter().flat_map(|batch| &batch.events).all(within));
            let _key = write_key(body);
        }
    }
}
