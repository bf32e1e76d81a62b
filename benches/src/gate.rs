//! From a request's bytes to the records of the journal, and from these to what the first stage reads.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, anyhow, ensure};
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use contract::wire::{Envelope, decode_in, split};
use contract::{Plan, Violation, WireFormat};
use ingest::keys::Source;
use ingest::{Config, Gate, Keyring};
use journal::{Record, Sink};
use medallion::Arrival;
use telemetry::clock::ManualClock;
use tower::ServiceExt as _;

use crate::Round;
use crate::events::{self, AGENTS, KEY, RECEIVED};

/// So many events are within the bytes up to which the gate takes a body apart where it arrived, and not on another thread.
pub(crate) const SIFTED_HERE: usize = 30;
const SIFTED_HERE_BYTES_MAX: usize = 32 * 1024;

/// The bytes of a request to events that are held against the plan: of what the gate does, the part that `contract` does.
pub(crate) fn parse(events: usize) -> Result<Round> {
    let (body, plan) = (events::native_body(events), Plan::built_in());
    let (envelope, config) = (Envelope::default(), Config::default());
    Ok(Box::new(move || {
        let mut sound = 0;
        for payload in split::native(&body, config.events_max).map_err(|violation| refused(&[violation]))? {
            let event = decode_in(WireFormat::Native, payload, &envelope, &config.json).map_err(|violations| refused(&violations))?;
            sound += usize::from(plan.validate(black_box(&event)).is_empty());
        }
        Ok(sound)
    }))
}

fn refused(violations: &[Violation]) -> anyhow::Error {
    let told: Vec<String> = violations.iter().map(|violation| format!("{} {}", violation.field, violation.message)).collect();
    anyhow!("an event is refused: {}", told.join(", "))
}

/// A request in Tidegate's own shape to its answer, with a journal that keeps nothing.
pub(crate) fn native(events: usize) -> Result<Round> {
    requests("/v1/events", events::native_body(events))
}

/// The same in Segment's shape.
pub(crate) fn segment(events: usize) -> Result<Round> {
    requests("/v1/batch", events::segment_body(events))
}

/// Counts what it is given.
#[derive(Debug, Default)]
struct Counting(AtomicUsize);

#[async_trait::async_trait]
impl Sink for Counting {
    async fn put(&self, records: Vec<Record>) -> Result<(), journal::Error> {
        self.0.fetch_add(records.len(), Ordering::Relaxed);
        Ok(())
    }
}

fn requests(path: &'static str, body: Bytes) -> Result<Round> {
    ensure!(
        body.len() <= SIFTED_HERE_BYTES_MAX,
        "a body of {} bytes would be taken apart on another thread; have fewer events",
        body.len()
    );
    let put = Arc::new(Counting::default());
    let keyring = Keyring::for_any_key(Source::of_any_key("web".parse()?));
    let config = Config { events_per_second_max: u32::MAX, events_burst_max: u32::MAX, ..Config::default() };
    let gate = Gate::builder(Arc::clone(&put) as Arc<dyn Sink>, keyring).clock(Arc::new(ManualClock::at(RECEIVED.micros())));
    let router = ingest::router(gate.config(config).build()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (peer, [agent, ..]) = (SocketAddr::from(([203, 0, 113, 9], 50_000)), AGENTS);
    Ok(Box::new(move || {
        let before = put.0.load(Ordering::Relaxed);
        let request = Request::post(path).header(AUTHORIZATION, format!("Bearer {KEY}")).header(USER_AGENT, agent);
        let request = request.header(CONTENT_TYPE, "application/json").extension(ConnectInfo(peer)).body(Body::from(body.clone()))?;
        let response = runtime.block_on(router.clone().oneshot(request))?;
        ensure!(response.status() == StatusCode::OK, "the gate answers {}", response.status());
        Ok(put.0.load(Ordering::Relaxed) - before)
    }))
}

/// What the gate has decided about events, to records.
pub(crate) fn write(events: usize) -> Result<Round> {
    let arrivals = events::arrivals(events)?;
    Ok(Box::new(move || {
        for arrival in &arrivals {
            black_box(ingest::record(&arrival.receipt, arrival.payload.clone())?);
        }
        Ok(arrivals.len())
    }))
}

/// Records to what the gate has decided about their events.
pub(crate) fn read(events: usize) -> Result<Round> {
    let positions: Vec<_> = events::arrivals(events)?.into_iter().map(|arrival| arrival.position).collect();
    let stored: Vec<_> = positions.into_iter().zip(records(events)?).collect();
    Ok(Box::new(move || {
        for (position, record) in &stored {
            let read = Arrival::read(*position, &record.header, record.value.clone());
            black_box(read.map_err(|unreadable| anyhow!("a record cannot be read: {}", unreadable.problem))?);
        }
        Ok(stored.len())
    }))
}

/// The records of so many events.
///
/// # Errors
///
/// When a receipt cannot be written.
pub fn records(events: usize) -> Result<Vec<Record>> {
    events::arrivals(events)?.into_iter().map(|arrival| Ok(ingest::record(&arrival.receipt, arrival.payload)?)).collect()
}
