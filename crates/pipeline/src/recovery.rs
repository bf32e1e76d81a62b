//! Dead letters: listed, counted, and read again with all that was noted when they came, so that they can be put through once more.
//!
//! What becomes of them is decided by the gate's judgement and by [`medallion::silver::refine`], as for any event. Here is what of them is there, and which of them
//! Silver has meanwhile.

use std::collections::BTreeMap;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use contract::{Position, Receipt, SourceName, Timestamp, Verdict, Violation};
use datafusion::execution::SendableRecordBatchStream;
use futures::stream::{BoxStream, StreamExt as _};
use lake::Lake;
use medallion::bronze;
pub use medallion::bronze::Arrival;
use medallion::silver::{self, Rules};
use serde_json::value::RawValue;

use crate::error::Error;
use crate::tables::{DEAD_LETTERS, SILVER};

/// What the queries are for, in their errors.
const PURPOSE: &str = "dead letters";
/// The code of an event whose id is another's.
const IDENTITY_CONFLICT: &str = "identity_conflict";
/// The columns that tell how an event came.
const COLUMNS: [&str; 18] = [
    "source",
    "event_id",
    "event_id_generated",
    "received_at",
    "sent_at",
    "wire_format",
    "plan_version",
    "client_ip",
    "user_agent",
    "envelope",
    "payload",
    "truncated_from",
    "stage",
    "code",
    "journal_generation",
    "journal_partition",
    "journal_offset",
    "in_silver",
];

/// Which dead letters are meant: those for which all of it holds. An empty list and `None` hold for all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of one of these sources.
    pub sources: Vec<String>,
    /// With one of these reasons first, such as `wrong_type`.
    pub codes: Vec<String>,
    /// With one of these fields at fault first, as JSON pointers.
    pub fields: Vec<String>,
    /// From one of these stages: `gate`, `bronze`, `plan`, `silver`.
    pub stages: Vec<String>,
    /// With one of these event ids.
    pub event_ids: Vec<String>,
    /// Received at or after it.
    pub from: Option<Timestamp>,
    /// Received before it.
    pub to: Option<Timestamp>,
}

impl Filter {
    /// The filter as a condition on the columns of `dead_letters`.
    fn condition(&self) -> String {
        let one_of = |column: &str, values: &[String]| {
            let quoted: Vec<String> = values.iter().map(|value| format!("'{}'", value.replace('\'', "''"))).collect();
            (!quoted.is_empty()).then(|| format!("{column} IN ({})", quoted.join(", ")))
        };
        let time =
            |sign: &str, time: Option<Timestamp>| time.map(|time| format!("received_at {sign} to_timestamp_micros({})", time.micros()));
        let all = [
            one_of("source", &self.sources),
            one_of("code", &self.codes),
            one_of("field", &self.fields),
            one_of("stage", &self.stages),
            one_of("event_id", &self.event_ids),
            time(">=", self.from),
            time("<", self.to),
        ];
        let all: Vec<String> = all.into_iter().flatten().collect();
        if all.is_empty() { "true".to_owned() } else { all.join(" AND ") }
    }

    /// The dead letters with a column `in_silver` beside theirs. `rest` follows the condition, such as an order and a limit.
    fn with_silver(&self, rest: &str) -> String {
        let condition = self.condition();
        format!(
            "SELECT letters.*, events.event_id IS NOT NULL AS in_silver FROM (SELECT * FROM {DEAD_LETTERS} WHERE {condition} {rest}) AS letters LEFT JOIN (SELECT \
             source, event_id FROM {SILVER}) AS events ON letters.source = events.source AND letters.event_id = events.event_id"
        )
    }
}

/// The newest dead letters, at most `limit`, newest first: when, what and why, and whether Silver has the event meanwhile.
///
/// # Errors
/// [`Error::Query`], also when the lake has no tables yet.
pub async fn list(lake: &Lake, filter: &Filter, limit: usize, with_payload: bool) -> Result<SendableRecordBatchStream, Error> {
    let payload = if with_payload { ", payload" } else { "" };
    let newest = filter.with_silver(&format!("ORDER BY received_at DESC LIMIT {limit}"));
    query(
        lake,
        &format!(
            "SELECT received_at, source, event_id, stage, code, field, message, plan_version, in_silver{payload} FROM ({newest}) ORDER BY received_at DESC, \
             source, event_id"
        ),
    )
    .await
}

