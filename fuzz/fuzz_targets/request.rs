//! Whole requests. The gate answers each with a status that is documented, what it says yes to was appended before, and a later stage reads and judges what was appended as the gate did.
//!
//! An input is written much as a request is: a line of a letter for the path, one for how the body is packed, and the query; lines of headers; an empty line; the body.
//!
//! A capital letter for the path asks another gate, whose keys may do less, and whose plan marks personal data and asks for consent. In the header of a signature `$` stands for a right one of
//! this body, and `%` for one that is an hour old.
#![no_main]

use std::mem;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use axum::body::{Body, to_bytes};
use axum::http::{HeaderName, HeaderValue, Request, Response};
use contract::mask::{Key, network};
use contract::{Erased, Event, Identity, Plan, Receipt, SourceName, Timestamp, Verdict, WireFormat, json, wire};
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use ingest::keys::{Scope, Source};
use ingest::signature::{self, SigningKey};
use ingest::{Config, Gate, KeyFile, Keyring, WriteKey, judge_again};
use journal::{Error, Record, Sink};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tempfile::TempDir;
use tidegate_fuzz::{PII_KEY, check_event, is_masked};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

const PATHS: [&str; 14] = [
    "/v1/events",
    "/v1/batch",
    "/v1/import",
    "/v1/track",
    "/v1/identify",
    "/v1/page",
    "/v1/screen",
    "/v1/group",
    "/v1/alias",
    "/v1/pixel/track",
    "/v1/pixel/identify",
    "/pixel/v1/track",
    "/pixel/v1/page",
    "/beacon/v1/batch/",
];
/// Those of pixels begin here, and end before the last.
const PIXELS: std::ops::Range<usize> = 9..13;
const STATUSES: [u16; 9] = [200, 400, 401, 403, 404, 413, 415, 422, 429];
/// What the stricter gate holds events to.
const STRICT: &str = r#"
version: strict
default_policy: quarantine
sources:
  web: {client_address: drop}
  billing: {policy: reject, client_address: truncate}
  narrow: {policy: flag}
pii: {/context/ip: truncate, /properties/secret: drop}
consent: {required: [analytics], unknown: allow}
types:
  sign_up:
    properties:
      email: {type: string, format: email, pii: hash}
      phone: {type: string, pii: drop}
      plan: {enum: [free, paid]}
      address: {type: object, properties: {zip: {type: string, pii: truncate}}}
      guests: {type: array, items: {type: object, properties: {name: {type: string, pii: hash}}}}
    required: [email]
  ad_click:
    consent: {required: [ads]}
"#;
/// The key of the stricter gate whose requests are signed.
const SIGNED: &str = "signed";
/// Who is kept out of it.
const ERASED: &str = "erased-one";
const SIGNATURE: &str = "x-tidegate-signature";
const HOUR: i64 = 3_600_000_000;
const HEADERS_MAX: usize = 12;
/// What a body grows to before it is packed, where it does: just beyond the bound of the gate.
const GROWN_BYTES: usize = (4 << 20) + (64 << 10);

/// Keeps what is appended until it is looked at.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Record>>);

#[async_trait::async_trait]
impl Sink for Kept {
    async fn put(&self, records: Vec<Record>) -> Result<(), Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(records);
        Ok(())
    }
}

/// A gate, and what it is to decide by.
struct World {
    kept: Arc<Kept>,
    gate: Gate,
    router: axum::Router,
    plan: Arc<Plan>,
    config: Config,
    erased: Arc<Erased>,
    /// Where its keys are.
    _folder: Option<TempDir>,
}

impl World {
    fn new(keyring: Keyring, plan: Plan, config: Config, erased: Erased, folder: Option<TempDir>) -> Self {
        let (kept, plan, erased) = (Arc::new(Kept::default()), Arc::new(plan), Arc::new(erased));
        let builder = Gate::builder(Arc::clone(&kept) as Arc<dyn Sink>, keyring).plan(Arc::clone(&plan)).config(config.clone());
        let gate = builder.pii_key(Key::new(PII_KEY)).signing_key(signing_key()).build().expect("sound settings");
        gate.keep_out(Arc::clone(&erased));
        Self { kept, router: ingest::router(gate.clone()), gate, plan, config, erased, _folder: folder }
    }
}

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));

