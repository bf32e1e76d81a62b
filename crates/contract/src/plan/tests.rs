use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::wire::FEATURE_EXPOSURE;

const SHOP: &str = r##"
version: "7"
default_policy: flag
unknown_types: violation
sources:
  strict: {policy: reject}
definitions:
  money: {type: number, minimum: 0}
  person:
    type: object
    properties:
      email: {type: string, pii: hash}
      friends: {type: array, items: {$ref: "#/$defs/person"}}
types:
  order:
    description: Something was bought.
    require_subject: true
    properties:
      price: {$ref: "#/$defs/money"}
      currency: {type: string, enum: [EUR, USD]}
      when: {type: string, format: date-time}
      count: {type: integer}
      code: {type: string, pattern: "^[a-z]+$", maxLength: 5}
      buyer: {$ref: "#/$defs/person"}
      ip: {type: [string, "null"], pii: truncate}
      fixed: {const: 1}
      items: {type: array, items: {type: object, properties: {sku: {type: string}}, required: [sku], additionalProperties: false}}
    required: [price]
    additional_properties: false
    schema: {dependentRequired: {when: [count]}}
  empty: {}
"##;

fn event(event_type: &str, properties: Value) -> Event<'_> {
    let properties = properties.as_object().unwrap().clone().into();
    Event { event_type: event_type.into(), user_id: Some("u".into()), properties, ..Event::default() }
}

fn check(plan: &Plan, event: &Event<'_>, expected: &[(&str, &str, &str)]) {
    let violations = plan.validate(event);
    let found: Vec<_> = violations.iter().map(|found| (found.code.as_str(), found.field.as_str(), found.message.as_str())).collect();
    assert_eq!(found, expected, "{:?}", event.properties);
}

#[test]
fn finds_what_breaks_the_plan() {
    let plan = Plan::parse(SHOP, "shop.yaml").unwrap();
    let order = |properties: Value, expected: &[(&str, &str, &str)]| check(&plan, &event("order", properties), expected);
    order(json!({"price": 1, "currency": "EUR", "count": 2.0, "buyer": {"email": "e"}, "ip": null, "code": null}), &[]);
    order(json!({}), &[("missing_property", "/properties/price", "is required by the tracking plan")]);
    order(json!({"price": null}), &[("missing_property", "/properties/price", "is required by the tracking plan")]);
    order(json!({"price": "9.99"}), &[("wrong_type", "/properties/price", "must be a number, is a string")]);
    order(json!({"price": 1, "count": 1.5}), &[("wrong_type", "/properties/count", "must be an integer, is a number")]);
    order(json!({"price": 1, "ip": 1}), &[("wrong_type", "/properties/ip", "must be null or a string, is a number")]);
    order(
        json!({"price": -1}),
        &[("violates_schema", "/properties/price", "does not fit the tracking plan: it is less than the minimum of 0")],
    );
    order(json!({"price": 1, "currency": "CHF"}), &[("not_in_enum", "/properties/currency", "must be one of \"EUR\", \"USD\"")]);
    order(json!({"price": 1, "fixed": 2}), &[("not_in_enum", "/properties/fixed", "must be 1")]);
    order(json!({"price": 1, "colour": "red"}), &[("unknown_property", "/properties/colour", "is not in the tracking plan for this type")]);
    order(
        json!({"price": 1, "code": "secret words"}),
        &[
            ("violates_schema", "/properties/code", "does not fit the tracking plan: it is longer than 5 characters"),
            ("violates_schema", "/properties/code", "does not fit the tracking plan: it does not match \"^[a-z]+$\""),
        ],
    );
    order(
        json!({"price": 1, "when": "noon", "count": 1}),
        &[("violates_schema", "/properties/when", "does not fit the tracking plan: it is not a \"date-time\"")],
    );
    order(
        json!({"price": 1, "when": "2026-11-23T10:00:00Z"}),
        &[("missing_property", "/properties/count", "is required by the tracking plan")],
    );
    order(
        json!({"price": 1, "items": [{"sku": "a"}, {"sku": 1}, {}, {"sku": "a", "x": 1}]}),
        &[
            ("wrong_type", "/properties/items/1/sku", "must be a string, is a number"),
            ("missing_property", "/properties/items/2/sku", "is required by the tracking plan"),
            ("unknown_property", "/properties/items/3", "has properties that are not in the tracking plan"),
        ],
    );
    check(
        &plan,
        &event("order!", json!({})),
        &[("unknown_event_type", "/event_type", "is not in the tracking plan; add the type to the plan, or correct its spelling")],
    );
    check(&plan, &event("empty", json!({"anything": {"goes": []}})), &[]);
}

