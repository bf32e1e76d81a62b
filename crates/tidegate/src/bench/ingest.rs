//! Events a second, and how long each answer takes.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use contract::Timestamp;
use hdrhistogram::Histogram;
use telemetry::clock::{Clock as _, SystemClock};
use tokio::task::JoinSet;

use super::Target;
use crate::send::Trust;

/// The longest answer that is told apart, in microseconds.
const ANSWER_MICROS_MAX: u64 = 600_000_000;

#[derive(Debug, Args)]
pub(super) struct IngestArgs {
    #[command(flatten)]
    target: Target,
    /// Connections that send at the same time, each one request after the other
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Events in each request
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// How long to measure, after a fifth of that to warm up
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    seconds: u16,
    /// Bytes of each event, about
    #[arg(long, default_value_t = 600)]
    event_bytes: usize,
}

/// What one connection saw.
struct Seen {
    answers: Histogram<u64>,
    events: u64,
    waits: u64,
}

impl Seen {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { answers: Histogram::new_with_max(ANSWER_MICROS_MAX, 3)?, events: 0, waits: 0 })
    }
}

pub(super) async fn run(args: IngestArgs) -> anyhow::Result<()> {
    let trust = args.target.trust.read()?;
    let args = Arc::new(args);
    let begins = Instant::now() + Duration::from_secs(args.seconds.into()) / 5;
    let ends = begins + Duration::from_secs(args.seconds.into());
    let mut connections = JoinSet::new();
    for number in 0..args.connections {
        connections.spawn(connection(Arc::clone(&args), trust.clone(), number, begins, ends));
    }
    let mut all = Seen::new()?;
    while let Some(seen) = connections.join_next().await {
        let seen = seen??;
        all.answers.add(&seen.answers)?;
        all.events += seen.events;
        all.waits += seen.waits;
    }
    let seconds = f64::from(args.seconds);
    let millis = |quantile: f64| all.answers.value_at_quantile(quantile) as f64 / 1000.0;
    let mut out = std::io::stdout().lock();
    writeln!(out, "connections        {:>12}", args.connections)?;
    writeln!(out, "events a request   {:>12}", args.batch)?;
    writeln!(out, "events a second    {:>12.0}", all.events as f64 / seconds)?;
    writeln!(out, "requests a second  {:>12.0}", all.answers.len() as f64 / seconds)?;
    writeln!(out, "answer p50         {:>9.2} ms", millis(0.5))?;
    writeln!(out, "answer p99         {:>9.2} ms", millis(0.99))?;
    writeln!(out, "answer max         {:>9.2} ms", all.answers.max() as f64 / 1000.0)?;
    writeln!(out, "told to wait (429) {:>12}", all.waits)?;
    Ok(())
}

async fn connection(args: Arc<IngestArgs>, trust: Trust, number: u16, begins: Instant, ends: Instant) -> anyhow::Result<Seen> {
    // A client of its own, so that it is one connection.
    let http = trust.client().pool_max_idle_per_host(1).timeout(Duration::from_secs(60)).build()?;
    let url = format!("{}/v1/events", args.target.url.trim_end_matches('/'));
    let mut seen = Seen::new()?;
    let mut events = Events { connection: number, sent: 0, filler: "x".repeat(args.event_bytes.saturating_sub(400)) };
    while Instant::now() < ends {
        let body = events.batch(args.batch);
        let began = Instant::now();
        let answer = http.post(&url).basic_auth(&args.target.key, Some("")).body(body).send().await;
        let answer = answer.with_context(|| format!("{url} cannot be reached; is the server running?"))?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        let took = began.elapsed();
        match status {
            200 if began >= begins => {
                seen.answers.saturating_record(took.as_micros().try_into().unwrap_or(u64::MAX));
                seen.events += u64::from(args.batch);
            }
            200 => {}
            429 => {
                seen.waits += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            _ => bail!("{url} answered {status}: {text}"),
        }
    }
    Ok(seen)
}

/// Makes page views, each with an id of its own.
struct Events {
    connection: u16,
    sent: u64,
    filler: String,
}

impl Events {
    fn batch(&mut self, count: u16) -> String {
        let now = Timestamp(SystemClock.now_micros());
        let events: Vec<String> = (0..count).map(|_| self.event(now)).collect();
        format!("[{}]", events.join(","))
    }

    fn event(&mut self, now: Timestamp) -> String {
        self.sent += 1;
        let (id, user) = (contract::id::uuid_v7(now, rand::random()), self.sent % 5_000);
        format!(
            r#"{{"event_id":"{id}","event_type":"page_view","event_time":"{now}","sent_at":"{now}","anonymous_id":"visitor-{connection}-{user}","session_id":"session-{user}","properties":{{"url":"https://shop.example.com/products/{user}?utm_source=bench","title":"Product {user}","referrer":"https://www.example.org/","note":"{filler}"}},"context":{{"locale":"en-GB"}}}}"#,
            connection = self.connection,
            filler = self.filler
        )
    }
}
