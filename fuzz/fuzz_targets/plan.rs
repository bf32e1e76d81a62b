//! Tracking plans, and events held to each that is sound: by the gate, and by what is made of the plan for those who send. What the plan marks in them is masked.
#![no_main]

use contract::mask::Unmaskable;
use contract::plan::diff::diff;
use contract::{Event, Plan, WireFormat, wire};
use libfuzzer_sys::fuzz_target;
use rules::Rules;
use serde_json::{Map, Value, json};
use tidegate_fuzz::{mask, native, widest};

/// So many types of a plan, and properties of each, are looked at.
const LOOKED_AT: usize = 8;

fuzz_target!(|text: &str| {
    let plan = match Plan::check(text, "plan.yaml") {
        Ok(plan) => plan,
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert!(!problem.to_string().is_empty());
            }
            return;
        }
    };
    let changes = diff((text, "old.yaml"), (text, "new.yaml")).expect("it is sound");
    assert!(changes.is_empty(), "a plan differs from itself: {changes:?}");

    let for_producers = plan.for_producers(plan.policy_of_all()).to_string();
    let rules = Rules::parse(&for_producers).expect("what is for producers is a plan");
    for event_type in plan.types().take(LOOKED_AT) {
        let fields = plan.fields(event_type);
        assert_eq!(fields.len(), plan.columns(event_type).len());
        let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).take(LOOKED_AT).collect();
        for properties in properties(&names) {
            for user_id in [None, Some("u".into())] {
                let context = Map::from_iter([
                    ("ip".to_owned(), json!("198.51.100.7")),
                    ("consent".to_owned(), json!({"categoryPreferences": {"analytics": true}})),
                    ("traits".to_owned(), properties.clone().into()),
                ]);
                let event = Event {
                    event_type: event_type.into(),
                    user_id,
                    properties: properties.clone().into(),
                    context: context.into(),
                    ..Event::default()
                };
                let found = plan.validate(&event);
                assert!(found.len() <= contract::plan::VIOLATIONS_MAX);
                assert_eq!(found, rules.check(event_type, event.user_id.is_some(), &properties), "the gate and its producers differ");
                check_masked(&plan, &event);
            }
        }
    }
});

/// What is masked is the same event with other properties and context, and without any where all of it is dropped.
fn check_masked(plan: &Plan, event: &Event<'_>) {
    let masks = plan.masks(&event.event_type);
    assert!(masks.is_empty() || plan.marks_any());
    let payload = native(event).to_string();
    let Ok(before) = wire::decode(WireFormat::Native, payload.as_bytes(), None, &widest()) else { return };
    match mask(masks, WireFormat::Native, payload.as_bytes(), None) {
        Ok(masked) => {
            let after = wire::decode(WireFormat::Native, &masked.payload, None, &widest()).expect("what is masked can be read");
            assert_eq!((&after.event_type, &after.user_id), (&before.event_type, &before.user_id));
            assert!(!masks.is_empty() || after == before, "nothing is marked");
            let consent = [&before, &after].map(|event| plan.has_consent(event));
            let is_marked = plan.pii(&event.event_type).iter().any(|mark| mark.field.starts_with("/context/"));
            assert!(is_marked || consent[0] == consent[1]);
        }
        // Experiments and variations have several names.
        Err(problem) => assert!(problem == Unmaskable::OutOfReach && before.event_type == "feature_exposure", "{problem}: {payload}"),
    }
}

/// Each property as something of each kind.
fn properties(names: &[&str]) -> Vec<Map<String, Value>> {
    let values = [
        Value::Null,
        json!(true),
        json!(-3),
        json!(2.5),
        json!(""),
        json!("2026-11-23T10:00:00Z"),
        json!("alice@mail.example.org"),
        json!(["a", 1, null]),
        json!({"a": {"b": ["c"]}, "x": 1}),
    ];
    let of = |value: &Value| names.iter().map(|name| ((*name).to_owned(), value.clone())).collect();
    values.iter().map(of).collect()
}
