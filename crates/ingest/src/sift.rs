//! Takes a request's body apart, judges its events, and makes the records for the journal. All of it is computation: nothing here waits.

use std::sync::Arc;
use std::time::Instant;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use bytes::Bytes;
use contract::wire::Envelope;
use contract::{Erased, Plan, SourceName, Timestamp, WireFormat};
use journal::Record;

use crate::Error;
use crate::admission::Share;
use crate::answer::Report;
use crate::caller::Caller;
use crate::credentials::agreed;
use crate::encoding::{self, Caps};
use crate::form::{Form, Query};
use crate::gate::Inner;
use crate::judge::{Judgement, Kept, Rules, judge};
use crate::keys::Source;
use crate::record::{Scribe, Shared};
use crate::route::Route;

mod split;

use split::Parts;

/// A request on its way, with what is known of it beside its body. Not `Debug`, for it holds the key.
pub(crate) struct Visit {
    pub(crate) route: Route,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Query,
    pub(crate) caller: Caller,
    /// The key that headers or address gave.
    pub(crate) claimed: Option<String>,
    /// Whose key that is.
    pub(crate) source: Option<Arc<Source>>,
    /// Whether it is known that the source sent this body, where its key asks for a signature.
    pub(crate) is_checked: bool,
    pub(crate) share: Share,
}

impl Visit {
    /// Whether it may take a decoder to read the body.
    pub(crate) fn may_be_packed(&self, body: &[u8]) -> bool {
        self.headers.contains_key(CONTENT_ENCODING) || encoding::sniffed(body).is_some()
    }
}

/// What is ready for the journal, and what the client is told once the journal has it.
#[derive(Debug)]
pub(crate) struct Sifted {
    pub(crate) source: Option<SourceName>,
    pub(crate) records: Vec<Record>,
    pub(crate) answer: Result<Report, Error>,
    /// Held until the records are let go.
    pub(crate) share: Share,
}

/// Takes the body apart. What is refused as a whole is one record, if its source is known.
pub(crate) fn sift(gate: &Inner, mut visit: Visit, body: Bytes, received_at: Timestamp) -> Sifted {
    let outcome = events(gate, &mut visit, &body, received_at);
    match outcome {
        Ok((records, report)) => {
            Sifted { source: visit.source.map(|source| source.name.clone()), records, answer: Ok(report), share: visit.share }
        }
        Err(error) => refuse(gate, visit, error, &body, body.len() as u64, received_at),
    }
}

/// Makes a request that is not taken as a whole into one refused record, where its source is known and the fault lies in its bytes.
pub(crate) fn refuse(gate: &Inner, visit: Visit, error: Error, front: &Bytes, full_bytes: u64, received_at: Timestamp) -> Sifted {
    let (mut records, mut answer) = (Vec::new(), Err(error));
    // Of one that should be signed and was not looked at as a whole nobody knows whose it is.
    if let (Some(source), Err(error)) = (visit.source.as_ref().filter(|source| visit.is_checked || !source.scope.signed), &answer)
        && let Some(violation) = error.refusal()
    {
        let plan = gate.plan();
        let shared = Shared {
            source: source.name.clone(),
            client_address: gate.client_address(&source.name),
            caller: visit.caller,
            format: Form::of(visit.route, &visit.headers).map_or(WireFormat::Cloudevents, |form| form.format()),
            plan_version: plan.version().to_owned(),
            envelope: None,
            received_at,
        };
        let mut scribe = Scribe::new(shared, gate.config.refused_payload_bytes_max);
        match scribe.record_of(front, full_bytes, &Judgement::refused(None, vec![violation], &plan)) {
            Ok((record, _)) => records.push(record),
            Err(error) => answer = Err(error),
        }
    }
    Sifted { source: visit.source.map(|source| source.name.clone()), records, answer, share: visit.share }
}

fn events(gate: &Inner, visit: &mut Visit, body: &Bytes, received_at: Timestamp) -> Result<(Vec<Record>, Report), Error> {
    let config = &gate.config;
    check(gate, visit, body, received_at)?;
    let form = Form::of(visit.route, &visit.headers)?;
    let (sent, body) = (body, unpacked(gate, visit, &form, body)?);
    let parts = match split::parts(&form, &body, &visit.query, config) {
        Ok(parts) => parts,
        Err(violation) => {
            // So that the refusal has its source, where that is told in the body alone.
            identify(gate, visit, split::key_of(&form, &body))?;
            check(gate, visit, sent, received_at)?;
            return Err(Error::Malformed(violation));
        }
    };
    let source = identify(gate, visit, parts.key.clone())?;
    check(gate, visit, sent, received_at)?;
    gate.rates.pay(&source, parts.events.len(), Instant::now());
    let envelope = envelope(&parts, config)?;
    let (plan, erased) = (gate.plan(), gate.erased());
    let work = Work { plan: &plan, erased: &erased, source: &source, form: &form, envelope: &envelope, received_at };
    records(gate, visit, &parts, &work)
}

