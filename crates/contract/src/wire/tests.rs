use proptest::prelude::*;
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};

use super::*;
use crate::{EventId, Timestamp};

const TEN: &str = "2026-11-23T10:00:00Z";

fn ten() -> Option<Timestamp> {
    Some(Timestamp(1_795_428_000_000_000))
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn object(value: Value) -> Object<'static> {
    map(value).into()
}

/// With texts of its own.
fn owned(event: Event<'_>) -> Event<'static> {
    let text = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
    Event {
        event_id: event.event_id,
        event_type: Cow::Owned(event.event_type.into_owned()),
        name: text(event.name),
        client_time: event.client_time,
        sent_at: event.sent_at,
        user_id: text(event.user_id),
        anonymous_id: text(event.anonymous_id),
        session_id: text(event.session_id),
        properties: event.properties.into_owned(),
        context: event.context.into_owned(),
    }
}

/// An object as `serde_json` has it.
fn written(object: &Object<'_>) -> Value {
    Value::Object(object.into())
}

fn try_decode(format: WireFormat, payload: &Value, envelope: &Value) -> Result<Event<'static>, Vec<Violation>> {
    let envelope = (!envelope.is_null()).then(|| to_raw_value(envelope).unwrap());
    decode(format, payload.to_string().as_bytes(), envelope.as_deref(), &json::Limits::default()).map(owned)
}

fn check(format: WireFormat, payload: Value, envelope: Value, expected: Event<'_>) {
    assert_eq!(try_decode(format, &payload, &envelope), Ok(expected), "{payload} {envelope}");
}

fn check_refused(format: WireFormat, payload: Value, envelope: Value, expected: &[(&str, &str)]) {
    let violations = try_decode(format, &payload, &envelope).unwrap_err();
    let found: Vec<_> = violations.iter().map(|violation| (violation.code.as_str(), violation.field.as_str())).collect();
    assert_eq!(found, expected, "{payload} {envelope}");
}

fn id(id: &str) -> Option<EventId> {
    Some(id.parse().unwrap())
}

#[test]
fn native_events() {
    let native = |payload: Value, expected: Event<'static>| check(WireFormat::Native, payload, Value::Null, expected);
    let minimal = || Event { event_type: "x".into(), ..Event::default() };
    native(json!({"event_type": "x"}), minimal());
    native(
        json!({"event_type": "x", "event_id": null, "user_id": "", "properties": null, "context": [], "event_time": null, "more": [1]}),
        minimal(),
    );
    native(
        json!({"event_id": "e", "event_type": "conversion", "event_time": TEN, "sent_at": 1_795_428_000, "user_id": 7, "anonymous_id": "a", "session_id": true,
            "name": "Bought", "properties": {"value": 1.5}, "context": {"locale": "de"}}),
        Event {
            event_id: id("e"),
            event_type: "conversion".into(),
            name: Some("Bought".into()),
            client_time: ten(),
            sent_at: ten(),
            user_id: Some("7".into()),
            anonymous_id: Some("a".into()),
            session_id: Some("true".into()),
            properties: object(json!({"value": 1.5})),
            context: object(json!({"locale": "de"})),
        },
    );
}

#[test]
fn what_is_wrong_with_native_events() {
    let refused = |payload: Value, expected: &[(&str, &str)]| check_refused(WireFormat::Native, payload, Value::Null, expected);
    refused(json!({}), &[("missing_field", "/event_type")]);
    refused(json!({"event_type": null}), &[("missing_field", "/event_type")]);
    refused(json!({"event_type": ""}), &[("missing_field", "/event_type")]);
    refused(json!({"event_type": 7}), &[("wrong_type", "/event_type")]);
    refused(json!({"event_type": "x".repeat(257)}), &[("event_type_too_long", "/event_type")]);
    refused(json!({"event_type": "x", "event_id": "é".repeat(101)}), &[("invalid_event_id", "/event_id")]);
    refused(json!({"event_type": "x", "event_id": 1e20}), &[("wrong_type", "/event_id")]);
    refused(
        json!({"event_type": "x", "event_time": "yesterday", "sent_at": []}),
        &[("invalid_time", "/event_time"), ("invalid_time", "/sent_at")],
    );
    refused(
        json!({"user_id": {}, "properties": [1], "context": "c"}),
        &[("missing_field", "/event_type"), ("wrong_type", "/user_id"), ("wrong_type", "/properties"), ("wrong_type", "/context")],
    );
    for no_object in [json!([]), json!("x"), json!(null)] {
        refused(no_object, &[("wrong_type", "")]);
    }
}

