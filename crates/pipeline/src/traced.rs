//! Events whose way is traced: their senders said so.
//!
//! What a stage did with them goes out as `tracing` events of [`TARGET`], which whoever collects traces makes spans of; where nobody does, nothing is looked for.

use arrow::array::{AsArray as _, RecordBatch};
use contract::Receipt;
use contract::trace::{EVENTS_MAX, TARGET, Traceparent};
use journal::Stored;
use tracing::Level;

/// An event whose way is traced.
#[derive(Debug, Clone)]
pub(crate) struct Traced {
    parent: Traceparent,
    source: String,
    event_id: String,
}

fn is_wanted() -> bool {
    tracing::enabled!(target: TARGET, Level::TRACE)
}

/// Those among records of the journal.
pub(crate) fn of_records(records: &[Stored]) -> Vec<Traced> {
    if !is_wanted() {
        return Vec::new();
    }
    let read = |stored: &Stored| {
        let parent = Traceparent::sampled_of(&stored.record.value)?;
        let Receipt { source, event_id, .. } = Receipt::from_bytes(&stored.record.header).ok()?;
        Some(Traced { parent, source: source.as_str().to_owned(), event_id: event_id.as_str().to_owned() })
    };
    records.iter().filter_map(read).take(EVENTS_MAX).collect()
}

/// Those among rows of Bronze.
pub(crate) fn of_bronze(batches: &[RecordBatch]) -> Vec<Traced> {
    if !is_wanted() {
        return Vec::new();
    }
    batches.iter().flat_map(of_batch).take(EVENTS_MAX).collect()
}

fn of_batch(batch: &RecordBatch) -> Vec<Traced> {
    let column = |name: &str| batch.column_by_name(name);
    let text = |name: &str| column(name).and_then(|column| column.as_string_opt::<i32>());
    let payloads = column("payload").and_then(|column| column.as_binary_opt::<i32>());
    let (Some(payloads), Some(sources), Some(ids)) = (payloads, text("source"), text("event_id")) else { return Vec::new() };
    let read = |row: usize| {
        let parent = Traceparent::sampled_of(payloads.value(row))?;
        Some(Traced { parent, source: sources.value(row).to_owned(), event_id: ids.value(row).to_owned() })
    };
    (0..batch.num_rows()).filter_map(read).take(EVENTS_MAX).collect()
}

/// Tells that a stage has brought them from one moment to another, in microseconds since 1970, and to which version of its table.
pub(crate) fn tell(traced: &[Traced], stage: &'static str, began: i64, ended: i64, version: i64) {
    for Traced { parent, source, event_id } in traced {
        tracing::trace!(target: TARGET, stage, %parent, source, event_id, began, ended, version);
    }
}
