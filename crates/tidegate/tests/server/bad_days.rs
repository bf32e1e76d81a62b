//! Bad input and bad surroundings, one after the other against one server: the right answer, flat memory, and the next good request works.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::process::{KEY, Place, client};

/// How much more memory the server may hold after all of it than before: its own bounds on bodies in work.
const GROWTH_BYTES_MAX: u64 = 96 << 20;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// 1 GiB of spaces, as about 1 MiB.
fn bomb() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let block = vec![b' '; 1 << 20];
    for _ in 0..1024 {
        encoder.write_all(&block).unwrap();
    }
    encoder.finish().unwrap()
}

fn event(properties: &str) -> Vec<u8> {
    format!(r#"{{"event_id":"x","event_type":"page_view","properties":{properties}}}"#).into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_answered_and_harms_nothing() {
    let place = Place::new();
    let server = place.start();
    let http = client();
    let post = async |key: &str, body: Vec<u8>, encoded: bool| -> (u16, Value) {
        let mut request = http.post(format!("{}/v1/events", place.url())).basic_auth(key, Some(""));
        request = request.header(CONTENT_TYPE, "application/json").body(body);
        if encoded {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    };
    let good = async |number: u32| {
        let body = json!({"event_id": format!("good-{number}"), "event_type": "page_view"}).to_string().into_bytes();
        let (status, body) = post(KEY, body, false).await;
        assert_eq!((status, &body["success"]), (200, &json!(true)), "after case {number}: {body}");
    };
    good(0).await;
    let before = server.resident_bytes();

    let truncated = {
        let mut whole = gzip(&event(r#"{"url":"/"}"#));
        whole.truncate(whole.len() / 2);
        whole
    };
    let deep = event(&format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000)));
    let cases: Vec<(&str, &str, Vec<u8>, bool, u16)> = vec![
        ("truncated gzip", KEY, truncated, true, 400),
        ("a bomb", KEY, bomb(), true, 413),
        ("10,000 levels", KEY, deep, false, 400),
        ("a lone surrogate", KEY, event(r#"{"url":"\ud800"}"#), false, 400),
        ("invalid UTF-8", KEY, event("{}").into_iter().chain([0xff, 0xfe]).collect(), false, 400),
        ("a key twice", KEY, event(r#"{"url":"a","url":"b"}"#), false, 400),
        ("NaN", KEY, event(r#"{"url":NaN}"#), false, 400),
        ("a string of 1 MB", KEY, event(&format!(r#"{{"url":"{}"}}"#, "x".repeat(1_000_000))), false, 400),
        ("a wrong key", "tg_not_a_key", event("{}"), false, 401),
        ("nothing", KEY, Vec::new(), false, 400),
    ];
    let refused_with_our_key = cases.iter().filter(|case| case.1 == KEY).count();
    for (number, (what, key, body, encoded, status)) in cases.into_iter().enumerate() {
        let (found, answer) = post(key, body, encoded).await;
        assert_eq!(found, status, "{what}: {answer}");
        let message = answer["message"].as_str().or(answer["rejected"][0]["message"].as_str());
        assert!(message.is_some_and(|message| message.len() > 10), "{what}: {answer}");
        assert!(answer["code"].is_string(), "{what}: {answer}");
        good(number as u32 + 1).await;
    }
    let growth = server.resident_bytes().saturating_sub(before);
    assert!(growth < GROWTH_BYTES_MAX, "{growth} bytes more");
    server.stop(&place);

    // What the known source sent and was refused is kept, with a reason.
    let kept = place.query("SELECT code, message FROM dead_letters WHERE stage = 'gate'");
    assert!(kept.len() >= refused_with_our_key - 2, "{kept:?}");
    assert_eq!(place.number("SELECT count(*) FROM silver.events"), 11);
    place.run_sound(&["audit"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_journal_tells_clients_to_wait_and_keeps_its_word() {
    let place = Place::new();
    // The least the journal can be set to; Bronze is slow to drain it.
    let server = place.start_with(&[
        ("TIDEGATE_JOURNAL__SEGMENT_BYTES", "1048576"),
        ("TIDEGATE_JOURNAL__QUEUE_BYTES_MAX", "4194304"),
        ("TIDEGATE_JOURNAL__RECORD_BYTES_MAX", "1048576"),
        ("TIDEGATE_JOURNAL__DISK_BYTES_MAX", "9437184"),
        ("TIDEGATE_INGEST__APPEND_BYTES_MAX", "2097152"),
        ("TIDEGATE_INGEST__BODY_BYTES_MAX", "1048576"),
        ("TIDEGATE_PIPELINE__COMMIT_INTERVAL", "20s"),
    ]);
    let http = client();
    let filler = "x".repeat(20_000);
    let (mut taken, mut waits, mut sent) = (0_u64, 0_u64, 0_u64);
    while waits == 0 {
        assert!(sent < 5_000, "the journal never was full");
        let events: Vec<Value> = (0..20)
            .map(|_| {
                sent += 1;
                json!({"event_id": format!("e{sent}"), "event_type": "page_view", "properties": {"title": filler}})
            })
            .collect();
        let request = http.post(format!("{}/v1/events", place.url())).basic_auth(KEY, Some("")).json(&events);
        let answer = request.send().await.unwrap();
        match answer.status().as_u16() {
            200 => taken += 20,
            429 => {
                let seconds: u32 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
                assert!((1..=300).contains(&seconds), "{seconds}");
                waits += 1;
            }
            status => panic!("{status}"),
        }
    }
    assert!(taken > 0);
    server.stop(&place);
    assert_eq!(place.number("SELECT count(*) FROM silver.events"), taken);
    place.run_sound(&["audit"]);
}