#[test]
fn segment_calls() {
    let segment = |payload: Value, expected: (&str, Option<&str>, Value)| {
        let event = try_decode(WireFormat::Segment, &payload, &Value::Null).unwrap();
        assert_eq!((&*event.event_type, event.name.as_deref(), written(&event.properties)), expected, "{payload}");
    };
    segment(
        json!({"type": "track", "event": "Order Completed", "properties": {"revenue": 9.5}}),
        ("Order Completed", Some("Order Completed"), json!({"revenue": 9.5})),
    );
    segment(
        json!({"type": "page", "name": "Home", "category": "Shop", "properties": {"path": "/"}}),
        ("page_view", Some("Home"), json!({"path": "/", "category": "Shop"})),
    );
    segment(json!({"type": "page"}), ("page_view", None, json!({})));
    segment(json!({"type": "screen", "name": "Start"}), ("screen_view", Some("Start"), json!({})));
    segment(
        json!({"type": "identify", "traits": {"plan": "pro"}, "context": {"traits": {"plan": "free"}}}),
        ("identify", None, json!({"plan": "pro"})),
    );
    segment(
        json!({"type": "identify", "traits": null, "context": {"traits": {"plan": "free"}}}),
        ("identify", None, json!({"plan": "free"})),
    );
    segment(
        json!({"type": "group", "groupId": 12, "traits": {"size": 3}, "context": {"traits": {"plan": "free"}}}),
        ("group", None, json!({"size": 3, "group_id": "12"})),
    );
    segment(json!({"type": "alias", "previousId": "old", "userId": "new"}), ("alias", None, json!({"previous_id": "old"})));
}

#[test]
fn segment_fields() {
    let payload = json!({"type": "track", "event": "e", "messageId": "m", "timestamp": TEN, "originalTimestamp": "2001-01-01", "sentAt": TEN, "userId": 42,
        "anonymousId": "a", "channel": "web", "context": {"locale": "de", "page": {"url": "/"}, "ip": null, "sessionId": 1_700_000_000_123_u64}});
    let envelope = json!({"type": "page", "sentAt": "2001-01-01", "integrations": {"All": true}, "context": {"locale": "en", "page": {"title": "t"}, "ip": "::1", "timezone": "UTC"}});
    check(
        WireFormat::Segment,
        payload,
        envelope,
        Event {
            event_id: id("m"),
            event_type: "e".into(),
            name: Some("e".into()),
            client_time: ten(),
            sent_at: ten(),
            user_id: Some("42".into()),
            anonymous_id: Some("a".into()),
            session_id: Some("1700000000123".into()),
            properties: Object::new(),
            context: object(
                json!({"locale": "de", "page": {"url": "/"}, "ip": "::1", "timezone": "UTC", "channel": "web", "sessionId": 1_700_000_000_123_u64}),
            ),
        },
    );
    let from_envelope = try_decode(WireFormat::Segment, &json!({"timestamp": TEN}), &json!({"type": "page", "sentAt": TEN})).unwrap();
    assert_eq!((&*from_envelope.event_type, from_envelope.client_time, from_envelope.sent_at), ("page_view", ten(), ten()));
}

