//! Where a record was before it came to Kafka. It is said in a header of the message, so that who moves records can find out what has arrived already.

use std::collections::BTreeMap;

/// The records of one log that are in Kafka already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// The log they were in.
    log: String,
    /// By partition of that log: ranges of offsets, from the first to one past the last, that neither overlap nor touch.
    ranges: BTreeMap<u32, BTreeMap<u64, u64>>,
}

impl Arrived {
    /// None of this log yet.
    pub(crate) fn none_of(log: impl Into<String>) -> Self {
        Self { log: log.into(), ranges: BTreeMap::new() }
    }

    /// How a record of this log says where it was.
    pub(crate) fn origin(&self, partition: u32, offset: u64) -> String {
        format!("{}/{partition}/{offset}", self.log)
    }

    /// Notes what a record says. What comes from another log, or is not ours at all, says nothing.
    pub(crate) fn note(&mut self, origin: &str) {
        if let Some((partition, offset)) = self.parse(origin) {
            self.add(partition, offset);
        }
    }

    fn parse(&self, origin: &str) -> Option<(u32, u64)> {
        let (partition, offset) = origin.strip_prefix(&self.log)?.strip_prefix('/')?.split_once('/')?;
        Some((partition.parse().ok()?, offset.parse().ok()?))
    }

    fn add(&mut self, partition: u32, offset: u64) {
        if self.contains(partition, offset) {
            return;
        }
        let ranges = self.ranges.entry(partition).or_default();
        let end = ranges.remove(&(offset + 1)).unwrap_or(offset + 1);
        match ranges.range_mut(..offset).next_back() {
            Some((_, before)) if *before == offset => *before = end,
            _ => {
                ranges.insert(offset, end);
            }
        }
    }

    pub(crate) fn contains(&self, partition: u32, offset: u64) -> bool {
        let before = self.ranges.get(&partition).and_then(|ranges| ranges.range(..=offset).next_back());
        before.is_some_and(|(_, end)| offset < *end)
    }

    /// Whether one at or after this offset has arrived.
    pub(crate) fn reaches(&self, partition: u32, offset: u64) -> bool {
        let last = self.ranges.get(&partition).and_then(BTreeMap::last_key_value);
        last.is_some_and(|(_, end)| offset < *end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_is_ours_is_noted() {
        let mut arrived = Arrived::none_of("a1");
        for foreign in ["", "a1", "a1/", "a1/0", "a1/0/x", "a1/-1/3", "a/0/3", "a12/0/3", "b/a1/0/3", "a1/0/3/4"] {
            arrived.note(foreign);
        }
        assert_eq!(arrived, Arrived::none_of("a1"));
        arrived.note(&arrived.origin(2, 7));
        assert!(arrived.contains(2, 7) && !arrived.contains(2, 6) && !arrived.contains(2, 8) && !arrived.contains(0, 7));
        assert!(arrived.reaches(2, 7) && arrived.reaches(2, 0) && !arrived.reaches(2, 8) && !arrived.reaches(0, 0));
    }

    proptest! {
        #[test]
        fn ranges_hold_what_was_noted(offsets in prop::collection::vec(0u64..60, 0..80)) {
            let mut arrived = Arrived::none_of("log");
            let mut model = BTreeSet::new();
            for offset in offsets {
                arrived.note(&format!("log/0/{offset}"));
                model.insert(offset);
                for asked in 0..=60 {
                    prop_assert_eq!(arrived.contains(0, asked), model.contains(&asked));
                    prop_assert_eq!(arrived.reaches(0, asked), model.range(asked..).next().is_some());
                }
            }
            let ranges: Vec<(u64, u64)> = arrived.ranges.get(&0).into_iter().flatten().map(|(start, end)| (*start, *end)).collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "ranges neither overlap nor touch: {ranges:?}");
        }
    }
}
