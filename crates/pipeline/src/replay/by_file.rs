//! Rows of Bronze in the order of its files, from any of them on.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::stream::{self, BoxStream, StreamExt as _};
use lake::{Added, Table};

use super::unit::{Gathering, Size, Unit};
use crate::error::Error;

/// The files in the order in which their rows are counted: by day of receipt, and within it as they were written. Rows of one time lie side by side then, and what is made of
/// them in few days of Silver.
pub(super) fn ordered(mut files: Vec<Added>) -> Vec<Added> {
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// The rows of these files after the first `after`. Each of the cuts, which are numbers of rows too, is the end of a unit.
pub(super) fn units(
    bronze: &Table,
    files: &[Added],
    after: i64,
    cuts: &Arc<[i64]>,
    max: Size,
) -> Result<BoxStream<'static, Result<Unit, Error>>, Error> {
    let (mut place, rest) = rest_of(files, after);
    let to_cut = Arc::clone(cuts);
    let pieces = bronze.stream(rest, None)?.flat_map(move |batch| {
        let pieces = match batch {
            Ok(batch) => {
                let from = place;
                place += rows_of(&batch);
                pieces(&batch, from, after, &to_cut).into_iter().map(Ok).collect()
            }
            Err(error) => vec![Err(Error::from(error))],
        };
        stream::iter(pieces)
    });
    let cuts = Arc::clone(cuts);
    let units = stream::unfold((Some(pieces.boxed()), Gathering::new(max)), move |(pieces, mut gathering)| {
        let cuts = Arc::clone(&cuts);
        async move {
            let mut pieces = pieces?;
            loop {
                match pieces.next().await {
                    Some(Ok((piece, through))) => {
                        gathering.push(piece, through);
                        if (gathering.is_full() || cuts.contains(&through))
                            && let Some(unit) = gathering.take()
                        {
                            return Some((Ok(unit), (Some(pieces), gathering)));
                        }
                    }
                    Some(Err(error)) => return Some((Err(error), (None, gathering))),
                    None => return gathering.take().map(|unit| (Ok(unit), (None, gathering))),
                }
            }
        }
    });
    Ok(units.boxed())
}

/// The files that have rows after the first `after`, and how many rows lie before these files. A file that does not say how many it has is read.
fn rest_of(files: &[Added], after: i64) -> (i64, &[Added]) {
    let (mut place, mut rest) = (0, files);
    while let [file, others @ ..] = rest {
        let end = file.rows.map(|rows| place + i64::try_from(rows).unwrap_or(i64::MAX));
        match end {
            Some(end) if end <= after => (place, rest) = (end, others),
            _ => break,
        }
    }
    (place, rest)
}

/// What of a batch, before which lie `from` rows, comes after the first `after`, divided at the cuts; each with the number of rows that it ends at.
fn pieces(batch: &RecordBatch, from: i64, after: i64, cuts: &[i64]) -> Vec<(RecordBatch, i64)> {
    let end = from + rows_of(batch);
    let mut ends: Vec<i64> = cuts.iter().copied().filter(|cut| (from..end).contains(cut)).chain([end]).collect();
    ends.sort_unstable();
    let mut start = from.max(after);
    let mut pieces = Vec::with_capacity(ends.len());
    for end in ends.into_iter().filter(|end| *end > after) {
        let number = |rows: i64| usize::try_from(rows).unwrap_or_default();
        if end > start {
            pieces.push((batch.slice(number(start - from), number(end - start)), end));
        }
        start = start.max(end);
    }
    pieces
}

fn rows_of(batch: &RecordBatch) -> i64 {
    i64::try_from(batch.num_rows()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray as _, Int64Array};
    use arrow::datatypes::Int64Type;
    use proptest::prelude::*;

    use super::*;

    fn batch(from: i64, rows: i64) -> RecordBatch {
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(from..from + rows)) as ArrayRef)]).unwrap()
    }

    fn file(rows: Option<u64>) -> Added {
        Added { version: 1, path: String::new(), rows, bytes: 1, partition_values: Default::default(), info: Default::default() }
    }

    proptest! {
        #[test]
        fn pieces_are_what_comes_after_and_end_at_each_cut(
            sizes in prop::collection::vec(1_i64..30, 1..10),
            after in 0_i64..300,
            cuts in prop::collection::vec(0_i64..300, 0..3),
        ) {
            let (mut from, mut found, mut ends) = (0, Vec::new(), Vec::new());
            for rows in sizes {
                for (piece, through) in pieces(&batch(from, rows), from, after, &cuts) {
                    found.extend_from_slice(piece.column(0).as_primitive::<Int64Type>().values());
                    prop_assert_eq!(found.last().copied(), Some(through - 1));
                    ends.push(through);
                }
                from += rows;
            }
            prop_assert_eq!(found, (after..from).collect::<Vec<_>>());
            prop_assert!(cuts.iter().filter(|cut| **cut > after && **cut <= from).all(|cut| ends.contains(cut)), "{ends:?}");
        }
    }

    #[test]
    fn files_that_are_done_are_not_read() {
        let files = [file(Some(5)), file(Some(0)), file(Some(7)), file(None), file(Some(2))];
        let check = |after: i64, place: i64, left: usize| {
            let (found, rest) = rest_of(&files, after);
            assert_eq!((found, rest.len()), (place, left), "{after}");
        };
        check(0, 0, 5);
        check(4, 0, 5);
        check(5, 5, 3);
        check(11, 5, 3);
        check(12, 12, 2);
        check(50, 12, 2);
    }
}
