//! Against a small server that answers what it is told to.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use telemetry::clock::ManualClock;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::{Account, Delivery, Input, Order, Trust, run};

#[derive(Debug, Default)]
struct Gate {
    answers: Mutex<VecDeque<(u16, Value)>>,
    requests: Mutex<Vec<(String, String)>>,
}

/// The next answer of the list; when it is at its end, yes to all.
async fn answer(State(gate): State<Arc<Gate>>, uri: Uri, headers: HeaderMap, body: String) -> Response {
    assert_eq!(headers["authorization"], "Bearer tg_key");
    gate.requests.lock().unwrap().push((uri.path().to_owned(), body));
    let (status, body) = gate.answers.lock().unwrap().pop_front().unwrap_or_else(|| (200, json!({ "success": true, "rejected": [] })));
    (StatusCode::from_u16(status).unwrap(), [(RETRY_AFTER, "0")], body.to_string()).into_response()
}

struct Setting {
    gate: Arc<Gate>,
    url: String,
    folder: TempDir,
}

impl Setting {
    async fn new(answers: &[(u16, Value)]) -> Self {
        let gate = Arc::new(Gate { answers: Mutex::new(answers.iter().cloned().collect()), ..Gate::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&gate));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { gate, url, folder: TempDir::new().unwrap() }
    }

    fn order(&self, content: &[u8]) -> Order {
        let path = self.folder.path().join("events.ndjson");
        std::fs::write(&path, content).unwrap();
        Order {
            inputs: vec![Input::File(path)],
            shape: None,
            batch: 2,
            delivery: Delivery {
                url: self.url.parse().unwrap(),
                key: "tg_key".to_owned(),
                signing_secret: None,
                trust: Trust::default(),
                concurrency: 1,
                patience: Duration::from_secs(5),
            },
        }
    }

    async fn send(&self, content: &[u8]) -> Account {
        run(self.order(content), Arc::new(ManualClock::at(1_700_000_000_000_000))).await.unwrap()
    }

    fn requests(&self) -> Vec<(String, String)> {
        self.gate.requests.lock().unwrap().clone()
    }
}

fn event(id: &str) -> String {
    json!({ "event_id": id, "event_type": "x" }).to_string()
}

fn counts(account: &Account) -> Vec<(&'static str, &str, u64)> {
    account.rows()
}

#[tokio::test]
async fn a_batch_that_is_told_to_wait_is_sent_again_as_it_was() {
    let busy = json!({ "success": false, "code": "busy", "message": "too many requests are in work" });
    let setting = Setting::new(&[(429, busy.clone()), (503, busy), (500, json!(null))]).await;
    let account = setting.send(b"{\"event_type\":\"x\"}\n\n{\"event_id\":\"b\",\"event_type\":\"x\"}\n").await;
    assert_eq!(counts(&account), [("read", "", 2), ("accepted", "", 2)]);
    assert!(account.is_clean());
    let requests = setting.requests();
    assert_eq!(requests.len(), 4);
    assert!(requests.iter().all(|request| *request == requests[0]), "{requests:?}");
    assert!(requests[0].1.starts_with("{\"event_id\":\"018bcfe5-6800-7"), "{requests:?}");
}

#[tokio::test]
async fn refused_and_quarantined_events_are_counted_by_code() {
    let partial = json!({ "success": true, "accepted": 1,
        "rejected": [{ "index": 1, "event_id": "b", "code": "missing_field", "field": "/event_type", "message": "is missing" }],
        "quarantined": [{ "index": 0, "event_id": "a", "code": "wrong_type", "field": "/properties/value", "message": "must be a number" }] });
    let all = json!({ "success": false, "code": "missing_field", "message": "m",
        "rejected": [{ "index": 0, "event_id": "c", "code": "missing_field", "field": "/event_type", "message": "is missing" }] });
    let setting = Setting::new(&[(200, partial), (400, all)]).await;
    let account = setting.send([event("a"), event("b"), event("c")].join("\n").as_bytes()).await;
    let expect = [("read", "", 3), ("accepted", "", 1), ("of these quarantined", "wrong_type", 1), ("refused", "missing_field", 2)];
    assert_eq!(counts(&account), expect);
    assert!(!account.is_clean());
}

#[tokio::test]
async fn segment_events_in_gzip_go_to_the_segment_path() {
    let setting = Setting::new(&[]).await;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(b"\xEF\xBB\xBF{\"type\":\"track\",\"messageId\":\"a\"}\r\nnot json\n[1]\n").unwrap();
    let mut content = gzip.finish().unwrap();
    // Files that are put together are one file, also packed ones.
    let mut second = GzEncoder::new(Vec::new(), Compression::fast());
    second.write_all(b"{\"type\":\"page\",\"messageId\":\"b\"}").unwrap();
    content.extend(second.finish().unwrap());
    let account = setting.send(&content).await;
    assert_eq!(counts(&account), [("read", "", 4), ("accepted", "", 2), ("refused", "invalid_json", 2)]);
    let body = "{\"batch\":[{\"type\":\"track\",\"messageId\":\"a\"},{\"type\":\"page\",\"messageId\":\"b\"}]}";
    assert_eq!(setting.requests(), [("/v1/batch".to_owned(), body.to_owned())]);
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_divided() {
    let large = json!({ "success": false, "code": "body_too_large", "message": "the body is larger than 10 bytes" });
    let setting = Setting::new(&[(413, large.clone()), (413, large)]).await;
    let account = setting.send([event("a"), event("b")].join("\n").as_bytes()).await;
    assert_eq!(counts(&account), [("read", "", 2), ("accepted", "", 1), ("refused", "body_too_large", 1)]);
    let bodies: Vec<String> = setting.requests().into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies[1..], [format!("{}\n", event("a")), format!("{}\n", event("b"))]);
}

#[tokio::test]
async fn a_wrong_key_ends_it_and_so_does_silence() {
    let unknown = json!({ "success": false, "code": "unknown_key", "message": "no source has this write key", "detail": "check the key" });
    let setting = Setting::new(&[(401, unknown)]).await;
    let account = setting.send([event("a"), event("b"), event("c")].join("\n").as_bytes()).await;
    assert_eq!((account.read, account.undelivered, setting.requests().len()), (2, 2, 1));
    assert!(account.stopped.unwrap().ends_with("answered 401 Unauthorized: no source has this write key; check the key"));

    let mut order = setting.order(event("a").as_bytes());
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    order.delivery.url = format!("http://{nobody}").parse().unwrap();
    order.delivery.patience = Duration::from_millis(300);
    let account = run(order, Arc::new(ManualClock::at(0))).await.unwrap();
    assert_eq!((account.read, account.undelivered), (1, 1));
    assert!(account.stopped.as_deref().unwrap().contains("events.ndjson:1 on was given up"), "{account:?}");
}

#[tokio::test]
async fn a_damaged_file_is_named_and_what_came_before_is_sent() {
    let setting = Setting::new(&[]).await;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
    gzip.write_all(format!("{}\n", event("a")).as_bytes()).unwrap();
    let mut content = gzip.finish().unwrap();
    content.truncate(content.len() - 6);
    let account = setting.send(&content).await;
    assert_eq!((account.read, account.accepted), (1, 1));
    assert!(account.stopped.as_deref().unwrap().starts_with("cannot read "), "{account:?}");
}