/// Takes everything from everybody.
static OPEN: LazyLock<World> = LazyLock::new(|| {
    let keyring = Keyring::for_any_key(Source::of_any_key(name("web")));
    World::new(keyring, Plan::built_in(), Config::default(), Erased::default(), None)
});

static STRICTER: LazyLock<World> = LazyLock::new(|| {
    let folder = tidegate_fuzz::folder();
    let keys = KeyFile::at(folder.path().join("sources.json"));
    let add =
        |source: &str, key: &str, scope: Scope| keys.add(name(source), &key.parse().expect("a key"), scope, Timestamp(0)).expect("room");
    add("web", "key", Scope::default());
    add("billing", SIGNED, Scope { signed: true, ..Scope::default() });
    let of = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    add(
        "narrow",
        "narrow",
        Scope { event_types: of(&["page_view", "sign_*"]), allowed_origins: of(&["https://www.example.com"]), ..Scope::default() },
    );
    add("old", "old", Scope::default());
    keys.revoke(&name("old"), None, Timestamp(1)).expect("it has one");
    let mut erased = Erased::new([5; 32]);
    erased.insert(erased.digest(ERASED));
    let config = Config { trusted_proxies: 1, ..Config::default() };
    let plan = Plan::parse(STRICT, "strict.yaml").expect("a plan");
    World::new(Keyring::open(keys).expect("the keys"), plan, config, erased, Some(folder))
});

fn name(text: &str) -> SourceName {
    text.parse().expect("a name")
}

fn signing_key() -> SigningKey {
    SigningKey::new([9; 32])
}

/// A request, and how its signature is: whether a right one is anywhere in its headers, and whether that is all that is said of it.
struct Sent {
    request: Request<Body>,
    is_strict: bool,
    is_signed: bool,
    is_well_signed: bool,
    is_stale: bool,
}

fuzz_target!(|input: &[u8]| {
    let Some(Sent { request, is_strict, is_signed, is_well_signed, is_stale }) = request(input) else { return };
    let world = if is_strict { &*STRICTER } else { &*OPEN };
    let is_pixel = request.method() == "GET";
    let (status, answer) = RUNTIME.block_on(async {
        let Ok(response): Result<Response<Body>, _> = world.router.clone().oneshot(request).await;
        let status = response.status().as_u16();
        (status, to_bytes(response.into_body(), 64 << 20).await.expect("an answer"))
    });
    assert!(STATUSES.contains(&status) || (status == 503 && is_strict && is_stale), "{status}");
    if !is_pixel && is_well_signed {
        let text = String::from_utf8_lossy(&answer);
        assert!(!text.contains("_signature\",\"message\""), "a right signature is not taken: {text}");
    }
    assert_eq!(world.gate.in_flight(), 0);
    let records = mem::take(&mut *world.kept.0.lock().unwrap_or_else(PoisonError::into_inner));
    let mut taken = 0;
    for record in &records {
        let receipt = Receipt::from_bytes(&record.header).expect("a receipt");
        assert!(receipt.source.as_str() != "billing" || is_signed, "what nobody signed was kept");
        check(record, &receipt, world);
        taken += usize::from(receipt.verdict != Verdict::Refused);
    }
    if status == 200 && !is_pixel {
        let answer: Value = serde_json::from_slice(&answer).expect("the answer is JSON");
        let rejected = answer["rejected"].as_array().map_or(0, Vec::len);
        assert_eq!((answer["accepted"].as_u64(), rejected), (Some(taken as u64), records.len() - taken), "{answer}");
    }
    if status != 200 {
        assert_eq!(taken, 0, "a refused request has events that were taken");
    }
});

