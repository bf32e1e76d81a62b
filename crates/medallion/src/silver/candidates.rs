//! Rows that may become rows of Silver.

use arrow::array::{AsArray as _, Int64Array, RecordBatch};
use contract::{Identity, Position, Timestamp, WireFormat};

use super::decode::TABLE;
use super::fields::EventFields;
use crate::Error;
use crate::columns::{Columns, Selection};
use crate::digest::Digest;

/// Stands for the content of an event that has none any more: no event that has one is its copy.
pub const ERASED_CONTENT: u64 = 0;

/// What may become rows of Silver, unless Silver has them already or another copy wins; and what holds the place of an event that was erased.
#[derive(Debug)]
pub struct Candidates {
    /// The rows of Bronze, those that are no candidates included.
    pub(super) bronze: RecordBatch,
    /// Which of them are the candidates.
    pub(super) rows: Selection,
    /// The candidates as rows of `silver.events`.
    pub(super) events: RecordBatch,
    pub(super) keys: Vec<Key>,
}

/// What a candidate is chosen by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// The identity, for the index.
    pub(super) digest: [u8; 16],
    pub(super) position: Position,
    pub(super) content: u64,
    pub(super) received_at: Timestamp,
    /// The identity, for the books.
    pub(super) tally: Digest,
    /// The content is gone, and the row only holds the place of the event.
    pub(super) erased: bool,
}

impl Candidates {
    pub(super) fn new(bronze: RecordBatch, rows: Selection, fields: EventFields) -> Result<Self, Error> {
        let events = fields.finish(&bronze, &rows)?;
        let keys = keys(&events, &bronze, &rows)?;
        Ok(Self { bronze, rows, events, keys })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The value of a column of the rows of Bronze that they were read from, for each candidate in order.
    ///
    /// # Errors
    ///
    /// [`Error::Answers`] when the column is not as long as these rows.
    pub fn values(&self, column: &Int64Array) -> Result<Vec<Option<i64>>, Error> {
        use arrow::array::Array as _;
        if column.len() != self.bronze.num_rows() {
            return Err(Error::Answers { candidates: self.bronze.num_rows(), answers: column.len() });
        }
        Ok(self.rows.rows().iter().map(|row| column.is_valid(*row as usize).then(|| column.value(*row as usize))).collect())
    }

    /// The event id and the identity's digest of each, in order: what the index of Silver's identities is asked.
    pub fn identities(&self) -> impl Iterator<Item = (&str, [u8; 16])> {
        let ids = self.events.column_by_name("event_id").and_then(|column| column.as_string_opt::<i32>());
        ids.into_iter().flat_map(|ids| ids.iter().flatten()).zip(self.keys.iter().map(|key| key.digest))
    }
}

fn keys(events: &RecordBatch, bronze: &RecordBatch, rows: &Selection) -> Result<Vec<Key>, Error> {
    let formats = Columns { batch: bronze, table: TABLE }.text("wire_format")?;
    let columns = Columns { batch: events, table: TABLE };
    let (sources, ids) = (columns.text("source")?, columns.text("event_id")?);
    let (received, contents) = (columns.instant("received_at")?, columns.int64("content_hash")?);
    let generations = columns.int32("journal_generation")?;
    let (partitions, offsets) = (columns.int32("journal_partition")?, columns.int64("journal_offset")?);
    let key = |(row, in_bronze): (usize, &u32)| {
        let erased = formats.value(*in_bronze as usize) == WireFormat::Erased.as_str();
        let identity = Identity { source: sources.value(row), event_id: ids.value(row) };
        Key {
            digest: identity.digest(),
            position: Position {
                generation: generations.value(row).cast_unsigned(),
                partition: partitions.value(row).cast_unsigned(),
                offset: offsets.value(row).cast_unsigned(),
            },
            content: if erased { ERASED_CONTENT } else { contents.value(row).cast_unsigned() },
            received_at: Timestamp(received.value(row)),
            tally: Digest::of(identity),
            erased,
        }
    };
    Ok(rows.rows().iter().enumerate().map(key).collect())
}
