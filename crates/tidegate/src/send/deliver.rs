//! One batch, posted until there is an answer.
//!
//! Sent again: after 429, 5xx and when no answer came. The pause is random up to a bound that doubles ("full jitter", so that many senders do not come back
//! together), and never shorter than `Retry-After` asks. A batch that is too large as a whole is divided.

use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use contract::Timestamp;
use ingest::signature;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use telemetry::clock::{Clock as _, SystemClock};
use tokio_rustls::rustls::{self, AlertDescription};

use super::Delivery;
use super::batches::Batch;
use super::line::Shape;
use crate::settings;

/// The bound of the first pause; it doubles with each.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// The bound of all later ones, and the longest that `Retry-After` is followed.
const PAUSE_MAX: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than a gate takes to say that its journal is slow.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// The most bytes that are read of an answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Where batches go.
#[derive(Debug)]
pub(super) struct Target {
    client: Client,
    native: Url,
    segment: Url,
    key: String,
    signing_secret: Option<String>,
    patience: Duration,
}

/// What one event is told by the gate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Notice {
    pub(super) index: usize,
    pub(super) code: String,
    #[serde(default)]
    pub(super) field: String,
    #[serde(default)]
    pub(super) message: String,
}

/// The answer of a gate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Answer {
    success: bool,
    code: String,
    message: String,
    detail: String,
    pub(super) rejected: Vec<Notice>,
    pub(super) quarantined: Vec<Notice>,
    pub(super) flagged: Vec<Notice>,
}

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The gate judged each event.
    Judged(Answer),
    /// The gate refused all of it for one reason.
    Refused { code: String, message: String },
    /// The gate takes nothing from this sender, now or later.
    Forbidden(String),
    /// There was no answer within the patience.
    GivenUp(String),
}

impl Outcome {
    /// Whether every event got an answer, be it no.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self, Self::Judged(_) | Self::Refused { .. })
    }
}

impl Target {
    pub(super) fn new(delivery: &Delivery) -> anyhow::Result<Self> {
        let Delivery { url, key, signing_secret, trust, patience, .. } = delivery;
        let at = |path: &str| {
            let mut url = url.clone();
            url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
            url
        };
        let mut builder = trust
            .client()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
        if is_this_machine(url) {
            builder = builder.no_proxy();
        }
        let client = builder.build().context("cannot prepare requests")?;
        let (native, segment) = (at("/v1/events"), at("/v1/batch"));
        Ok(Self { client, native, segment, key: key.clone(), signing_secret: signing_secret.clone(), patience: *patience })
    }
}

/// A proxy could not reach this machine under that name.
fn is_this_machine(url: &Url) -> bool {
    url.host_str().is_some_and(settings::is_loopback)
}

/// Sends a batch until there is an answer. Returns the pieces in which it went, one as a rule, each with what became of it.
pub(super) async fn deliver(target: &Target, batch: Batch) -> Vec<(Batch, Outcome)> {
    let mut open = vec![batch];
    let mut done = Vec::new();
    while let Some(mut batch) = open.pop() {
        match insist(target, &batch).await {
            Verdict::TooLarge(..) if batch.events.len() > 1 => {
                let rest = batch.events.split_off(batch.events.len() / 2);
                open.push(Batch { number: batch.number, shape: batch.shape, events: rest });
                open.push(batch);
            }
            Verdict::TooLarge(code, message) => done.push((batch, Outcome::Refused { code, message })),
            Verdict::Final(delivery) => {
                let is_over = matches!(delivery, Outcome::Forbidden(_) | Outcome::GivenUp(_));
                done.push((batch, delivery));
                if is_over {
                    // The rest would fare no better.
                    let unsent = "not tried after the part before it failed".to_owned();
                    done.extend(open.drain(..).rev().map(|batch| (batch, Outcome::GivenUp(unsent.clone()))));
                }
            }
        }
    }
    done
}

enum Verdict {
    Final(Outcome),
    TooLarge(String, String),
}

/// Why a batch is to be sent again, and how long the gate asks to wait.
struct Again {
    reason: String,
    wait: Option<Duration>,
}