#[test]
fn a_subject_is_demanded_where_the_plan_or_the_type_does() {
    let message = "has neither a user id nor an anonymous id; send at least one";
    let check_subject = |plan: &str, event_type: &str, demanded: bool| {
        let plan = Plan::parse(plan, "plan.yaml").unwrap();
        let nobody = Event { event_type: event_type.into(), ..Event::default() };
        let expected = [("missing_subject", "", message)];
        check(&plan, &nobody, if demanded { &expected } else { &[] });
        check(&plan, &Event { anonymous_id: Some("a".into()), ..nobody }, &[]);
    };
    check_subject("version: '1'", "x", false);
    check_subject("version: '1'", FEATURE_EXPOSURE, true);
    check_subject("{version: '1', require_subject: true}", "x", true);
    check_subject("{version: '1', require_subject: true, types: {x: {require_subject: false}}}", "x", false);
    check_subject("{version: '1', types: {x: {require_subject: true}}}", "x", true);
}

#[test]
fn violations_are_bounded() {
    let plan = Plan::parse("{version: '1', types: {x: {additional_properties: false}}}", "plan.yaml").unwrap();
    let many: serde_json::Map<_, _> = (0..1_000).map(|index| (format!("p{index}"), json!(1))).collect();
    assert_eq!(plan.validate(&event("x", Value::Object(many))).len(), VIOLATIONS_MAX);
}

#[test]
fn knows_policies_types_and_marks() {
    let plan = Plan::parse(SHOP, "shop.yaml").unwrap();
    let policy = |name: &str| plan.policy(&name.parse().unwrap());
    assert_eq!((policy("strict"), policy("other"), plan.version()), (Policy::Reject, Policy::Flag, "7"));
    assert_eq!(
        (plan.types().collect::<Vec<_>>(), plan.description("order"), plan.description("empty")),
        (vec!["empty", "order"], Some("Something was bought."), None)
    );
    let marks: Vec<_> = plan.pii("order").iter().map(|mark| (mark.field.as_str(), mark.pii)).take(3).collect();
    assert_eq!(
        marks,
        [
            ("/properties/buyer/email", Pii::Hash),
            ("/properties/buyer/friends/*/email", Pii::Hash),
            ("/properties/buyer/friends/*/friends/*/email", Pii::Hash),
        ]
    );
    assert!(
        plan.pii("order").len() < 20 && plan.pii("order").iter().any(|mark| mark.field == "/properties/ip" && mark.pii == Pii::Truncate)
    );
}

#[test]
fn the_built_in_plan() {
    let plan = Plan::built_in();
    assert_eq!(plan.types().collect::<Vec<_>>(), ["conversion", "feature_exposure", "identify", "page_view", "screen_view"]);
    assert_eq!((plan.version(), plan.policy(&"any".parse().unwrap())), ("built-in-1", Policy::Quarantine));
    check(&plan, &event("page_view", json!({"path": "/", "title": null, "my_own": [1]})), &[]);
    check(&plan, &event("anything else", json!({"value": "free"})), &[]);
    check(&plan, &event("feature_exposure", json!({"experiment_id": "e", "variation_id": "v"})), &[]);
    check(
        &plan,
        &event("feature_exposure", json!({"experiment_id": "", "other": 1})),
        &[
            ("missing_property", "/properties/variation_id", "is required by the tracking plan"),
            ("violates_schema", "/properties/experiment_id", "does not fit the tracking plan: it is shorter than 1 character"),
        ],
    );
    check(&plan, &event("conversion", json!({"price": "9"})), &[("wrong_type", "/properties/price", "must be a number, is a string")]);
    assert!(plan.pii("identify").is_empty() && !plan.marks_any(), "nobody asked for it");
}

