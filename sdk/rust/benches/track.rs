//! What one call costs the application, and the memory at 10,000 events a second. `cargo bench -p tidegate-sdk`, or with two numbers: calls, and events a second (0: as fast as it goes).
//!
//! The gate is a server of this process that takes everything; a call is timed on the caller's thread alone, with the sender at work beside it.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a measurement that cannot go on fails, and its figures are printed")]

use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use tidegate_sdk::{Client, ClientBuilder, Event};

fn main() {
    let numbers: Vec<u32> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let (calls, rate) = (numbers.first().copied().unwrap_or(50_000), numbers.get(1).copied().unwrap_or(10_000));
    let url = gate();
    let folder = TempDir::new().expect("a folder");
    measure("memory", calls, rate, Client::builder("key").url(&url));
    measure("spool", calls, rate, Client::builder("key").url(&url).spool(folder.path()));
}

fn measure(what: &str, calls: u32, rate: u32, builder: ClientBuilder) {
    let client = builder.queue_events_max(200_000).queue_bytes_max(1 << 30).build().expect("a client");
    let page = json!({"url": "https://www.example.com/cart", "title": "Cart"});
    let event = || {
        let event = Event::new("Order Completed").user_id("u1").property("plan", "pro").property("price", 12.5).property("quantity", 2);
        event.property("currency", "EUR").property("tags", ["a", "b"]).property("page", &page)
    };
    client.track(event());
    let before = memory_kib();
    let mut times = Vec::with_capacity(calls as usize);
    let began = Instant::now();
    for number in 1..=calls {
        let started = Instant::now();
        black_box(client.track(event()));
        times.push(started.elapsed());
        if rate > 0 && number % 100 == 0 {
            thread::sleep((Duration::from_secs(1) * number / rate).saturating_sub(began.elapsed()));
        }
    }
    let took = began.elapsed();
    let grown = memory_kib().saturating_sub(before);
    let closed = client.close(Duration::from_secs(60));
    times.sort_unstable();
    let mean = times.iter().sum::<Duration>() / calls;
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    let per_second = f64::from(calls) / took.as_secs_f64();
    println!(
        "{what}: a call takes {mean:?} on average, {:?} in the middle, {:?} at 99 %; {per_second:.0} events/s, {grown} KiB",
        at(50),
        at(99)
    );
    assert!(closed && client.stats().delivered == u64::from(calls) + 1, "{:?}", client.stats());
}

/// The most that this process has had.
fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Says yes.
fn gate() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            thread::spawn(move || answer(&connection));
        }
    });
    url
}

fn answer(connection: &TcpStream) {
    let mut reader = BufReader::new(connection);
    let mut writer = connection;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        let answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 43\r\n\r\n{\"success\":true,\"accepted\":1,\"rejected\":[]}";
        if reader.read_exact(&mut body).and_then(|()| writer.write_all(answer)).is_err() {
            return;
        }
    }
}
