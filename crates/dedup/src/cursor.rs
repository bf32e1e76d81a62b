//! Reads a run from its first entry to its last.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use crate::block::{self, BLOCK_BYTES, BLOCK_ENTRIES};
use crate::footer::Footer;
use crate::key::Key;
use crate::run::{Run, damaged_block, read};
use crate::{Error, Shard};

/// How many blocks are read at a time.
const AHEAD_BLOCKS: usize = 16;

/// The place up to which a run was read.
#[derive(Debug)]
pub(crate) struct Cursor {
    path: PathBuf,
    file: File,
    footer: Arc<Footer>,
    /// The segment, and how many of its entries were taken.
    segment: usize,
    taken: usize,
    /// Blocks of that segment, from one on.
    buffer: Vec<u8>,
    buffer_first: usize,
    /// The place in the list of shards, and how many entries of that shard were taken.
    shard: usize,
    taken_of_shard: u64,
}

impl Cursor {
    pub(crate) fn new(run: &Run) -> Result<Self, Error> {
        let file = File::open(&run.path).map_err(Error::unreadable(&run.path))?;
        let (path, footer) = (run.path.clone(), Arc::clone(&run.footer));
        Ok(Self { path, file, footer, segment: 0, taken: 0, buffer: Vec::new(), buffer_first: 0, shard: 0, taken_of_shard: 0 })
    }

    /// The next entry; `None` behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<(Key, u64)>, Error> {
        let footer = Arc::clone(&self.footer);
        let Some(place) = footer.segments.get(self.segment) else { return Ok(None) };
        let number = self.taken / BLOCK_ENTRIES;
        let buffered = self.buffer_first..self.buffer_first + self.buffer.len() / BLOCK_BYTES;
        if !buffered.contains(&number) {
            self.fill(number)?;
        }
        let in_buffer = number - self.buffer_first;
        let block = self.buffer.get(in_buffer * BLOCK_BYTES..).unwrap_or_default();
        let entry = block::entry(block, self.taken % BLOCK_ENTRIES);
        let (Some((digest, content)), Some(shard)) = (entry, self.next_shard()) else {
            return Err(Error::corrupt(&self.path, "it ends before its last entry"));
        };
        self.taken += 1;
        if self.taken == place.entries as usize {
            self.segment += 1;
            self.taken = 0;
            self.buffer.clear();
        }
        Ok(Some((Key::new(shard, digest), content)))
    }

    fn next_shard(&mut self) -> Option<Shard> {
        let (shard, entries) = *self.footer.shards.get(self.shard)?;
        self.taken_of_shard += 1;
        if self.taken_of_shard == entries {
            self.shard += 1;
            self.taken_of_shard = 0;
        }
        Some(shard)
    }

    /// Reads blocks of the segment, from that one on.
    fn fill(&mut self, first: usize) -> Result<(), Error> {
        let Some(place) = self.footer.segments.get(self.segment) else { return Ok(()) };
        let count = place.blocks().saturating_sub(first).min(AHEAD_BLOCKS);
        let at = place.at + (first * BLOCK_BYTES) as u64;
        self.buffer = read(&self.file, &self.path, at, count * BLOCK_BYTES)?;
        self.buffer_first = first;
        for (block, number) in self.buffer.chunks_exact(BLOCK_BYTES).zip(first..) {
            if !block::is_sound(block, self.footer.run, place.first_block + number as u32) {
                return Err(damaged_block(&self.path, place.at + (number * BLOCK_BYTES) as u64));
            }
        }
        Ok(())
    }
}
