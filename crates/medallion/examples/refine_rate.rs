//! Measures Bronze to Silver on one core: `cargo run --release -p medallion --example refine_rate [ROWS [ROUNDS]]`.
//!
//! The rows are page views as a browser's client sends them, about 700 bytes each, from a few user agents; one in twenty is a resend. Time is told for each step
//! apart, the best of the rounds.

use std::error::Error;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use bytes::Bytes;
use contract::{EventId, Position, Receipt, Timestamp, Verdict, WireFormat};
use medallion::silver::{Rules, choose, refine};
use medallion::{Arrival, bronze, digest, ledger};

const RECEIVED: i64 = 1_795_429_800_000_000;
const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
];

fn event_id(number: usize) -> String {
    format!("0190a5f0-7c1e-7cc3-98c4-{number:012x}")
}

fn arrival(offset: usize) -> Result<Arrival, Box<dyn Error>> {
    let number = if offset % 20 == 19 { offset - 19 } else { offset };
    let agent = AGENTS.get(number % AGENTS.len()).copied().unwrap_or_default();
    let payload = format!(
        concat!(
            r#"{{"event_id":"{id}","event_type":"page_view","event_time":"2026-11-23T10:29:58.123Z","sent_at":"2026-11-23T10:29:59Z","#,
            r#""user_id":"u{user}","anonymous_id":"0190a5f0-7c1e-7cc3-98c4-{user:012x}","session_id":"s{user}","name":"Product","#,
            r#""properties":{{"url":"https://shop.example/products/{page}?utm_source=news&utm_campaign=autumn","title":"Product {page}","price":19.9,"#,
            r#""quantity":2,"tags":["a","b","c"],"in_stock":true}},"context":{{"locale":"en-GB","library":{{"name":"tidegate-ts","version":"0.1.0"}},"#,
            r#""userAgent":"{agent}","screen":{{"width":1920,"height":1080,"density":2}},"timezone":"Europe/Berlin"}}}}"#
        ),
        id = event_id(number),
        user = number % 5000,
        page = number % 300,
        agent = agent,
    );
    let receipt = Receipt {
        source: "web".parse()?,
        event_id: EventId::try_from(event_id(number))?,
        event_id_generated: false,
        received_at: Timestamp(RECEIVED + offset as i64),
        sent_at: None,
        format: WireFormat::Native,
        verdict: Verdict::Accepted,
        violations: Vec::new(),
        plan_version: "built-in-1".to_owned(),
        client_ip: Some("203.0.113.0".to_owned()),
        user_agent: Some(agent.to_owned()),
        envelope: None,
        client_retries: None,
        truncated_from: None,
    };
    Ok(Arrival { position: Position { generation: 0, partition: 0, offset: offset as u64 }, receipt, payload: Bytes::from(payload) })
}

/// The best time of each step.
#[derive(Debug)]
struct Step {
    name: &'static str,
    best: Duration,
}

impl Step {
    fn new(name: &'static str) -> Self {
        Self { name, best: Duration::MAX }
    }

    fn time<T, E>(&mut self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let began = Instant::now();
        let outcome = work();
        self.best = self.best.min(began.elapsed());
        outcome
    }

    fn print(&self, rows: usize) -> io::Result<()> {
        let rate = rows as f64 / self.best.as_secs_f64();
        writeln!(io::stdout(), "{:<18} {:>10.0} rows/s {:>8.2} µs a row", self.name, rate, 1e6 / rate)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let rows: usize = arguments.next().map_or(Ok(50_000), |rows| rows.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(5), |rounds| rounds.parse())?;
    let arrivals = (0..rows).map(arrival).collect::<Result<Vec<_>, _>>()?;
    let headers = arrivals.iter().map(|arrival| arrival.receipt.to_bytes().map(Bytes::from)).collect::<Result<Vec<_>, _>>()?;
    let bytes: usize = arrivals.iter().map(|arrival| arrival.payload.len()).sum();
    writeln!(io::stdout(), "{rows} rows, {} bytes of payload each", bytes / rows.max(1))?;

    let rules = Rules::default();
    let mut read = Step::new("read receipts");
    let mut to_bronze = Step::new("to Bronze");
    let mut counting = Step::new("count arrivals");
    let mut refining = Step::new("refine");
    let mut choosing = Step::new("choose");
    let mut digesting = Step::new("digest of rows");
    for _ in 0..rounds {
        read.time(|| {
            let read =
                arrivals.iter().zip(&headers).map(|(arrival, header)| Arrival::read(arrival.position, header, arrival.payload.clone()));
            read.collect::<Result<Vec<_>, _>>().map_err(|unreadable| unreadable.problem)
        })?;
        counting.time(|| Ok::<_, medallion::Error>(ledger::of_arrivals(&arrivals)))?;
        let bronze: RecordBatch = to_bronze.time(|| bronze::batch(&arrivals))?;
        let refined = refining.time(|| refine(&bronze, &rules))?;
        let candidates = [refined.candidates];
        let known = vec![None; rows];
        let chosen = choosing.time(|| choose(&candidates, &known))?;
        digesting.time(|| digest::rows(&chosen.events))?;
    }
    let steps = [&read, &counting, &to_bronze, &refining, &choosing, &digesting];
    steps.iter().try_for_each(|step| step.print(rows))?;
    Ok(())
}
