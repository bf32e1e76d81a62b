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

    fn fits(&self, footer_at: u64) -> bool {
        let mut end = 0;
        let joins = self.segments.iter().all(|segment| {
            let joins = segment.at == end && segment.entries > 0;
            end += (segment.blocks() * BLOCK_BYTES) as u64 + u64::from(segment.guide_bytes);
            joins
        });
        let of_shards: u64 = self.shards.iter().map(|(_, entries)| entries).sum();
        joins && end == footer_at && of_shards == self.entries() && self.shards.is_sorted_by(|left, right| left.0 < right.0)
    }
}
