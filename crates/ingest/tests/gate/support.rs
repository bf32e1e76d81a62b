//! A gate on a free port of this machine with its own journal, and a client that sends exactly the bytes it is told to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use contract::mask::Key;
use contract::{Plan, Receipt, SourceName, Timestamp, Verdict};
use ingest::keys::Scope;
use ingest::signature::SigningKey;
use ingest::{Config, Gate, KeyFile, Keyring};
use journal::embedded::{self, Embedded};
use journal::{Error, Journal as _, ReadLimit, Record, Sink, Stored};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) const KEY: &str = "tg_test_key";
pub(crate) const PII_KEY: [u8; 32] = [7; 32];
pub(crate) const SIGNING_KEY: [u8; 32] = [8; 32];
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    pub(crate) gate: Gate,
    pub(crate) address: SocketAddr,
    pub(crate) keys: KeyFile,
    pub(crate) medium: Arc<Medium>,
    _folder: TempDir,
}

/// What is wrong with the journal's medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Appends wait until that changes.
    Stalled,
    Failing,
    Closed,
}

/// The real journal on a medium that can be made to fail.
#[derive(Debug)]
pub(crate) struct Medium {
    journal: Embedded,
    fault: watch::Sender<Fault>,
    appends_begun: AtomicUsize,
}

impl Medium {
    pub(crate) fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    pub(crate) fn appends_begun(&self) -> usize {
        self.appends_begun.load(Ordering::SeqCst)
    }
}

#[async_trait::async_trait]
impl Sink for Medium {
    async fn put(&self, records: Vec<Record>) -> Result<(), Error> {
        self.appends_begun.fetch_add(1, Ordering::SeqCst);
        let fault = *self.fault.subscribe().wait_for(|fault| *fault != Fault::Stalled).await.unwrap();
        match fault {
            Fault::None | Fault::Stalled => self.journal.put(records).await,
            Fault::Failing => Err(Error::Unavailable { doing: "write".into(), source: std::io::Error::other("no such device") }),
            Fault::Closed => Err(Error::Closed),
        }
    }
}

/// What stands in the journal of one event.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) receipt: Receipt,
    pub(crate) payload: Bytes,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(Config::default(), embedded::Config::default(), Plan::built_in()).await
    }

    pub(crate) async fn start_with(config: Config, journal: embedded::Config, plan: Plan) -> Self {
        let folder = TempDir::new().unwrap();
        // One partition, so that the journal has one order.
        let journal = Embedded::open(folder.path().join("journal"), embedded::Config { partitions: 1, ..journal }).await.unwrap();
        let medium = Arc::new(Medium { journal, fault: watch::Sender::new(Fault::None), appends_begun: AtomicUsize::new(0) });
        let keys = KeyFile::at(folder.path().join("sources.json"));
        keys.add(source("web"), &KEY.parse().unwrap(), Scope::default(), Timestamp(0)).unwrap();
        let keyring = Keyring::open(keys.clone()).unwrap();
        let journal = Arc::clone(&medium) as Arc<dyn Sink>;
        let gate = Gate::builder(journal, keyring)
            .config(config)
            .plan(Arc::new(plan))
            .pii_key(Key::new(PII_KEY))
            .signing_key(SigningKey::new(SIGNING_KEY))
            .build()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = ingest::router(gate.clone()).merge(ingest::health_router(gate.clone())).fallback(ingest::not_found);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
        Self { gate, address, keys, medium, _folder: folder }
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::to(self.address).await
    }

    /// Sends one request on a connection of its own.
    pub(crate) async fn send(&self, request: Request) -> Answer {
        self.connect().await.send(request).await
    }

    /// Lets go of everything in the journal.
    pub(crate) async fn trim(&self) {
        let end = self.medium.journal.end().await.unwrap();
        self.medium.journal.trim(&end).await.unwrap();
    }

    /// Everything in the journal.
    pub(crate) async fn kept(&self) -> Vec<Kept> {
        let limit = ReadLimit { records_max: usize::MAX, bytes_max: usize::MAX };
        let stored = self.medium.journal.read(&self.medium.journal.start().await.unwrap(), limit).await.unwrap();
        let kept = |stored: Stored| Kept { receipt: Receipt::from_bytes(&stored.record.header).unwrap(), payload: stored.record.value };
        stored.into_iter().map(kept).collect()
    }

    /// The one thing in the journal.
    pub(crate) async fn only_kept(&self) -> Kept {
        let mut kept = self.kept().await;
        assert_eq!(kept.len(), 1, "{kept:?}");
        kept.remove(0)
    }
}

