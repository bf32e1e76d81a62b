//! Events that break the tracking plan, before they are sent.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tidegate_sdk::{Client, Event, Outcome};

use crate::gate::Gate;
use crate::helpers::{SOON, balanced, client, until};

fn plan(policy: &str) -> String {
    let signup = json!({"properties": {"tier": {"enum": ["free", "paid"]}}, "required": ["tier"]});
    json!({"version": "1", "default_policy": policy, "types": {"signup": signup}}).to_string()
}

#[test]
fn what_the_gate_would_refuse_is_not_sent() {
    let gate = Gate::start();
    let told = Arc::new(Mutex::new(Vec::new()));
    let tells = Arc::clone(&told);
    let client = client(&gate.url).plan(&plan("reject")).on_delivery(move |delivery| tells.lock().unwrap().push(delivery)).build().unwrap();
    let good = client.track(Event::new("signup").property("tier", "free").user_id("u1"));
    assert!(good.is_some());
    assert_eq!(client.track(Event::new("signup").property("tier", "gold")), None);
    assert_eq!(client.track(Event::new("signup")), None);
    assert_eq!(client.track(Event::new("feature_exposure")), None);
    assert!(client.track(Event::new("other")).is_some());
    assert!(client.flush(SOON));
    let stats = balanced(&client);
    assert_eq!((stats.delivered, stats.rejected), (2, 3));
    assert_eq!(stats.rejected_by.keys().collect::<Vec<_>>(), ["missing_property", "missing_subject", "not_in_enum"]);
    assert_eq!(gate.events()[0]["event_id"], json!(good));
    until("all of it is told", || told.lock().unwrap().len() == 5);
    let told = told.lock().unwrap();
    let refused = told.iter().filter_map(|delivery| match &delivery.outcome {
        Outcome::Rejected(why) => Some((&*why.code, &*why.message)),
        _ => None,
    });
    assert!(
        refused.clone().any(|(code, message)| code == "not_in_enum" && message == "/properties/tier must be one of \"free\", \"paid\"")
    );
    assert_eq!(refused.count(), 3);
}

#[test]
fn what_the_gate_takes_is_sent() {
    for policy in ["quarantine", "flag"] {
        let gate = Gate::start();
        let client = client(&gate.url).plan(&plan(policy)).build().unwrap();
        assert!(client.track(Event::new("signup").property("tier", "gold")).is_some());
        assert!(client.flush(SOON));
        assert_eq!((balanced(&client).delivered, gate.events().len()), (1, 1), "{policy}");
    }
}

#[test]
fn a_plan_that_is_none_is_an_error_when_the_client_is_made() {
    let check = |plan: &str, told: &str| {
        let message = Client::builder("k").plan(plan).build().unwrap_err().to_string();
        assert!(message.contains("tracking plan cannot be read") && message.contains(told), "{message}");
    };
    check("{", "EOF");
    check(r#"{"types": {"t": {"properties": {"x": {"type": "txt"}}}}}"#, "types.t");
    check(r#"{"types": {"t": {"properties": {"x": {"$ref": "https://a/b"}}}}}"#, "types.t");
}
