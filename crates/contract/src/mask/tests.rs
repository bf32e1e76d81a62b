use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::wire::decode;

fn key() -> Key {
    Key::new([7; 32])
}

fn masks(marks: &[(&str, Pii)]) -> Masks {
    let marks: Vec<PiiMark> = marks.iter().map(|(field, pii)| PiiMark { field: (*field).to_owned(), pii: *pii }).collect();
    Masks::of(&marks)
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

fn mask(masks: &Masks, format: WireFormat, payload: &str, envelope: Option<&str>) -> Result<(String, Option<String>), Unmaskable> {
    let envelope = envelope.map(raw);
    let masked = masks.mask(format, payload.as_bytes(), envelope.as_deref(), &key(), &json::Limits::default())?;
    Ok((String::from_utf8(masked.payload).unwrap(), masked.envelope))
}

#[test]
fn what_is_marked_goes_and_the_rest_stays_as_it_was_written() {
    let masks = masks(&[
        ("/properties/email", Pii::Hash),
        ("/properties/phone", Pii::Drop),
        ("/properties/guests/*/name", Pii::Truncate),
        ("/properties/address", Pii::Truncate),
        ("/context/ip", Pii::Truncate),
    ]);
    let payload = concat!(
        r#"{"event_id":"a","event_type":"buy","properties":{"email":"a@b.example","phone":"1","big":123456789012345678901234567890,"tiny":1.50,"#,
        r#""guests":[{"name":"Alice","seat":90071992547409931},{"name":null}],"address":{"zip":"12345","floor":12345}},"#,
        r#""context":{"ip":"198.51.100.7","a\"b":1.0}}"#
    );
    let hash = key().hash("a@b.example");
    let expect = format!(
        concat!(
            r#"{{"event_id":"a","event_type":"buy","properties":{{"email":"{}","big":123456789012345678901234567890,"tiny":1.50,"#,
            r#""guests":[{{"name":"Ali","seat":90071992547409931}},{{"name":null}}],"address":{{"floor":12300,"zip":"123"}}}},"#,
            r#""context":{{"ip":"198.51.100.0","a\"b":1.0}}}}"#
        ),
        hash
    );
    let once = mask(&masks, WireFormat::Native, payload, None).unwrap().0;
    assert_eq!(once, expect);
    assert_eq!(mask(&masks, WireFormat::Native, &once, None).unwrap().0, once, "masking twice is masking once");
    let other = r#"{"event_id":"a","event_type":"buy","properties":{"price":1}}"#;
    assert_eq!(mask(&masks, WireFormat::Native, other, None).unwrap().0, other);
}

#[test]
fn hashes_tell_equal_from_different_and_hang_on_the_key() {
    let hash = |value: Value, key: &Key| {
        let mut value = json::Value::from(value);
        assert!(leaves(&mut value, Pii::Hash, key));
        value
    };
    assert_eq!(hash(json!("7"), &key()), hash(json!(7), &key()));
    assert_eq!(hash(json!(7.0), &key()), hash(json!(7), &key()));
    assert_ne!(hash(json!("8"), &key()), hash(json!("7"), &key()));
    assert_ne!(hash(json!("7"), &Key::new([8; 32])), hash(json!("7"), &key()));
    assert!(!format!("{:?}", key()).contains('7'));
}

#[test]
fn values_are_shortened_by_what_they_are() {
    for (value, expect) in [
        (json!("198.51.100.7"), json!("198.51.100.0")),
        (json!("::ffff:198.51.100.7"), json!("198.51.100.0")),
        (json!("2001:db8:1:2:3::4"), json!("2001:db8:1::")),
        (json!("alice@mail.example.org"), json!("@mail.example.org")),
        (json!("say @home"), json!("say")),
        (json!("Älice"), json!("Äli")),
        (json!("ab"), json!("ab")),
        (json!("::1 or so"), json!("::")),
        (json!("a@.b c"), json!("@.")),
        (json!(""), json!("")),
        (json!(491_701_234_567_u64), json!(491_000_000_000_u64)),
        (json!(-1234), json!(-1230)),
        (json!(52.520_008), json!(52.5)),
        (json!(-0.000_123_45), json!(-0.000_123)),
        (json!(100.25), json!(100)),
        (json!(1.234_5e30), json!(1.23e30)),
        (json!(0), json!(0)),
        (json!(true), Value::Null),
        (Value::Null, Value::Null),
    ] {
        let mut masked = json::Value::from(value.clone());
        assert!(leaves(&mut masked, Pii::Truncate, &key()));
        assert_eq!(Value::from(&masked), expect, "{value}");
        let once = masked.clone();
        assert!(leaves(&mut masked, Pii::Truncate, &key()));
        assert_eq!(masked, once, "{value}: shortened once is shortened");
    }
}

#[test]
fn the_strictest_mark_of_a_place_counts_and_what_nobody_foresaw_is_masked_whole() {
    let strict = masks(&[
        ("/properties/a", Pii::Truncate),
        ("/properties/a", Pii::Drop),
        ("/properties/b/c", Pii::Hash),
        ("/properties/b/d", Pii::None),
    ]);
    let event = |properties: &str| format!(r#"{{"event_type":"t","properties":{properties}}}"#);
    let hash = |text: &str| key().hash(text);
    for (properties, expect) in [
        (r#"{"a":"x"}"#, "{}".to_owned()),
        (r#"{"b":{"c":"x","d":"y"}}"#, format!(r#"{{"b":{{"c":"{}","d":"y"}}}}"#, hash("x"))),
        (r#"{"b":"x y"}"#, format!(r#"{{"b":"{}"}}"#, hash("x y"))),
        (r#"{"b":["x"]}"#, format!(r#"{{"b":["{}"]}}"#, hash("x"))),
        (r#"{"b":null}"#, r#"{"b":null}"#.to_owned()),
    ] {
        assert_eq!(mask(&strict, WireFormat::Native, &event(properties), None).unwrap().0, event(&expect), "{properties}");
    }
}

#[test]
fn segments_shapes_are_masked_wherever_the_properties_come_from() {
    let masks = masks(&[("/properties/email", Pii::Drop), ("/properties/group_id", Pii::Drop), ("/context/ip", Pii::Drop)]);
    let check = |payload: &str, envelope: Option<&str>, expect: &str, expect_envelope: Option<&str>| {
        let (masked, kept) = mask(&masks, WireFormat::Segment, payload, envelope).unwrap();
        assert_eq!((masked.as_str(), kept.as_deref()), (expect, expect_envelope), "{payload} {envelope:?}");
    };
    check(
        r#"{"type":"track","event":"e","properties":{"email":"x","n":1}}"#,
        None,
        r#"{"type":"track","event":"e","properties":{"n":1}}"#,
        None,
    );
    check(r#"{"type":"identify","traits":{"email":"x"}}"#, None, r#"{"type":"identify","traits":{}}"#, None);
    check(
        r#"{"type":"identify","context":{"traits":{"email":"x"},"ip":"::1"}}"#,
        Some(r#"{"context":{"traits":{"email":"x"},"ip":"::1","locale":"de"},"sentAt":"2026-11-23T10:13:20Z"}"#),
        r#"{"type":"identify","context":{"traits":{}}}"#,
        Some(r#"{"context":{"traits":{},"locale":"de"},"sentAt":"2026-11-23T10:13:20Z"}"#),
    );
    check(r#"{"type":"group","groupId":"g"}"#, None, r#"{"type":"group"}"#, None);
    check(
        "",
        Some(
            r#"{"type":"track","query":{"event":"e","properties.email":"x","properties.n":"1","context":{"ip":"::1"},"context.ip":"::1"}}"#,
        ),
        "",
        Some(r#"{"type":"track","query":{"event":"e","properties.n":"1","context":{}}}"#),
    );
}

#[test]
fn cloudevents_are_masked_in_both_modes() {
    let masks = masks(&[("/properties/email", Pii::Truncate), ("/context/cloudevents/subject", Pii::Drop)]);
    let head = r#""specversion":"1.0","type":"t","source":"s","id":"1""#;
    let check = |payload: &str, envelope: Option<&str>, expect: &str, expect_envelope: Option<&str>| {
        let (masked, kept) = mask(&masks, WireFormat::Cloudevents, payload, envelope).unwrap();
        assert_eq!((masked.as_str(), kept.as_deref()), (expect, expect_envelope), "{payload} {envelope:?}");
    };
    check(
        &format!(r#"{{{head},"subject":"alice","data":{{"email":"a@b.example"}}}}"#),
        None,
        &format!(r#"{{{head},"data":{{"email":"@b.example"}}}}"#),
        None,
    );
    let (plain, short) = (STANDARD.encode(r#"{"email":"a@b.example"}"#), STANDARD.encode(r#"{"email":"@b.example"}"#));
    check(&format!(r#"{{{head},"data_base64":"{plain}"}}"#), None, &format!(r#"{{{head},"data_base64":"{short}"}}"#), None);
    let (plain, short) = (STANDARD.encode("Alice"), STANDARD.encode("Ali"));
    check(
        &format!(r#"{{{head},"datacontenttype":"text/plain","data_base64":"{plain}"}}"#),
        None,
        &format!(r#"{{{head},"datacontenttype":"text/plain","data_base64":"{short}"}}"#),
        None,
    );
    let both = format!(r#"{{{head},"data":{{"n":1}},"data_base64":"{plain}"}}"#);
    check(&both, None, &format!(r#"{{{head},"data":{{"n":1}}}}"#), None);
    check(&format!(r#"{{{head},"data":"Alice","data_base64":"?"}}"#), None, &format!(r#"{{{head},"data":"Ali"}}"#), None);
    let attributes = |rest: &str| format!(r#"{{"attributes":{{{head}{rest}}}}}"#);
    check(r#"{"email":"a@b.example"}"#, Some(&attributes(r#","subject":"alice""#)), r#"{"email":"@b.example"}"#, Some(&attributes("")));
    let text = attributes(r#","datacontenttype":"text/plain""#);
    check("Alice", Some(&text), "Ali", Some(&text));
}

#[test]
fn what_goes_by_another_name_is_told() {
    let masks = masks(&[("/properties/experiment_id", Pii::Hash)]);
    let payload = r#"{"event_type":"feature_exposure","properties":{"experimentId":"e","variation_id":"a"}}"#;
    assert_eq!(mask(&masks, WireFormat::Native, payload, None), Err(Unmaskable::OutOfReach));
    assert_eq!(mask(&masks, WireFormat::Native, "{", None), Err(Unmaskable::Unreadable));
}

#[test]
fn later_complaints_about_a_masked_place_are_explained() {
    let masks = masks(&[
        ("/properties/email", Pii::Hash),
        ("/properties/phone", Pii::Drop),
        ("/properties/guests/*/name", Pii::Truncate),
        ("/context/ip", Pii::Truncate),
    ]);
    let payload = r#"{"event_type":"t","properties":{"email":"hash:1","guests":[{"name":"Ali"},{}]}}"#;
    let event = decode(WireFormat::Native, payload.as_bytes(), None, &json::Limits::default()).unwrap();
    for (field, expect) in [
        ("/properties/email", true),
        ("/properties/phone", true),
        ("/properties/guests/0/name", true),
        ("/properties/guests/1/name", false),
        ("/properties/guests", false),
        ("/properties/price", false),
        ("/context/ip", false),
        ("/user_id", false),
        ("", false),
    ] {
        assert_eq!(masks.explains(field, &event), expect, "{field}");
    }
}

/// JSON with members that are marked and such that are not.
fn object() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "[a-z]{1,4}@[a-z]{1,4}\\.org".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-d]", inner, 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_that_is_marked_is_left_and_all_else_is(
        properties in prop::collection::btree_map("[a-d]", object(), 0..4),
        marks in prop::collection::vec(("/[a-d](/[a-d*]){0,2}", prop_oneof![Just(Pii::Hash), Just(Pii::Drop), Just(Pii::Truncate)]), 0..5),
    ) {
        let marks: Vec<PiiMark> = marks.into_iter().map(|(place, pii)| PiiMark { field: format!("/properties{place}"), pii }).collect();
        let masks = Masks::of(&marks);
        let properties: Map<String, Value> = properties.into_iter().collect();
        let payload = json!({"event_type": "t", "properties": properties}).to_string();
        let limits = json::Limits::default();
        let masked = masks.mask(WireFormat::Native, payload.as_bytes(), None, &key(), &limits).unwrap();
        let event = decode(WireFormat::Native, &masked.payload, None, &limits).unwrap();
        // The same by way of values.
        let mut expect = json::Value::Object(properties.into());
        if let Some(masks) = masks.members.get("properties") {
            masks.apply(&mut expect, &key());
        }
        prop_assert_eq!(json::Value::Object(event.properties.clone()), expect);
        prop_assert!(!masks.is_in(&event, &key()));
        let again = masks.mask(WireFormat::Native, &masked.payload, None, &key(), &limits).unwrap();
        prop_assert_eq!(again.payload, masked.payload);
    }
}