/// Dead letters counted by source, stage and reason: how many, how many of them Silver has meanwhile, when the first and the last of them was received.
///
/// # Errors
/// As [`list`].
pub async fn summary(lake: &Lake, filter: &Filter) -> Result<SendableRecordBatchStream, Error> {
    let all = filter.with_silver("");
    query(
        lake,
        &format!(
            "SELECT source, stage, code, count(*) AS dead_letters, sum(CASE WHEN in_silver THEN 1 ELSE 0 END) AS in_silver, min(received_at) AS first, \
             max(received_at) AS last FROM ({all}) GROUP BY source, stage, code ORDER BY count(*) DESC, source, stage, code"
        ),
    )
    .await
}

async fn query(lake: &Lake, sql: &str) -> Result<SendableRecordBatchStream, Error> {
    let failed = || Error::query(PURPOSE);
    lake.session().await?.sql(sql).await.map_err(failed())?.execute_stream().await.map_err(failed())
}

/// A dead letter with all that is needed to put it through again.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The gate's note, as far as the dead letters keep it; the verdict is one that kept it out of Silver.
    pub receipt: Receipt,
    /// The event as it came.
    pub payload: Bytes,
    /// Where it is in the journal.
    pub position: Position,
    /// The first reason.
    pub code: String,
    /// Why it cannot be put through again whatever the plan says; `None` where it can.
    pub hopeless: Option<&'static str>,
    /// Whether Silver has an event of its identity.
    pub in_silver: bool,
}

/// How many dead letters there are of those meant, and these, batch by batch, in no order.
///
/// # Errors
/// As [`list`]; the stream ends with the error that it meets.
pub async fn letters(lake: &Lake, filter: &Filter) -> Result<(u64, BoxStream<'static, Result<Vec<Letter>, Error>>), Error> {
    let count = format!("SELECT count(*) FROM {DEAD_LETTERS} WHERE {}", filter.condition());
    let mut counted = query(lake, &count).await?;
    let mut total = 0;
    while let Some(batch) = counted.next().await {
        let batch = batch.map_err(Error::query(PURPOSE))?;
        total += batch.column(0).as_primitive_opt::<Int64Type>().map_or(0, |column| column.values().iter().sum::<i64>()).unsigned_abs();
    }
    let sql = format!("SELECT {} FROM ({})", COLUMNS.join(", "), filter.with_silver(""));
    let batches = query(lake, &sql).await?;
    Ok((total, batches.map(|batch| read(&batch.map_err(Error::query(PURPOSE))?)).boxed()))
}

