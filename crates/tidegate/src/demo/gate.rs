//! Sends a step's parcels through the platform's real HTTP API: by lines in the native shape, by visitor in Segment's, packed where that pays.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream::{StreamExt as _, TryStreamExt as _};
use ingest::WriteKey;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use serde::Deserialize;

use super::flaws::Flaw;
use super::traffic::{Fate, Parcel, Step};
use super::wire;

/// Events in one request of the native shape.
const EVENTS_PER_REQUEST_MAX: usize = 250;
/// Requests in work at a time.
const REQUESTS_MAX: usize = 8;
/// Bodies from this size on are packed.
const PACKED_FROM_BYTES: usize = 4 * 1024;
/// How often a request is sent again while the gate asks to wait.
const WAITS_MAX: u32 = 60;
/// The longest of these waits.
const WAIT_SECONDS_MAX: u64 = 10;
/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Refusals after which the gate certainly has nothing of the request, so that sending it again doubles nothing that the books do not expect.
const NOTHING_TAKEN: [&str; 4] = ["busy", "rate_limited", "journal_full", "body_too_slow"];

/// The gate, as its clients know it.
#[derive(Debug)]
pub(crate) struct Gate {
    http: reqwest::Client,
    base: String,
    keys: Keys,
}

/// The write keys of the run: one for the web pages, one for the app.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) web: WriteKey,
    pub(crate) app: WriteKey,
}

/// What the gate said.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Answers {
    pub(crate) accepted: u64,
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) quarantined: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    accepted: Option<u64>,
    #[serde(default)]
    rejected: Vec<Notice>,
    #[serde(default)]
    quarantined: Vec<Notice>,
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

#[derive(Debug, Deserialize)]
struct Notice {
    code: String,
}

#[derive(Debug)]
struct Request {
    is_app: bool,
    body: String,
}

impl Gate {
    pub(crate) fn new(address: SocketAddr, keys: Keys) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(REQUEST_TIMEOUT).build().context("cannot make an HTTP client")?;
        Ok(Self { http, base: format!("http://{address}"), keys })
    }

    /// Sends all of a step, several requests at a time, and waits for the last answer.
    pub(crate) async fn send(&self, step: &Step) -> anyhow::Result<Answers> {
        let all = futures::stream::iter(requests(&step.parcels)).map(|request| self.post(request)).buffer_unordered(REQUESTS_MAX);
        all.try_fold(Answers::default(), |sum, answers| async move { Ok(sum.plus(answers)) }).await
    }

    async fn post(&self, request: Request) -> anyhow::Result<Answers> {
        let (path, key, content_type) = if request.is_app {
            ("/v1/batch", &self.keys.app, "application/json")
        } else {
            ("/v1/events", &self.keys.web, "application/x-ndjson")
        };
        let is_packed = request.body.len() >= PACKED_FROM_BYTES;
        let body = if is_packed { packed(&request.body)? } else { request.body.into_bytes() };
        let body = bytes::Bytes::from(body);
        for _ in 0..=WAITS_MAX {
            let mut post =
                self.http.post(format!("{}{path}", self.base)).basic_auth(key.reveal(), Some("")).header(CONTENT_TYPE, content_type);
            if is_packed {
                post = post.header(CONTENT_ENCODING, "gzip");
            }
            let response =
                post.body(body.clone()).send().await.context("the gate did not answer; what it has of the request is not known")?;
            let status = response.status();
            let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
            let answer: Answer = response.json().await.context("the gate's answer is not what it should be")?;
            if status == StatusCode::TOO_MANY_REQUESTS && NOTHING_TAKEN.contains(&answer.code.as_str()) {
                tokio::time::sleep(Duration::from_secs(wait.unwrap_or(1).min(WAIT_SECONDS_MAX))).await;
                continue;
            }
            let Some(accepted) = answer.accepted else {
                bail!("the gate did not take a request: {status} {}: {}", answer.code, answer.message);
            };
            return Ok(Answers { accepted, refused: by_code(&answer.rejected), quarantined: by_code(&answer.quarantined) });
        }
        bail!("the gate asked {WAITS_MAX} times to wait; the pipeline may be stuck, see the log")
    }
}

impl Answers {
    /// Both together.
    pub(crate) fn plus(mut self, other: Self) -> Self {
        self.accepted += other.accepted;
        for (sum, more) in [(&mut self.refused, other.refused), (&mut self.quarantined, other.quarantined)] {
            for (code, count) in more {
                *sum.entry(code).or_default() += count;
            }
        }
        self
    }
}

