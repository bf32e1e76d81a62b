//! Dead letters: what could not be accepted or understood, with the reason, and with all that is needed to put it through again.
//!
//! | stage | what | why |
//! |---|---|---|
//! | `gate` | what the gate refused ([`refused`]) | the gate's violations |
//! | `bronze` | records of the journal without a receipt ([`unreadable`]) | `unreadable_receipt` |
//! | `plan` | what the tracking plan's policy keeps out of Silver | the plan's violations |
//! | `silver` | what cannot be decoded, and another event under an id that is taken | the decoder's violations; `identity_conflict` |
//!
//! `code`, `field` and `message` are those of the first violation; `violations` has all.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
    new_null_array,
};
use arrow::datatypes::DataType;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contract::{Identity, Position, Timestamp, Violation};

use crate::bronze::{Arrival, Common, JournalColumns, Unreadable, violations_json};
use crate::columns::{BYTES_MAX, Selection, UTC, select};
use crate::ledger::{self, Counts};
use crate::{Error, schema};

/// The source of a record that does not say where it is from.
pub const UNKNOWN_SOURCE: &str = "unknown";

/// The columns that say why.
struct Reasons {
    stage: StringBuilder,
    code: StringBuilder,
    field: StringBuilder,
    message: StringBuilder,
}

impl Reasons {
    fn with_capacity(rows: usize) -> Self {
        let text = |bytes: usize| StringBuilder::with_capacity(rows, rows * bytes);
        Self { stage: text(6), code: text(16), field: text(16), message: text(64) }
    }

    /// Takes the first of the violations; where a record has none, that is said.
    fn push(&mut self, stage: &str, violations: &[Violation]) {
        let (code, field, message) = match violations {
            [first, ..] => (first.code.as_str(), first.field.as_str(), first.message.as_str()),
            [] => ("unexplained", "", "no violation was noted with this event"),
        };
        self.stage.append_value(stage);
        self.code.append_value(code);
        self.field.append_value(field);
        self.message.append_value(message);
    }

    /// Stage, code, field and message.
    fn finish(mut self) -> [ArrayRef; 4] {
        [&mut self.stage, &mut self.code, &mut self.field, &mut self.message].map(|column| -> ArrayRef { Arc::new(column.finish()) })
    }
}

/// The same text in each of so many rows.
fn texts(rows: usize, text: &str) -> ArrayRef {
    let mut texts = StringBuilder::with_capacity(rows, rows * text.len());
    for _ in 0..rows {
        texts.append_value(text);
    }
    Arc::new(texts.finish())
}

/// The dead letters ([`schema::dead_letters`]) of those of these records that the gate refused, in their order; the others are left out.
///
/// # Errors
///
/// [`Error::TooLarge`] when payloads and envelopes exceed 2 GiB together; [`Error::Position`] when a position does not fit its columns.
pub fn refused(arrivals: &[Arrival]) -> Result<RecordBatch, Error> {
    let refused: Vec<&Arrival> = arrivals.iter().filter(|arrival| arrival.is_refused()).collect();
    let mut reasons = Reasons::with_capacity(refused.len());
    let mut journal = JournalColumns::with_capacity(refused.len());
    let mut truncated_from = Int64Builder::with_capacity(refused.len());
    for arrival in &refused {
        reasons.push("gate", &arrival.receipt.violations);
        journal.push(arrival.position)?;
        truncated_from.append_option(arrival.receipt.truncated_from.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)));
    }
    let common = Common::of(&refused)?;
    assemble(common, reasons, Arc::new(truncated_from.finish()), journal)
}

fn assemble(common: Common, reasons: Reasons, truncated_from: ArrayRef, journal: JournalColumns) -> Result<RecordBatch, Error> {
    let [stage, code, field, message] = reasons.finish();
    let [generation, partition, offset] = journal.finish();
    let columns = vec![
        common.source,
        common.event_id,
        common.event_id_generated,
        common.received_at,
        common.sent_at,
        common.ingest_date,
        stage,
        code,
        field,
        message,
        common.violations,
        common.plan_version,
        common.wire_format,
        common.client_ip,
        common.user_agent,
        common.envelope,
        common.payload,
        truncated_from,
        generation,
        partition,
        offset,
    ];
    Ok(RecordBatch::try_new(schema::dead_letters(), columns)?)
}

