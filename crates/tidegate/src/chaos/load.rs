//! Clients that send without end, each batch until it is answered with success, by whichever gate is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use contract::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::StatusCode;
use serde_json::{Value, json};
use telemetry::clock::{Clock as _, SystemClock};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::ledger::Ledger;

/// Clients that send at the same time.
pub(super) const CLIENTS: u64 = 8;
/// Events in a request, without copies.
const BATCH: u64 = 50;
/// Of the events, how many are sent once more in a later request.
const COPIES: u64 = 20;
/// Longer than the gate may take for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);
/// Between two attempts, so many milliseconds, as chance has it.
const PAUSE_MILLIS: std::ops::Range<u64> = 20..250;
/// How long a client goes on with its last batch after it was told to stop.
const LAST_TIMEOUT: Duration = Duration::from_secs(180);

/// What is sent, and to whom.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) gates: Vec<String>,
    pub(super) key: String,
    /// Events a second, of all clients.
    pub(super) rate: u64,
    pub(super) seed: u64,
}

/// The clients at work.
#[derive(Debug)]
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<anyhow::Result<()>>,
}

impl Load {
    pub(super) fn start(plan: &Plan, ledger: &Arc<Ledger>) -> anyhow::Result<Self> {
        let (stop, mut clients) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for number in 0..CLIENTS {
            let client = Client {
                http: reqwest::Client::builder().timeout(ANSWER_TIMEOUT).build()?,
                plan: plan.clone(),
                number,
                first_time: SystemClock.now_micros(),
                ledger: Arc::clone(ledger),
                stop: Arc::clone(&stop),
            };
            clients.spawn(client.run());
        }
        Ok(Self { stop, clients })
    }

    /// Resolves when a client gives up, with why.
    pub(super) async fn failed(&mut self) -> anyhow::Error {
        loop {
            match self.clients.join_next().await {
                Some(Ok(Err(error))) => return error,
                Some(Err(panic)) => return anyhow::Error::new(panic).context("a client panicked"),
                Some(Ok(Ok(()))) => {}
                None => return std::future::pending().await,
            }
        }
    }

    /// Lets each client end the batch it is at, so that all that was sent was answered with success.
    ///
    /// # Errors
    ///
    /// Why a client gave up.
    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        let all = async {
            while let Some(ended) = self.clients.join_next().await {
                ended.context("a client panicked")??;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(LAST_TIMEOUT, all).await.context("a client's last batch is not answered with success")?
    }
}

#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    plan: Plan,
    number: u64,
    /// The time of its first event, in microseconds since 1970.
    first_time: i64,
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
}

impl Client {
    async fn run(self) -> anyhow::Result<()> {
        let mut random = StdRng::seed_from_u64(self.plan.seed.wrapping_add(self.number));
        let (began, mut sent) = (Instant::now(), 0);
        while !self.stop.load(Ordering::SeqCst) {
            // By the clock, not by the last answer: what could not be sent during an outage is sent after it.
            sleep_until(began + self.due(sent)).await;
            let copies = if sent == 0 { 0 } else { BATCH / COPIES };
            let mut numbers: Vec<u64> = (sent..sent + BATCH).collect();
            numbers.extend((0..copies).map(|_| random.random_range(0..sent)));
            self.send(&numbers, &mut random).await?;
            self.ledger.yes(usize::try_from(self.number)?, BATCH, copies)?;
            sent += BATCH;
        }
        Ok(())
    }

    /// When an event is due after the beginning.
    fn due(&self, number: u64) -> Duration {
        Duration::from_micros(number.saturating_mul(1_000_000 * CLIENTS) / self.plan.rate.max(1))
    }

    /// Until it is answered with success.
    async fn send(&self, numbers: &[u64], random: &mut StdRng) -> anyhow::Result<()> {
        let events: Value = numbers.iter().map(|number| self.event(*number)).collect();
        loop {
            let gate = self.plan.gates.get(random.random_range(0..self.plan.gates.len())).context("no gate")?;
            if self.post(gate, &events).await? {
                return Ok(());
            }
            self.ledger.failed();
            sleep(Duration::from_millis(random.random_range(PAUSE_MILLIS))).await;
        }
    }

    /// Whether it was answered with success. What is no success is no failure either: it may have been taken.
    async fn post(&self, gate: &str, events: &Value) -> anyhow::Result<bool> {
        let request = self.http.post(format!("{gate}/v1/events")).basic_auth(&self.plan.key, Some("")).json(events);
        let Ok(answer) = request.send().await else { return Ok(false) };
        let status = answer.status();
        let Ok(text) = answer.text().await else { return Ok(false) };
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Ok(false);
        }
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        if status != StatusCode::OK || body.get("success") != Some(&Value::Bool(true)) {
            bail!("{gate} refuses a sound batch: {status} {text}");
        }
        Ok(true)
    }

    /// The same event each time it is asked for: what is sent again is what was sent before.
    fn event(&self, number: u64) -> Value {
        let time = Timestamp(self.first_time.saturating_add(i64::try_from(self.due(number).as_micros()).unwrap_or(i64::MAX)));
        json!({
            "event_id": id(self.number, number),
            "event_type": "page_view",
            "event_time": time.to_rfc3339(),
            "anonymous_id": format!("visitor-{}", number % 5_000),
            "properties": {"url": format!("https://shop.example.com/products/{}", number % 997), "title": format!("Product {}", number % 997)},
        })
    }
}

/// The identity of an event.
fn id(client: u64, number: u64) -> String {
    format!("c{client}-{number}")
}

/// Whose an identity is, and which.
pub(super) fn parse_id(id: &str) -> Option<(usize, u64)> {
    let (client, number) = id.strip_prefix('c')?.split_once('-')?;
    Some((client.parse().ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_can_be_read_again() {
        assert_eq!(parse_id(&id(7, 123_456)), Some((7, 123_456)));
        for other in ["", "c", "c-", "c1", "7-1", "c1-x", "cx-1"] {
            assert_eq!(parse_id(other), None, "{other}");
        }
    }
}