#[test]
fn what_is_wrong_with_segment_calls() {
    let refused =
        |payload: Value, envelope: Value, expected: &[(&str, &str)]| check_refused(WireFormat::Segment, payload, envelope, expected);
    refused(json!({}), Value::Null, &[("missing_field", "/type")]);
    refused(json!({"type": "tracked"}), Value::Null, &[("unknown_call", "/type")]);
    refused(json!({"type": "track"}), Value::Null, &[("missing_field", "/event")]);
    refused(json!({"type": "track", "event": ["e"]}), Value::Null, &[("wrong_type", "/event")]);
    refused(json!({"type": "page", "messageId": "m".repeat(101)}), Value::Null, &[("invalid_event_id", "/messageId")]);
    refused(
        json!({"type": "page", "originalTimestamp": "", "userId": []}),
        Value::Null,
        &[("invalid_time", "/originalTimestamp"), ("wrong_type", "/userId")],
    );
    refused(json!({"type": "page"}), json!({"sentAt": "soon"}), &[("invalid_time", "/sentAt")]);
    refused(json!({"type": "page"}), json!({"context": 7}), &[("wrong_type", "/context")]);
    refused(json!({"type": "page"}), json!([]), &[("wrong_type", "")]);
}

#[test]
fn sessions_by_place() {
    let session = |payload: Value, expected: Option<&str>| {
        let event = try_decode(WireFormat::Segment, &payload, &json!({"type": "page"})).unwrap();
        assert_eq!(event.session_id.as_deref(), expected, "{payload}");
    };
    session(json!({}), None);
    session(json!({"properties": {"session_id": "p"}}), Some("p"));
    session(json!({"properties": {"session_id": "p"}, "context": {"session": {"id": 1}}}), Some("1"));
    session(json!({"context": {"session": {"id": 1}, "sessionId": 2}}), Some("2"));
    session(json!({"context": {"sessionId": 2, "session_id": 3}}), Some("3"));
    session(json!({"session_id": "own", "context": {"session_id": 3}}), Some("own"));
    // Whatever a client keeps there of its own is no reason to refuse the event.
    session(json!({"context": {"session": "s", "sessionId": {"a": 1}, "session_id": ""}, "properties": {"session_id": null}}), None);
}

#[test]
fn exposures_have_one_form() {
    let exposure = |payload: Value, expected: Value| {
        let event = try_decode(WireFormat::Segment, &payload, &json!({"type": "track"})).unwrap();
        assert_eq!((&*event.event_type, written(&event.properties)), (FEATURE_EXPOSURE, expected), "{payload}");
    };
    let viewed = |properties: Value| json!({"event": "Experiment Viewed", "properties": properties});
    exposure(
        viewed(json!({"experiment_id": "e", "experiment_name": "E", "variation_id": "v"})),
        json!({"experiment_id": "e", "experiment_name": "E", "variation_id": "v"}),
    );
    exposure(
        viewed(json!({"experimentId": "e", "variationId": 1})),
        json!({"experimentId": "e", "variationId": 1, "experiment_id": "e", "variation_id": "1"}),
    );
    exposure(
        viewed(json!({"experiment_id": "", "experiment_name": "E", "variation_name": true})),
        json!({"experiment_id": "E", "experiment_name": "E", "variation_name": true, "variation_id": "true"}),
    );
    exposure(viewed(json!({"experiment_id": ["e"]})), json!({"experiment_id": ["e"]}));
    exposure(json!({"event": "feature_exposure", "properties": {"experiment_id": 3}}), json!({"experiment_id": "3"}));
    let native = try_decode(
        WireFormat::Native,
        &json!({"event_type": "feature_exposure", "properties": {"experimentId": "e", "variation_id": 0}}),
        &Value::Null,
    )
    .unwrap();
    assert_eq!(written(&native.properties), json!({"experimentId": "e", "experiment_id": "e", "variation_id": "0"}));
}

