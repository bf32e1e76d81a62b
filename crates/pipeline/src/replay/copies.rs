//! Which identities may have more than one row in Bronze: all others are decided about row by row, wherever the row lies.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion::prelude::SessionContext;
use futures::StreamExt as _;

use super::prefix;
use crate::error::Error;
use crate::tables;

/// The name of the function in SQL.
pub(super) const FUNCTION: &str = "may_have_copies";
/// Identities are told apart by so many bits of their prefix: 32 MiB of memory, however large Bronze is. Among a million identities with copies, one in 270 without is taken for one with.
/// A rebuild that was broken off goes on only with the same number.
const BITS: u32 = 28;
const WORD: usize = u64::BITS as usize;

/// The identities that may have more than one row. It may say so of one that has not, and never the other way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Copies {
    words: Vec<u64>,
}

impl Copies {
    /// Reads the prefixes of all rows of a table, in their order: equal ones then stand side by side. The query sorts within its bound of memory and on disk beyond.
    pub(super) async fn find(session: &SessionContext, table: &str) -> Result<Self, Error> {
        let failed = || Error::query("the replay");
        let sql = format!("SELECT {}(source, event_id) AS identity FROM {table} ORDER BY identity", prefix::FUNCTION);
        let mut rows = session.sql(&sql).await.map_err(failed())?.execute_stream().await.map_err(failed())?;
        let (mut copies, mut last) = (Self::none(), None);
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(failed())?;
            let prefixes = batch.column(0).as_primitive_opt::<Int64Type>().map(|prefixes| prefixes.values().as_ref());
            copies.note(prefixes.unwrap_or_default(), &mut last);
        }
        Ok(copies)
    }

    fn none() -> Self {
        Self { words: vec![0; (1 << BITS) / WORD] }
    }

    /// Takes in prefixes in their order; `last` is the one before them.
    fn note(&mut self, prefixes: &[i64], last: &mut Option<i64>) {
        for prefix in prefixes {
            if last.replace(*prefix) == Some(*prefix) {
                let (word, bit) = place(*prefix);
                if let Some(word) = self.words.get_mut(word) {
                    *word |= 1 << bit;
                }
            }
        }
    }

    /// Whether there are none at all.
    pub(super) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Whether an identity of this prefix may have more than one row.
    pub(super) fn has(&self, prefix: i64) -> bool {
        let (word, bit) = place(prefix);
        self.words.get(word).is_some_and(|word| word >> bit & 1 == 1)
    }

    /// The rows that are the only ones of their identity.
    pub(super) fn without(&self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        let prefixes = prefix::column(batch, tables::BRONZE)?;
        let only: BooleanArray = prefixes.values().iter().map(|prefix| Some(!self.has(*prefix))).collect();
        if only.true_count() == batch.num_rows() {
            return Ok(batch.clone());
        }
        Ok(filter_record_batch(batch, &only).map_err(medallion::Error::from)?)
    }

    /// [`Copies::has`] as a function for SQL.
    pub(super) fn function(self: &Arc<Self>) -> ScalarUDF {
        let copies = Arc::clone(self);
        let evaluate = move |arguments: &[ColumnarValue]| {
            let arrays = ColumnarValue::values_to_arrays(arguments)?;
            let Some(prefixes) = arrays.first().and_then(|array| array.as_primitive_opt::<Int64Type>()) else {
                return Err(DataFusionError::Execution(format!("{FUNCTION} takes a prefix")));
            };
            let found: BooleanArray = prefixes.values().iter().map(|prefix| Some(copies.has(*prefix))).collect();
            Ok(ColumnarValue::Array(Arc::new(found) as ArrayRef))
        };
        create_udf(FUNCTION, vec![DataType::Int64], DataType::Boolean, Volatility::Immutable, Arc::new(evaluate))
    }
}

/// The word and the bit of a prefix, by its front.
fn place(prefix: i64) -> (usize, usize) {
    let number = usize::try_from(prefix.max(0) >> (i64::BITS - 1 - BITS)).unwrap_or_default();
    (number / WORD, number % WORD)
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;

    use super::*;

    #[test]
    fn what_has_copies_is_never_taken_for_what_has_none() {
        let id = |number: usize| format!("event-{}", if number % 10 == 9 { number - 1 } else { number });
        let mut prefixes: Vec<i64> = (0..10_000).map(|number| prefix::of("web", &id(number))).collect();
        prefixes.sort_unstable();
        let (mut copies, mut last) = (Copies::none(), None);
        assert!(copies.is_empty());
        // In parts, between two of which equal ones may stand.
        prefixes.chunks(7).for_each(|part| copies.note(part, &mut last));
        let taken = |has: bool| (0..10_000).filter(|number| copies.has(prefix::of("web", &id(*number))) == has).count();
        assert!(!copies.is_empty() && taken(true) >= 2_000 && taken(true) < 2_010, "{}", taken(true));

        let texts = |text: &dyn Fn(usize) -> String| Arc::new(StringArray::from_iter_values((0..100).map(text))) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("source", texts(&|_| "web".to_owned())), ("event_id", texts(&id))]).unwrap();
        let only = copies.without(&batch).unwrap();
        let ids: Vec<&str> = only.column(1).as_string::<i32>().iter().flatten().collect();
        let expected: Vec<String> = (0..100).filter(|number| number % 10 < 8).map(id).collect();
        assert_eq!(ids, expected);
        assert_eq!(place(prefix::END - 1), ((1 << BITS) / WORD - 1, WORD - 1));
    }
}
