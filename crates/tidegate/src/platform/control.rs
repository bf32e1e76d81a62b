//! What the owner of the data folder may ask of the running server: a socket in that folder, which nobody else can open.
//!
//! The embedded journal has one writer, the server. A command that has something to append, such as `recover`, hands it over here while the server runs. It is HTTP over a
//! Unix socket: `POST /records` with one JSON object a line, `{"receipt": …, "payload": "<base64>"}`, is answered when all of it is durable.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contract::Receipt;
use journal::{ErrorKind, Record, Sink};
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The name of the socket in the data folder.
const FILE: &str = "control.sock";
/// The longest path that a socket may have (unix(7): 108 bytes with the terminating null; 104 on some systems).
const PATH_BYTES_MAX: usize = 103;
/// The largest request.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long a request in work may take once the server stops.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The path of the one thing that can be asked.
pub(crate) const RECORDS: &str = "/records";

/// Where the socket is for this data folder.
pub(crate) fn socket(data: &Path) -> PathBuf {
    data.join(FILE)
}

/// A line of the request: an event with the gate's note on it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) receipt: Receipt,
    /// Base64.
    pub(crate) payload: String,
}

impl Line {
    pub(crate) fn new(receipt: Receipt, payload: &[u8]) -> Self {
        Self { receipt, payload: STANDARD.encode(payload) }
    }

    fn record(line: &str) -> anyhow::Result<Record> {
        let Self { receipt, payload } = serde_json::from_str(line)?;
        let payload = STANDARD.decode(payload).context("the payload is no base64")?;
        Ok(ingest::record(&receipt, payload.into())?)
    }
}

/// The socket, listened to. Dropped, it is closed and removed.
#[derive(Debug)]
pub(super) struct Control {
    path: PathBuf,
    closing: watch::Sender<bool>,
    task: Option<JoinHandle<io::Result<()>>>,
}

impl Control {
    /// Listens in this data folder, whose journal this process has opened: a socket that is there was left by one that was killed. `None` where the folder's path is too
    /// long for a socket.
    ///
    /// # Errors
    ///
    /// When it cannot listen there.
    pub(super) fn open(data: &Path, sink: Arc<dyn Sink>) -> anyhow::Result<Option<Self>> {
        let path = socket(data);
        if path.as_os_str().len() > PATH_BYTES_MAX {
            tracing::warn!(path = %path.display(), "the path is too long for a socket: `tidegate recover` needs the server to be stopped");
            return Ok(None);
        }
        let place = || format!("cannot listen on {}", path.display());
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).with_context(place),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path).with_context(place)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).with_context(place)?;
        let router = Router::new().route(RECORDS, post(append)).layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).with_state(sink);
        let (closing, mut closed) = watch::channel(false);
        let serving = axum::serve(listener, router).with_graceful_shutdown(async move { drop(closed.wait_for(|closed| *closed).await) });
        let task = tokio::spawn(async move { serving.await });
        Ok(Some(Self { path, closing, task: Some(task) }))
    }

    /// Finishes what is in work, and closes.
    pub(super) async fn close(mut self) {
        self.closing.send_replace(true);
        if let Some(mut task) = self.task.take()
            && tokio::time::timeout(CLOSE_TIMEOUT, &mut task).await.is_err()
        {
            tracing::warn!("a request on the control socket is cut; whoever asked is told nothing and asks again");
            task.abort();
            drop(task.await);
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "the control socket stays; the next start replaces it");
        }
    }
}

/// Makes the records of a request durable.
async fn append(State(sink): State<Arc<dyn Sink>>, body: Bytes) -> Response {
    let refuse = |status: StatusCode, message: String| (status, message).into_response();
    let Ok(text) = std::str::from_utf8(&body) else { return refuse(StatusCode::BAD_REQUEST, "the request is no text".to_owned()) };
    let lines = text.lines().filter(|line| !line.is_empty());
    let records = lines.enumerate().map(|(number, line)| Line::record(line).with_context(|| format!("line {}", number + 1)));
    let records: Vec<Record> = match records.collect() {
        Ok(records) => records,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, format!("{error:#}")),
    };
    match sink.put(records).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => {
            let status = match error.kind() {
                ErrorKind::Full => StatusCode::TOO_MANY_REQUESTS,
                ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                ErrorKind::Unavailable | ErrorKind::Closed => StatusCode::SERVICE_UNAVAILABLE,
                ErrorKind::Trimmed | ErrorKind::Corrupt => StatusCode::INTERNAL_SERVER_ERROR,
            };
            refuse(status, error.to_string())
        }
    }
}
