//! Clients that know what they were told: batches, each until it is answered with success, by whichever gate is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::process::{KEY, client};

/// Numbered from 0.
pub(crate) const CLIENTS: u64 = 8;
/// Of the events, how many are sent once more in a later batch.
const COPIES: f64 = 0.05;
/// How long it may take until one of the clients comes by a gate that is down.
const FAILURE_MAX: Duration = Duration::from_secs(30);

/// What one client was told.
#[derive(Debug, Default, Clone)]
pub(crate) struct Told {
    /// Events of this client, numbered from 0, that were answered with success: all of them, for it goes on only then.
    pub(crate) acknowledged: u64,
    /// Events that were sent, and answered with success, once more.
    pub(crate) copies: u64,
    /// Batches that had to be sent more than once.
    pub(crate) retried: u64,
}

/// The load, and how to end it.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    clients: JoinSet<(u64, Told)>,
}

/// How much is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Events in a batch.
    pub(crate) batch: u64,
    /// Events a second over all clients; as many as are taken where it is 0.
    pub(crate) rate: u64,
    /// Events over all clients, after which it ends by itself.
    pub(crate) events: u64,
}

impl Traffic {
    pub(crate) fn start(urls: Vec<String>, load: Load) -> Self {
        Self::start_from(urls, load, 0)
    }

    /// The same with clients that are numbered from there on: their events are none of the others'.
    pub(crate) fn start_from(urls: Vec<String>, load: Load, first: u64) -> Self {
        let (stop, acknowledged, failed) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::default());
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let sender = Sender {
                http: client(),
                urls: urls.clone(),
                number: first + number,
                load: Load { rate: load.rate / CLIENTS, events: load.events / CLIENTS, ..load },
                stop: Arc::clone(&stop),
                acknowledged: Arc::clone(&acknowledged),
                failed: Arc::clone(&failed),
            };
            clients.spawn(sender.run());
        }
        Self { stop, acknowledged, failed, clients }
    }

    /// Events that were answered with success until now.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Attempts that came to nothing until now.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::SeqCst)
    }

    /// Waits until more than so many attempts have come to nothing.
    pub(crate) async fn wait_for_failure(&self, before: u64) {
        let met = async {
            while self.failed() == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(FAILURE_MAX, met).await.is_ok(), "no client met a gate that is down");
    }

    /// What each client was told, once all have sent what they have to.
    pub(crate) async fn finish(mut self) -> Vec<Told> {
        let mut told = vec![Told::default(); CLIENTS as usize];
        while let Some(client) = self.clients.join_next().await {
            let (number, client) = client.unwrap();
            told[(number % CLIENTS) as usize] = client;
        }
        told
    }

    /// Ends it now.
    pub(crate) async fn end(self) -> Vec<Told> {
        self.stop.store(true, Ordering::SeqCst);
        self.finish().await
    }
}

struct Sender {
    http: reqwest::Client,
    urls: Vec<String>,
    number: u64,
    load: Load,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
}

impl Sender {
    async fn run(self) -> (u64, Told) {
        let mut random = StdRng::seed_from_u64(self.number);
        let mut told = Told::default();
        let began = tokio::time::Instant::now();
        while told.acknowledged < self.load.events && !self.stop.load(Ordering::SeqCst) {
            if let Some(seconds) = told.acknowledged.checked_div(self.load.rate) {
                tokio::time::sleep_until(began + Duration::from_secs(seconds)).await;
            }
            let count = self.load.batch.min(self.load.events - told.acknowledged);
            let mut numbers: Vec<u64> = (told.acknowledged..told.acknowledged + count).collect();
            let copies = if told.acknowledged == 0 { 0 } else { (count as f64 * COPIES).round() as u64 };
            numbers.extend((0..copies).map(|_| random.random_range(0..told.acknowledged)));
            told.retried += u64::from(self.send(&numbers, &mut random).await > 0);
            told.acknowledged += count;
            told.copies += copies;
            self.acknowledged.fetch_add(count, Ordering::SeqCst);
        }
        (self.number, told)
    }

    /// Until it is answered with success; tells how often it was not.
    async fn send(&self, numbers: &[u64], random: &mut StdRng) -> u64 {
        let events: Value = numbers.iter().map(|number| event(self.number, *number)).collect();
        let mut failures = 0;
        loop {
            let url = &self.urls[random.random_range(0..self.urls.len())];
            match post(&self.http, url, &events).await {
                Ok(()) => return failures,
                Err(problem) => assert!(problem != "refused", "a sound batch was refused"),
            }
            failures += 1;
            self.failed.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(random.random_range(20..200))).await;
        }
    }
}

pub(crate) fn id(client: u64, number: u64) -> String {
    format!("c{client}-{number}")
}

fn event(client: u64, number: u64) -> Value {
    json!({
        "event_id": id(client, number),
        "event_type": "page_view",
        "event_time": "2026-03-29T12:34:56Z",
        "anonymous_id": format!("someone-{}", number % 1000),
        "properties": {"url": format!("https://example.com/{}", number % 97)},
    })
}

async fn post(http: &reqwest::Client, url: &str, events: &Value) -> Result<(), &'static str> {
    let request = http.post(format!("{url}/v1/events")).basic_auth(KEY, Some("")).json(events);
    let answer = request.send().await.map_err(|_| "no answer")?;
    match answer.status().as_u16() {
        200 => {
            let body: Value = answer.json().await.map_err(|_| "half an answer")?;
            assert_eq!(body["success"], true, "{body}");
            Ok(())
        }
        429 | 503 => Err("wait"),
        _ => Err("refused"),
    }
}

/// Every event that was acknowledged is in Silver, once, and nothing else is.
pub(crate) fn check_silver(place: &crate::process::Place, told: &[Told]) {
    check_silver_where(place, told, "true");
}

/// The same of those rows of Silver for which a condition holds.
pub(crate) fn check_silver_where(place: &crate::process::Place, told: &[Told], condition: &str) {
    let csv = place.run_sound(&["query", &format!("SELECT event_id FROM silver.events WHERE {condition}"), "--format", "csv"]);
    let mut seen: Vec<Vec<u8>> = told.iter().map(|told| vec![0; told.acknowledged as usize]).collect();
    for line in csv.lines().skip(1) {
        let (client, number) = line.trim_start_matches('c').split_once('-').unwrap();
        let count = seen.get_mut(client.parse::<usize>().unwrap()).and_then(|seen| seen.get_mut(number.parse::<usize>().unwrap()));
        // Sent, never acknowledged, and there all the same: allowed of the last batch of a client that was told to stop; here all finish what they began.
        *count.unwrap_or_else(|| panic!("{line} was never acknowledged")) += 1;
    }
    for (client, seen) in seen.iter().enumerate() {
        let wrong: Vec<_> = seen
            .iter()
            .enumerate()
            .filter(|(_, count)| **count != 1)
            .map(|(number, count)| (id(client as u64, number as u64), *count))
            .take(5)
            .collect();
        assert!(wrong.is_empty(), "acknowledged, and not once in Silver: {wrong:?}");
    }
}
