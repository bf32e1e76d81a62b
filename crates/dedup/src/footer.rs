//! The footer of a run: where its segments stand and which shards it has. It is in memory as long as the run is part of the index.

use crate::Shard;
use crate::block::BLOCK_BYTES;
use crate::codec::{Reader, checksum, put_key};
use crate::key::Key;
use crate::segment::Place;

const MAGIC: u64 = u64::from_le_bytes(*b"TGindex1");

/// What a run says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) run: u64,
    /// In the order of their keys.
    pub(crate) segments: Vec<Place>,
    /// The shards it has and how many entries of each, in order.
    pub(crate) shards: Vec<(Shard, u64)>,
}

impl Footer {
    pub(crate) fn entries(&self) -> u64 {
        self.segments.iter().map(|segment| u64::from(segment.entries)).sum()
    }

    pub(crate) fn has(&self, shard: Shard) -> bool {
        self.shards.binary_search_by_key(&shard, |(stored, _)| *stored).is_ok()
    }

    /// The segment that would hold the key, and where the next one begins. The key's shard must be one that the run has.
    pub(crate) fn segment_of(&self, key: Key) -> (usize, Option<Key>) {
        let next = self.segments.partition_point(|segment| segment.first <= key).max(1);
        (next - 1, self.segments.get(next).map(|segment| segment.first))
    }

    /// The bytes, and the checksum that the manifest keeps for them.
    pub(crate) fn encode(&self) -> (Vec<u8>, u64) {
        let mut out = Vec::new();
        for number in [MAGIC, self.run, self.segments.len() as u64, self.shards.len() as u64] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for segment in &self.segments {
            out.extend_from_slice(&segment.at.to_le_bytes());
            for number in [segment.first_block, segment.entries, segment.guide_bytes] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            put_key(&mut out, segment.first);
        }
        for (shard, entries) in &self.shards {
            out.extend_from_slice(&shard.number().to_le_bytes());
            out.extend_from_slice(&entries.to_le_bytes());
        }
        let sum = checksum(&out);
        (out, sum)
    }

    /// `None` where this is no footer, or one that does not fit a file whose footer begins there.
    pub(crate) fn decode(bytes: &[u8], footer_at: u64) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.u64()? != MAGIC {
            return None;
        }
        let (run, segment_count, shard_count) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let segments = (0..segment_count)
            .map(|_| {
                let at = reader.u64()?;
                let (first_block, entries, guide_bytes) = (reader.u32()?, reader.u32()?, reader.u32()?);
                Some(Place { at, first_block, entries, guide_bytes, first: reader.key()? })
            })
            .collect::<Option<Vec<_>>>()?;
        let shards = (0..shard_count).map(|_| Some((reader.shard()?, reader.u64()?))).collect::<Option<Vec<_>>>()?;
        let footer = Self { run, segments, shards };
        (reader.0.is_empty() && footer.fits(footer_at)).then_some(footer)
    }

    /// All that reading relies on: that the file is as long, that numbers can be counted with, and that searches find what is there.
    fn fits(&self, footer_at: u64) -> bool {
        let (mut end, mut blocks) = (0_u64, 0_u64);
        let joins = self.segments.iter().all(|segment| {
            let joins = segment.at == end && u64::from(segment.first_block) == blocks && segment.entries > 0;
            blocks += segment.blocks() as u64;
            end += (segment.blocks() * BLOCK_BYTES) as u64 + u64::from(segment.guide_bytes);
            joins && end <= footer_at
        });
        let of_shards = self.shards.iter().try_fold(0_u64, |sum, (_, entries)| sum.checked_add(*entries).filter(|_| *entries > 0));
        let in_order = self.segments.is_sorted_by(|left, right| left.first < right.first);
        joins
            && end == footer_at
            && in_order
            && of_shards == Some(self.entries())
            && self.shards.is_sorted_by(|left, right| left.0 < right.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(shard: u16, first: u8) -> Key {
        let mut digest = [0; 16];
        digest[0] = first;
        Key::new(Shard::from_number(shard).unwrap(), digest)
    }

    fn sound() -> Footer {
        let place = |at, first_block, entries, first| Place { at, first_block, entries, guide_bytes: 100, first };
        let segments = vec![place(0, 0, 170, key(0, 1)), place(4_196, 1, 171, key(0, 2)), place(12_488, 3, 1, key(7, 0))];
        let shards = vec![(Shard::from_number(0).unwrap(), 341), (Shard::from_number(7).unwrap(), 1)];
        Footer { run: 3, segments, shards }
    }

    #[test]
    fn what_reading_could_not_bear_is_refused() {
        let at = 16_684;
        let decoded = |footer: &Footer| Footer::decode(&footer.encode().0, at);
        assert_eq!(decoded(&sound()), Some(sound()));
        let check = |what: &str, change: fn(&mut Footer)| {
            let mut footer = sound();
            change(&mut footer);
            assert_eq!(decoded(&footer), None, "{what}");
        };
        check("segments out of order", |footer| footer.segments[1].first = key(0, 0));
        check("two segments that begin with the same", |footer| footer.segments[1].first = key(0, 1));
        check("a block with the number of another", |footer| footer.segments[2].first_block = u32::MAX);
        check("a shard of nothing", |footer| footer.shards.insert(1, (Shard::from_number(3).unwrap(), 0)));
        check("more entries than can be counted", |footer| (footer.shards[0].1, footer.shards[1].1) = (u64::MAX, 343));
        check("more than the file", |footer| footer.segments[0].entries = u32::MAX);
        check("nothing", |footer| footer.segments[2].entries = 0);
    }
}
