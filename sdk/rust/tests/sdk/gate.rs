//! A gate in this process that answers as a test wants it to. What the real one makes of events is tested with the real one.

use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// A status, a body, and a value of `Retry-After`.
pub(crate) type Answer = (u16, Vec<u8>, Option<&'static str>);

pub(crate) fn taken(events: &[Value]) -> Answer {
    (200, json!({"success": true, "accepted": events.len(), "rejected": []}).to_string().into_bytes(), None)
}

pub(crate) fn unavailable(_: &[Value]) -> Answer {
    (503, Vec::new(), None)
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) events: Vec<Value>,
}

/// What a test wants.
type Answers = Box<dyn FnMut(&[Value]) -> Answer + Send>;

struct Shared {
    answer: Mutex<Answers>,
    requests: Mutex<Vec<Request>>,
    is_held: watch::Sender<bool>,
}

/// Keeps every request. It ends when it is dropped.
pub(crate) struct Gate {
    pub(crate) url: String,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

impl Gate {
    pub(crate) fn start() -> Self {
        let shared =
            Arc::new(Shared { answer: Mutex::new(Box::new(taken)), requests: Mutex::default(), is_held: watch::Sender::new(false) });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answered).with_state(Arc::clone(&shared)).layer(axum::extract::DefaultBodyLimit::disable());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { url, shared, runtime: Some(runtime) }
    }

    /// From now on it answers so.
    pub(crate) fn answer(&self, answer: impl FnMut(&[Value]) -> Answer + Send + 'static) {
        *self.shared.answer.lock().unwrap() = Box::new(answer);
    }

    /// Answers nothing until it is let go.
    pub(crate) fn hold(&self) {
        self.shared.is_held.send_replace(true);
    }

    pub(crate) fn let_go(&self) {
        self.shared.is_held.send_replace(false);
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Of all requests.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.requests().into_iter().flat_map(|request| request.events).collect()
    }

    /// The ids of all events, in order.
    pub(crate) fn ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.events().iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    }

    /// Forgets what came. What those who were killed had sent may still be on its way: it is waited for.
    pub(crate) fn forget(&self) {
        let mut before = usize::MAX;
        while std::mem::replace(&mut before, self.requests().len()) != before {
            std::thread::sleep(Duration::from_millis(200));
        }
        self.shared.requests.lock().unwrap().clear();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.let_go();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn answered(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> (StatusCode, HeaderMap, Vec<u8>) {
    let plain = match headers.get("Content-Encoding") {
        Some(encoding) => {
            assert_eq!(encoding, "gzip");
            let mut plain = Vec::new();
            GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
            plain
        }
        None => body.to_vec(),
    };
    let events: Vec<Value> = serde_json::from_slice(&plain).unwrap();
    shared.requests.lock().unwrap().push(Request { path: uri.path().to_owned(), headers, events: events.clone() });
    shared.is_held.subscribe().wait_for(|held| !held).await.unwrap();
    let (status, body, retry_after) = (shared.answer.lock().unwrap())(&events);
    let mut headers = HeaderMap::new();
    if let Some(seconds) = retry_after {
        headers.insert("Retry-After", seconds.parse().unwrap());
    }
    (StatusCode::from_u16(status).unwrap(), headers, body)
}