async fn insist(target: &Target, batch: &Batch) -> Verdict {
    let body = body(batch);
    let started = Instant::now();
    let mut bound = PAUSE_MIN;
    loop {
        let again = match attempt(target, batch.shape, body.clone()).await {
            Ok(verdict) => return verdict,
            Err(again) => again,
        };
        let jitter = bound.mul_f64(rand::random::<f64>());
        let pause = again.wait.map_or(jitter, |wait| wait.min(PAUSE_MAX) + jitter.min(PAUSE_MIN));
        bound = (bound * 2).min(PAUSE_MAX);
        if started.elapsed() + pause > target.patience {
            return Verdict::Final(Outcome::GivenUp(again.reason));
        }
        tracing::debug!(reason = again.reason, ?pause, "a batch is sent again");
        tokio::time::sleep(pause).await;
    }
}

fn body(batch: &Batch) -> bytes::Bytes {
    let (open, between, close): (&[u8], &[u8], &[u8]) = match batch.shape {
        Shape::Native => (b"", b"\n", b"\n"),
        Shape::Segment => (b"{\"batch\":[", b",", b"]}"),
    };
    let mut body = open.to_vec();
    for (number, (_, event)) in batch.events.iter().enumerate() {
        if number > 0 {
            body.extend_from_slice(between);
        }
        body.extend_from_slice(event);
    }
    body.extend_from_slice(close);
    body.into()
}

async fn attempt(target: &Target, shape: Shape, body: bytes::Bytes) -> Result<Verdict, Again> {
    let (url, content_type) = match shape {
        Shape::Native => (&target.native, "application/x-ndjson"),
        Shape::Segment => (&target.segment, "application/json"),
    };
    let mut request = target.client.post(url.clone()).bearer_auth(&target.key).header(CONTENT_TYPE, content_type);
    if let Some(secret) = &target.signing_secret {
        // Anew for each attempt: a signature is good for some minutes.
        request = request.header(signature::HEADER, signature::sign(secret, &body, Timestamp(SystemClock.now_micros())));
    }
    let request = request.body(body);
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => match distrust(&error) {
            Some(help) => return Ok(Verdict::Final(Outcome::Forbidden(format!("{}; {help}", told(&error))))),
            None => return Err(Again { reason: told(&error), wait: None }),
        },
    };
    let status = response.status();
    let wait = response.headers().get(RETRY_AFTER).and_then(|seconds| seconds.to_str().ok()?.parse().ok()).map(Duration::from_secs);
    let bytes = read(response).await.map_err(|error| Again { reason: told(&error), wait })?;
    let answer = serde_json::from_slice::<Answer>(&bytes).ok();
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        let said = answer.filter(|answer| !answer.message.is_empty()).map_or_else(String::new, |answer| format!(": {}", answer.message));
        return Err(Again { reason: format!("the gate answered {status}{said}"), wait });
    }
    Ok(judge(url, status, answer))
}

fn judge(url: &Url, status: StatusCode, answer: Option<Answer>) -> Verdict {
    let Some(answer) = answer else {
        return Verdict::Final(Outcome::Forbidden(format!("what {url} answers ({status}) is not what a gate answers; check --url")));
    };
    if (status == StatusCode::OK && answer.success) || (status == StatusCode::BAD_REQUEST && !answer.rejected.is_empty()) {
        return Verdict::Final(Outcome::Judged(answer));
    }
    let Answer { code, message, detail, .. } = answer;
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Verdict::TooLarge(code, message),
        StatusCode::BAD_REQUEST if code == "too_many_events" => Verdict::TooLarge(code, message),
        StatusCode::BAD_REQUEST if !code.is_empty() => Verdict::Final(Outcome::Refused { code, message }),
        _ => Verdict::Final(Outcome::Forbidden(format!("{url} answered {status}: {message}; {detail}"))),
    }
}

async fn read(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            break;
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// What to do where one side does not trust the other's certificate: the next attempt would end alike. Nothing where it failed for another reason.
fn distrust(error: &reqwest::Error) -> Option<&'static str> {
    match of_tls(error)? {
        rustls::Error::InvalidCertificate(_) => {
            Some("give the certificate that signed the gate's with --ca-file, and the name that the gate's is for in --url")
        }
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::DecryptError,
        ) => Some("give a certificate that the gate knows the signer of, with --client-cert-file and --client-key-file"),
        _ => None,
    }
}

/// What TLS says went wrong, wherever it is among the causes.
fn of_tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut error = error;
    loop {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // What an error of I/O wraps is not its source: that is the source of what it wraps.
        error = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => wrapped,
            None => error.source()?,
        };
    }
}

/// The error with its causes: the outermost alone says little more than that something failed.
fn told(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
