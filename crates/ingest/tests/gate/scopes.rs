//! Keys that may do less than everything, and keys that end.

use std::time::Duration;

use contract::{Timestamp, Verdict};
use ingest::keys::Scope;
use serde_json::json;
use telemetry::clock::{Clock as _, SystemClock};

use crate::support::{Request, Server, event, source};

const SCOPED: &str = "tg_scoped";

/// A gate whose source `till` has one key with this scope.
async fn with(scope: Scope) -> Server {
    let server = Server::start().await;
    server.keys.add(source("till"), &SCOPED.parse().unwrap(), scope, Timestamp(0)).unwrap();
    server
}

fn send(body: impl Into<Vec<u8>>) -> Request {
    Request::post("/v1/events", body).header("x-write-key", SCOPED)
}

#[tokio::test]
async fn a_key_takes_the_types_it_is_for_and_the_others_are_kept_with_the_reason() {
    let server = with(Scope { event_types: vec!["page_view".to_owned(), "refund_*".to_owned()], ..Scope::default() }).await;
    let of = |id: &str, event_type: &str| json!({"event_id": id, "event_type": event_type, "user_id": "u1"});
    let batch = json!([of("1", "page_view"), of("2", "sale"), of("3", "refund_begun")]).to_string();
    let answer = server.send(send(batch)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let kept = server.kept().await;
    let found: Vec<(&str, Verdict)> = kept.iter().map(|kept| (kept.receipt.event_id.as_str(), kept.verdict())).collect();
    assert_eq!(found, [("1", Verdict::Accepted), ("2", Verdict::Refused), ("3", Verdict::Accepted)]);
    let violation = &kept[1].receipt.violations[0];
    assert_eq!((violation.code.as_str(), violation.field.as_str()), ("event_type_not_allowed", "/event_type"));
    assert!(violation.message.contains("\"sale\"") && violation.message.contains("page_view, refund_*"), "{}", violation.message);

    let call = Request::post("/v1/track", r#"{"messageId":"m","event":"Bought","userId":"u"}"#).header("x-write-key", SCOPED);
    server.send(call).await;
    let kept = server.kept().await;
    assert_eq!((kept[3].verdict(), kept[3].receipt.violations[0].field.as_str()), (Verdict::Refused, "/event"));
}

#[tokio::test]
async fn a_key_has_a_rate_of_its_own() {
    let server = with(Scope { events_per_second_max: Some(1), ..Scope::default() }).await;
    let mut refused = None;
    for number in 0..200 {
        let answer = server.send(send(event(&number.to_string()))).await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("no request was turned away");
    assert_eq!((refused.error(429).as_str(), refused.header("retry-after").is_some()), ("rate_limited", true));
    // The source's other keys, and other sources, are not concerned.
    server.send(Request::events(event("other"))).await.taken(1);
}

#[tokio::test]
async fn while_keys_are_rotated_both_are_taken() {
    let server = with(Scope::default()).await;
    let now = SystemClock.now_micros();
    let ends = Timestamp(now + 3_000_000);
    server.keys.rotate(&source("till"), &"tg_next".parse().unwrap(), Timestamp(now), ends).unwrap();
    let next = || Request::post("/v1/events", event("2")).header("x-write-key", "tg_next");
    server.send(next()).await.taken(1);
    server.send(send(event("1"))).await.taken(1);
    let until_it_ends = u64::try_from(ends.0 - SystemClock.now_micros()).unwrap_or_default();
    tokio::time::sleep(Duration::from_micros(until_it_ends) + Duration::from_millis(1_100)).await;
    assert_eq!(server.send(send(event("3"))).await.error(403), "revoked_key");
    server.send(next()).await.taken(1);
}
