//! From the journal to Bronze: every event the gate took, as the exact bytes it arrived in, with where and when it came from.
//!
//! Nothing is filtered, decoded or mended here. What the gate refused is no row of Bronze but a dead letter, see [`crate::dead_letters::refused`].

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Int32Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use bytes::Bytes;
use contract::{Erased, Position, Receipt, Timestamp, Verdict};

use crate::columns::{BYTES_MAX, UTC};
use crate::ledger::{self, Counts};
use crate::{Error, dead_letters, schema};

/// A record of the journal: an event's bytes and the gate's note on it.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Where it is in the journal.
    pub position: Position,
    /// The gate's note.
    pub receipt: Receipt,
    /// The event as it came.
    pub payload: Bytes,
}

/// A record of the journal whose header is no receipt: damage, or another program's. It must not stop anything, and it must not be lost.
#[derive(Debug, Clone)]
pub struct Unreadable {
    /// Where it is in the journal.
    pub position: Position,
    /// What should have been a receipt.
    pub header: Bytes,
    /// The record's value.
    pub payload: Bytes,
    /// Why the header is no receipt.
    pub problem: String,
    /// The version of receipts that it is of, where a newer program wrote it.
    pub newer: Option<u32>,
}

impl Arrival {
    /// Reads a record of the journal.
    ///
    /// # Errors
    ///
    /// The record itself, where its header is no receipt.
    pub fn read(position: Position, header: &Bytes, payload: Bytes) -> Result<Self, Unreadable> {
        let newer = Receipt::newer_version(header);
        let problem = match (newer, Receipt::from_bytes(header)) {
            (None, Ok(receipt)) => return Ok(Self { position, receipt, payload }),
            (None, Err(error)) => error.to_string(),
            (Some(version), _) => format!("it is of version {version}"),
        };
        Err(Unreadable { position, header: header.clone(), payload, problem, newer })
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.receipt.verdict == Verdict::Refused
    }

    pub(crate) fn violations_json(&self) -> Option<String> {
        violations_json(&self.receipt.violations)
    }

    pub(crate) fn envelope(&self) -> Option<&str> {
        self.receipt.envelope.as_deref().map(serde_json::value::RawValue::get)
    }
}

/// Violations as they stand in the tables: a JSON array, or null where there are none.
pub(crate) fn violations_json(violations: &[contract::Violation]) -> Option<String> {
    // Structs of three strings always have a JSON text.
    (!violations.is_empty()).then(|| serde_json::to_string(violations).unwrap_or_default())
}

/// The Bronze rows ([`schema::bronze`]) of these records, in their order, without those the gate refused.
///
/// # Errors
///
/// [`Error::TooLarge`] when payloads and envelopes exceed 2 GiB together; [`Error::Position`] when a position does not fit its columns.
pub fn batch(arrivals: &[Arrival]) -> Result<RecordBatch, Error> {
    let taken: Vec<&Arrival> = arrivals.iter().filter(|arrival| !arrival.is_refused()).collect();
    let mut journal = JournalColumns::with_capacity(taken.len());
    for arrival in &taken {
        journal.push(arrival.position)?;
    }
    let mut verdict = StringBuilder::with_capacity(taken.len(), taken.len() * 8);
    let mut retries = Int64Builder::with_capacity(taken.len());
    for arrival in &taken {
        verdict.append_value(arrival.receipt.verdict.as_str());
        retries.append_option(arrival.receipt.client_retries.map(i64::from));
    }
    let common = Common::of(&taken)?;
    let [generation, partition, offset] = journal.finish();
    let columns: Vec<ArrayRef> = vec![
        common.source,
        common.event_id,
        common.event_id_generated,
        common.received_at,
        common.sent_at,
        common.ingest_date,
        common.wire_format,
        Arc::new(verdict.finish()),
        common.violations,
        common.plan_version,
        common.client_ip,
        common.user_agent,
        common.envelope,
        Arc::new(retries.finish()),
        generation,
        partition,
        offset,
        common.payload,
    ];
    Ok(RecordBatch::try_new(schema::bronze(), columns)?)
}

/// What becomes of a range of the journal.
#[derive(Debug)]
pub struct Rows {
    /// Rows of Bronze.
    pub bronze: RecordBatch,
    /// Their counts.
    pub accepted: Counts,
    /// What the gate refused, and what cannot be read, as dead letters.
    pub dead_letters: Vec<RecordBatch>,
    /// The counts of those.
    pub refused: Counts,
}

