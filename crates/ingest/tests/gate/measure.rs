//! Figures, on request: `cargo test --release -p ingest --test gate -- --ignored --nocapture measure`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use contract::Plan;
use ingest::Config;
use journal::embedded;

use crate::support::{Connection, Request, Server};

const CONNECTIONS: usize = 64;
const LASTING: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "prints figures, asserts little"]
async fn measure_single_events_and_batches() {
    for events in [1, 500] {
        let unthrottled = Config { events_per_second_max: u32::MAX, events_burst_max: u32::MAX, ..Config::default() };
        let server = Server::start_with(unthrottled, embedded::Config::default(), Plan::built_in()).await;
        let started = Instant::now();
        let clients: Vec<_> = (0..CONNECTIONS).map(|client| tokio::spawn(run(server.address, client, events))).collect();
        let mut millis = Vec::new();
        for client in clients {
            millis.extend(client.await.unwrap());
        }
        let seconds = started.elapsed().as_secs_f64();
        millis.sort_by(f64::total_cmp);
        let at = |share: f64| millis[(millis.len() as f64 * share) as usize];
        let rate = (millis.len() * events) as f64 / seconds;
        println!("{events:>3} events a request: {rate:.0} events/s, p50 {:.2} ms, p99 {:.2} ms", at(0.5), at(0.99));
        assert_eq!(server.gate.in_flight(), 0);
    }
}

/// Sends for as long as asked, and gives the milliseconds of each answer.
async fn run(address: SocketAddr, client: usize, events: usize) -> Vec<f64> {
    let mut connection = Connection::to(address).await;
    let mut millis = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < LASTING {
        let request = Request::events(batch(client, millis.len(), events));
        let sent = Instant::now();
        connection.send(request).await.taken(events);
        millis.push(sent.elapsed().as_secs_f64() * 1e3);
    }
    millis
}

/// Page views of about 450 bytes.
fn batch(client: usize, number: usize, events: usize) -> String {
    let one = |index: usize| {
        format!(
            r#"{{"event_id":"{client}-{number}-{index}","event_type":"page_view","event_time":"2026-11-23T10:00:00.123Z","user_id":"u{index}","anonymous_id":"0190a5f0-7c1e-7cc3-98c4-dc0c0c07398f","properties":{{"url":"https://shop.example/products/{index}","path":"/products/{index}","title":"A product","referrer":"https://search.example/"}},"context":{{"locale":"en-GB","userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"}},"sent_at":"2026-11-23T10:00:01Z"}}"#
        )
    };
    format!("[{}]", (0..events).map(one).collect::<Vec<_>>().join(","))
}
