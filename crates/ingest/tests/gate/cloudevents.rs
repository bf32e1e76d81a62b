//! The three modes of the CloudEvents HTTP binding.

use contract::{Verdict, WireFormat};
use serde_json::json;

use crate::support::{Request, Server, gzip};

const STRUCTURED: &str = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"order","data":{"price":1}}"#;

#[tokio::test]
async fn structured_batched_and_binary() {
    let server = Server::start().await;
    server.send(Request::events(STRUCTURED).header("content-type", "application/cloudevents+json; charset=utf-8")).await.taken(1);
    let batch = format!("[{STRUCTURED},{STRUCTURED}]");
    server.send(Request::events(batch).header("content-type", "application/cloudevents-batch+json")).await.taken(2);
    let binary = Request::events(r#"{"price":1}"#).header("content-type", "application/json").header("ce-specversion", "1.0");
    server
        .send(binary.header("ce-id", "1").header("ce-source", "/shop").header("ce-type", "order").header("ce-subject", "%E2%82%AC"))
        .await
        .taken(1);
    let kept = server.kept().await;
    assert_eq!(kept.len(), 4);
    assert!(kept.iter().all(|kept| kept.receipt.format == WireFormat::Cloudevents && kept.verdict() == Verdict::Accepted));
    assert!(kept.iter().all(|kept| kept.receipt.event_id.as_str() == "/shop 1"), "one identity in all modes: {kept:?}");
    assert!(kept[..3].iter().all(|kept| kept.payload == STRUCTURED));
    assert_eq!(kept[3].payload, r#"{"price":1}"#);
    let attributes =
        json!({"specversion": "1.0", "id": "1", "source": "/shop", "type": "order", "subject": "€", "datacontenttype": "application/json"});
    assert_eq!(kept[3].envelope(), json!({"attributes": attributes}));
}

#[tokio::test]
async fn binary_data_that_looks_packed_is_left_alone() {
    let server = Server::start().await;
    let data = gzip(b"a file");
    let request = Request::events(data.clone()).header("content-type", "application/gzip").header("ce-specversion", "1.0");
    server.send(request.header("ce-id", "1").header("ce-source", "/s").header("ce-type", "file")).await.taken(1);
    assert_eq!(server.only_kept().await.payload, data);
}

#[tokio::test]
async fn what_is_no_cloudevent_is_refused() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    for (content_type, body, code) in [
        ("application/cloudevents+avro", "", "unsupported_format"),
        ("application/cloudevents-batch+json", STRUCTURED, "wrong_type"),
        ("application/cloudevents+json", r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#, "unsupported_version"),
        ("application/cloudevents+json", r#"{"specversion":"1.0","id":"1","source":"/s"}"#, "missing_field"),
    ] {
        let answer = connection.send(Request::events(body).header("content-type", content_type)).await;
        assert_eq!(answer.error(400), code);
    }
    let kept = server.kept().await;
    assert!(kept.len() == 4 && kept.iter().all(|kept| kept.verdict() == Verdict::Refused), "{kept:?}");
}