#[test]
fn pixels_come_as_parameters() {
    let envelope = json!({"type": "page", "query": {"anonymousId": "a", "name": "Home", "context.page.url": "/", "context.page": "x", "properties.a.b": "1",
        "a.b.c.d.e.f.g.h.i": "deep", "name.first": "inside a text"}});
    let envelope = to_raw_value(&envelope).unwrap();
    let event = decode(WireFormat::Segment, b"", Some(&envelope), &json::Limits::default()).unwrap();
    assert_eq!((event.anonymous_id.as_deref(), event.name.as_deref()), (Some("a"), Some("Home")));
    assert_eq!(written(&event.context), json!({"page": "x"}));
    assert_eq!(written(&event.properties), json!({"a": {"b": "1"}}));
    let own_first =
        decode(WireFormat::Segment, br#"{"name":"Own","anonymousId":null}"#, Some(&envelope), &json::Limits::default()).unwrap();
    assert_eq!((own_first.name.as_deref(), own_first.anonymous_id.as_deref()), (Some("Own"), Some("a")));
    // An address without parameters is an event without fields; a page view needs none, and a track call is missed its name.
    let bare = |call: &str| {
        let envelope = to_raw_value(&json!({"type": call, "query": {}})).unwrap();
        decode(WireFormat::Segment, b"", Some(&envelope), &json::Limits::default()).map(owned)
    };
    assert_eq!(bare("page").unwrap().event_type, "page_view");
    assert_eq!(bare("track").unwrap_err()[0].field, "/event");
}

#[test]
fn cloudevents_in_structured_mode() {
    let event = |more: Value| {
        let mut event = map(json!({"specversion": "1.0", "id": "1", "source": "/shop", "type": "com.example.sold", "time": TEN}));
        event.extend(map(more));
        Value::Object(event)
    };
    let expected = |properties: Value, context: Value| Event {
        event_id: id("/shop 1"),
        event_type: "com.example.sold".into(),
        client_time: ten(),
        properties: object(properties),
        context: object(json!({"cloudevents": context})),
        ..Event::default()
    };
    let plain = json!({"id": "1", "source": "/shop"});
    let structured = |more: Value, expected: Event<'static>| check(WireFormat::Cloudevents, event(more), Value::Null, expected);
    structured(json!({}), expected(json!({}), plain.clone()));
    structured(json!({"data": null}), expected(json!({}), plain.clone()));
    structured(json!({"data": [1]}), expected(json!({"data": [1]}), plain.clone()));
    structured(json!({"data_base64": "eyJhIjoxfQ=="}), expected(json!({"a": 1}), plain.clone()));
    structured(
        json!({"data_base64": "/w==", "datacontenttype": "image/png", "subject": "s"}),
        expected(json!({"data_base64": "/w=="}), json!({"id": "1", "source": "/shop", "datacontenttype": "image/png", "subject": "s"})),
    );
    let with_user = Event {
        user_id: Some("u".into()),
        anonymous_id: Some("9".into()),
        session_id: Some("s".into()),
        ..expected(json!({"user_id": "x", "anonymousId": 9, "session_id": "s"}), plain)
    };
    structured(json!({"userid": "u", "data": {"user_id": "x", "anonymousId": 9, "session_id": "s"}}), with_user);
}

#[test]
fn cloudevents_in_binary_mode() {
    let decode_binary = |content_type: Value, payload: &[u8]| {
        let attributes = json!({"specversion": "1.0", "id": "1", "source": "/shop", "type": "sold", "datacontenttype": content_type});
        let envelope = to_raw_value(&json!({"attributes": attributes})).unwrap();
        let event = decode(WireFormat::Cloudevents, payload, Some(&envelope), &json::Limits::default());
        event.map(|event| written(&event.properties)).map_err(|violations| (violations[0].code.clone(), violations[0].field.clone()))
    };
    let refused = |code: &str, field: &str| Err((code.to_owned(), field.to_owned()));
    assert_eq!(decode_binary(json!("application/json; charset=utf-8"), br#"{"a":1}"#), Ok(json!({"a": 1})));
    assert_eq!(decode_binary(json!("application/vnd.x+JSON"), b"7"), Ok(json!({"data": 7})));
    assert_eq!(decode_binary(json!(null), b"{}"), Ok(json!({})));
    assert_eq!(decode_binary(json!("text/plain"), "é".as_bytes()), Ok(json!({"data": "é"})));
    assert_eq!(decode_binary(json!("text/plain"), b"\xff"), Ok(json!({"data_base64": "/w=="})));
    assert_eq!(decode_binary(json!("image/png"), b""), Ok(json!({})));
    assert_eq!(decode_binary(json!("application/json"), br#"{"a":{"b":1,"b":2}}"#), refused("duplicate_key", "/data/a/b"));
    assert_eq!(decode_binary(json!("application/json"), b"nonsense"), refused("invalid_json", "/data"));
}

#[test]
fn what_is_wrong_with_cloudevents() {
    let refused = |payload: Value, expected: &[(&str, &str)]| check_refused(WireFormat::Cloudevents, payload, Value::Null, expected);
    refused(
        json!({}),
        &[("missing_field", "/source"), ("missing_field", "/id"), ("missing_field", "/specversion"), ("missing_field", "/type")],
    );
    let sound = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"});
    let changed = |name: &str, value: Value| {
        let mut event = map(sound.clone());
        event.insert(name.to_owned(), value);
        Value::Object(event)
    };
    refused(changed("specversion", json!("0.3")), &[("unsupported_version", "/specversion")]);
    refused(changed("source", json!("/a b")), &[("invalid_attribute", "/source")]);
    refused(changed("time", json!("noon")), &[("invalid_time", "/time")]);
    refused(changed("id", json!(1)), &[("wrong_type", "/id")]);
    refused(changed("data_base64", json!("%")), &[("invalid_base64", "/data_base64")]);
    refused(changed("data_base64", json!("e30")), &[("invalid_base64", "/data_base64")]);
    refused(changed("data_base64", json!("ew==")), &[("invalid_json", "/data")]);
}

#[test]
fn cloudevents_identities_stay_apart() {
    let event_id = |source: &str, id: &str| {
        let event =
            try_decode(WireFormat::Cloudevents, &json!({"specversion": "1.0", "id": id, "source": source, "type": "t"}), &Value::Null)
                .unwrap();
        event.event_id.unwrap().as_str().to_owned()
    };
    assert_eq!(event_id("/a", "b c"), "/a b c");
    assert_eq!(event_id("/a", &"i".repeat(97)).len(), 100);
    let digest = event_id("/a", &"i".repeat(98));
    assert!(digest.starts_with("ce:") && digest.len() == 67 && !digest.contains(' '), "{digest}");
    assert_ne!(digest, event_id(&format!("/a{}", "i".repeat(49)), &"i".repeat(49)));
    assert_eq!(digest, event_id("/a", &"i".repeat(98)));
}

#[test]
fn bounds_hold_for_the_envelope_too() {
    let deep = format!("{{\"context\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let envelope: Box<RawValue> = serde_json::from_str(&deep).unwrap();
    let violations = decode(WireFormat::Segment, b"{}", Some(&envelope), &json::Limits::default()).unwrap_err();
    assert_eq!(violations.iter().map(|violation| violation.code.as_str()).collect::<Vec<_>>(), ["too_deep"]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<f64>().prop_map(|number| json!(number)),
        any::<u64>().prop_map(|number| json!(number)),
        ".{0,4}".prop_map(Value::String),
        Just(json!(TEN)),
        Just(json!("track"))
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::btree_map(".{0,3}", inner, 0..3).prop_map(|members| json!(members))
        ]
    })
}

fn event_like() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "type",
        "event",
        "event_type",
        "event_id",
        "messageId",
        "timestamp",
        "originalTimestamp",
        "sentAt",
        "userId",
        "user_id",
        "properties",
        "traits",
        "context",
        "query",
        "attributes",
        "data",
        "data_base64",
        "datacontenttype",
        "specversion",
        "id",
        "source",
        "time",
        "groupId",
        "channel",
    ]);
    prop::collection::btree_map(names, any_json(), 0..8).prop_map(|members| json!(members))
}

proptest! {
    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..64), payload in event_like(), envelope in event_like()) {
        let raw = to_raw_value(&envelope).unwrap();
        for format in [WireFormat::Native, WireFormat::Segment, WireFormat::Cloudevents] {
            for (payload, envelope) in [(bytes.as_slice(), None), (payload.to_string().as_bytes(), None), (payload.to_string().as_bytes(), Some(&*raw)), (bytes.as_slice(), Some(&*raw))] {
                let decoded = decode(format, payload, envelope, &json::Limits::default());
                prop_assert_eq!(&decoded, &decode(format, payload, envelope, &json::Limits::default()));
                prop_assert!(decoded.is_ok() || decoded.is_err_and(|violations| !violations.is_empty()));
            }
        }
    }
}