/// What the input says; `None` where no client could send it.
fn request(input: &[u8]) -> Option<Sent> {
    let (line, mut rest) = line(input);
    let ([path, packing], query) = line.split_first_chunk()?;
    let is_strict = path.is_ascii_uppercase();
    let place = usize::from(path.to_ascii_lowercase().wrapping_sub(b'a')) % PATHS.len();
    let method = if PIXELS.contains(&place) { "GET" } else { "POST" };
    let address = format!("{}?{}", PATHS.get(place)?, str::from_utf8(query).ok()?);
    let mut request = Request::builder().method(method).uri(address).body(Body::empty()).ok()?;
    let mut headers = Vec::new();
    for _ in 0..HEADERS_MAX {
        let (header, behind) = self::line(rest);
        rest = behind;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_at_checked(header.iter().position(|byte| *byte == b':')?)?;
        headers.push((HeaderName::from_bytes(name).ok()?, value.get(1..)?.trim_ascii()));
    }
    let (body, encodings) = packed(*packing, rest);
    let of_signature = || headers.iter().filter(|(name, _)| name == SIGNATURE).map(|(_, value)| *value);
    let any = |mark: u8| of_signature().any(|value| value.contains(&mark));
    let (is_signed, is_stale, is_well_signed) = (any(b'$'), any(b'%'), of_signature().next() == Some(b"$".as_slice()));
    for (name, value) in headers {
        let value = if name == SIGNATURE { with_signature(value, &body) } else { value.to_vec() };
        request.headers_mut().append(name, HeaderValue::from_bytes(&value).ok()?);
    }
    if !request.headers().contains_key("x-write-key") {
        request.headers_mut().entry("authorization").or_insert(HeaderValue::from_static("Basic a2V5Og=="));
    }
    for encoding in encodings {
        request.headers_mut().append("content-encoding", HeaderValue::from_static(encoding));
    }
    *request.body_mut() = Body::from(body);
    Some(Sent { request, is_strict, is_signed, is_well_signed, is_stale })
}

/// The value of a header with the signature that is asked for in it.
fn with_signature(value: &[u8], body: &[u8]) -> Vec<u8> {
    let Some(at) = value.iter().position(|byte| matches!(byte, b'$' | b'%')) else { return value.to_vec() };
    let secret = signing_key().secret(&SIGNED.parse::<WriteKey>().expect("a key").digest());
    let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_micros() as i64);
    let signed_at = if value[at] == b'$' { now } else { now - HOUR };
    [&value[..at], signature::sign(&secret, body, Timestamp(signed_at)).as_bytes(), &value[at + 1..]].concat()
}

fn line(input: &[u8]) -> (&[u8], &[u8]) {
    match input.iter().position(|byte| *byte == b'\n') {
        Some(at) => (input.get(..at).unwrap_or_default(), input.get(at + 1..).unwrap_or_default()),
        None => (input, b""),
    }
}

/// The body, packed as the letter says, and how that is called. A capital letter: grown before.
fn packed(letter: u8, body: &[u8]) -> (Vec<u8>, &'static [&'static str]) {
    let grown;
    let body: &[u8] = if letter.is_ascii_uppercase() && !body.is_empty() {
        grown = body.repeat(GROWN_BYTES / body.len());
        &grown
    } else {
        body
    };
    match letter.to_ascii_lowercase() {
        b'g' => (gzip(body), &["gzip"]),
        // As many do, without a word.
        b's' => (gzip(body), &[]),
        b'd' => (filled(ZlibEncoder::new(Vec::new(), Compression::fast()), body, ZlibEncoder::finish), &["deflate"]),
        b'r' => (filled(DeflateEncoder::new(Vec::new(), Compression::fast()), body, DeflateEncoder::finish), &["deflate"]),
        b'z' => (zstd::encode_all(body, 1).expect("it can be packed"), &["zstd"]),
        b'w' => (gzip(&zstd::encode_all(body, 1).expect("it can be packed")), &["zstd", "gzip"]),
        _ => (body.to_vec(), &[]),
    }
}

