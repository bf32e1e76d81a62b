use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Number, Value, json};

use super::*;

/// The tree of a value as `serde_json` has it.
fn tree(value: &Value) -> super::Value<'static> {
    value.clone().into()
}

fn check_refused(input: &[u8], code: &str, field: &str) {
    let limits = Limits { depth_max: 4, string_bytes_max: 10 };
    let violation = parse_strict(input, &limits).expect_err(&String::from_utf8_lossy(input));
    assert_eq!(
        (violation.code.as_str(), violation.field.as_str()),
        (code, field),
        "{violation:?} for {:?}",
        String::from_utf8_lossy(input)
    );
}

#[test]
fn reads_json() {
    let check =
        |input: &str, expected: Value| assert_eq!(parse_strict(input.as_bytes(), &Limits::default()), Ok(tree(&expected)), "{input}");
    check(
        " {\"a\": [1, -2, 2.5, 1e3, true, null, \"\\u00e9\\ud83d\\ude00\\n\"]} ",
        json!({"a": [1, -2, 2.5, 1000.0, true, null, "é😀\n"]}),
    );
    check("18446744073709551615", json!(u64::MAX));
    check("0.30000000000000004", json!(0.1 + 0.2));
    check("[{\"a\":1},{\"a\":1}]", json!([{"a": 1}, {"a": 1}]));
}

