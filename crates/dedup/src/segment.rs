//! The guide to a segment, a stretch of blocks that share one filter: which identities may be there, and in which block each would be.

use crate::block::BLOCK_ENTRIES;
use crate::codec::{Reader, put_key, seal, unseal};
use crate::filter::Filter;
use crate::key::Key;

/// Where a segment stands in its run's file: its blocks, and its guide right behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) at: u64,
    pub(crate) first_block: u32,
    pub(crate) entries: u32,
    pub(crate) guide_bytes: u32,
    pub(crate) first: Key,
}

impl Place {
    pub(crate) fn blocks(&self) -> usize {
        (self.entries as usize).div_ceil(BLOCK_ENTRIES)
    }

    /// How many entries the block of that place in the segment has.
    pub(crate) fn entries_of(&self, block: usize) -> usize {
        (self.entries as usize).saturating_sub(block * BLOCK_ENTRIES).min(BLOCK_ENTRIES)
    }
}

/// What of a segment is held in memory to be asked often.
#[derive(Debug)]
pub(crate) struct Guide {
    /// The first key of each block.
    fences: Box<[Key]>,
    filter: Filter,
}

impl Guide {
    /// `hashes` are those of all keys; they are put in order.
    pub(crate) fn build(fences: &[Key], hashes: &mut Vec<u64>) -> Self {
        Self { fences: fences.into(), filter: Filter::build(hashes) }
    }

    /// Whether the key may be in the segment.
    pub(crate) fn may_hold(&self, key: Key) -> bool {
        self.filter.may_hold(key.hash())
    }

    /// The block that would hold the key, as a place in the segment.
    pub(crate) fn block_of(&self, key: Key) -> usize {
        self.fences.partition_point(|fence| *fence <= key).saturating_sub(1)
    }

    /// About what it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val::<[Key]>(&self.fences) + self.filter.bytes()
    }

    pub(crate) fn encode(&self, run: u64, place: &Place) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&run.to_le_bytes());
        out.extend_from_slice(&place.first_block.to_le_bytes());
        for fence in &self.fences {
            put_key(&mut out, *fence);
        }
        self.filter.encode(&mut out);
        seal(&mut out);
        out
    }

    /// `None` where this is not the guide to that segment of that run, whole.
    pub(crate) fn decode(bytes: &[u8], run: u64, place: &Place) -> Option<Self> {
        let mut reader = Reader(unseal(bytes)?);
        if (reader.u64()?, reader.u32()?) != (run, place.first_block) {
            return None;
        }
        let fences = (0..place.blocks()).map(|_| reader.key()).collect::<Option<_>>()?;
        Some(Self { fences, filter: Filter::decode(reader.0)? })
    }
}
