//! Too much at once: clients are told to wait, and what was confirmed is there.

use std::time::Duration;

use contract::{Plan, Verdict};
use ingest::Config;
use journal::embedded;

use crate::support::{Connection, Fault, KEY, Request, Server, event};

async fn start(config: Config) -> Server {
    Server::start_with(config, embedded::Config::default(), Plan::built_in()).await
}

/// Sends a request whose body lacks its last byte, and gives what is missing.
async fn begin(server: &Server, request: Request) -> (Connection, Vec<u8>) {
    let mut connection = server.connect().await;
    let bytes = request.bytes();
    let (most, last) = bytes.split_at(bytes.len() - 1);
    connection.write(most).await;
    (connection, last.to_vec())
}

async fn wait_until(what: &str, reached: impl Fn() -> bool) {
    for _ in 0..500 {
        if reached() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}");
}

#[tokio::test]
async fn a_full_journal_makes_clients_wait_and_loses_nothing() {
    const KIB: usize = 1024;
    let journal = embedded::Config {
        segment_bytes: 64 * KIB as u64,
        record_bytes_max: 32 * KIB,
        queue_bytes_max: 64 * KIB,
        group_bytes_max: 16 * KIB,
        disk_bytes_max: 192 * KIB as u64,
        disk_free_bytes_min: 0,
        ..embedded::Config::default()
    };
    let server = Server::start_with(Config::default(), journal, Plan::built_in()).await;
    let mut connection = server.connect().await;
    let mut confirmed = Vec::new();
    let refusal = loop {
        let id = format!("e{}", confirmed.len());
        let body = format!(r#"{{"event_id":"{id}","event_type":"x","properties":{{"p":"{}"}}}}"#, "x".repeat(4_000));
        let answer = connection.send(Request::events(body)).await;
        if answer.status != 200 {
            break answer;
        }
        confirmed.push(id);
        assert!(confirmed.len() < 1_000, "it is never full");
    };
    assert_eq!(refusal.error(429), "journal_full");
    assert!(confirmed.len() > 10);
    // Neither is a refusal confirmed that could not be kept.
    let broken = format!(r#"{{"event_type":1,"x":"{}"}}"#, "x".repeat(7_000));
    assert_eq!(connection.send(Request::events(broken.clone())).await.error(429), "journal_full");
    let kept: Vec<String> = server.kept().await.iter().map(|kept| kept.receipt.event_id.to_string()).collect();
    assert_eq!(kept, confirmed);
    assert_eq!(server.gate.ready(), Ok(()), "it still answers what clients need to know");
    server.trim().await;
    connection.send(Request::events(event("again"))).await.taken(1);
    assert_eq!(connection.send(Request::events(broken)).await.error(400), "wrong_type");
}

#[tokio::test]
async fn records_that_the_journal_can_never_take_are_final() {
    let journal = embedded::Config { record_bytes_max: 1_000, ..embedded::Config::default() };
    let server = Server::start_with(Config::default(), journal, Plan::built_in()).await;
    let body = format!(r#"{{"event_type":"x","name":"{}"}}"#, "x".repeat(2_000));
    assert_eq!(server.send(Request::events(body)).await.error(413), "batch_too_large");
}

#[tokio::test]
async fn a_request_that_grows_too_much_by_what_its_events_share_is_refused_as_one() {
    let config = Config { body_bytes_max: 100_000, append_bytes_max: 100_000, in_flight_bytes_max: 400_000, ..Config::default() };
    let server = start(config).await;
    let events = vec![r#"{"type":"page"}"#; 100].join(",");
    let body = format!(r#"{{"batch":[{events}],"context":{{"a":"{}"}}}}"#, "x".repeat(2_000));
    assert_eq!(server.send(Request::post("/v1/batch", body).header("x-write-key", KEY)).await.error(413), "batch_too_large");
    let kept = server.only_kept().await;
    assert_eq!((kept.verdict(), kept.codes()), (Verdict::Refused, vec!["batch_too_large"]));
}

#[tokio::test]
async fn a_source_over_its_rate_waits() {
    let server = start(Config { events_per_second_max: 1, events_burst_max: 3, ..Config::default() }).await;
    let mut connection = server.connect().await;
    connection.send(Request::events(event("1"))).await.taken(1);
    connection.send(Request::events(format!("[{},{},{}]", event("2"), event("3"), event("4")))).await.taken(3);
    let answer = connection.send(Request::events(event("5"))).await;
    assert_eq!(answer.error(429), "rate_limited");
    assert_eq!(answer.header("retry-after"), Some("2"), "one token of debt and one to pay with");
    assert_eq!(server.kept().await.len(), 4);
}

#[tokio::test]
async fn only_so_many_requests_are_in_work() {
    let server = start(Config { requests_max: 1, ..Config::default() }).await;
    let (mut first, rest) = begin(&server, Request::events(event("1"))).await;
    wait_until("the first is in work", || server.gate.in_flight() == 1).await;
    let mut second = server.connect().await;
    assert_eq!(second.send(Request::events(event("2"))).await.error(429), "busy");
    first.write(&rest).await;
    first.answer().await.taken(1);
    second.send(Request::events(event("2"))).await.taken(1);
}

#[tokio::test]
async fn only_so_many_bytes_are_in_memory() {
    let server = start(Config { body_bytes_max: 2_000, append_bytes_max: 4_000, in_flight_bytes_max: 10_500, ..Config::default() }).await;
    let large = format!(r#"{{"event_type":"x","name":"{}"}}"#, "x".repeat(1_950));
    let mut begun = Vec::new();
    for _ in 0..5 {
        begun.push(begin(&server, Request::events(large.clone())).await);
    }
    wait_until("they are in work", || server.gate.in_flight() == 5).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut late = server.connect().await;
    assert_eq!(late.send(Request::events(large.clone())).await.error(429), "busy");
    let (mut one, rest) = begun.remove(0);
    one.write(&rest).await;
    one.answer().await.taken(1);
    late.send(Request::events(large)).await.taken(1);
}

#[tokio::test]
async fn a_body_that_stops_or_trickles_is_given_up() {
    let config = Config { body_idle_timeout: Duration::from_millis(200), body_timeout: Duration::from_millis(600), ..Config::default() };
    let server = start(config).await;
    let (mut stopped, _) = begin(&server, Request::events(event("1"))).await;
    let answer = stopped.answer().await;
    assert_eq!((answer.error(429).as_str(), answer.header("connection")), ("body_too_slow", Some("close")));
    assert!(stopped.is_closed().await);

    let mut trickling = server.connect().await;
    let head = Request::events("").header("content-length", "1000").without_length().bytes();
    trickling.write(&head).await;
    let mut answer = None;
    while answer.is_none() {
        trickling.write(b" ").await;
        answer = tokio::time::timeout(Duration::from_millis(50), trickling.answer()).await.ok();
    }
    assert_eq!(answer.unwrap().error(429), "body_too_slow");
    assert_eq!((server.kept().await.len(), server.gate.in_flight()), (0, 0));
}

#[tokio::test]
async fn a_journal_that_takes_too_long_confirms_nothing_but_may_have_it() {
    let server = start(Config { append_timeout: Duration::from_millis(100), ..Config::default() }).await;
    server.medium.set(Fault::Stalled);
    let mut connection = server.connect().await;
    assert_eq!(connection.send(Request::events(event("1"))).await.error(429), "journal_slow");
    assert_eq!(server.gate.in_flight(), 1, "its memory is still in use");
    server.medium.set(Fault::None);
    server.gate.idle().await;
    connection.send(Request::events(event("2"))).await.taken(1);
    assert_eq!(server.kept().await.len(), 2);
}

#[tokio::test]
async fn a_disk_that_stops_makes_clients_wait_until_it_works_again() {
    let server = start(Config::default()).await;
    let mut connection = server.connect().await;
    server.medium.set(Fault::Failing);
    for body in [event("1"), "{".to_owned()] {
        assert_eq!(connection.send(Request::events(body)).await.error(429), "journal_unavailable");
    }
    assert_eq!(server.gate.ready(), Err(ingest::Error::JournalUnavailable));
    assert_eq!(connection.send(Request::get("/readyz")).await.status, 503);
    server.medium.set(Fault::None);
    connection.send(Request::events(event("1"))).await.taken(1);
    assert_eq!((server.gate.ready(), server.kept().await.len()), (Ok(()), 1));
}
