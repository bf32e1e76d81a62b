//! The generations of a journal that was copied: where the lake goes on in it, and whether the lake knows it.
//!
//! A copy's records have their positions of the generation they were written in, so what the lake has of the journal that was copied it has of the copy too. The rest of an earlier generation
//! is read first; where that ends, the next one begins, with the next offset. That it has begun is progress in Bronze, made before the journal may let go of what tells where it began.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::RecordBatch;
use contract::Position;
use journal::{Journal, Offsets, ReadLimit, Stored};
use lake::Lake;
use medallion::Arrival;

use crate::error::Error;
use crate::{rows, tables};

/// Records of a partition that are held against what the lake has of them.
const COMPARED_MAX: u64 = 16;
/// The most bytes that are read for that at a time; one record is always read.
const COMPARED_BYTES_MAX: usize = 1 << 20;

/// A generation of the journal, in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Generation {
    pub(super) number: u32,
    /// One past its last offset; `None` for the newest, which goes on.
    pub(super) end: Option<u64>,
}

/// Where to go on in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The generation that the next record is of.
    pub(super) generation: Generation,
    /// The offset from which on there is still to read.
    pub(super) next: u64,
    /// The generations that begin on the way there, by number, with the offset that each begins with: the lake is to say so.
    pub(super) begun: Vec<(u32, u64)>,
}

/// The generations of a partition, oldest first, the journal's own last.
pub(super) fn generations(journal: &dyn Journal, partition: u32) -> Vec<Generation> {
    let end = |ends: &Offsets| ends.get(&partition).copied().unwrap_or_default();
    let ancestors = journal.ancestors().iter().map(|ancestor| Generation { number: ancestor.generation, end: Some(end(&ancestor.end)) });
    ancestors.chain([Generation { number: journal.generation(), end: None }]).collect()
}

/// Decides where to go on in a partition: in the newest generation that the lake has anything of, or, where that has ended, in the one after it.
///
/// `reached` is how far the lake has come, by generation. It may be further than the end of an ancestor that is known here, for the original may have gone on.
pub(super) fn place(generations: &[Generation], own: u32, reached: &BTreeMap<u32, u64>) -> Place {
    let newest = generations.iter().rposition(|generation| reached.contains_key(&generation.number)).unwrap_or(0);
    let mut remaining = generations.iter().skip(newest).copied();
    let mut generation = remaining.next().unwrap_or(Generation { number: own, end: None });
    let mut next = reached.get(&generation.number).copied().unwrap_or_default();
    let mut begun = Vec::new();
    while let Some(end) = generation.end.filter(|end| next >= *end) {
        let Some(following) = remaining.next() else { break };
        (generation, next) = (following, end);
        // With 0 each generation begins without being told.
        begun.extend((end > 0).then_some((generation.number, end)));
    }
    Place { generation, next, begun }
}

/// A generation of which both the lake and a copy of the journal have records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shared {
    pub(super) generation: u32,
    /// The offset with which it begins.
    pub(super) begin: u64,
}

/// The newest generation that the lake has anything of, while it has nothing of the journal's own.
pub(super) fn shared(generations: &[Generation], reached: &BTreeMap<u32, u64>) -> Option<Shared> {
    let newest = generations.iter().rposition(|generation| reached.contains_key(&generation.number))?;
    let generation = generations.get(newest).filter(|generation| generation.end.is_some())?.number;
    let before = newest.checked_sub(1).and_then(|before| generations.get(before));
    Some(Shared { generation, begin: before.and_then(|before| before.end).unwrap_or_default() })
}

/// Progress that says that these generations have begun in a partition.
pub(super) fn progress_of(partition: u32, begun: &[(u32, u64)]) -> impl Iterator<Item = (String, i64)> {
    begun.iter().flat_map(move |(generation, begin)| {
        let begin = super::version(*begin);
        [(tables::progress_in_journal(*generation, partition), begin), (tables::begin_in_journal(*generation, partition), begin)]
    })
}