/// The dead letters of records without a receipt, and their counts (`unreadable`).
///
/// The record's value is the payload, as it is; its header is in the envelope, as `{"header_base64": …}`, so nothing is lost. The source is [`UNKNOWN_SOURCE`], the
/// event id is the place in the journal. When they were received is not known: `received_at` is for the caller to choose, best from the records around them.
///
/// # Errors
///
/// As [`refused`].
pub fn unreadable(records: &[Unreadable], received_at: Timestamp) -> Result<(RecordBatch, Counts), Error> {
    let rows = records.len();
    let bytes = records.iter().map(|record| record.payload.len() + record.header.len() / 3 * 4 + 32).sum();
    if bytes > BYTES_MAX {
        return Err(Error::TooLarge { bytes, limit: BYTES_MAX });
    }
    let mut counts = Counts::default();
    let mut reasons = Reasons::with_capacity(rows);
    let mut journal = JournalColumns::with_capacity(rows);
    let (mut ids, mut envelopes, mut violations) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    let mut payloads = BinaryBuilder::new();
    for record in records {
        let event_id = unreadable_id(record.position);
        let violation = Violation::new("unreadable_receipt", "", format!("the journal's record has no receipt: {}", record.problem));
        let found = [violation];
        reasons.push("bronze", &found);
        violations.append_option(violations_json(&found));
        journal.push(record.position)?;
        counts.add_row(Identity { source: UNKNOWN_SOURCE, event_id: &event_id }, received_at, ledger::UNREADABLE);
        ids.append_value(event_id);
        envelopes.append_value(format!(r#"{{"header_base64":"{}"}}"#, STANDARD.encode(&record.header)));
        payloads.append_value(&record.payload);
    }
    let instants = |micros: Option<i64>| {
        let mut instants = TimestampMicrosecondBuilder::with_capacity(rows).with_timezone(UTC);
        (0..rows).for_each(|_| instants.append_option(micros));
        Arc::new(instants.finish())
    };
    let (mut generated, mut dates) = (BooleanBuilder::with_capacity(rows), Date32Builder::with_capacity(rows));
    generated.append_n(rows, true);
    (0..rows).for_each(|_| dates.append_value(received_at.date()));
    let common = Common {
        source: texts(rows, UNKNOWN_SOURCE),
        event_id: Arc::new(ids.finish()),
        event_id_generated: Arc::new(generated.finish()),
        received_at: instants(Some(received_at.micros())),
        sent_at: instants(None),
        ingest_date: Arc::new(dates.finish()),
        wire_format: texts(rows, "unknown"),
        violations: Arc::new(violations.finish()),
        plan_version: texts(rows, "unknown"),
        client_ip: new_null_array(&DataType::Utf8, rows),
        user_agent: new_null_array(&DataType::Utf8, rows),
        envelope: Arc::new(envelopes.finish()),
        payload: Arc::new(payloads.finish()),
    };
    Ok((assemble(common, reasons, new_null_array(&DataType::Int64, rows), journal)?, counts))
}

fn unreadable_id(position: Position) -> String {
    format!("journal {position}")
}

/// Why a row of Bronze is no row of Silver.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reason {
    pub(crate) stage: &'static str,
    /// At least one.
    pub(crate) violations: Vec<Violation>,
}

impl Reason {
    pub(crate) fn conflict() -> Self {
        let message = "another event has this id and came first; give each event an id of its own";
        Self { stage: "silver", violations: vec![Violation::new("identity_conflict", "", message)] }
    }
}

/// The dead letters of rows of Bronze, each with its reason.
pub(crate) fn of_bronze(bronze: &RecordBatch, rows: &Selection, reasons: &[Reason]) -> Result<RecordBatch, Error> {
    let mut violations = StringBuilder::with_capacity(reasons.len(), reasons.len() * 96);
    let mut columns = Reasons::with_capacity(reasons.len());
    for reason in reasons {
        columns.push(reason.stage, &reason.violations);
        violations.append_option(violations_json(&reason.violations));
    }
    let [stage, code, field, message] = columns.finish();
    let made: Vec<(&str, ArrayRef)> = vec![
        ("stage", stage),
        ("code", code),
        ("field", field),
        ("message", message),
        ("violations", Arc::new(violations.finish())),
        // Bronze has every payload whole.
        ("truncated_from", new_null_array(&DataType::Int64, reasons.len())),
    ];
    select(bronze, rows, &schema::dead_letters(), "bronze.events", made)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use contract::Verdict;
    use serde_json::json;

    use super::*;
    use crate::testing::{RECEIVED, arrival, json_rows};

    #[test]
    fn what_the_gate_refused_says_why() {
        let mut refused = arrival(7, "{\"a\":");
        refused.receipt.verdict = Verdict::Refused;
        refused.receipt.truncated_from = Some(99);
        refused.receipt.violations = vec![Violation::new("first", "/a", "m"), Violation::new("second", "", "n")];
        let rows = json_rows(&super::refused(&[arrival(1, "{}"), refused]).unwrap());
        let expected = json!({
            "source": "web", "event_id": "e7", "event_id_generated": false, "received_at": RECEIVED.to_rfc3339(), "sent_at": null,
            "ingest_date": "2026-11-23", "stage": "gate", "code": "first", "field": "/a", "message": "m",
            "violations": r#"[{"code":"first","field":"/a","message":"m"},{"code":"second","field":"","message":"n"}]"#, "plan_version": "1",
            "wire_format": "native", "client_ip": null, "user_agent": null, "envelope": null, "payload": "{\"a\":", "truncated_from": 99,
            "journal_generation": 0, "journal_partition": 0, "journal_offset": 7,
        });
        assert_eq!(rows, [expected]);
    }

    #[test]
    fn records_without_a_receipt_lose_nothing() {
        let position = Position { generation: 1, partition: 2, offset: 3 };
        let record = Arrival::read(position, &Bytes::from_static(b"\xff\x00"), Bytes::from_static(b"payload")).unwrap_err();
        let (batch, counts) = unreadable(&[record], RECEIVED).unwrap();
        let [row] = json_rows(&batch).try_into().unwrap();
        assert_eq!((&row["source"], &row["event_id"], &row["stage"]), (&json!(UNKNOWN_SOURCE), &json!("journal 1:2:3"), &json!("bronze")));
        assert_eq!(
            (&row["code"], &row["envelope"], &row["payload"]),
            (&json!("unreadable_receipt"), &json!(r#"{"header_base64":"/wA="}"#), &json!("payload"))
        );
        assert_eq!(counts.total("unreadable"), 1);
        assert_eq!(unreadable(&[], RECEIVED).unwrap().0.num_rows(), 0);
    }
}
