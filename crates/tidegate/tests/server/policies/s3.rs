//! The policies for S3.

use serde_json::{Value, json};

use super::{
    ALICE, BUCKET, EVENTS, OF_ALICE, all_granted, check_of, check_quiet, check_refused, is_refusal, lake, put, said, send, start_s3,
    statements, wait_for_silver, wait_until,
};
use crate::process::{KEY, Place};

/// What a gate says that may not read the list.
const UNREAD: &str = "the list of erased persons cannot be read";
const OF_BUCKET: &str = include_str!("../../../../../deploy/policies/s3/bucket.json");

/// The policies less one action at a time, with the account that is to miss it.
fn lessened(account: &str) -> Vec<(String, Vec<Value>)> {
    let whole = all_granted();
    let mut cases = Vec::new();
    for (place, statement) in whole.iter().enumerate().filter(|(_, statement)| statement["Principal"]["AWS"][0] == account) {
        let actions = match &statement["Action"] {
            Value::Array(actions) => actions.clone(),
            action => vec![action.clone()],
        };
        for action in &actions {
            let mut less = whole.clone();
            let left: Vec<&Value> = actions.iter().filter(|other| *other != action).collect();
            if left.is_empty() {
                less.remove(place);
            } else {
                less[place]["Action"] = json!(left);
            }
            cases.push((action.as_str().unwrap().to_owned(), less));
        }
    }
    assert!(cases.len() >= 2, "{account} has a policy");
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_for_s3_are_enough_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = start_s3(folder.path());
    let of = |account: &str| Place::with(lake(&s3, account));
    // One process that does everything has the worker's policy.
    let (whole, operator, reader, gate, spark) = (of("worker"), of("operator"), of("reader"), of("gate"), of("spark"));
    let server = whole.start();
    send(&whole).await;
    wait_for_silver(&reader, EVENTS);
    // Its journal is with it: whoever operates it does so there, with keys of its own.
    let erased = whole.run_with(&["erase", "--user", ALICE, "--yes"], &s3.environment_of("operator"));
    assert!(erased.status.success(), "{}", said(&erased));
    wait_for_silver(&reader, EVENTS - OF_ALICE);
    server.stop(&whole);
    check_quiet("the worker", &whole.log());

    // Enough.
    operator.run_sound(&["replay"]);
    operator.run_sound(&["diff"]);
    operator.run_sound(&["replay", "--cut-over"]);
    operator.run_sound(&["compact", "silver.events", "bronze.events", "--cluster", "--clean"]);
    operator.run_sound(&["gold", "run", "sessions", "--anew"]);
    operator.run_sound(&["expire", "--dry-run"]);
    for command in [["audit"].as_slice(), &["dead-letters", "--summary"], &["trace", "e-1"]] {
        reader.run_sound(command);
    }
    assert_eq!(check_of(&whole, "lake")["state"], "passed");
    let server = gate.start_with(&[("TIDEGATE_SERVER__ROLES", "ingest")]);
    assert!(!gate.log().contains(UNREAD), "{}", gate.log());
    check_quiet("the gate", &gate.log());
    server.stop(&gate);
    let exports = folder.path().join("s3/buckets").join(BUCKET).join("old/exports");
    std::fs::create_dir_all(&exports).unwrap();
    std::fs::write(
        exports.join("a.ndjson"),
        format!("{}\n", json!({"event_type": "page_view", "user_id": "bob", "properties": {"url": "/"}})),
    )
    .unwrap();
    let backfill = of("backfill");
    let old = format!("s3://{BUCKET}/old/exports");
    let read = ["backfill", &old, "--dry-run", "--url", &backfill.url(), "--key", KEY];
    backfill.run_sound(&read);

    // And no more: none of them sees or does what another one is for.
    let elsewhere = [("TIDEGATE_LAKE__LOCATION".to_owned(), format!("s3://{BUCKET}/team/other"))];
    let check = |what: &str, place: &Place, arguments: &[&str]| check_refused(what, &place.run(arguments));
    check("a gate reads Silver", &gate, &["query", "SELECT count(*) FROM silver.events"]);
    check("a reader reads other things", &reader, &read);
    check("a backfill reads the lake", &backfill, &["audit"]);
    for (what, place) in [("a gate", &gate), ("a reader", &reader)] {
        let found = check_of(place, "lake")["found"].as_str().unwrap().to_owned();
        assert!(found.contains("cannot create") && is_refusal(&found), "{what} writes: {found}");
    }
    check("a reader erases", &reader, &["erase", "--user", "bob", "--yes"]);
    check("a reader makes a rebuild", &reader, &["replay"]);
    for (what, place) in [("a worker goes elsewhere", &whole), ("a reader goes elsewhere", &reader)] {
        check_refused(what, &place.run_with(&["audit"], &elsewhere));
    }
    // Creates, lists and reads, and is refused to delete: that comes last.
    let found = check_of(&spark, "lake")["found"].as_str().unwrap().to_owned();
    assert!(found.contains("cannot delete") && is_refusal(&found), "{found}");

    // Each action is needed. An upload in parts is taken back only where one fails.
    for (action, less) in lessened("worker").into_iter().filter(|(action, _)| action != "s3:AbortMultipartUpload") {
        put(&s3, &less);
        assert_eq!(check_of(&whole, "lake")["state"], "failed", "a worker without {action}");
    }
    for (action, less) in lessened("reader") {
        put(&s3, &less);
        check(&format!("a reader without {action}"), &reader, &["audit"]);
    }
    for (action, less) in lessened("gate") {
        put(&s3, &less);
        let before = gate.log().len();
        let server = gate.start_with(&[("TIDEGATE_SERVER__ROLES", "ingest")]);
        wait_until(&format!("a gate without {action} cannot read who was erased"), || {
            gate.log().get(before..).is_some_and(|log| log.contains(UNREAD))
        });
        server.stop(&gate);
    }

    // The bucket's own: what comes without TLS, as everything does here, is refused to everybody.
    let of_bucket = statements(OF_BUCKET);
    let tls = of_bucket.iter().find(|statement| statement["Sid"] == "NothingWithoutTls").unwrap();
    put(&s3, &[all_granted(), vec![tls.clone()]].concat());
    check("a reader comes without TLS", &reader, &["audit"]);
    put(&s3, &all_granted());
    reader.run_sound(&["audit"]);
}