#[test]
fn errors_name_the_place() {
    let check = |text: &str, expected: &str| {
        let error = Plan::parse(text, "plan.yaml").unwrap_err().to_string();
        assert!(error.starts_with(expected) && !error.contains('\n'), "{text}\nexpected {expected}\n     got {error}");
    };
    check("", "plan.yaml:1:1: ");
    check("types: {}", "plan.yaml:1:1: missing field `version`");
    check("version: [", "plan.yaml:1:10: ");
    check("version: '1'\ntypos: 1", "plan.yaml:2:1: unknown field `typos`, expected one of version, ");
    check("version: '1'\nversion: '2'", "plan.yaml:2:1: duplicate mapping key `version`");
    check("version: '1'\ndefault_policy: drop", "plan.yaml:2:17: unknown variant `drop`, expected one of quarantine, reject, flag");
    check("version: '1'\nsources: {'a b': {policy: flag}}", "plan.yaml:2:11: a source name is 1 to 64 characters of ");
    check(
        "version: '1'\ntypes:\n  x:\n    required: [price]",
        "plan.yaml:4:16: types.x.required: \"price\" is not among the type's properties; add it there",
    );
    let check_schema = |schema: &str, expected: &str| {
        let text = format!("version: '1'\ntypes:\n  x:\n    properties:\n      price: {schema}");
        check(&text, &format!("plan.yaml:5:14: types.x.properties.price{expected}"));
    };
    check_schema("number", ": is no JSON Schema; write an object such as {type: string}");
    check_schema("{type: numbr}", ".type: must be string, number, integer, ");
    check_schema("{pattern: '(?=a)'}", ".pattern: is no regular expression, or one with look-around ");
    check_schema("{format: dat}", ".format: is not the name of a known format, such as date-time");
    check_schema("{minLength: -1}", ".minLength: is no JSON Schema: ");
    check_schema("{pii: secret}", ": pii at /properties/price must be none, hash, drop or truncate");
    check_schema("{$ref: '#/$defs/money'}", ": the $ref leads nowhere (");
    // Nothing is fetched, from the network or from disk.
    check_schema("{$ref: 'https://example.com/price.json'}", ": the $ref leads nowhere (");
    check_schema("{$ref: 'file:///etc/passwd'}", ": the $ref leads nowhere (");
}

#[test]
fn reads_json_too() {
    let json = "{\n\t\"version\": \"3\",\n\t\"types\": {\n\t\t\"x\": {\"properties\": {\"p\": {\"type\": \"string\", \"pattern\": \"^\\\\d+$\"}}, \"required\": [\"p\"]}\n\t}\n}\n";
    let plan = Plan::parse(json, "plan.json").unwrap();
    assert_eq!(
        (plan.version(), plan.validate(&event("x", json!({"p": "a"}))).len(), plan.validate(&event("x", json!({"p": "1"}))).len()),
        ("3", 1, 0)
    );
}