fn gzip(body: &[u8]) -> Vec<u8> {
    filled(GzEncoder::new(Vec::new(), Compression::fast()), body, GzEncoder::finish)
}

fn filled<W: std::io::Write>(mut encoder: W, body: &[u8], finish: impl FnOnce(W) -> std::io::Result<Vec<u8>>) -> Vec<u8> {
    encoder.write_all(body).and_then(|()| finish(encoder)).expect("it can be packed")
}

/// What stands in the journal is what the gate decided, and whoever reads it comes to the same.
fn check(record: &Record, receipt: &Receipt, world: &World) {
    let World { plan, config, .. } = world;
    assert_eq!(record.key, Identity { source: receipt.source.as_str(), event_id: receipt.event_id.as_str() }.digest());
    check_address(receipt, plan);
    let is_refused = receipt.verdict == Verdict::Refused;
    if receipt.format == WireFormat::Erased {
        assert!(receipt.verdict == Verdict::Accepted && record.value.is_empty() && receipt.envelope.is_none());
        return;
    }
    if is_refused {
        assert!(!receipt.violations.is_empty() && record.value.len() <= config.refused_payload_bytes_max);
    }
    let read = wire::decode(receipt.format, &record.value, receipt.envelope.as_deref(), &json::Limits::default());
    let event = match read {
        Ok(event) => event,
        // What cannot be read has nothing of the person's in it, or is the front of what was masked.
        Err(_) => {
            assert!(is_refused, "what was taken can be read");
            assert!(!plan.marks_any() || record.value.is_empty() || receipt.truncated_from.is_some());
            return;
        }
    };
    if plan.marks_any() {
        check_personal(&event, plan, &world.erased);
    }
    if is_refused {
        return;
    }
    assert_eq!(event.event_id.is_none(), receipt.event_id_generated);
    assert!(event.event_id.as_ref().is_none_or(|id| *id == receipt.event_id) && event.sent_at == receipt.sent_at);
    let again = judge_again(receipt, &record.value, plan, config, &Key::new(PII_KEY));
    let envelope = |receipt: &Receipt| receipt.envelope.as_ref().map(|envelope| envelope.get().to_owned());
    assert_eq!((&again.payload, envelope(&again.receipt)), (&record.value, envelope(receipt)), "masked twice is not masked once");
    if plan.masks(&event.event_type).is_empty() {
        assert_eq!((again.receipt.verdict, &again.receipt.violations), (receipt.verdict, &receipt.violations));
    } else if receipt.violations.len() < contract::plan::VIOLATIONS_MAX {
        let found =
            |receipt: &Receipt| -> Vec<_> { receipt.violations.iter().map(|found| (found.code.clone(), found.field.clone())).collect() };
        let before = found(receipt);
        assert!(found(&again.receipt).iter().all(|violation| before.contains(violation)), "{:?} {before:?}", again.receipt.violations);
    }
    check_event(&event, receipt.format, &record.value, receipt.envelope.as_ref().map(|envelope| envelope.get()));
}

/// Nothing is left of what is marked, and there is consent.
fn check_personal(event: &Event<'_>, plan: &Plan, erased: &Erased) {
    assert!(plan.has_consent(event) && !erased.has(event), "{event:?} is to be kept out");
    for mark in plan.pii(&event.event_type) {
        let places: Vec<&str> = mark.field.split('/').skip(2).collect();
        let object = if mark.field.starts_with("/context/") { &event.context } else { &event.properties };
        assert!(object.get(places[0]).is_none_or(|value| is_masked(value, &places[1..], mark.pii)), "{mark:?}: {event:?}");
    }
}

fn check_address(receipt: &Receipt, plan: &Plan) {
    use contract::plan::ClientAddress::{Drop, Keep, Truncate};
    let address = receipt.client_ip.as_ref().map(|text| text.parse().expect("an address"));
    match plan.client_address(&receipt.source).unwrap_or_default() {
        Keep => {}
        Drop => assert_eq!(address, None),
        Truncate => assert_eq!(address, address.map(network)),
    }
}