fn by_code(notices: &[Notice]) -> BTreeMap<String, u64> {
    let mut codes = BTreeMap::new();
    for notice in notices {
        *codes.entry(notice.code.clone()).or_default() += 1;
    }
    codes
}

fn packed(body: &str) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body.as_bytes())?;
    encoder.finish()
}

fn requests(parcels: &[Parcel]) -> Vec<Request> {
    let (app, web): (Vec<&Parcel>, Vec<&Parcel>) = parcels.iter().partition(|parcel| parcel.is_app);
    // Only beside a sound line is a broken one known for a line. So the broken ones go last, and alone where there is no other.
    let (broken, mut lines): (Vec<&Parcel>, Vec<&Parcel>) = web.into_iter().partition(|parcel| parcel.fate == Fate::Dead(Flaw::BrokenJson));
    let alone = if lines.is_empty() { broken } else { spread(&mut lines, broken) };
    let mut requests: Vec<Request> = lines.chunks(EVENTS_PER_REQUEST_MAX).map(native).collect();
    requests.extend(alone.into_iter().map(|parcel| native(&[parcel])));
    requests.extend(batches(&app));
    requests
}

/// Puts each broken line behind a sound one; gives back those that found no place.
fn spread<'a>(lines: &mut Vec<&'a Parcel>, broken: Vec<&'a Parcel>) -> Vec<&'a Parcel> {
    // Every second place from the front on: no request can then be without a sound line.
    let mut left = Vec::new();
    for (number, parcel) in broken.into_iter().enumerate() {
        let place = 2 * number + 1;
        if place <= lines.len() {
            lines.insert(place, parcel);
        } else {
            left.push(parcel);
        }
    }
    left
}

fn native(parcels: &[&Parcel]) -> Request {
    let lines: Vec<&str> = parcels.iter().map(|parcel| parcel.text.as_str()).collect();
    Request { is_app: false, body: lines.join("\n") }
}

/// One batch a visitor, as its app sends it.
fn batches(parcels: &[&Parcel]) -> Vec<Request> {
    let mut by_visitor: BTreeMap<(u64, i64), Vec<&str>> = BTreeMap::new();
    for parcel in parcels {
        by_visitor.entry((parcel.visitor, parcel.sent_at)).or_default().push(&parcel.text);
    }
    let batch =
        |((_, sent_at), texts): ((u64, i64), Vec<&str>)| Request { is_app: true, body: wire::segment_batch(texts.into_iter(), sent_at) };
    by_visitor.into_iter().map(batch).collect()
}

#[cfg(test)]
mod tests {
    use contract::wire::split;

    use super::*;

    fn parcel(text: &str, is_app: bool, fate: Fate) -> Parcel {
        Parcel { visitor: 1, is_app, sent_at: 5, text: text.to_owned(), fate }
    }

    #[test]
    fn a_request_has_as_many_events_as_it_was_given() {
        let sound = |number: usize| parcel(&format!(r#"{{"n":{number}}}"#), false, Fate::Copy);
        let broken = || parcel(r#"{"n":"#, false, Fate::Dead(Flaw::BrokenJson));
        for (sounds, brokens) in [(0, 1), (0, 3), (1, 0), (1, 1), (1, 3), (2, 4), (600, 1), (600, 20)] {
            let mut parcels: Vec<Parcel> = (0..sounds).map(sound).collect();
            parcels.extend((0..brokens).map(|_| broken()));
            let requests = requests(&parcels);
            let events: usize = requests.iter().map(|request| split::native(request.body.as_bytes(), 5_000).unwrap().len()).sum();
            assert_eq!(events, sounds + brokens, "{sounds} sound, {brokens} broken");
        }
    }

    #[test]
    fn the_app_sends_a_batch_for_each_visitor() {
        let mut parcels = vec![parcel(r#"{"type":"page"}"#, true, Fate::Copy); 3];
        parcels[2].visitor = 2;
        let requests = requests(&parcels);
        let sizes: Vec<usize> =
            requests.iter().map(|request| split::segment_batch(request.body.as_bytes(), 100).unwrap().events.len()).collect();
        assert_eq!(sizes, [2, 1]);
        assert!(requests.iter().all(|request| request.is_app));
    }

    #[test]
    fn answers_add_up() {
        let one: Answer =
            serde_json::from_str(r#"{"success":true,"accepted":2,"rejected":[{"index":0,"code":"a"},{"code":"b"}]}"#).unwrap();
        let answers = Answers { accepted: 2, refused: by_code(&one.rejected), quarantined: BTreeMap::new() };
        let sum = answers.clone().plus(answers);
        assert_eq!((sum.accepted, sum.refused), (4, BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 2)])));
    }
}
