//! Where the reader stands: pure bookkeeping, without a consumer.

use std::collections::{BTreeMap, BTreeSet};

use super::super::watermarks::Watermarks;
use super::batch::Batch;
use crate::{Error, Offsets, Stored};

/// Where the reader stands.
#[derive(Debug, Default)]
pub(super) struct Position {
    /// The next offset of each partition; empty when the reader stands nowhere.
    next: Offsets,
    /// Partitions that end before the offset asked for. They are not fetched.
    beyond: BTreeSet<u32>,
    /// Partitions that had nothing more when they were last heard of.
    ended: BTreeSet<u32>,
    /// A record that a wait met; the next read begins with it.
    kept: Option<Stored>,
}

impl Position {
    /// At these offsets.
    ///
    /// # Errors
    ///
    /// [`Error::Trimmed`] when one of them is gone.
    pub(super) fn at(from: &Offsets, marks: &Watermarks) -> Result<Self, Error> {
        let mut beyond = BTreeSet::new();
        for (partition, asked) in from {
            // A partition that does not exist has nothing to read.
            let range = marks.get(partition).cloned().unwrap_or(0..0);
            if *asked < range.start {
                return Err(Error::Trimmed { partition: *partition, asked: *asked, start: range.start });
            }
            if *asked > range.end {
                beyond.insert(*partition);
            }
        }
        Ok(Self { next: from.clone(), beyond, ..Self::default() })
    }

    pub(super) fn is_nowhere(&self) -> bool {
        self.next.is_empty()
    }

    pub(super) fn is(&self, from: &Offsets) -> bool {
        self.next == *from
    }

    /// From now on it stands nowhere.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = u32> {
        self.next.keys().copied()
    }

    /// The offsets to fetch from.
    pub(super) fn within(&self) -> impl Iterator<Item = (u32, u64)> {
        let is_within = |(partition, _): &(&u32, &u64)| !self.beyond.contains(partition);
        self.next.iter().filter(is_within).map(|(partition, offset)| (*partition, *offset))
    }

    pub(super) fn is_beyond_some(&self) -> bool {
        !self.beyond.is_empty()
    }

    /// Whether a partition that ended before the offset asked for has got records behind it, which nobody fetches.
    pub(super) fn is_overtaken(&self, ends: &Offsets) -> bool {
        self.beyond.iter().any(|partition| self.next.get(partition) < ends.get(partition))
    }

    pub(super) fn note_end(&mut self, partition: u32) {
        self.ended.insert(partition);
    }

    /// Whether there is nothing to read before these ends. After a silence, what was reported as its end is the end of a partition.
    pub(super) fn is_at(&self, ends: &Offsets, is_silent: bool) -> bool {
        let is_reached = |(partition, next): (&u32, &u64)| {
            let end = ends.get(partition).copied().unwrap_or(0);
            *next >= end || (is_silent && self.ended.contains(partition))
        };
        self.next.iter().all(is_reached)
    }

    /// Goes past a record; false when it is not what comes next there: left over from another place.
    pub(super) fn advance(&mut self, stored: &Stored) -> bool {
        if !self.is_next(stored) {
            return false;
        }
        self.ended.remove(&stored.partition);
        self.next.insert(stored.partition, stored.offset + 1);
        true
    }

    fn is_next(&self, stored: &Stored) -> bool {
        self.next.get(&stored.partition).is_some_and(|next| *next <= stored.offset)
    }

    /// Keeps a record for the next read.
    pub(super) fn keep(&mut self, stored: Stored) {
        self.kept = Some(stored).filter(|stored| self.is_next(stored));
    }

    pub(super) fn has_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Moves the record that was kept into the batch.
    pub(super) fn take_kept(&mut self, batch: &mut Batch) {
        if let Some(stored) = self.kept.take()
            && self.advance(&stored)
        {
            batch.push(stored);
        }
    }

    /// For people.
    pub(super) fn describe(&self) -> String {
        let places: BTreeMap<&u32, &u64> = self.next.iter().collect();
        places.into_iter().map(|(partition, offset)| format!("partition {partition} offset {offset}")).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Record;

    fn at(from: &[(u32, u64)], marks: &[(u32, (u64, u64))]) -> Result<Position, Error> {
        Position::at(&from.iter().copied().collect(), &marks.iter().map(|(partition, (start, end))| (*partition, *start..*end)).collect())
    }

    fn stored(partition: u32, offset: u64) -> Stored {
        Stored { partition, offset, record: Record { key: [0; 16], header: Bytes::new(), value: Bytes::new() } }
    }

    #[test]
    fn what_is_gone_is_an_error_and_what_is_not_there_yet_is_none() {
        assert!(at(&[(0, 5)], &[(0, (5, 9))]).is_ok());
        assert!(matches!(at(&[(0, 4)], &[(0, (5, 9))]), Err(Error::Trimmed { partition: 0, asked: 4, start: 5 })));
        assert!(!at(&[(0, 9)], &[(0, (5, 9))]).unwrap().is_beyond_some());
        let beyond = at(&[(0, 10), (1, 0)], &[(0, (5, 9)), (1, (0, 1))]).unwrap();
        assert!(beyond.is_beyond_some());
        assert_eq!(beyond.within().collect::<Vec<_>>(), [(1, 0)]);
        assert!(!beyond.is_overtaken(&Offsets::from([(0, 10), (1, 1)])));
        assert!(beyond.is_overtaken(&Offsets::from([(0, 11), (1, 1)])));
    }

    #[test]
    fn only_what_comes_next_is_taken() {
        let mut position = at(&[(0, 5)], &[(0, (0, 9))]).unwrap();
        assert!(!position.advance(&stored(0, 4)), "it was read before");
        assert!(!position.advance(&stored(1, 5)), "it was not asked for");
        assert!(position.advance(&stored(0, 5)));
        assert!(!position.advance(&stored(0, 5)), "it comes twice");
        assert!(position.advance(&stored(0, 8)), "offsets may have gaps");
        assert!(position.is(&Offsets::from([(0, 9)])));
        position.keep(stored(0, 3));
        assert!(!position.has_kept(), "it was read before");
    }

    #[test]
    fn an_end_is_reached_by_offset_or_after_a_silence() {
        let mut position = at(&[(0, 5), (1, 0)], &[(0, (0, 9)), (1, (0, 0))]).unwrap();
        let ends = Offsets::from([(0, 6), (1, 0)]);
        assert!(!position.is_at(&ends, true));
        position.note_end(0);
        assert!(!position.is_at(&ends, false));
        assert!(position.is_at(&ends, true));
        assert!(position.advance(&stored(0, 5)));
        assert!(position.is_at(&ends, false));
        assert!(!position.is_at(&Offsets::from([(0, 7), (1, 0)]), true), "after a record the end is another");
    }
}