impl Rows {
    /// Parts the records, in their order, and takes the content out of those that are an erased person's. The flag beside a record says whether it is wanted where it is no row of
    /// Bronze: the dead letters may have it already.
    ///
    /// # Errors
    ///
    /// As [`batch`]; [`Error::NewerReceipt`] where a newer program wrote one of the records: what it says must not become a dead letter.
    pub fn of(records: impl IntoIterator<Item = (Result<Arrival, Unreadable>, bool)>, erased: &Erased) -> Result<Self, Error> {
        let (mut arrivals, mut refused, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
        // When a record that cannot be read was received is not known; the records around it are the next best.
        let mut received_at = Timestamp(0);
        for (record, is_new) in records {
            match record {
                Ok(mut arrival) => {
                    if erased.has_payload(&arrival.receipt, &arrival.payload) {
                        arrival.receipt.erase();
                        arrival.payload = Bytes::new();
                    }
                    received_at = received_at.max(arrival.receipt.received_at);
                    if !arrival.is_refused() {
                        arrivals.push(arrival);
                    } else if is_new {
                        refused.push(arrival);
                    }
                }
                Err(Unreadable { position, newer: Some(found), .. }) => return Err(Error::NewerReceipt { position, found }),
                Err(record) if is_new => unreadable.push(record),
                Err(_) => {}
            }
        }
        let mut refusals = ledger::of_arrivals(&refused);
        let mut letters = vec![dead_letters::refused(&refused)?];
        if !unreadable.is_empty() {
            let (rows, counts) = dead_letters::unreadable(&unreadable, received_at)?;
            letters.push(rows);
            refusals.merge(&counts);
        }
        Ok(Self { bronze: batch(&arrivals)?, accepted: ledger::of_arrivals(&arrivals), dead_letters: letters, refused: refusals })
    }
}

/// The columns that Bronze and the dead letters have in common.
pub(crate) struct Common {
    pub(crate) source: ArrayRef,
    pub(crate) event_id: ArrayRef,
    pub(crate) event_id_generated: ArrayRef,
    pub(crate) received_at: ArrayRef,
    pub(crate) sent_at: ArrayRef,
    pub(crate) ingest_date: ArrayRef,
    pub(crate) wire_format: ArrayRef,
    pub(crate) violations: ArrayRef,
    pub(crate) plan_version: ArrayRef,
    pub(crate) client_ip: ArrayRef,
    pub(crate) user_agent: ArrayRef,
    pub(crate) envelope: ArrayRef,
    pub(crate) payload: ArrayRef,
}

impl Common {
    pub(crate) fn of(arrivals: &[&Arrival]) -> Result<Self, Error> {
        let rows = arrivals.len();
        let payload_bytes: usize = arrivals.iter().map(|arrival| arrival.payload.len()).sum();
        let envelope_bytes: usize = arrivals.iter().filter_map(|arrival| arrival.envelope()).map(str::len).sum();
        if payload_bytes + envelope_bytes > BYTES_MAX {
            return Err(Error::TooLarge { bytes: payload_bytes + envelope_bytes, limit: BYTES_MAX });
        }
        let text = |bytes: usize| StringBuilder::with_capacity(rows, bytes);
        let (mut source, mut event_id, mut wire_format, mut plan_version) =
            (text(rows * 12), text(rows * 36), text(rows * 8), text(rows * 12));
        let (mut violations, mut client_ip, mut user_agent, mut envelope) =
            (text(0), text(rows * 16), text(rows * 64), text(envelope_bytes));
        let mut generated = BooleanBuilder::with_capacity(rows);
        let mut received_at = TimestampMicrosecondBuilder::with_capacity(rows).with_timezone(UTC);
        let mut sent_at = TimestampMicrosecondBuilder::with_capacity(rows).with_timezone(UTC);
        let mut ingest_date = Date32Builder::with_capacity(rows);
        let mut payload = BinaryBuilder::with_capacity(rows, payload_bytes);
        for arrival in arrivals {
            let receipt = &arrival.receipt;
            source.append_value(receipt.source.as_str());
            event_id.append_value(receipt.event_id.as_str());
            generated.append_value(receipt.event_id_generated);
            received_at.append_value(receipt.received_at.micros());
            sent_at.append_option(receipt.sent_at.map(contract::Timestamp::micros));
            ingest_date.append_value(receipt.received_at.date());
            wire_format.append_value(receipt.format.as_str());
            violations.append_option(arrival.violations_json());
            plan_version.append_value(&receipt.plan_version);
            client_ip.append_option(receipt.client_ip.as_deref());
            user_agent.append_option(receipt.user_agent.as_deref());
            envelope.append_option(arrival.envelope());
            payload.append_value(&arrival.payload);
        }
        Ok(Self {
            source: Arc::new(source.finish()),
            event_id: Arc::new(event_id.finish()),
            event_id_generated: Arc::new(generated.finish()),
            received_at: Arc::new(received_at.finish()),
            sent_at: Arc::new(sent_at.finish()),
            ingest_date: Arc::new(ingest_date.finish()),
            wire_format: Arc::new(wire_format.finish()),
            violations: Arc::new(violations.finish()),
            plan_version: Arc::new(plan_version.finish()),
            client_ip: Arc::new(client_ip.finish()),
            user_agent: Arc::new(user_agent.finish()),
            envelope: Arc::new(envelope.finish()),
            payload: Arc::new(payload.finish()),
        })
    }
}

/// The three columns of a place in the journal.
pub(crate) struct JournalColumns {
    generation: Int32Builder,
    partition: Int32Builder,
    offset: Int64Builder,
}

impl JournalColumns {
    pub(crate) fn with_capacity(rows: usize) -> Self {
        Self {
            generation: Int32Builder::with_capacity(rows),
            partition: Int32Builder::with_capacity(rows),
            offset: Int64Builder::with_capacity(rows),
        }
    }

