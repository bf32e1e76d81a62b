//! Rows of Bronze, as the gate and its stage would have made them.

use arrow::array::RecordBatch;
use contract::{EventId, Position, Receipt, SourceName, Timestamp, Verdict, WireFormat};
use medallion::{Arrival, bronze};

use super::model::{Events, Kinds, Writer, id_text};

/// The source of all of them.
pub(super) const SOURCE: &str = "bench";

/// Rows without end.
#[derive(Debug)]
pub(super) struct Rows {
    events: Events,
    writer: Writer,
    source: SourceName,
    offset: u64,
}

impl Rows {
    pub(super) fn new(kinds: Kinds, event_bytes: usize, seed: u64, from: Timestamp) -> anyhow::Result<Self> {
        let source = SourceName::try_from(SOURCE.to_owned())?;
        Ok(Self { events: Events::new(kinds, seed, from), writer: Writer::new(event_bytes, false), source, offset: 0 })
    }

    /// The next so many.
    ///
    /// # Errors
    ///
    /// More than a batch holds.
    pub(super) fn batch(&mut self, rows: usize) -> anyhow::Result<RecordBatch> {
        let mut arrivals = Vec::with_capacity(rows);
        for _ in 0..rows {
            arrivals.extend(self.arrival()?);
        }
        Ok(bronze::batch(&arrivals)?)
    }

    fn arrival(&mut self) -> anyhow::Result<Option<Arrival>> {
        let Some(event) = self.events.next() else { return Ok(None) };
        let mut payload = Vec::with_capacity(self.writer.event_bytes());
        self.writer.write(&event, &mut payload);
        let position = Position { generation: 0, partition: 0, offset: self.offset };
        self.offset += 1;
        let receipt = Receipt {
            source: self.source.clone(),
            event_id: EventId::try_from(id_text(event.id))?,
            event_id_generated: false,
            received_at: self.events.now(),
            sent_at: None,
            format: WireFormat::Native,
            verdict: Verdict::Accepted,
            violations: Vec::new(),
            plan_version: "1".to_owned(),
            client_ip: Some("192.0.2.1".to_owned()),
            user_agent: Some(concat!("tidegate-bench/", env!("CARGO_PKG_VERSION")).to_owned()),
            envelope: None,
            client_retries: None,
            truncated_from: None,
        };
        Ok(Some(Arrival { position, receipt, payload: payload.into() }))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray as _;
    use arrow::datatypes::Int64Type;

    use super::super::model::Ids;
    use super::*;

    #[test]
    fn rows_go_on_where_the_last_ones_ended() {
        let kinds = Kinds { ids: Ids::ByTime, copies: 0.0, late: 0.5 };
        let mut rows = Rows::new(kinds, 600, 1, Timestamp(1_795_428_000_000_000)).unwrap();
        assert_eq!(rows.batch(10).unwrap().num_rows(), 10);
        let batch = rows.batch(5).unwrap();
        let offsets = batch.column_by_name("journal_offset").unwrap().as_primitive::<Int64Type>();
        assert_eq!(offsets.values().to_vec(), [10, 11, 12, 13, 14]);
    }
}
