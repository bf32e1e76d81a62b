//! What the clients of others rely on.

use contract::{Plan, Verdict, WireFormat};
use ingest::Config;
use journal::embedded;
use serde_json::json;

use crate::support::{KEY, Request, Server, event, gzip};

const CALLS: [(&str, &str, &str); 6] = [
    ("identify", "i", r#"{"messageId":"m","userId":"u"}"#),
    ("track", "t", r#"{"messageId":"m","event":"Bought","userId":"u"}"#),
    ("page", "p", r#"{"messageId":"m","name":"Home","userId":"u"}"#),
    ("screen", "s", r#"{"messageId":"m","name":"Home","userId":"u"}"#),
    ("group", "g", r#"{"messageId":"m","groupId":"g","userId":"u"}"#),
    ("alias", "a", r#"{"messageId":"m","previousId":"p","userId":"u"}"#),
];

#[tokio::test]
async fn every_call_has_two_paths_and_a_slash_does_not_matter() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    let mut expected = Vec::new();
    for (name, letter, body) in CALLS {
        for path in [format!("/v1/{name}"), format!("/v1/{name}/"), format!("/v1/{letter}"), format!("/v1/{letter}/")] {
            connection.send(Request::post(&path, body).header("x-write-key", KEY)).await.taken(1);
            expected.push((name, body));
        }
    }
    let kept = server.kept().await;
    assert_eq!(kept.len(), expected.len());
    for (kept, (name, body)) in kept.iter().zip(expected) {
        assert_eq!((kept.verdict(), kept.receipt.format, kept.payload.as_ref()), (Verdict::Accepted, WireFormat::Segment, body.as_bytes()));
        assert_eq!((kept.envelope(), kept.receipt.event_id.as_str()), (json!({"type": name}), "m"));
    }
}

#[tokio::test]
async fn a_batch_keeps_what_its_events_share() {
    let server = Server::start().await;
    let track = r#"{ "type":"track" , "messageId":"1","event":"A","sentAt":"2026-11-23T10:00:05Z"}"#;
    let page = r#"{"type":"page","messageId":"2"}"#;
    let body = format!(
        r#"{{"batch":[{track},  {page} ],"context":{{"library":{{"name":"x"}}}},"integrations":{{"All":true}},"sentAt":"2026-11-23T10:00:01Z","writeKey":"{KEY}"}}"#
    );
    for path in ["/v1/batch", "/v1/b/", "/v1/import", "/beacon/v1/batch"] {
        server.send(Request::post(path, body.clone())).await.taken(2);
    }
    let kept = server.kept().await;
    assert_eq!(kept.len(), 8);
    let shared = json!({"context": {"library": {"name": "x"}}, "integrations": {"All": true}, "sentAt": "2026-11-23T10:00:01Z"});
    for pair in kept.chunks(2) {
        assert_eq!([pair[0].payload.as_ref(), pair[1].payload.as_ref()], [track.as_bytes(), page.as_bytes()], "to the byte");
        assert_eq!([pair[0].envelope(), pair[1].envelope()], [shared.clone(), shared.clone()]);
        let sent = |index: usize| pair[index].receipt.sent_at.unwrap().to_rfc3339();
        assert_eq!([sent(0), sent(1)], ["2026-11-23T10:00:05.000000Z", "2026-11-23T10:00:01.000000Z"]);
    }
}

#[tokio::test]
async fn the_key_may_be_in_many_places_but_must_be_one() {
    let server = Server::start().await;
    let batch = |key: &str| format!(r#"{{"batch":[{{"type":"page","messageId":"1"}}],"writeKey":"{key}"}}"#);
    let track = |key: &str| format!(r#"{{"event":"A","writeKey":"{key}"}}"#);
    let basic = "Basic dGdfdGVzdF9rZXk6";
    let in_address = format!("/v1/batch?writeKey={KEY}");
    for request in [
        Request::post("/v1/batch", batch("")).header("authorization", basic),
        Request::post("/v1/batch", r#"{"batch":[{"type":"page"}]}"#).header("authorization", basic),
        Request::post("/v1/batch", batch(KEY)).header("authorization", basic),
        Request::post("/v1/batch", batch(KEY)),
        Request::post(&in_address, batch(KEY)),
        Request::post(&in_address, r#"{"batch":[{"type":"page"}]}"#).header("authorization", &format!("Bearer {KEY}")),
        Request::post("/v1/t", track(KEY)),
        Request::events(event("1")),
    ] {
        server.send(request).await.taken(1);
    }
    let before = server.kept().await.len();
    for (request, status, code) in [
        (Request::post("/v1/batch", batch("tg_other")), 401, "unknown_key"),
        (Request::post("/v1/t", track("tg_other")), 401, "unknown_key"),
        (Request::post("/v1/batch", r#"{"batch":[]}"#), 401, "missing_key"),
        (Request::post("/v1/events", event("1")), 401, "missing_key"),
        (Request::post("/v1/events", event("1")).header("authorization", "Basic ???"), 401, "invalid_credentials"),
        (Request::post("/v1/batch", batch("tg_other")).header("authorization", basic), 400, "conflicting_keys"),
        (Request::post("/v1/batch?writeKey=tg_other", "{}").header("authorization", basic), 400, "conflicting_keys"),
        // Without any key a broken body is told as such, but kept nowhere.
        (Request::post("/v1/batch", "{"), 401, "missing_key"),
        (Request::post("/v1/t", "{"), 401, "missing_key"),
    ] {
        let answer = server.send(request.clone()).await;
        assert_eq!(answer.error(status), code, "{request:?}");
    }
    assert_eq!(server.kept().await.len(), before, "nobody's bytes are kept");
}

#[tokio::test]
async fn a_broken_body_is_kept_for_the_source_whose_key_it_has() {
    let server = Server::start().await;
    let body = format!(r#"{{"writeKey":"{KEY}","batch":{{}}}}"#);
    assert_eq!(server.send(Request::post("/v1/batch", body.clone())).await.error(400), "wrong_type");
    let kept = server.only_kept().await;
    assert_eq!((kept.verdict(), kept.codes(), kept.payload.as_ref()), (Verdict::Refused, vec!["wrong_type"], body.as_bytes()));
}

#[tokio::test]
async fn neither_content_type_nor_a_missing_encoding_header_matters() {
    let server = Server::start().await;
    let batch = br#"{"batch":[{"type":"page"}]}"#;
    let zstd = zstd::stream::encode_all(&batch[..], 3).unwrap();
    let post = |body: &[u8]| Request::post("/v1/batch", body).header("x-write-key", KEY);
    for request in [
        post(batch).header("content-type", "text/plain;charset=UTF-8"),
        post(batch).header("content-type", "application/x-www-form-urlencoded"),
        post(batch),
        post(&gzip(batch)).header("content-type", "application/x-www-form-urlencoded"),
        post(&gzip(batch)).header("content-encoding", "gzip").header("content-type", "application/json"),
        post(&zstd).header("content-encoding", "zstd"),
        post(&zstd),
        post(&gzip(&gzip(batch))).header("content-encoding", "gzip, gzip"),
        post(&[b"\xEF\xBB\xBF", &batch[..]].concat()),
    ] {
        server.send(request).await.taken(1);
    }
    assert!(server.kept().await.iter().all(|kept| kept.payload.as_ref() == br#"{"type":"page"}"#));
}

#[tokio::test]
async fn native_events_come_as_object_array_or_lines() {
    let server = Server::start().await;
    let (one, two) = (event("1"), event("2"));
    server.send(Request::events(one.clone())).await.taken(1);
    server.send(Request::events(format!(" [ {one} , {two} ] "))).await.taken(2);
    server.send(Request::events(format!("{one}\n\r\n{two}\n"))).await.taken(2);
    server.send(Request::events("[]")).await.taken(0);
    let payloads: Vec<_> = server.kept().await.into_iter().map(|kept| kept.payload).collect();
    assert_eq!(payloads, [&one, &one, &two, &one, &two].map(|text| bytes::Bytes::from(text.clone())));
}

#[tokio::test]
async fn an_event_without_an_id_gets_one() {
    let server = Server::start().await;
    server.send(Request::events(r#"[{"event_type":"a"},{"event_type":"a","event_id":"mine"}]"#)).await.taken(2);
    let kept = server.kept().await;
    assert_eq!([kept[0].receipt.event_id_generated, kept[1].receipt.event_id_generated], [true, false]);
    let (made, own) = (kept[0].receipt.event_id.as_str(), kept[1].receipt.event_id.as_str());
    assert!(made.len() == 36 && made.as_bytes()[14] == b'7', "{made}");
    assert_eq!(own, "mine");
}

#[tokio::test]
async fn the_answer_says_which_event_breaks_what() {
    let config = Config { event_bytes_max: 100, events_max: 3, ..Config::default() };
    let plan = r#"{"version":"7","types":{"buy":{"properties":{"price":{}},"required":["price"]}},"sources":{"web":{"policy":"POLICY"}}}"#;
    let start = |policy: &str| {
        let plan = Plan::parse(&plan.replace("POLICY", policy), "plan.json").unwrap();
        Server::start_with(config.clone(), embedded::Config::default(), plan)
    };
    let body = format!(
        r#"[{{"event_id":"a","event_type":"buy"}},{{"event_id":"b","event_type":"x","name":"{}"}},{{"event_id":"c","event_type":"x"}}]"#,
        "x".repeat(100)
    );
    for (policy, accepted, list, verdict) in [
        ("quarantine", 2, "quarantined", Verdict::Quarantined),
        ("flag", 2, "flagged", Verdict::Flagged),
        ("reject", 1, "rejected", Verdict::Refused),
    ] {
        let server = start(policy).await;
        let answer = server.send(Request::events(body.clone())).await;
        let told = answer.json();
        assert_eq!((answer.status, &told["success"], &told["accepted"]), (200, &json!(true), &json!(accepted)), "{told}");
        let first = &told[list][0];
        assert_eq!((&first["index"], &first["event_id"], &first["field"]), (&json!(0), &json!("a"), &json!("/properties/price")), "{told}");
        let large = told["rejected"].as_array().unwrap().iter().find(|notice| notice["index"] == 1).unwrap();
        assert_eq!((&large["event_id"], &large["code"]), (&json!("b"), &json!("event_too_large")), "{told}");
        assert!(large["message"].as_str().unwrap().contains("at most 100"), "{told}");
        let kept = server.kept().await;
        assert_eq!(kept.iter().map(|kept| kept.verdict()).collect::<Vec<_>>(), [verdict, Verdict::Refused, Verdict::Accepted]);
        assert!(kept.iter().all(|kept| kept.receipt.plan_version == "7"));
        // Only where all are refused is it an error.
        let answer = server.send(Request::events(r#"[{"event_type":"buy"}]"#)).await;
        match verdict {
            Verdict::Refused => assert_eq!(answer.error(400), kept[0].codes()[0]),
            _ => assert_eq!(answer.status, 200),
        }
    }
    let server = start("flag").await;
    assert_eq!(server.send(Request::events("[1,2,3,4]")).await.error(400), "too_many_events");
    assert_eq!(server.only_kept().await.codes(), ["too_many_events"]);
    let answer = server.send(Request::events("[1,{}]")).await;
    assert_eq!(answer.error(400), "all_rejected");
    assert_eq!(answer.json()["rejected"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_new_plan_holds_from_the_next_request_on() {
    let server = Server::start().await;
    let event = r#"{"event_type":"never_heard_of"}"#;
    server.send(Request::events(event)).await.taken(1);
    let strict = Plan::parse(r#"{"version":"2","unknown_types":"violation"}"#, "plan.json").unwrap();
    server.gate.set_plan(std::sync::Arc::new(strict));
    let told = server.send(Request::events(event)).await.json();
    assert_eq!((&told["accepted"], &told["quarantined"][0]["code"]), (&json!(1), &json!("unknown_event_type")), "{told}");
}

#[tokio::test]
async fn the_client_is_kept_with_the_event() {
    let server = Server::start().await;
    for request in [
        Request::events(event("1")).header("user-agent", "test/1").header("x-retry-count", "2").header("x-forwarded-for", "6.6.6.6"),
        Request::events(event("2")).header("rsa-retry-attempt", "1"),
        Request::events(event("3")),
    ] {
        server.send(request).await.taken(1);
    }
    let kept = server.kept().await;
    assert_eq!(kept[0].receipt.user_agent.as_deref(), Some("test/1"));
    assert_eq!(kept.iter().map(|kept| kept.receipt.client_retries).collect::<Vec<_>>(), [Some(2), Some(1), None]);
    assert!(kept.iter().all(|kept| kept.receipt.client_ip.as_deref() == Some("127.0.0.1") && kept.receipt.source.as_str() == "web"));
}

#[tokio::test]
async fn reports_of_clients_on_themselves_are_dropped() {
    let server = Server::start().await;
    let answer = server.send(Request::post("/v1/m", r#"{"series":[]}"#)).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"success": true})));
    assert_eq!(server.kept().await.len(), 0);
}

#[tokio::test]
async fn what_is_not_served_is_told_in_json_and_never_retried() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    for request in [
        Request::get("/"),
        Request::post("/v2/batch", "{}"),
        Request::get("/v1/batch"),
        Request::new("PUT", "/v1/events"),
        Request::new("DELETE", "/v1/m"),
    ] {
        assert_eq!(connection.send(request).await.error(404), "not_found");
    }
    assert_eq!(connection.send(Request::get("/v1/events")).await.header("allow"), Some("POST"));
}
