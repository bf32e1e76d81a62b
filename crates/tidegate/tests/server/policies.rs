//! What the files in `deploy/policies` allow: enough for each process to do its work, and nothing that was not named there. A real Kafka with its authorizer, and an S3 server that
//! holds accounts to policies.
//!
//! The server for S3 knows no roles, so what stands in the policy of a role is put on the bucket for an account of the same name. It does not know `s3:if-none-match` and
//! `aws:PrincipalArn`: of the bucket's own policy, only what is about TLS is tried out here.

mod kafka;
mod s3;

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use servers::S3;

use crate::process::{KEY, Place, client, text};

const BUCKET: &str = "tidegate";
/// With a slash in it, as prefixes may have.
const PREFIX: &str = "team/lake";
const ALICE: &str = "alice@example.org";
const EVENTS: u64 = 300;
/// Each third event is hers.
const OF_ALICE: u64 = EVENTS / 3;
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(200);

/// Accounts of both servers, each with the policy of its role: an operator has the worker's.
const ROLES: [(&str, &str); 5] = [
    ("gate", include_str!("../../../../deploy/policies/s3/gate.json")),
    ("worker", include_str!("../../../../deploy/policies/s3/worker.json")),
    ("operator", include_str!("../../../../deploy/policies/s3/worker.json")),
    ("reader", include_str!("../../../../deploy/policies/s3/reader.json")),
    ("spark", include_str!("../../../../deploy/policies/s3/spark.json")),
];
const BACKFILL: &str = include_str!("../../../../deploy/policies/s3/backfill.json");

/// The statements of a policy, with what stands for names replaced.
fn statements(policy: &str) -> Vec<Value> {
    let names = [("LAKE_BUCKET", BUCKET), ("LAKE_PREFIX", PREFIX), ("SOURCE_BUCKET", BUCKET), ("SOURCE_PREFIX", "old/exports")];
    let filled = names.iter().fold(policy.to_owned(), |policy, (name, value)| policy.replace(name, value));
    let filled: Value = serde_json::from_str(&filled).unwrap();
    assert_eq!(filled["Version"], "2012-10-17");
    filled["Statement"].as_array().unwrap().clone()
}

/// The same, as statements about one account.
fn granted(account: &str, policy: &str) -> Vec<Value> {
    let mut statements = statements(policy);
    for statement in &mut statements {
        statement["Principal"] = json!({"AWS": [account]});
    }
    statements
}

fn all_granted() -> Vec<Value> {
    ROLES.iter().flat_map(|(account, policy)| granted(account, policy)).chain(granted("backfill", BACKFILL)).collect()
}

/// The S3 server, with every role's policy on the bucket.
fn start_s3(folder: &Path) -> S3 {
    let accounts: Vec<&str> = ROLES.iter().map(|(account, _)| *account).chain(["backfill"]).collect();
    let s3 = S3::start_with_accounts(&folder.join("s3"), &accounts).unwrap();
    s3.bucket(BUCKET).unwrap();
    put(&s3, &all_granted());
    s3
}

fn put(s3: &S3, statements: &[Value]) {
    s3.policy(BUCKET, &json!({"Version": "2012-10-17", "Statement": statements}).to_string()).unwrap();
}

/// Settings of a process that is known to S3 as this account.
fn lake(s3: &S3, account: &str) -> Vec<(String, String)> {
    let mut settings = s3.environment_of(account);
    let own = [("TIDEGATE_LAKE__LOCATION", format!("s3://{BUCKET}/{PREFIX}")), ("TIDEGATE_PIPELINE__RETRY_PAUSE_MAX", "2s".to_owned())];
    settings.extend(own.map(|(name, value)| (name.to_owned(), value)));
    settings
}

async fn send(place: &Place) {
    let event = |number: u64| {
        let user = if number.is_multiple_of(3) { ALICE } else { "bob" };
        json!({"event_id": format!("e-{number}"), "event_type": "page_view", "user_id": user, "properties": {"url": format!("https://x.example/{number}")}})
    };
    let events: Value = (0..EVENTS).map(event).collect();
    let sent = client().post(format!("{}/v1/events", place.url())).basic_auth(KEY, Some("")).json(&events).send().await.unwrap();
    assert_eq!(sent.status().as_u16(), 200, "{}", sent.text().await.unwrap());
}

/// Waits until something holds.
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not within {} s: {what}", PATIENCE.as_secs());
        std::thread::sleep(LOOK);
    }
}

/// Waits until Silver has so many events. Its table may not be there yet.
fn wait_for_silver(reader: &Place, expect: u64) {
    wait_until("all events are in Silver", || {
        let told = reader.run(&["query", "SELECT count(*) AS n FROM silver.events", "--format", "json"]);
        serde_json::from_slice::<Value>(&told.stdout).is_ok_and(|rows| rows[0]["n"] == expect)
    });
}

fn said(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

/// Nobody was refused anything in the time of this log, be it only once and tried again.
fn check_quiet(what: &str, log: &str) {
    let refusals: Vec<&str> = log.lines().filter(|line| is_refusal(line)).collect();
    assert!(refusals.is_empty(), "{what} was refused: {refusals:#?}");
}

/// In the words of S3 and of Kafka.
fn is_refusal(text: &str) -> bool {
    ["AccessDenied", "Access Denied", "uthorization failed", "uthorizationFailed", "ot authorized"].iter().any(|word| text.contains(word))
}

/// A command fails, and because it was refused.
fn check_refused(what: &str, output: &Output) {
    assert!(!output.status.success() && is_refusal(&said(output)), "{what}: {}", said(output));
}

/// What `tidegate doctor` found out about this.
fn check_of(place: &Place, name: &str) -> Value {
    let told = place.run(&["doctor", "--format", "json"]);
    let checks: Vec<Value> = serde_json::from_slice(&told.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&told)));
    checks.into_iter().find(|check| check["check"] == name).unwrap()
}