/// Checks the signature as soon as it is known whose key it is.
fn check(gate: &Inner, visit: &mut Visit, sent: &[u8], now: Timestamp) -> Result<(), Error> {
    if let Some(source) = visit.source.as_ref().filter(|_| !visit.is_checked) {
        gate.check_signature(source, &visit.headers, sent, now)?;
        visit.is_checked = true;
    }
    Ok(())
}

fn unpacked(gate: &Inner, visit: &mut Visit, form: &Form, body: &Bytes) -> Result<Bytes, Error> {
    if matches!(visit.route, Route::PixelData(_)) {
        return split::pixel_data(body).map_err(Error::Malformed);
    }
    let mut codings = encoding::named(&visit.headers)?;
    if codings.is_empty() && form.is_json() {
        codings.extend(encoding::sniffed(body));
    }
    let caps = Caps { bytes_max: gate.config.body_bytes_max, ratio_max: gate.config.expansion_ratio_max };
    encoding::unpack(body.clone(), &codings, caps, &mut visit.share)
}

/// The source of the request, now that the body's key is known too.
fn identify(gate: &Inner, visit: &mut Visit, in_body: Option<String>) -> Result<Arc<Source>, Error> {
    let key = agreed(visit.claimed.clone(), in_body)?;
    if let Some(source) = &visit.source {
        return Ok(Arc::clone(source));
    }
    let source = gate.authenticate(key.as_deref().ok_or(Error::MissingKey)?, &visit.headers)?;
    visit.source = Some(Arc::clone(&source));
    Ok(source)
}

fn envelope<'a>(parts: &'a Parts, config: &crate::Config) -> Result<Envelope<'a>, Error> {
    let raw = parts.envelope.as_deref();
    if raw.is_some_and(|raw| raw.get().len() > config.envelope_bytes_max) {
        return Err(Error::EnvelopeTooLarge { bytes_max: config.envelope_bytes_max });
    }
    // A broken envelope is one fault of the request and not one of each event.
    Envelope::parse(raw, &config.json).map_err(|violations| violations.into_iter().next().map_or(Error::Internal, Error::Malformed))
}

/// What all events of a request are judged and recorded with.
struct Work<'a> {
    plan: &'a Plan,
    erased: &'a Erased,
    source: &'a Source,
    form: &'a Form,
    envelope: &'a Envelope<'a>,
    received_at: Timestamp,
}

fn records(gate: &Inner, visit: &mut Visit, parts: &Parts, work: &Work<'_>) -> Result<(Vec<Record>, Report), Error> {
    let config = &gate.config;
    let rules = Rules {
        plan: work.plan,
        policy: work.plan.policy(&work.source.name),
        scope: &work.source.scope,
        format: work.form.format(),
        envelope: work.envelope,
        json: &config.json,
        event_bytes_max: config.event_bytes_max,
        erased: work.erased,
        raw_envelope: parts.envelope.as_deref(),
        pii_key: &gate.pii_key,
        masked_before: false,
    };
    let shared = Shared {
        source: work.source.name.clone(),
        client_address: gate.client_address(&work.source.name),
        caller: visit.caller.clone(),
        format: rules.format,
        plan_version: work.plan.version().to_owned(),
        envelope: parts.envelope.clone(),
        received_at: work.received_at,
    };
    let mut scribe = Scribe::new(shared, config.refused_payload_bytes_max);
    let mut report = Report::default();
    let mut records = Vec::with_capacity(parts.events.len());
    let mut bytes = 0;
    for (index, payload) in parts.events.iter().enumerate() {
        let judgement = judge(payload, &rules);
        let (record, event_id) = scribe.record(payload, &judgement)?;
        bytes += record.header.len() + record.value.len();
        if bytes > config.append_bytes_max {
            return Err(Error::BatchTooLarge { bytes_max: config.append_bytes_max });
        }
        // A masked payload is no part of the body any more.
        let fresh = if matches!(judgement.kept, Kept::Masked(_)) { record.value.len() } else { 0 };
        visit.share.grow(record.header.len() + fresh)?;
        if let Kept::Out(why) = judgement.kept {
            *report.kept_out.entry(why).or_default() += 1;
        }
        report.note(index, event_id, judgement.verdict, judgement.violations);
        records.push(record);
    }
    Ok((records, report))
}