    pub(crate) fn push(&mut self, position: Position) -> Result<(), Error> {
        let misfit = |_| Error::Position(position);
        self.generation.append_value(i32::try_from(position.generation).map_err(misfit)?);
        self.partition.append_value(i32::try_from(position.partition).map_err(misfit)?);
        self.offset.append_value(i64::try_from(position.offset).map_err(misfit)?);
        Ok(())
    }

    pub(crate) fn finish(mut self) -> [ArrayRef; 3] {
        [Arc::new(self.generation.finish()), Arc::new(self.partition.finish()), Arc::new(self.offset.finish())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{arrival, json_rows};

    #[test]
    fn a_row_has_all_that_the_gate_noted() {
        let mut full = arrival(3, r#"{"event_type":"a"}"#);
        full.receipt = Receipt::from_bytes(
            concat!(
                r#"{"source":"web","event_id":"e","event_id_generated":true,"received_at":1795428000000000,"sent_at":1795428000000001,"#,
                r#""format":"segment","verdict":"flagged","violations":[{"code":"c","field":"/f","message":"m"}],"plan_version":"7","#,
                r#""client_ip":"::1","user_agent":"x","envelope":{"type": "track"},"client_retries":2}"#
            )
            .as_bytes(),
        )
        .unwrap();
        let rows = json_rows(&batch(&[full]).unwrap());
        let expected = serde_json::json!({
            "source": "web", "event_id": "e", "event_id_generated": true, "received_at": "2026-11-23T10:00:00.000000Z",
            "sent_at": "2026-11-23T10:00:00.000001Z", "ingest_date": "2026-11-23", "wire_format": "segment", "verdict": "flagged",
            "violations": r#"[{"code":"c","field":"/f","message":"m"}]"#, "plan_version": "7", "client_ip": "::1", "user_agent": "x",
            "envelope": r#"{"type": "track"}"#, "client_retries": 2, "journal_generation": 0, "journal_partition": 0, "journal_offset": 3,
            "payload": r#"{"event_type":"a"}"#,
        });
        assert_eq!(rows, [expected]);
    }

    #[test]
    fn refused_events_are_no_rows() {
        let mut refused = arrival(1, "{");
        refused.receipt.verdict = Verdict::Refused;
        let batch = batch(&[arrival(0, "{}"), refused, arrival(2, "{}")]).unwrap();
        assert_eq!(batch.num_rows(), 2);
        assert_eq!(super::batch(&[]).unwrap().num_rows(), 0);
    }

    #[test]
    fn positions_without_a_number_in_bronze_are_told() {
        let mut arrival = arrival(0, "{}");
        arrival.position.offset = u64::MAX;
        assert!(matches!(batch(&[arrival]), Err(Error::Position(_))));
    }

    #[test]
    fn more_than_an_array_holds_is_told_before_it_is_copied() {
        let mut large = arrival(0, "");
        large.payload = vec![0; 64 << 20].into();
        let error = batch(&vec![large; 32]).unwrap_err();
        assert!(matches!(error, Error::TooLarge { bytes, .. } if bytes == 2 << 30), "{error}");
        assert_eq!(error.kind(), crate::ErrorKind::TooLarge);
    }

    #[test]
    fn a_header_that_is_no_receipt_is_kept_with_the_reason() {
        let position = Position { generation: 1, partition: 2, offset: 3 };
        let unreadable = Arrival::read(position, &Bytes::from_static(b"\xff"), Bytes::from_static(b"p")).unwrap_err();
        assert_eq!((&unreadable.header[..], &unreadable.payload[..], unreadable.position), (&b"\xff"[..], &b"p"[..], position));
        assert!(!unreadable.problem.is_empty());
        let header = arrival(0, "").receipt.to_bytes().unwrap().into();
        assert_eq!(Arrival::read(position, &header, Bytes::new()).unwrap().receipt.source.as_str(), "web");
    }

    #[test]
    fn a_receipt_of_a_newer_version_stops_the_batch() {
        let position = Position { generation: 1, partition: 2, offset: 3 };
        let header = arrival(0, "").receipt.to_bytes().unwrap();
        let newer = [&br#"{"version":2,"#[..], header.strip_prefix(b"{").unwrap()].concat().into();
        for is_new in [true, false] {
            let record = Arrival::read(position, &newer, Bytes::new());
            let error = Rows::of([(Ok(arrival(0, "{}")), true), (record, is_new)], &Erased::default()).unwrap_err();
            assert!(matches!(error, Error::NewerReceipt { position: named, found: 2 } if named == position), "{error}");
        }
    }
}
