//! What no one should send and everyone does: the right status, a clear message, flat memory, and the next good request works.

use std::fs;

use contract::{Plan, Verdict};
use ingest::Config;
use journal::embedded;
use serde_json::json;

use crate::support::{KEY, Request, Server, event, gzip};

const GIB: usize = 1024 * 1024 * 1024;

#[tokio::test]
async fn each_is_refused_kept_and_harms_no_one() {
    let server = Server::start().await;
    let packed = gzip(event("1").repeat(100).as_bytes());
    let with_encoding = |name: &str, body: &[u8]| Request::events(body).header("content-encoding", name);
    let property = |value: &str| Request::events(format!(r#"{{"event_id":"bad","event_type":"x","properties":{{"p":{value}}}}}"#));
    let table = [
        ("truncated gzip", with_encoding("gzip", &packed[..packed.len() / 2]), 400, "invalid_encoding"),
        ("truncated gzip without a header", Request::events(&packed[..packed.len() / 2]), 400, "invalid_encoding"),
        ("no gzip", with_encoding("gzip", b"{}"), 400, "invalid_encoding"),
        ("unknown encoding", with_encoding("compress", b"{}"), 400, "unsupported_encoding"),
        ("three encodings", with_encoding("gzip, gzip, gzip", b"{}"), 400, "unsupported_encoding"),
        ("10,000 deep", property(&format!("{}{}", "[".repeat(10_000), "]".repeat(10_000))), 400, "too_deep"),
        ("100,000 deep, never closed", property(&r#"{"a":"#.repeat(100_000 / 5)), 400, "too_deep"),
        ("lone surrogate", property(r#""\ud800""#), 400, "invalid_json"),
        ("invalid UTF-8", Request::events(&b"{\"event_type\":\"\xff\xfe\"}"[..]), 400, "invalid_json"),
        ("duplicate keys", property(r#"{"a":1,"a":2}"#), 400, "duplicate_key"),
        ("NaN", property("NaN"), 400, "invalid_json"),
        ("infinity", property("1e999"), 400, "invalid_json"),
        ("1 MB string", property(&format!("\"{}\"", "x".repeat(1_000_000))), 400, "event_too_large"),
        ("empty", Request::events(""), 400, "empty_body"),
        ("text", Request::events("hello"), 400, "invalid_json"),
        ("NUL bytes", Request::events(vec![0; 1000]), 400, "invalid_json"),
        ("number", Request::events("1"), 400, "wrong_type"),
        ("array without an end", Request::events("[{},"), 400, "invalid_json"),
        ("long id", Request::events(event(&"i".repeat(101))), 400, "invalid_event_id"),
    ];
    let mut connection = server.connect().await;
    for (number, (what, request, status, code)) in table.into_iter().enumerate() {
        assert_eq!(connection.send(request).await.error(status), code, "{what}");
        connection.send(Request::events(event(&format!("good {number}")))).await.taken(1);
        let kept = server.kept().await;
        let [.., refused, good] = kept.as_slice() else { panic!("{what}: {kept:?}") };
        assert_eq!((refused.verdict(), refused.codes()[0], good.verdict()), (Verdict::Refused, code, Verdict::Accepted), "{what}");
        assert!(refused.payload.len() <= Config::default().refused_payload_bytes_max, "{what}");
        assert_eq!(kept.len(), 2 * (number + 1), "{what}: one record each");
    }
}

#[tokio::test]
async fn a_bad_event_does_not_spoil_its_neighbours() {
    let server = Server::start().await;
    let (first, last) = (event("1"), event("3"));
    let body = [b"[", first.as_bytes(), br#",{"event_id":"2","event_type":"\ud800"},"#, last.as_bytes(), b",\"\xff\"]"].concat();
    let told = server.send(Request::events(body)).await.json();
    assert_eq!((&told["success"], &told["accepted"]), (&json!(true), &json!(2)), "{told}");
    let places: Vec<_> = told["rejected"].as_array().unwrap().iter().map(|notice| notice["index"].as_u64().unwrap()).collect();
    assert_eq!(places, [1, 3]);
    let verdicts: Vec<_> = server.kept().await.iter().map(|kept| kept.verdict()).collect();
    assert_eq!(verdicts, [Verdict::Accepted, Verdict::Refused, Verdict::Accepted, Verdict::Refused]);
}

#[tokio::test]
async fn a_long_string_in_an_event_that_is_not_too_large_is_named() {
    let config = Config { event_bytes_max: 2 * 1024 * 1024, ..Config::default() };
    let server = Server::start_with(config, embedded::Config::default(), Plan::built_in()).await;
    let body = format!(r#"{{"event_id":"1","event_type":"x","properties":{{"p":"{}"}}}}"#, "x".repeat(1_000_000));
    let answer = server.send(Request::events(body.clone())).await;
    assert_eq!((answer.error(400).as_str(), &answer.json()["rejected"][0]["field"]), ("string_too_long", &json!("/properties/p")));
    let kept = server.only_kept().await;
    assert_eq!((kept.payload.len(), kept.receipt.truncated_from), (8 * 1024, Some(body.len() as u64)));
}

#[tokio::test]
async fn a_broken_shared_part_is_one_refusal() {
    let server = Server::start().await;
    let batch = |context: &str| {
        Request::post("/v1/batch", format!(r#"{{"batch":[{{"type":"page"}},{{"type":"page"}}],"context":{context}}}"#))
            .header("x-write-key", KEY)
    };
    assert_eq!(server.send(batch(&format!("{{\"a\":{}{}}}", "[".repeat(500), "]".repeat(500)))).await.error(400), "too_deep");
    assert_eq!(server.send(batch(r#"{"a":"\ud800"}"#)).await.error(400), "invalid_json");
    assert_eq!(server.send(batch("7")).await.error(400), "wrong_type");
    assert_eq!(server.send(batch(&format!("{{\"a\":\"{}\"}}", "x".repeat(40_000)))).await.error(413), "envelope_too_large");
    let kept = server.kept().await;
    assert!(kept.len() == 4 && kept.iter().all(|kept| kept.verdict() == Verdict::Refused), "{kept:?}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_read_to_its_end_so_that_the_answer_is_seen() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    let large = vec![b'x'; 9 * 1024 * 1024];
    assert_eq!(connection.send(Request::events(large.clone())).await.error(413), "body_too_large");
    let kept = server.only_kept().await;
    assert_eq!((kept.payload.len(), kept.receipt.truncated_from), (8 * 1024, Some(large.len() as u64)));
    // Without a stated length.
    let chunk = [format!("{:x}\r\n", large.len()).as_bytes(), &large, b"\r\n0\r\n\r\n"].concat();
    let head = Request::events("").header("transfer-encoding", "chunked").without_length().bytes();
    connection.write(&head).await;
    connection.write(&chunk).await;
    assert_eq!(connection.answer().await.error(413), "body_too_large");
    // And with a wrong key.
    let wrong = Request::post("/v1/events", large).header("x-write-key", "wrong");
    assert_eq!(connection.send(wrong).await.error(401), "unknown_key");
    connection.send(Request::events(event("1"))).await.taken(1);
    assert_eq!(server.kept().await.len(), 3);
}

#[tokio::test]
async fn a_client_that_asks_first_is_refused_before_it_sends() {
    let server = Server::start().await;
    for (key, length, status, code) in [("wrong", 100, 401, "unknown_key"), (KEY, 100_000_000, 413, "body_too_large")] {
        let mut connection = server.connect().await;
        let request = Request::post("/v1/events", "").header("x-write-key", key).header("expect", "100-continue");
        connection.write(&request.header("content-length", &length.to_string()).without_length().bytes()).await;
        assert_eq!(connection.answer().await.error(status), code);
    }
    let mut connection = server.connect().await;
    let body = event("1");
    let request = Request::events("").header("expect", "100-continue").header("content-length", &body.len().to_string());
    connection.write(&request.without_length().bytes()).await;
    assert_eq!(connection.answer().await.status, 100);
    connection.write(body.as_bytes()).await;
    connection.answer().await.taken(1);
}

/// The most memory this process has had in use since the last call, in bytes. The tests of this file beside this one use little.
fn peak_memory_since_last() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
    fs::write("/proc/self/clear_refs", "5").unwrap();
    kib * 1024
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn bombs_of_a_gibibyte_in_a_mebibyte_stay_small() {
    let sixteen_mib = vec![b' '; 16 * 1024 * 1024];
    let repeated = |part: Vec<u8>| part.repeat(GIB / sixteen_mib.len());
    let bombs = [
        ("gzip", repeated(gzip(&sixteen_mib))),
        ("zstd", repeated(zstd::stream::encode_all(&sixteen_mib[..], 1).unwrap())),
        ("br", brotli_spaces(GIB / sixteen_mib.len())),
    ];
    drop(sixteen_mib);
    let server = Server::start().await;
    peak_memory_since_last();
    let before = peak_memory_since_last();
    for (encoding, bomb) in bombs {
        assert!(bomb.len() <= 1024 * 1024 + 64 * 1024, "{encoding}: {}", bomb.len());
        let attacks = (0..8).map(|_| server.send(Request::events(bomb.clone()).header("content-encoding", encoding)));
        for answer in futures::future::join_all(attacks).await {
            assert_eq!(answer.error(413), "body_too_large", "{encoding}");
        }
        server.send(Request::events(event("1"))).await.taken(1);
    }
    let grown = peak_memory_since_last().saturating_sub(before);
    assert!(grown < 160 * 1024 * 1024, "memory grew by {grown} bytes");
}

/// A brotli stream (RFC 7932) of so many times 16 MiB of spaces, each in one command of 99 bits.
fn brotli_spaces(blocks: usize) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.push(0, 1); // a window of 64 KiB
    for _ in 0..blocks {
        bits.push(0, 1); // not the last block
        bits.push(2, 2); // its length has six nibbles
        bits.push(0xff_ffff, 24); // 16 MiB
        bits.push(0, 1); // compressed
        bits.push(0, 3); // one type of blocks for literals, commands, distances
        bits.push(0, 6); // no postfix, no direct distances
        bits.push(0, 2); // context mode
        bits.push(0, 2); // one tree for literals, one for distances
        for (symbol, width) in [(u32::from(b' '), 8), (504, 10), (0, 6)] {
            bits.push(1, 2); // a simple code
            bits.push(0, 2); // of one symbol, which then takes no bits
            bits.push(symbol, width);
        }
        bits.push(16 * 1024 * 1024 - 22_594, 24); // how many literals the command inserts, beyond the base of its code
    }
    bits.push(0b11, 2); // the last block, empty
    bits.bytes
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: usize,
}

impl Bits {
    fn push(&mut self, value: u32, width: usize) {
        for bit in 0..width {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().unwrap() |= ((value >> bit & 1) as u8) << (self.used % 8);
            self.used += 1;
        }
    }
}