impl Kept {
    pub(crate) fn verdict(&self) -> Verdict {
        self.receipt.verdict
    }

    pub(crate) fn codes(&self) -> Vec<&str> {
        self.receipt.violations.iter().map(|violation| violation.code.as_str()).collect()
    }

    pub(crate) fn envelope(&self) -> Value {
        self.receipt.envelope.as_ref().map_or(Value::Null, |raw| serde_json::from_str(raw.get()).unwrap())
    }
}

pub(crate) fn source(name: &str) -> SourceName {
    name.parse().unwrap()
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    head: String,
    body: Vec<u8>,
    stated_length: bool,
}

impl Request {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self { head: format!("{method} {path} HTTP/1.1\r\nhost: gate.test\r\n"), body: Vec::new(), stated_length: true }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::new("POST", path) }
    }

    /// Native events with the key of the test's source.
    pub(crate) fn events(body: impl Into<Vec<u8>>) -> Self {
        Self::post("/v1/events", body).header("x-write-key", KEY)
    }

    #[must_use]
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.head.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// Leaves out the length, to be given as a header.
    #[must_use]
    pub(crate) fn without_length(mut self) -> Self {
        self.stated_length = false;
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = if self.stated_length { format!("content-length: {}\r\n", self.body.len()) } else { String::new() };
        [self.head.as_bytes(), length.as_bytes(), b"\r\n", &self.body].concat()
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Asserts that it is an error as clients want one, and returns its code.
    pub(crate) fn error(&self, status: u16) -> String {
        let body = self.json();
        assert_eq!(self.status, status, "{body}");
        assert_eq!(body["success"], false, "{body}");
        for field in ["code", "message", "detail"] {
            assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{field} is missing: {body}");
        }
        let wait = self.header("retry-after").map(|seconds| seconds.parse::<u32>().unwrap());
        assert_eq!(wait.is_some(), matches!(status, 429 | 503), "{self:?}");
        assert!(wait.is_none_or(|seconds| (1..=300).contains(&seconds)));
        body["code"].as_str().unwrap().to_owned()
    }

    /// Asserts that all of so many events were taken without a word.
    pub(crate) fn taken(&self, events: usize) {
        assert_eq!((self.status, self.json()), (200, serde_json::json!({"success": true, "accepted": events, "rejected": []})));
    }
}

pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
}

impl Connection {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), unread: Vec::new() }
    }

    pub(crate) async fn send(&mut self, request: Request) -> Answer {
        self.write(&request.bytes()).await;
        self.answer().await
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        self.try_answer().await.expect("the connection was closed without an answer")
    }

    /// The next answer, or `None` when the connection ends before one.
    pub(crate) async fn try_answer(&mut self) -> Option<Answer> {
        let head_end = loop {
            if let Some(at) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            if !self.fill().await {
                return None;
            }
        };
        let head = String::from_utf8(self.unread[..head_end].to_vec()).unwrap();
        self.unread.drain(..head_end + 4);
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> =
            lines.map(|line| line.split_once(": ").unwrap()).map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        let length: usize = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.unread.len() < length {
            assert!(self.fill().await, "the answer is cut off");
        }
        answer.body = self.unread.drain(..length).collect();
        Some(answer)
    }

    /// Whether the other side closes the connection now.
    pub(crate) async fn is_closed(&mut self) -> bool {
        !self.fill().await
    }

    async fn fill(&mut self) -> bool {
        let mut chunk = vec![0; 64 * 1024];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut chunk)).await.expect("no answer in time");
        let bytes = read.unwrap_or(0);
        self.unread.extend_from_slice(&chunk[..bytes]);
        bytes > 0
    }
}

/// A native event with this id.
pub(crate) fn event(id: &str) -> String {
    format!(r#"{{"event_id":"{id}","event_type":"page_view","user_id":"u1"}}"#)
}

pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}