#[test]
fn a_version_keeps_its_spelling() {
    for (text, version) in
        [("version: 1.10", "1.10"), ("version: 3", "3"), ("version: 2026-11-23", "2026-11-23"), ("{\"version\": 3}", "3")]
    {
        assert_eq!(Plan::parse(text, "plan.yaml").unwrap().version(), version);
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let text = "version: '1'\ntypes:\n  a:\n    properties:\n      x: {type: nothing}\n      y: {pattern: '('}\n    required: [z]\n  b:\n    properties:\n      p: {pii: shred}\n    schema: 7\n";
    let problems = Plan::check(text, "plan.yaml").unwrap_err();
    let told: Vec<_> = problems.iter().map(|problem| (problem.path(), problem.line_and_column().map(|(line, _)| line))).collect();
    let expected = [
        ("types.a.properties.x.type", Some(5)),
        ("types.a.properties.y.pattern", Some(6)),
        ("types.a.required", Some(7)),
        ("types.b.properties.p", Some(10)),
        ("types.b.schema", Some(11)),
    ];
    assert_eq!(told, expected, "{problems:?}");
}

/// What every SDK comes to, the gate comes to; also with what is made of the plan for SDKs.
#[test]
fn the_verdicts_of_all_sdks() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../sdk/vectors/verdicts.json")).unwrap();
    let plans: Vec<Value> = serde_json::from_str(&text).unwrap();
    let pairs =
        |violations: &[Violation]| violations.iter().map(|found| (found.code.clone(), found.field.clone())).collect::<BTreeSet<_>>();
    for vector in &plans {
        let plan = Plan::parse(&vector["plan"].to_string(), "plan.json").unwrap();
        let made = plan.for_producers(plan.policy_of_all());
        let of_producers = rules::Rules::parse(&made.to_string()).unwrap();
        assert_eq!(
            (of_producers.policy, Plan::parse(&made.to_string(), "made.json").unwrap().version()),
            (plan.policy_of_all(), plan.version())
        );
        for case in vector["cases"].as_array().unwrap() {
            let id = |name: &str| case["event"][name].as_str().filter(|id| !id.is_empty()).map(Into::into);
            let properties = case["event"].get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
            let event_type = case["event"]["event_type"].as_str().unwrap().into();
            let read = properties.clone().into();
            let event =
                Event { event_type, user_id: id("user_id"), anonymous_id: id("anonymous_id"), properties: read, ..Event::default() };
            let found = plan.validate(&event);
            let expected = case["violations"].as_array().unwrap().iter().map(|pair| {
                let part = |place: usize| pair[place].as_str().unwrap().to_owned();
                (part(0), part(1))
            });
            assert_eq!(pairs(&found), expected.collect(), "{}", case["what"]);
            let has_subject = event.user_id.is_some() || event.anonymous_id.is_some();
            assert_eq!(of_producers.check(&event.event_type, has_subject, &properties), found, "{}", case["what"]);
        }
    }
    assert!(!plans.is_empty());
}

#[test]
fn what_surely_happens_to_an_event_of_any_source() {
    let check = |default: &str, sources: &str, expect: Policy| {
        let plan = Plan::parse(&format!("version: '1'\ndefault_policy: {default}\nsources: {sources}\n"), "plan.yaml").unwrap();
        assert_eq!(plan.policy_of_all(), expect, "{default} {sources}");
    };
    check("reject", "{}", Policy::Reject);
    check("reject", "{web: {policy: reject}}", Policy::Reject);
    check("reject", "{app: {policy: reject}, web: {policy: flag}}", Policy::Flag);
    check("flag", "{web: {policy: reject}}", Policy::Flag);
    check("quarantine", "{}", Policy::Quarantine);
}

#[test]
fn a_mark_deeper_than_any_event_is_refused() {
    let plan = |parts: usize| Plan::parse(&format!("version: '1'\npii: {{/context{}: drop}}", "/a".repeat(parts)), "plan.yaml");
    assert!(plan(crate::json::DEPTH_CEILING).is_ok());
    let problem = plan(crate::json::DEPTH_CEILING + 1).unwrap_err().to_string();
    assert!(problem.contains(": reaches deeper than any event does"), "{problem}");
}

#[test]
fn schemas_that_refer_to_one_another_in_too_many_ways_are_refused_soon() {
    let plan = |ways: usize| {
        let properties: Vec<String> = (0..ways).map(|way| format!("p{way}: {{$ref: '#/$defs/t'}}")).collect();
        let tree = format!("{{type: object, pii: drop, properties: {{{}}}}}", properties.join(", "));
        Plan::parse(
            &format!("version: '1'\ndefinitions: {{t: {tree}}}\ntypes: {{a: {{properties: {{x: {{$ref: '#/$defs/t'}}}}}}}}"),
            "plan.yaml",
        )
    };
    assert_eq!(plan(2).unwrap().pii("a").len(), 255);
    let problem = plan(10).unwrap_err().to_string();
    assert!(problem.contains("types.a.properties.x: holds schemas that refer to one another in too many ways"), "{problem}");
}
