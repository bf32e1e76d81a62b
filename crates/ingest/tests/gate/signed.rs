//! Keys that ask for signed requests.

use std::io::Write as _;

use contract::{Timestamp, Verdict};
use flate2::Compression;
use flate2::write::GzEncoder;
use ingest::keys::Scope;
use ingest::signature::{SigningKey, sign};
use ingest::{Config, WriteKey};
use telemetry::clock::{Clock as _, SystemClock};

use crate::support::{Request, SIGNING_KEY, Server, event, source};

const SIGNED: &str = "tg_signed";

async fn server() -> Server {
    let server = Server::start().await;
    server.keys.add(source("billing"), &SIGNED.parse().unwrap(), Scope { signed: true, ..Scope::default() }, Timestamp(0)).unwrap();
    server
}

fn secret() -> String {
    SigningKey::new(SIGNING_KEY).secret(&SIGNED.parse::<WriteKey>().unwrap().digest())
}

fn now() -> Timestamp {
    Timestamp(SystemClock.now_micros())
}

fn signed(request: Request, body: &[u8], at: Timestamp) -> Request {
    request.header("x-tidegate-signature", &sign(&secret(), body, at))
}

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn what_is_signed_is_taken_as_it_was_sent() {
    let server = server().await;
    let body = event("1").into_bytes();
    let request = Request::post("/v1/events", body.clone()).header("x-write-key", SIGNED);
    server.send(signed(request, &body, now())).await.taken(1);
    let body = packed(&event("2"));
    let request = Request::post("/v1/events", body.clone()).header("x-write-key", SIGNED).header("content-encoding", "gzip");
    server.send(signed(request, &body, now())).await.taken(1);
    // With the key in the body, which is read first to know whose it is.
    let body = format!(r#"{{"writeKey":"{SIGNED}","batch":[{{"type":"page","messageId":"3","userId":"u"}}]}}"#).into_bytes();
    server.send(signed(Request::post("/v1/batch", body.clone()), &body, now())).await.taken(1);
    let kept = server.kept().await;
    assert!(kept.len() == 3 && kept.iter().all(|kept| kept.verdict() == Verdict::Accepted), "{kept:?}");
}

#[tokio::test]
async fn nothing_is_taken_nor_kept_of_what_is_not() {
    let server = server().await;
    let body = event("1").into_bytes();
    let request = |body: &[u8]| Request::post("/v1/events", body).header("x-write-key", SIGNED);
    assert_eq!(server.send(request(&body)).await.error(401), "missing_signature");
    assert_eq!(server.send(signed(request(&body), b"[]", now())).await.error(401), "invalid_signature");
    assert_eq!(server.send(request(&body).header("x-tidegate-signature", "yes")).await.error(401), "invalid_signature");
    let old = Timestamp(now().0 - 3_600_000_000);
    let stale = server.send(signed(request(&body), &body, old)).await;
    assert_eq!((stale.error(503).as_str(), stale.header("retry-after").is_some()), ("stale_signature", true));
    // Neither what cannot be read, nor what is too large to be looked at.
    assert_eq!(server.send(request(b"{")).await.error(401), "missing_signature");
    let in_body = format!(r#"{{"writeKey":"{SIGNED}","batch":7}}"#);
    assert_eq!(server.send(Request::post("/v1/batch", in_body)).await.error(401), "missing_signature");
    let large = vec![b' '; Config::default().body_bytes_max + 1];
    assert_eq!(server.send(request(&large)).await.error(413), "body_too_large");
    assert!(server.kept().await.is_empty());
    // But what is signed and cannot be read is kept, as any other source's.
    assert_eq!(server.send(signed(request(b"{"), b"{", now())).await.error(400), "invalid_json");
    assert_eq!(server.kept().await.len(), 1);
    // The keys of other sources need no signature.
    server.send(Request::events(event("2"))).await.taken(1);
}
