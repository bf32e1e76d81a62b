//! The gate for an application's own tests.

use std::fs;

use tempfile::TempDir;
use tidegate_sdk::Event;
use tidegate_sdk::testing::Micro;

use crate::helpers::{SOON, client, millis};

#[test]
fn micro_tells_what_it_got() {
    let folder = TempDir::new().unwrap();
    let plan = folder.path().join("plan.yaml");
    let text = "version: \"1\"\ntypes:\n  signup:\n    properties: {tier: {type: string, enum: [free, paid]}}\n    required: [tier]\n";
    fs::write(&plan, text).unwrap();
    let micro = Micro::with_plan(&plan).unwrap();
    let client = client(micro.url()).build().unwrap();
    client.track(Event::new("signup").property("tier", "free").user_id("u1"));
    client.track(Event::new("signup").property("tier", "gold").user_id("u2"));
    assert!(client.flush(SOON));
    let good = micro.wait_for(1, SOON).unwrap();
    assert_eq!((good.len(), &good[0]["properties"]["tier"]), (1, &"free".into()));
    let bad = micro.bad().unwrap();
    assert_eq!((bad.len(), &bad[0]["violations"][0]["code"]), (1, &"not_in_enum".into()));
    assert_eq!(micro.all().unwrap()["total"], 2);
    let missing = micro.wait_for(2, millis(50)).unwrap_err();
    assert!(missing.to_string().contains("2 good events expected") && missing.to_string().contains("not_in_enum"), "{missing}");
    micro.reset().unwrap();
    assert_eq!(micro.good().unwrap().len(), 0);
}

#[test]
fn a_plan_that_cannot_be_read_says_so() {
    let error = Micro::with_plan("no-such-plan.yaml").unwrap_err().to_string();
    assert!(error.contains("did not start") && error.contains("no-such-plan.yaml"), "{error}");
}
