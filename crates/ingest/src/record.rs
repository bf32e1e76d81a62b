//! Writes the gate's note on each event and makes it a record of the journal.

use bytes::Bytes;
use contract::{EventId, Identity, Receipt, SourceName, Timestamp, Verdict, WireFormat, id};
use journal::Record;
use serde_json::value::RawValue;

use crate::Error;
use crate::caller::Caller;
use crate::judge::Judgement;

/// What is the same for all events of a request.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) source: SourceName,
    pub(crate) caller: Caller,
    pub(crate) format: WireFormat,
    pub(crate) plan_version: String,
    pub(crate) envelope: Option<Box<RawValue>>,
    pub(crate) received_at: Timestamp,
}

/// Turns the events of one request into records.
#[derive(Debug)]
pub(crate) struct Scribe {
    /// Filled in anew for each event, so that what is the same for all is not copied for each.
    receipt: Receipt,
    refused_payload_bytes_max: usize,
}

impl Scribe {
    pub(crate) fn new(shared: Shared, refused_payload_bytes_max: usize) -> Self {
        let receipt = Receipt {
            source: shared.source,
            event_id: fresh_id(shared.received_at),
            event_id_generated: true,
            received_at: shared.received_at,
            sent_at: None,
            format: shared.format,
            verdict: Verdict::Accepted,
            violations: Vec::new(),
            plan_version: shared.plan_version,
            client_ip: shared.caller.address,
            user_agent: shared.caller.user_agent,
            envelope: shared.envelope,
            client_retries: shared.caller.retries,
            truncated_from: None,
        };
        Self { receipt, refused_payload_bytes_max }
    }

    /// The record of an event, and the id it has there. Of a refused one only the front of the payload is kept.
    pub(crate) fn record(&mut self, payload: &Bytes, judgement: &Judgement) -> Result<(Record, EventId), Error> {
        self.record_of(payload, payload.len() as u64, judgement)
    }

    /// As [`Scribe::record`], for a payload of which not all was seen.
    pub(crate) fn record_of(&mut self, payload: &Bytes, full_bytes: u64, judgement: &Judgement) -> Result<(Record, EventId), Error> {
        let refused = judgement.verdict == Verdict::Refused;
        let value = if refused { payload.slice(..payload.len().min(self.refused_payload_bytes_max)) } else { payload.clone() };
        let event_id = judgement.event_id.clone().unwrap_or_else(|| fresh_id(self.receipt.received_at));
        let receipt = &mut self.receipt;
        receipt.event_id.clone_from(&event_id);
        receipt.event_id_generated = judgement.event_id.is_none();
        receipt.sent_at = judgement.sent_at;
        receipt.verdict = judgement.verdict;
        receipt.violations.clone_from(&judgement.violations);
        if judgement.erased {
            let mut left = receipt.clone();
            left.erase();
            return Ok((record(&left, Bytes::new())?, event_id));
        }
        receipt.truncated_from = (full_bytes > value.len() as u64).then_some(full_bytes);
        Ok((record(receipt, value)?, event_id))
    }
}

/// The journal's record of an event with this receipt.
///
/// # Errors
///
/// [`Error::Internal`] when the receipt cannot be written.
pub fn record(receipt: &Receipt, value: Bytes) -> Result<Record, Error> {
    let header = receipt.to_bytes().map_err(|error| {
        tracing::error!(%error, "a receipt cannot be written");
        Error::Internal
    })?;
    let key = Identity { source: receipt.source.as_str(), event_id: receipt.event_id.as_str() }.digest();
    Ok(Record { key, header: header.into(), value })
}

fn fresh_id(now: Timestamp) -> EventId {
    id::uuid_v7(now, rand::random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_that_of_the_identity() {
        let receipt = br#"{"source":"web","event_id":"a","received_at":0,"format":"native","verdict":"accepted","plan_version":"1"}"#;
        let made = record(&Receipt::from_bytes(receipt).unwrap(), Bytes::from_static(b"{}")).unwrap();
        assert_eq!(made.key, Identity { source: "web", event_id: "a" }.digest());
        assert_eq!(&made.header[..], receipt);
    }
}