/// Holds the last records that a copy shares with the lake against what the lake has of them: those at the end of a range of offsets, of a generation that was before the journal's own. What retention has taken out of
/// the lake cannot be compared.
///
/// # Errors
/// [`Error::Unrelated`] when they are not the same.
pub(super) async fn check(journal: &dyn Journal, lake: &Lake, partition: u32, generation: u32, range: Range<u64>) -> Result<(), Error> {
    let next = range.end;
    let from = next.saturating_sub(COMPARED_MAX).max(range.start);
    let mut shared = BTreeMap::new();
    let mut at = from;
    while at < next {
        let limit = ReadLimit { records_max: usize::try_from(next - at).unwrap_or(usize::MAX), bytes_max: COMPARED_BYTES_MAX };
        let records = journal.read(&Offsets::from([(partition, at)]), limit).await?;
        let Some(last) = records.last().map(|stored| stored.offset) else { break };
        at = last + 1;
        shared.extend(records.into_iter().filter(|stored| stored.offset < next).filter_map(|stored| identity(stored, generation)));
    }
    if shared.is_empty() {
        return Ok(());
    }
    for table in [tables::BRONZE, tables::DEAD_LETTERS] {
        let sql = format!(
            "SELECT journal_offset, source, event_id, unix_micros(received_at) FROM {{}} WHERE journal_generation = {generation} AND \
             journal_partition = {partition} AND journal_offset >= {from} AND journal_offset < {next}"
        );
        let read = |batch: &RecordBatch, row: usize| {
            let offset = u64::try_from(rows::integer(batch, 0, row)?).ok()?;
            Some((offset, (rows::text(batch, 1, row), rows::text(batch, 2, row), rows::integer(batch, 3, row)?)))
        };
        for (offset, there) in rows::collect(lake, table, &sql, read).await? {
            if shared.get(&offset).is_some_and(|here| *here != there) {
                return Err(Error::Unrelated { generation, partition, offset });
            }
        }
    }
    Ok(())
}

/// Whose event a record is, and when it was received; `None` where it has no receipt.
fn identity(stored: Stored, generation: u32) -> Option<(u64, (String, String, i64))> {
    let Stored { partition, offset, record } = stored;
    let arrival = Arrival::read(Position { generation, partition, offset }, &record.header, record.value).ok()?;
    let receipt = arrival.receipt;
    Some((offset, (receipt.source.as_str().to_owned(), receipt.event_id.as_str().to_owned(), receipt.received_at.micros())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_both_have_of_one_generation_is_compared() {
        let generations = [(1, Some(130)), (2, Some(140)), (3, None)].map(|(number, end)| Generation { number, end });
        let check = |reached: &[(u32, u64)], expect: Option<(u32, u64)>| {
            let found = shared(&generations, &reached.iter().copied().collect());
            assert_eq!(found, expect.map(|(generation, begin)| Shared { generation, begin }), "{reached:?}");
        };
        check(&[], None);
        check(&[(1, 150)], Some((1, 0)));
        check(&[(1, 150), (2, 135)], Some((2, 130)));
        check(&[(1, 150), (2, 140), (3, 140)], None);
    }

    #[test]
    fn the_lake_goes_on_where_it_is_in_the_newest_generation_it_has() {
        let ancestor = |number, end| Generation { number, end: Some(end) };
        let own = |number| Generation { number, end: None };
        let check = |generations: &[Generation], reached: &[(u32, u64)], generation: u32, next: u64, begun: &[(u32, u64)]| {
            let found = place(generations, 9, &reached.iter().copied().collect());
            assert_eq!((found.generation.number, found.next, found.begun.as_slice()), (generation, next, begun), "{reached:?}");
        };
        // No copy.
        check(&[own(1)], &[], 1, 0, &[]);
        check(&[own(1)], &[(1, 7)], 1, 7, &[]);
        let once = [ancestor(1, 130), own(2)];
        // A lake of its own: everything is taken up, as what it is.
        check(&once, &[], 1, 0, &[]);
        // The lake that was copied with it: what is left of the old generation first.
        check(&once, &[(1, 120)], 1, 120, &[]);
        check(&once, &[(1, 130)], 2, 130, &[(2, 130)]);
        // The original has gone on, or the lake was copied later.
        check(&once, &[(1, 150)], 2, 130, &[(2, 130)]);
        check(&once, &[(1, 150), (2, 140)], 2, 140, &[]);
        // Taken up from the beginning by a program that knew no ancestors.
        check(&once, &[(1, 130), (2, 50)], 2, 50, &[]);
        // A copy of a copy, with nothing in between or with something.
        check(&[ancestor(1, 130), ancestor(2, 130), own(3)], &[(1, 130)], 3, 130, &[(2, 130), (3, 130)]);
        check(&[ancestor(1, 130), ancestor(2, 140), own(3)], &[(1, 130)], 2, 130, &[(2, 130)]);
        check(&[ancestor(1, 130), ancestor(2, 140), own(3)], &[(1, 130), (2, 140)], 3, 140, &[(3, 140)]);
        // A partition that never had a record.
        check(&[ancestor(1, 0), own(2)], &[], 2, 0, &[]);
    }
}
