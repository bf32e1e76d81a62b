//! A row of Bronze as the event it holds, or the reason why it holds none for Silver.

use arrow::array::{Array as _, BinaryArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use contract::wire::{Envelope, decode_in};
use contract::{Event, Timestamp, Verdict, Violation, WireFormat, json};
use serde_json::value::RawValue;

use crate::Error;
use crate::columns::{Columns, text_at};
use crate::dead_letters::Reason;

pub(crate) const TABLE: &str = "bronze.events";

/// The columns of Bronze that Silver's rows are made from.
pub(crate) struct Rows<'a> {
    received_at: &'a TimestampMicrosecondArray,
    sent_at: &'a TimestampMicrosecondArray,
    wire_format: &'a StringArray,
    verdict: &'a StringArray,
    violations: &'a StringArray,
    user_agent: &'a StringArray,
    envelope: &'a StringArray,
    payload: &'a BinaryArray,
}

/// One row of Bronze.
pub(crate) struct Row<'a> {
    pub(crate) received_at: Timestamp,
    pub(crate) sent_at: Option<Timestamp>,
    pub(crate) user_agent: Option<&'a str>,
    pub(crate) violations: Option<&'a str>,
    wire_format: &'a str,
    verdict: &'a str,
    envelope: Option<&'a str>,
    payload: &'a [u8],
}

impl<'a> Rows<'a> {
    /// For a batch with the columns of [`crate::schema::bronze`].
    pub(crate) fn of(batch: &'a RecordBatch) -> Result<Self, Error> {
        let columns = Columns { batch, table: TABLE };
        Ok(Self {
            received_at: columns.instant("received_at")?,
            sent_at: columns.instant("sent_at")?,
            wire_format: columns.text("wire_format")?,
            verdict: columns.text("verdict")?,
            violations: columns.text("violations")?,
            user_agent: columns.text("user_agent")?,
            envelope: columns.text("envelope")?,
            payload: columns.bytes("payload")?,
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Row<'a>> {
        (0..self.payload.len()).map(|row| Row {
            received_at: Timestamp(self.received_at.value(row)),
            sent_at: self.sent_at.is_valid(row).then(|| Timestamp(self.sent_at.value(row))),
            user_agent: text_at(self.user_agent, row),
            violations: text_at(self.violations, row),
            wire_format: self.wire_format.value(row),
            verdict: self.verdict.value(row),
            envelope: text_at(self.envelope, row),
            payload: self.payload.value(row),
        })
    }
}

impl<'a> Row<'a> {
    /// Whether the content is gone.
    pub(crate) fn is_erased(&self) -> bool {
        self.wire_format == WireFormat::Erased.as_str()
    }

    /// Whether the gate let it through to Silver.
    pub(crate) fn may_be_silver(&self) -> bool {
        [Verdict::Accepted, Verdict::Flagged].iter().any(|verdict| self.verdict == verdict.as_str())
    }

    pub(crate) fn is_flagged(&self) -> bool {
        self.verdict == Verdict::Flagged.as_str()
    }

    /// The violations that the gate noted.
    fn noted(&self) -> Vec<Violation> {
        let noted: Vec<Violation> = self.violations.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        if noted.is_empty() {
            let message = "the gate kept this event out of Silver and noted no reason that can be read";
            return vec![Violation::new("unexplained", "", message)];
        }
        noted
    }
}

/// Decodes rows one after the other. The events of one request lie next to each other and share an envelope, so the last one is remembered.
pub(crate) struct Decoder<'a> {
    limits: &'a json::Limits,
    none: Envelope<'a>,
    last: Option<(&'a str, Result<Envelope<'a>, Vec<Violation>>)>,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(limits: &'a json::Limits) -> Self {
        Self { limits, none: Envelope::default(), last: None }
    }

    pub(crate) fn decode(&mut self, row: &Row<'a>) -> Result<Event<'a>, Reason> {
        let undecodable = |violations| Reason { stage: "silver", violations };
        let one = |code: &str, message: String| undecodable(vec![Violation::new(code, "", message)]);
        // Of the gate of some later version, which this code knows nothing of.
        let verdict: Verdict = row.verdict.parse().map_err(|problem| one("unknown_verdict", problem))?;
        let format: WireFormat = row.wire_format.parse().map_err(|problem| one("unknown_wire_format", problem))?;
        match verdict {
            Verdict::Accepted | Verdict::Flagged => {}
            Verdict::Quarantined => return Err(Reason { stage: "plan", violations: row.noted() }),
            Verdict::Refused => return Err(Reason { stage: "gate", violations: row.noted() }),
        }
        let limits = self.limits;
        let envelope = self.envelope(row.envelope).map_err(|violations| undecodable(violations.to_vec()))?;
        decode_in(format, row.payload, envelope, limits).map_err(undecodable)
    }

    fn envelope(&mut self, text: Option<&'a str>) -> Result<&Envelope<'a>, &[Violation]> {
        let Some(text) = text else { return Ok(&self.none) };
        let limits = self.limits;
        let (_, envelope) = match self.last.take() {
            Some(last) if last.0 == text => self.last.insert(last),
            _ => self.last.insert((text, parse_envelope(text, limits))),
        };
        envelope.as_ref().map_err(Vec::as_slice)
    }
}

fn parse_envelope<'a>(text: &'a str, limits: &json::Limits) -> Result<Envelope<'a>, Vec<Violation>> {
    let raw: &RawValue = serde_json::from_str(text)
        .map_err(|error| vec![Violation::new("invalid_envelope", "", format!("what came with the request is not JSON: {error}"))])?;
    Envelope::parse(Some(raw), limits)
}