#[test]
fn refuses_what_parsers_disagree_on() {
    check_refused(br#"{"a":1,"a":2}"#, "duplicate_key", "/a");
    check_refused(br#"{"a":1,"\u0061":2}"#, "duplicate_key", "/a");
    check_refused(br#"[0,{"x/y":{"b~":1,"b~":1}}]"#, "duplicate_key", "/1/x~1y/b~0");
}

#[test]
fn refuses_what_goes_too_deep() {
    assert!(parse_strict(b"[[[[1]]]]", &Limits { depth_max: 4, string_bytes_max: 10 }).is_ok());
    check_refused(b"[[[[[1]]]]]", "too_deep", "/0/0/0/0");
    check_refused(br#"{"a":{"b":[{"c":{}}]}}"#, "too_deep", "/a/b/0/c");
    // Neither closed nor shallow, whatever the setting says.
    let limits = Limits { depth_max: usize::MAX, string_bytes_max: 10 };
    for input in [vec![b'['; 1_000_000], br#"{"a":"#.repeat(10_000)] {
        assert_eq!(parse_strict(&input, &limits).unwrap_err().code, "too_deep");
    }
}

#[test]
fn refuses_what_is_too_long() {
    assert!(parse_strict(br#"{"0123456789":"0123456789"}"#, &Limits { depth_max: 4, string_bytes_max: 10 }).is_ok());
    check_refused(br#"{"a":["0123456789x"]}"#, "string_too_long", "/a/0");
    check_refused(br#"{"a":{"0123456789x":1}}"#, "string_too_long", "/a");
    check_refused("\"\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9é\"".as_bytes(), "string_too_long", "");
    let violation = parse_strict(format!("{{\"{0}\":1,\"{0}\":1}}", "k".repeat(100_000)).as_bytes(), &Limits::default()).unwrap_err();
    assert!(violation.field.len() < 200, "a violation stays small");
}

#[test]
fn refuses_what_is_not_json() {
    for input in [
        &b""[..],
        b"  ",
        b"{",
        b"[1,]",
        b"{\"a\"}",
        b"{a:1}",
        b"'a'",
        b"nul",
        b"NaN",
        b"Infinity",
        b"-",
        b"01",
        b"1.",
        b"+1",
        b"1e999",
        b"\"\\ud800\"",
        b"\"\\udc00\"",
        b"\"\\ud800\\u0041\"",
        b"\"\xff\"",
        b"\"\xc0\x80\"",
        b"\"\xed\xa0\x80\"",
        b"\"a\nb\"",
        b"\"\\x\"",
        b"{} {}",
        b"1 2",
        b"\xef\xbb\xbf{}",
        b"// no\n{}",
        b"\0",
    ] {
        check_refused(input, "invalid_json", "");
    }
    let violation = parse_strict(b"{\n  \"a\": 1;\n}", &Limits::default()).unwrap_err();
    assert!(violation.message.contains("at line 2 column 9"), "{}", violation.message);
}

#[test]
fn writes_one_form() {
    let check = |input: &str, expected: &str| {
        let value = parse_strict(input.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(canonical(&value), expected, "{input}");
    };
    check(r#" { "b" : [ 1 , null , true , false ] , "a" : { } } "#, r#"{"a":{},"b":[1,null,true,false]}"#);
    // By bytes: U+E000 comes before U+10000, which by UTF-16 units it would not.
    check("{\"\u{10000}\":1,\"\u{e000}\":2,\"Z\":3,\"a\":4,\"\":5}", "{\"\":5,\"Z\":3,\"a\":4,\"\u{e000}\":2,\"\u{10000}\":1}");
    check(r#""\u0000\u001f\b\t\n\f\r\"\\\/é\u2028\u007f""#, "\"\\u0000\\u001f\\b\\t\\n\\f\\r\\\"\\\\/é\u{2028}\u{7f}\"");
    // Numbers that are equal have one form.
    for one in ["1", "1.0", "1e0", "10e-1", "0.1e1"] {
        check(one, "1");
    }
    for zero in ["0", "-0", "0.0", "-0.0", "0e5"] {
        check(zero, "0");
    }
    check("1e2", "100");
    check("-1e2", "-100");
    check("9007199254740993", "9007199254740993");
    check("9007199254740993.0", "9007199254740992");
    check("18446744073709551615", "18446744073709551615");
    check("-9223372036854775808", "-9223372036854775808");
    check("-9223372036854775808.0", "-9223372036854775808");
    check("1e19", "10000000000000000000");
    // As ECMAScript writes them.
    check("18446744073709551616", "18446744073709552000");
    check("1e20", "100000000000000000000");
    check("1e21", "1e+21");
    check("-1.5e300", "-1.5e+300");
    check("0.000001", "0.000001");
    check("0.0000015", "0.0000015");
    check("0.0000001", "1e-7");
    check("5e-324", "5e-324");
    check("1.7976931348623157e308", "1.7976931348623157e+308");
    check("0.1", "0.1");
    check("19.990", "19.99");
    check("1234567.125", "1234567.125");
}

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![
        any::<i64>().prop_map(Number::from),
        any::<u64>().prop_map(Number::from),
        (-1000_i32..1000).prop_map(|number| Number::from_f64(f64::from(number) / 8.0).unwrap()),
        any::<f64>().prop_filter_map("finite", Number::from_f64),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number().prop_map(Value::Number),
        ".{0,6}".prop_map(Value::String)
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((".{0,3}", inner), 0..5).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// JSON whose members stand in the order given, reversed at every level or not.
fn text_in_order(value: &Value, reversed: bool) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(|item| text_in_order(item, reversed)).collect::<Vec<_>>().join(" , ")),
        Value::Object(members) => {
            let mut members: Vec<_> =
                members.iter().map(|(key, value)| format!("{}: {}", json!(key), text_in_order(value, reversed))).collect();
            if reversed {
                members.reverse();
            }
            format!("{{ {} }}", members.join(" , "))
        }
        leaf => leaf.to_string(),
    }
}

proptest! {
    #[test]
    fn canonical_text_is_its_own(value in value()) {
        let text = canonical(&tree(&value));
        let read = parse_strict(text.as_bytes(), &Limits::default()).unwrap();
        prop_assert_eq!(canonical(&read), text);
    }

    #[test]
    fn canonical_text_knows_no_order(value in value()) {
        let limits = Limits::default();
        let texts = [false, true].map(|reversed| text_in_order(&value, reversed));
        let [forward, backward] = texts.each_ref().map(|text| parse_strict(text.as_bytes(), &limits).unwrap());
        prop_assert_eq!(canonical(&forward), canonical(&backward));
        prop_assert_eq!(canonical(&forward), canonical(&tree(&value)));
    }

    #[test]
    fn different_numbers_have_different_texts(left in number(), right in number()) {
        let text = |number: &Number| canonical(&super::Value::Number(number.clone()));
        let exact = |number: &Number| number.as_i128().map(|whole| whole.to_string());
        if text(&left) == text(&right) {
            prop_assert_eq!(left.as_f64(), right.as_f64());
            prop_assert!(exact(&left).is_none() || exact(&right).is_none() || exact(&left) == exact(&right));
        }
    }

    #[test]
    fn agrees_with_serde_json(text in "[-\\[\\]{}\",:0-9a-e.\\\\ntrul ]{0,24}") {
        let lenient: Result<Value, _> = serde_json::from_str(&text);
        match parse_strict(text.as_bytes(), &Limits::default()) {
            Ok(value) => prop_assert_eq!(Value::from(&value), lenient.unwrap()),
            Err(violation) => prop_assert!(lenient.is_err() || violation.code == "duplicate_key", "{:?}", violation),
        }
    }

    #[test]
    fn agrees_with_serde_json_on_json(value in value()) {
        let text = value.to_string();
        let read = parse_strict(text.as_bytes(), &Limits::default()).unwrap();
        let expected = serde_json::from_str::<Value>(&text).unwrap();
        prop_assert_eq!(&Value::from(&read), &expected);
        prop_assert_eq!(&read, &tree(&expected));
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), expected.to_string());
        prop_assert_eq!(read.clone().into_owned(), read);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let outcome = parse_strict(&bytes, &Limits::default());
        prop_assert_eq!(outcome.is_ok(), outcome.ok().is_some_and(|value| !canonical(&value).is_empty()));
    }
}

/// Members of few names, so that the same one comes often, and of many.
fn members() -> impl Strategy<Value = Vec<(String, i64)>> {
    let few = prop::collection::vec(("[ab]{0,2}", any::<i64>()), 0..8);
    prop_oneof![few, prop::collection::vec(("[a-c]{0,5}", any::<i64>()), 0..100)]
}

proptest! {
    #[test]
    fn an_object_is_a_map_in_the_order_of_names(members in members(), others in members(), names in prop::collection::vec("[a-c]{0,3}", 0..8)) {
        let number = |number: i64| if number % 3 == 0 { super::Value::Null } else { super::Value::Number(number.into()) };
        let mut expected: BTreeMap<String, super::Value<'_>> = BTreeMap::new();
        let mut object = Object::new();
        for (name, value) in &members {
            prop_assert_eq!(object.insert(name.as_str(), number(*value)), expected.insert(name.clone(), number(*value)));
        }
        let same = |object: &Object<'_>, expected: &BTreeMap<String, super::Value<'_>>| {
            object.len() == expected.len() && object.is_empty() == expected.is_empty() && object.iter().eq(expected.iter().map(|(name, value)| (name.as_str(), value)))
        };
        prop_assert!(same(&object, &expected), "{:?} {:?}", object, expected);
        prop_assert_eq!(&object, &members.iter().map(|(name, value)| (name.as_str(), number(*value))).collect::<Object<'_>>());

        let others: Object<'_> = others.iter().map(|(name, value)| (name.as_str(), number(*value))).collect();
        object.fill(&others);
        for (name, value) in others.iter() {
            let own = expected.entry(name.to_owned()).or_default();
            if own.is_null() {
                *own = value.clone();
            }
        }
        prop_assert!(same(&object, &expected), "{:?} {:?}", object, expected);

        for name in &names {
            prop_assert_eq!(object.get(name), expected.get(name));
            prop_assert_eq!(object.get_mut(name).cloned(), expected.get(name).cloned());
            prop_assert_eq!(object.remove(name), expected.remove(name));
            object.insert_if_absent(name.as_str(), super::Value::Bool(true));
            object.insert_if_absent(name.as_str(), super::Value::Bool(false));
            expected.entry(name.clone()).or_insert(super::Value::Bool(true));
        }
        prop_assert!(same(&object, &expected), "{:?} {:?}", object, expected);

        object.retain(|name, value| !value.is_null() && name.len() != 1);
        expected.retain(|name, value| !value.is_null() && name.len() != 1);
        prop_assert!(same(&object, &expected), "{:?} {:?}", object, expected);
        prop_assert!(object.into_iter().eq(expected.into_iter().map(|(name, value)| (Cow::Owned(name), value))));
    }

    #[test]
    fn bytes_that_are_no_text_are_told_with_their_place(before in "[\\[{\":,1a \n]{0,8}", broken in prop::sample::select(vec![&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xe2\x82"]), after in "[\\]}\", ]{0,4}") {
        let bytes = [before.as_bytes(), broken, after.as_bytes()].concat();
        let violation = parse_strict(&bytes, &Limits::default()).unwrap_err();
        let expected = serde_json::from_slice::<Value>(&bytes).unwrap_err();
        if violation.code != "duplicate_key" {
            prop_assert_eq!(violation.message, format!("{expected}; send JSON as of RFC 8259, in UTF-8"));
        }
    }
}

#[test]
fn a_key_that_is_there_twice_is_told_in_small_and_large_objects() {
    for count in [1, 2, 15, 16, 17, 63, 64, 65, 66, 200] {
        let names = || (0..count).map(|number| format!("k{:03}", number * 19 % count));
        let members: Vec<String> = names().map(|name| format!("\"{name}\":1")).collect();
        let whole = format!("{{{}}}", members.join(","));
        let read = parse_strict(whole.as_bytes(), &Limits::default()).map(|value| Value::from(&value));
        assert_eq!(read, Ok(serde_json::from_str(&whole).unwrap()));
        for twice in [0, count / 2, count - 1].map(|place| names().nth(place).unwrap()) {
            // Told as soon as it is there: what is wrong behind it is not looked at.
            for again in
                [format!("\"{twice}\":2"), format!("\"{twice}\":nonsense"), format!("\"\\u006b{}\"", twice.trim_start_matches('k'))]
            {
                let text = format!("{{\"a\":[{{{},{again}}}]}}", members.join(","));
                let violation = parse_strict(text.as_bytes(), &Limits::default()).unwrap_err();
                assert_eq!((violation.code.as_str(), violation.field), ("duplicate_key", format!("/a/0/{twice}")), "{text}");
            }
        }
    }
}

#[test]
fn an_object_may_have_a_hundred_thousand_members_in_any_order() {
    const MEMBERS: u32 = 100_000;
    let name = |number: u32| format!("{:08x}", number.wrapping_mul(0x9e37_79b1));
    let members: Vec<String> = (0..MEMBERS).map(|number| format!("\"{}\":{number}", name(number))).collect();
    let text = format!("{{{}}}", members.join(","));
    let read = parse_strict(text.as_bytes(), &Limits::default()).unwrap();
    let object = read.as_object().unwrap();
    assert_eq!(object.len(), MEMBERS as usize);
    assert!(object.iter().is_sorted_by(|(one, _), (other, _)| one < other));
    assert!((0..MEMBERS).all(|number| object.get(&name(number)) == Some(&super::Value::Number(number.into()))));
    let twice = format!("{},\"{}\":1}}", text.trim_end_matches('}'), name(MEMBERS / 2));
    assert_eq!(parse_strict(twice.as_bytes(), &Limits::default()).unwrap_err().code, "duplicate_key");
}

#[test]
fn texts_are_borrowed_unless_they_are_escaped() {
    let read = parse_strict(r#"{"plain é":"text é","\u0065scaped":"a\n"}"#.as_bytes(), &Limits::default()).unwrap();
    let super::Value::Object(object) = read else { panic!("{read:?}") };
    for (name, value) in object {
        let super::Value::String(text) = value else { panic!("{value:?}") };
        let expect = name == "plain é";
        assert_eq!([&name, &text].map(|text| matches!(text, Cow::Borrowed(_))), [expect; 2], "{name} {text}");
        assert_eq!((&*name, &*text), if expect { ("plain é", "text é") } else { ("escaped", "a\n") });
    }
}

#[test]
fn the_deepest_value_needs_little_stack() {
    let run = || {
        let text = format!("{}1{}", r#"{"a":["#.repeat(DEPTH_CEILING / 2), "]}".repeat(DEPTH_CEILING / 2));
        let read = parse_strict(text.as_bytes(), &Limits::WIDEST).unwrap();
        let copies = (read.clone(), read.clone().into_owned(), Value::from(&read));
        assert_eq!((canonical(&read), serde_json::to_string(&copies.1).unwrap()), (text.clone(), text.clone()));
    };
    std::thread::Builder::new().stack_size(256 * 1024).spawn(run).unwrap().join().unwrap();
}

#[test]
fn an_object_is_written_as_the_value_is() {
    let object = Object::from(Map::from_iter([("b".to_owned(), json!(1)), ("a".to_owned(), json!([{}]))]));
    assert_eq!(canonical_object(&object), canonical(&super::Value::Object(object.clone())));
}