fn read(batch: &RecordBatch) -> Result<Vec<Letter>, Error> {
    let damaged = |column: &'static str, row: usize| Error::DeadLetter { column, row };
    let text = |number: usize| batch.column(number).as_string_opt::<i32>().ok_or_else(|| damaged(name(number), 0));
    let time = |number: usize| batch.column(number).as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(|| damaged(name(number), 0));
    let (sources, ids, formats, plans, ips, agents, envelopes) = (text(0)?, text(1)?, text(5)?, text(6)?, text(7)?, text(8)?, text(9)?);
    let (generated, received, sent) = (batch.column(2).as_boolean_opt().ok_or_else(|| damaged(name(2), 0))?, time(3)?, time(4)?);
    let payloads = batch.column(10).as_binary_opt::<i32>().ok_or_else(|| damaged(name(10), 0))?;
    let truncated = batch.column(11).as_primitive_opt::<Int64Type>().ok_or_else(|| damaged(name(11), 0))?;
    let (stages, codes) = (text(12)?, text(13)?);
    let number = |index: usize| batch.column(index).as_primitive_opt::<Int32Type>().ok_or_else(|| damaged(name(index), 0));
    let (generations, partitions) = (number(14)?, number(15)?);
    let offsets = batch.column(16).as_primitive_opt::<Int64Type>().ok_or_else(|| damaged(name(16), 0))?;
    let in_silver = batch.column(17).as_boolean_opt().ok_or_else(|| damaged(name(17), 0))?;
    let optional = |column: &arrow::array::StringArray, row: usize| column.is_valid(row).then(|| column.value(row).to_owned());
    let mut letters = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let format = formats.value(row).parse();
        let hopeless = match (stages.value(row), codes.value(row)) {
            ("bronze", _) => Some("the journal's record has no receipt"),
            (_, IDENTITY_CONFLICT) => Some("another event has its id"),
            _ if truncated.is_valid(row) => Some("only the front of it was kept"),
            _ if format.is_err() => Some("its wire format is not known"),
            _ => None,
        };
        let receipt = Receipt {
            source: SourceName::try_from(sources.value(row).to_owned()).map_err(|_| damaged("source", row))?,
            event_id: ids.value(row).to_owned().try_into().map_err(|_| damaged("event_id", row))?,
            event_id_generated: generated.value(row),
            received_at: Timestamp(received.value(row)),
            sent_at: sent.is_valid(row).then(|| Timestamp(sent.value(row))),
            format: format.unwrap_or(contract::WireFormat::Native),
            verdict: Verdict::Quarantined,
            violations: Vec::new(),
            plan_version: plans.value(row).to_owned(),
            client_ip: optional(ips, row),
            user_agent: optional(agents, row),
            envelope: optional(envelopes, row).map(RawValue::from_string).transpose().map_err(|_| damaged("envelope", row))?,
            client_retries: None,
            truncated_from: None,
        };
        letters.push(Letter {
            receipt,
            payload: Bytes::copy_from_slice(payloads.value(row)),
            position: Position {
                generation: generations.value(row).cast_unsigned(),
                partition: partitions.value(row).cast_unsigned(),
                offset: offsets.value(row).cast_unsigned(),
            },
            code: codes.value(row).to_owned(),
            hopeless,
            in_silver: in_silver.value(row),
        });
    }
    Ok(letters)
}

fn name(number: usize) -> &'static str {
    COLUMNS.get(number).copied().unwrap_or_default()
}

/// Which of these events Silver would not take although the gate does, by their places in the journal, and why.
///
/// # Errors
/// [`Error::Medallion`] for what is no event's fault.
pub fn unfit(arrivals: &[Arrival], rules: &Rules) -> Result<BTreeMap<(u32, u32, u64), Violation>, Error> {
    let unfit = silver::refine(&bronze::batch(arrivals)?, rules)?.dead_letters;
    let text = |column: &str| unfit.column_by_name(column).and_then(|column| column.as_string_opt::<i32>());
    let number = |column: &str| unfit.column_by_name(column).and_then(|column| column.as_primitive_opt::<Int32Type>());
    let offsets = unfit.column_by_name("journal_offset").and_then(|column| column.as_primitive_opt::<Int64Type>());
    let reasons = text("code").zip(text("field")).zip(text("message"));
    let places = number("journal_generation").zip(number("journal_partition")).zip(offsets);
    let (Some(((codes, fields), messages)), Some(((generations, partitions), offsets))) = (reasons, places) else {
        return Err(Error::DeadLetter { column: "journal_offset", row: 0 });
    };
    let all = (0..unfit.num_rows()).map(|row| {
        let place = (generations.value(row).cast_unsigned(), partitions.value(row).cast_unsigned(), offsets.value(row).cast_unsigned());
        (place, Violation::new(codes.value(row), fields.value(row), messages.value(row)))
    });
    Ok(all.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_safe_condition() {
        assert_eq!(Filter::default().condition(), "true");
        let filter = Filter {
            sources: vec!["web".to_owned()],
            codes: vec!["a".to_owned(), "it's".to_owned()],
            from: Some(Timestamp(5)),
            ..Filter::default()
        };
        assert_eq!(filter.condition(), "source IN ('web') AND code IN ('a', 'it''s') AND received_at >= to_timestamp_micros(5)");
    }
}
