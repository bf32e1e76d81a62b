//! The way of one request from its first byte to the answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use bytes::Bytes;
use contract::trace::{self, Traceparent};
use contract::{Receipt, Timestamp};
use journal::Record;

use crate::admission::Share;
use crate::answer::Report;
use crate::body::{Incoming, Unread};
use crate::caller::Caller;
use crate::form::Query;
use crate::gate::{Gate, Inner, Ticket};
use crate::route::Route;
use crate::sift::{Sifted, Visit, refuse, sift};
use crate::{Error, credentials, metrics};

/// Up to this size a body is sifted where it arrived; a larger one elsewhere, for it would hold up other connections.
const SIFTED_HERE_BYTES_MAX: usize = 32 * 1024;

/// Takes one request. When it returns `Ok`, the journal has made durable whatever the report says is accepted, and what it says is rejected.
pub(crate) async fn take(gate: &Gate, route: Route, parts: Parts, incoming: &mut Incoming) -> Result<Report, Error> {
    let ticket = gate.enter()?;
    let share = gate.inner.memory.share();
    let mut visit = visit(gate, route, parts, share)?;
    let read = match body_in_address(route, &visit.query) {
        Some(body) => Ok(body),
        None => incoming.read(&gate.inner.config, &mut visit.share).await,
    };
    let received_at = gate.inner.now();
    let sifted = match read {
        Ok(body) => sifted(&gate.inner, visit, body, received_at).await?,
        Err(Unread { error, prefix, bytes }) => refuse(&gate.inner, visit, error, &prefix, bytes, received_at),
    };
    // In a task of its own: it must come to its end even if the client goes away and this future with it.
    let commit = tokio::spawn(commit(gate.clone(), sifted, ticket));
    match tokio::time::timeout(gate.inner.config.append_timeout, commit).await {
        Ok(outcome) => outcome.map_err(|_| Error::Internal)?,
        Err(_) => {
            gate.inner.note_journal(Err(&Error::JournalSlow));
            Err(Error::JournalSlow)
        }
    }
}

/// Takes the body apart, here or on a thread for that, as it is light or heavy.
async fn sifted(inner: &Arc<Inner>, visit: Visit, body: Bytes, received_at: Timestamp) -> Result<Sifted, Error> {
    metrics::body_bytes(body.len());
    if body.len() <= SIFTED_HERE_BYTES_MAX && !visit.may_be_packed(&body) {
        return Ok(sift(inner, visit, body, received_at));
    }
    let _turn = inner.sifting.acquire().await.map_err(|_| Error::Closing)?;
    let inner = Arc::clone(inner);
    tokio::task::spawn_blocking(move || sift(&inner, visit, body, received_at)).await.map_err(|_| Error::Internal)
}

/// What can be told before the body is read. A wrong key is found out here, if it is not in the body.
fn visit(gate: &Gate, route: Route, parts: Parts, share: Share) -> Result<Visit, Error> {
    let query = Query::of(&parts.uri);
    let peer: Option<IpAddr> = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let caller = Caller::of(&parts.headers, &query, peer, &gate.inner.config);
    if caller.retries.is_some_and(|retries| retries > 0) {
        metrics::retried();
    }
    let claimed = credentials::claimed(&parts.headers, &query)?;
    let source = match &claimed {
        Some(key) => Some(gate.inner.authenticate(key, &parts.headers)?),
        None if route.body_has_key() => None,
        None => return Err(Error::MissingKey),
    };
    Ok(Visit { route, headers: parts.headers, query, caller, claimed, source, is_checked: false, share })
}

/// The body of a request that has it in its address.
fn body_in_address(route: Route, query: &Query) -> Option<Bytes> {
    match route {
        Route::Events | Route::Batch | Route::Call(_) => None,
        Route::PixelQuery(_) => Some(Bytes::new()),
        Route::PixelData(_) => Some(Bytes::copy_from_slice(query.first("data").unwrap_or_default().as_bytes())),
    }
}

/// The records of events whose senders trace their way; none where nobody collects traces.
fn traced(records: &[Record]) -> Vec<(Traceparent, Receipt)> {
    if !tracing::enabled!(target: trace::TARGET, tracing::Level::TRACE) {
        return Vec::new();
    }
    let read = |record: &Record| Some((Traceparent::sampled_of(&record.value)?, Receipt::from_bytes(&record.header).ok()?));
    records.iter().filter_map(read).take(trace::EVENTS_MAX).collect()
}

/// Tells that they are durable in the journal.
fn tell(traced: &[(Traceparent, Receipt)], now: Timestamp) {
    for (parent, receipt) in traced {
        let (source, event_id, began) = (receipt.source.as_str(), receipt.event_id.as_str(), receipt.received_at.micros());
        tracing::trace!(target: trace::TARGET, stage = "gate", %parent, source, event_id, began, ended = now.micros(), verdict = receipt.verdict.as_str());
    }
}

/// Appends what was sifted and gives the answer that then holds.
async fn commit(gate: Gate, sifted: Sifted, ticket: Ticket) -> Result<Report, Error> {
    let Sifted { source, records, answer, share } = sifted;
    if !records.is_empty() {
        let count = records.len();
        let traced = traced(&records);
        let started = Instant::now();
        let appended = gate.inner.journal.put(records).await;
        metrics::appended(started.elapsed(), count);
        let appended = appended.map_err(|error| {
            tracing::debug!(%error, records = count, "the journal did not take a request's records");
            Error::from(&error)
        });
        gate.inner.note_journal(appended.as_ref().map(|_| ()));
        appended?;
        tell(&traced, gate.inner.now());
    }
    if let Some(source) = source {
        metrics::events(&source, &answer);
    }
    drop((share, ticket));
    answer
}
