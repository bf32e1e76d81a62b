//! What the plan marks as personal never comes to the journal.

use contract::mask::Key;
use contract::{Plan, Verdict, WireFormat};
use ingest::Config;
use journal::embedded;
use serde_json::{Value, json};

use crate::support::{KEY, Kept, PII_KEY, Request, Server};

const PLAN: &str = r"
version: '7'
pii: {/context/ip: truncate}
consent: {required: [analytics], unknown: allow}
sources: {web: {client_address: drop}}
types:
  sign_up:
    properties:
      email: {type: string, format: email, pii: hash}
      phone: {type: string, pii: drop}
      plan: {enum: [free, paid]}
    required: [email]
  ad_click:
    consent: {required: [ads]}
";

async fn server() -> Server {
    Server::start_with(Config::default(), embedded::Config::default(), Plan::parse(PLAN, "plan.yaml").unwrap()).await
}

fn payload(kept: &Kept) -> Value {
    serde_json::from_slice(&kept.payload).unwrap()
}

/// Everything that is stored of the events, to be looked through.
fn stored(kept: &[Kept]) -> String {
    kept.iter().map(|kept| format!("{}{}", serde_json::to_string(&kept.receipt).unwrap(), String::from_utf8_lossy(&kept.payload))).collect()
}

#[tokio::test]
async fn marked_values_are_masked_in_every_format_and_verdict() {
    let server = server().await;
    let hash = Key::new(PII_KEY).hash("alice@secret.example");
    let properties = json!({"email": "alice@secret.example", "phone": "030-secret", "plan": "free"});
    let broken = json!({"email": "alice@secret.example", "plan": "secret-less"});
    let of = |id: &str, properties: &Value| json!({"event_id": id, "event_type": "sign_up", "properties": properties, "context": {"ip": "198.51.100.7"}});
    server.send(Request::events(json!([of("1", &properties), of("2", &broken)]).to_string())).await;
    let segment = json!({"batch": [{"type": "track", "event": "sign_up", "messageId": "3", "properties": properties}], "context": {"ip": "198.51.100.7"}});
    server.send(Request::post("/v1/batch", segment.to_string()).header("x-write-key", KEY)).await;
    let kept = server.kept().await;
    let verdicts: Vec<_> = kept.iter().map(|kept| (kept.receipt.event_id.as_str(), kept.verdict())).collect();
    assert_eq!(verdicts, [("1", Verdict::Accepted), ("2", Verdict::Quarantined), ("3", Verdict::Accepted)]);
    for kept in &kept {
        assert_eq!(payload(kept)["properties"]["email"], hash, "{kept:?}");
        assert_eq!((payload(kept)["properties"].get("phone"), &kept.receipt.client_ip), (None, &None), "{kept:?}");
    }
    assert_eq!(payload(&kept[0])["context"]["ip"], "198.51.100.0");
    let envelope: Value = serde_json::from_str(kept[2].receipt.envelope.as_deref().unwrap().get()).unwrap();
    assert_eq!(envelope["context"]["ip"], "198.51.100.0");
    for secret in ["alice", "030-secret", "198.51.100.7"] {
        assert!(!stored(&kept).contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn of_what_cannot_be_read_nothing_is_kept_where_the_plan_marks_anything() {
    let server = server().await;
    let body = r#"[{"event_id":"1","event_type":"sign_up","properties":{"email":"alice@secret.example"},"sent_at":"soon"},{"event_id":"2","event_type":"page_view"}]"#;
    server.send(Request::events(body)).await;
    server.send(Request::events(r#"{"properties":{"email":"alice@secret.example"}"#)).await;
    let kept = server.kept().await;
    let verdicts: Vec<_> = kept.iter().map(Kept::verdict).collect();
    assert_eq!(verdicts, [Verdict::Refused, Verdict::Accepted, Verdict::Refused]);
    assert!(!stored(&kept).contains("alice"), "{}", stored(&kept));
    for kept in [&kept[0], &kept[2]] {
        assert!(kept.payload.is_empty() && kept.receipt.truncated_from.is_some_and(|bytes| bytes > 40), "{kept:?}");
    }
}

#[tokio::test]
async fn without_consent_only_that_an_event_came_is_kept() {
    let server = server().await;
    let of = |id: &str, event_type: &str, consent: Value| json!({"event_id": id, "event_type": event_type, "user_id": "alice", "context": {"consent": {"categoryPreferences": consent}}});
    let events = [
        of("1", "page_view", json!({"analytics": true})),
        of("2", "page_view", json!({"analytics": false})),
        of("3", "page_view", json!({})),
        of("4", "ad_click", json!({"analytics": true})),
        of("5", "ad_click", json!({"ads": true})),
    ];
    server.send(Request::events(json!(events).to_string())).await.taken(5);
    let kept = server.kept().await;
    let without: Vec<&str> =
        kept.iter().filter(|kept| kept.receipt.format == WireFormat::Erased).map(|kept| kept.receipt.event_id.as_str()).collect();
    assert_eq!(without, ["2", "4"]);
    for kept in kept.iter().filter(|kept| kept.receipt.format == WireFormat::Erased) {
        assert!(kept.payload.is_empty() && kept.verdict() == Verdict::Accepted, "{kept:?}");
    }
}
