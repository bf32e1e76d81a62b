//! Writes the gate's note on each event and makes it a record of the journal.

use bytes::Bytes;
use contract::plan::ClientAddress;
use contract::{EventId, Identity, Receipt, SourceName, Timestamp, Verdict, WireFormat, id};
use journal::Record;
use serde_json::value::RawValue;

use crate::Error;
use crate::caller::{Caller, kept};
use crate::judge::{Judgement, Kept};

/// What is the same for all events of a request.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) source: SourceName,
    pub(crate) caller: Caller,
    pub(crate) client_address: ClientAddress,
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
            client_ip: shared.caller.address.and_then(|address| kept(address, shared.client_address)).map(|address| address.to_string()),
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
        let event_id = judgement.event_id.clone().unwrap_or_else(|| fresh_id(self.receipt.received_at));
        let receipt = &mut self.receipt;
        receipt.event_id.clone_from(&event_id);
        receipt.event_id_generated = judgement.event_id.is_none();
        receipt.sent_at = judgement.sent_at;
        receipt.verdict = judgement.verdict;
        receipt.violations.clone_from(&judgement.violations);
        receipt.truncated_from = None;
        let record = match &judgement.kept {
            Kept::Whole => {
                let value = self.front(payload);
                self.receipt.truncated_from = (full_bytes > value.len() as u64).then_some(full_bytes);
                record(&self.receipt, value)?
            }
            Kept::Masked(masked) => {
                let mut receipt = self.receipt.clone();
                receipt.envelope = masked.envelope.clone().map(RawValue::from_string).transpose().map_err(|_| Error::Internal)?;
                let value = self.front(&Bytes::from(masked.payload.clone()));
                receipt.truncated_from = (masked.payload.len() > value.len()).then_some(masked.payload.len() as u64);
                record(&receipt, value)?
            }
            Kept::Nothing => {
                let receipt = Receipt { envelope: None, truncated_from: Some(full_bytes), ..self.receipt.clone() };
                record(&receipt, Bytes::new())?
            }
            Kept::Out(_) => {
                let mut receipt = self.receipt.clone();
                receipt.erase();
                record(&receipt, Bytes::new())?
            }
        };
        Ok((record, event_id))
    }

    fn front(&self, payload: &Bytes) -> Bytes {
        let bytes_max = if self.receipt.verdict == Verdict::Refused { self.refused_payload_bytes_max } else { usize::MAX };
        payload.slice(..payload.len().min(bytes_max))
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
