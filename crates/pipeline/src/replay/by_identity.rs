//! Rows of Bronze in the order of their identities: where the copies of an event stand side by side, which of them is the row of Silver is decided without an index.

use arrow::array::{Array as _, AsArray as _, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use futures::stream::{self, BoxStream, StreamExt as _};

use super::unit::{Size, Unit};
use super::{copies, prefix};
use crate::error::Error;

const PREFIX: &str = "identity_prefix_of_row";

/// The rows of a table that may not be the only ones of their identity, after that prefix, in units that end between two prefixes. The query sorts within its bound of memory and on
/// disk beyond.
pub(super) async fn units(
    session: &SessionContext,
    table: &str,
    after: i64,
    max: Size,
) -> Result<BoxStream<'static, Result<Unit, Error>>, Error> {
    let sql = format!(
        "SELECT * FROM (SELECT *, {}(source, event_id) AS {PREFIX} FROM {table}) WHERE {PREFIX} > {after} AND {}({PREFIX}) ORDER BY {PREFIX}",
        prefix::FUNCTION,
        copies::FUNCTION
    );
    let failed = || Error::query("the replay");
    let rows = session.sql(&sql).await.map_err(failed())?.execute_stream().await.map_err(failed())?;
    let cutting = Cutting { held: Vec::new(), size: Size::default(), max };
    let units = stream::unfold((Some(rows), cutting), |(rows, mut cutting)| async move {
        let mut rows = rows?;
        loop {
            match rows.next().await {
                Some(Ok(batch)) => {
                    if let Some(unit) = cutting.push(batch) {
                        return Some((Ok(unit), (Some(rows), cutting)));
                    }
                }
                Some(Err(error)) => return Some((Err(Error::query("the replay")(error)), (None, cutting))),
                None => return cutting.rest().map(|unit| (Ok(unit), (None, cutting))),
            }
        }
    });
    Ok(units.boxed())
}

/// Cuts a stream in the order of prefixes into units.
#[derive(Debug)]
struct Cutting {
    held: Vec<RecordBatch>,
    size: Size,
    max: Size,
}

impl Cutting {
    /// Takes a batch; gives a unit once there is enough. What has the last prefix is kept: more of it may come.
    fn push(&mut self, batch: RecordBatch) -> Option<Unit> {
        self.size.add(&batch);
        self.held.push(batch);
        if !self.size.reaches(self.max) {
            return None;
        }
        let last = last_prefix(self.held.last()?)?;
        let mut batches = Vec::new();
        let mut rest = Vec::new();
        let mut through = None;
        for batch in self.held.drain(..) {
            let cut = prefixes(&batch).map_or(0, |prefixes| prefixes.values().partition_point(|prefix| *prefix < last));
            if cut > 0 {
                let front = batch.slice(0, cut);
                through = last_prefix(&front).or(through);
                batches.push(front);
            }
            if cut < batch.num_rows() {
                rest.push(batch.slice(cut, batch.num_rows() - cut));
            }
        }
        // Slices share the memory of what they were cut from; rows are the better measure of what is left.
        self.size = Size { rows: rest.iter().map(|batch| batch.num_rows() as u64).sum(), bytes: 0 };
        self.held = rest;
        through.map(|through| Unit { batches, through })
    }

    /// What is left at the end.
    fn rest(&mut self) -> Option<Unit> {
        let through = last_prefix(self.held.last()?)?;
        Some(Unit { batches: std::mem::take(&mut self.held), through })
    }
}

fn prefixes(batch: &RecordBatch) -> Option<&Int64Array> {
    batch.column_by_name(PREFIX).and_then(|column| column.as_primitive_opt::<Int64Type>())
}

fn last_prefix(batch: &RecordBatch) -> Option<i64> {
    let prefixes = prefixes(batch)?;
    prefixes.values().last().copied().filter(|_| prefixes.null_count() == 0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::ArrayRef;
    use proptest::prelude::*;

    use super::*;

    fn batch(prefixes: &[i64]) -> RecordBatch {
        RecordBatch::try_from_iter([(PREFIX, Arc::new(Int64Array::from(prefixes.to_vec())) as ArrayRef)]).unwrap()
    }

    fn values(unit: &Unit) -> Vec<i64> {
        unit.batches.iter().flat_map(|batch| prefixes(batch).unwrap().values().to_vec()).collect()
    }

    proptest! {
        #[test]
        fn units_are_the_whole_and_share_no_prefix(mut all in prop::collection::vec(0_i64..40, 1..200), size in 1_usize..20, rows_max in 1_u64..50) {
            all.sort_unstable();
            let mut cutting = Cutting { held: Vec::new(), size: Size::default(), max: Size { rows: rows_max, bytes: u64::MAX } };
            let mut units: Vec<Unit> = all.chunks(size).filter_map(|chunk| cutting.push(batch(chunk))).collect();
            units.extend(cutting.rest());
            prop_assert_eq!(units.iter().flat_map(values).collect::<Vec<_>>(), all);
            for unit in &units {
                prop_assert_eq!(values(unit).last().copied(), Some(unit.through));
            }
            prop_assert!(units.windows(2).all(|pair| pair[0].through < values(&pair[1])[0]));
        }
    }
}
