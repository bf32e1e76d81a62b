//! A block: up to 170 entries in the order of their keys, in one page of the disk. It is what a probe reads at a time.
//!
//! ```text
//! (digest [u8; 16], content u64) of each entry, 0 behind the last | number of the block u32 | run u32 | checksum u64
//! ```
//!
//! The numbers make a block that stands in the wrong place as easy to tell as one with wrong bytes.

use crate::codec::{seal, unseal};
use crate::key::Key;

/// How many entries a block holds.
pub(crate) const BLOCK_ENTRIES: usize = 170;
/// How long a block is.
pub(crate) const BLOCK_BYTES: usize = 4096;

const ENTRY_BYTES: usize = 24;
const ENTRIES_BYTES: usize = BLOCK_ENTRIES * ENTRY_BYTES;

/// Appends an entry to a block that has room for it.
pub(crate) fn push(block: &mut Vec<u8>, key: Key, content: u64) {
    block.extend_from_slice(&key.digest());
    block.extend_from_slice(&content.to_le_bytes());
}

/// Whether a block that is being filled has no room left.
pub(crate) fn is_full(block: &[u8]) -> bool {
    block.len() >= ENTRIES_BYTES
}

/// Makes a block of the entries pushed.
pub(crate) fn finish(block: &mut Vec<u8>, run: u64, number: u32) {
    block.resize(ENTRIES_BYTES, 0);
    block.extend_from_slice(&number.to_le_bytes());
    block.extend_from_slice(&(run as u32).to_le_bytes());
    seal(block);
}

/// Whether this is that block of that run, whole.
pub(crate) fn is_sound(block: &[u8], run: u64, number: u32) -> bool {
    let place = u64::from(run as u32) << 32 | u64::from(number);
    unseal(block).and_then(|body| body.split_last_chunk()).is_some_and(|(_, stored)| u64::from_le_bytes(*stored) == place)
}

/// The content beside a digest, among the first so many entries of a block.
pub(crate) fn find(block: &[u8], entries: usize, digest: &[u8; 16]) -> Option<u64> {
    let mut stored = block.chunks_exact(ENTRY_BYTES).take(entries);
    stored.find(|entry| entry.starts_with(digest)).and_then(content_of)
}

/// An entry of a block by its place.
pub(crate) fn entry(block: &[u8], place: usize) -> Option<([u8; 16], u64)> {
    let stored = block.get(place * ENTRY_BYTES..(place + 1) * ENTRY_BYTES)?;
    Some((*stored.first_chunk()?, content_of(stored)?))
}

fn content_of(entry: &[u8]) -> Option<u64> {
    entry.last_chunk().map(|content| u64::from_le_bytes(*content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shard;

    fn block(entries: u8) -> Vec<u8> {
        let mut block = Vec::new();
        for number in 0..entries {
            push(&mut block, Key::new(Shard::from_number(0).unwrap(), [number; 16]), u64::from(number));
        }
        finish(&mut block, 3, 7);
        block
    }

    #[test]
    fn entries_are_found_and_padding_is_not() {
        let full = block(170);
        assert_eq!(full.len(), BLOCK_BYTES);
        assert_eq!(find(&full, 170, &[169; 16]), Some(169));
        assert_eq!(entry(&full, 169), Some(([169; 16], 169)));
        assert_eq!(find(&full, 170, &[200; 16]), None);
        assert_eq!(find(&block(0), 0, &[0; 16]), None);
    }

    #[test]
    fn any_changed_bit_and_any_other_place_is_noticed() {
        let mut block = block(5);
        assert!(is_sound(&block, 3, 7));
        assert!(!is_sound(&block, 4, 7) && !is_sound(&block, 3, 8) && !is_sound(&block[1..], 3, 7));
        for bit in 0..BLOCK_BYTES * 8 {
            block[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_sound(&block, 3, 7), "bit {bit}");
            block[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
