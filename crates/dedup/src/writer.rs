//! Writes a run from entries in order, in memory that does not depend on how many there are.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;

use crate::block::{self, BLOCK_BYTES};
use crate::footer::Footer;
use crate::key::Key;
use crate::manifest::RunFacts;
use crate::run::Run;
use crate::segment::{Guide, Place};
use crate::{Error, Shard};

const BUFFER_BYTES: usize = 64 * BLOCK_BYTES;

/// A run that is being written. Dropped unfinished, it leaves no file.
#[derive(Debug)]
pub(crate) struct RunWriter {
    path: PathBuf,
    file: BufWriter<File>,
    is_finished: bool,
    segment_blocks: usize,
    is_filtered: bool,
    /// How much was written.
    at: u64,
    blocks: u32,
    block: Vec<u8>,
    /// Of the segment that is being written.
    segment: Option<Place>,
    fences: Vec<Key>,
    hashes: Vec<u64>,
    footer: Footer,
}

impl RunWriter {
    /// Begins a file of that name. Without filters it is a run to be merged, not to be probed.
    pub(crate) fn create(path: PathBuf, run: u64, segment_blocks: usize, is_filtered: bool) -> Result<Self, Error> {
        let file = File::create(&path).map_err(Error::unavailable("make", &path))?;
        Ok(Self {
            path,
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            is_finished: false,
            segment_blocks,
            is_filtered,
            at: 0,
            blocks: 0,
            block: Vec::with_capacity(BLOCK_BYTES),
            segment: None,
            fences: Vec::new(),
            hashes: Vec::new(),
            footer: Footer { run, segments: Vec::new(), shards: Vec::new() },
        })
    }

    /// Adds an entry. Its key is greater than those before it.
    pub(crate) fn push(&mut self, key: Key, content: u64) -> Result<(), Error> {
        let (at, first_block) = (self.at, self.blocks);
        let segment = self.segment.get_or_insert(Place { at, first_block, entries: 0, guide_bytes: 0, first: key });
        segment.entries += 1;
        if self.block.is_empty() {
            self.fences.push(key);
        }
        if self.is_filtered {
            self.hashes.push(key.hash());
        }
        self.count(key.shard);
        block::push(&mut self.block, key, content);
        if block::is_full(&self.block) {
            self.write_block()?;
            if self.fences.len() >= self.segment_blocks {
                self.write_guide()?;
            }
        }
        Ok(())
    }

    /// Makes the run durable under its name. It is part of the index once the manifest mentions it.
    pub(crate) fn finish(mut self) -> Result<Run, Error> {
        if !self.block.is_empty() {
            self.write_block()?;
        }
        self.write_guide()?;
        let (footer_at, (footer, footer_checksum)) = (self.at, self.footer.encode());
        self.write(&footer)?;
        self.file.flush().and_then(|()| self.file.get_ref().sync_all()).map_err(Error::unavailable("write", &self.path))?;
        self.is_finished = true;
        let facts = RunFacts { id: self.footer.run, bytes: self.at, footer_at, footer_checksum };
        let footer = Footer { run: 0, segments: Vec::new(), shards: Vec::new() };
        Ok(Run::new(self.path.clone(), facts, std::mem::replace(&mut self.footer, footer)))
    }

    fn count(&mut self, shard: Shard) {
        match self.footer.shards.last_mut() {
            Some((last, entries)) if *last == shard => *entries += 1,
            _ => self.footer.shards.push((shard, 1)),
        }
    }

    fn write_block(&mut self) -> Result<(), Error> {
        let mut block = std::mem::take(&mut self.block);
        block::finish(&mut block, self.footer.run, self.blocks);
        self.write(&block)?;
        self.blocks += 1;
        block.clear();
        self.block = block;
        Ok(())
    }

    /// Ends the segment, if one was begun, and sends it to the disk, so that the end of a long run waits for little.
    fn write_guide(&mut self) -> Result<(), Error> {
        let Some(mut place) = self.segment.take() else { return Ok(()) };
        let guide =
            if self.is_filtered { Guide::build(&self.fences, &mut self.hashes).encode(self.footer.run, &place) } else { Vec::new() };
        place.guide_bytes =
            u32::try_from(guide.len()).map_err(|_| Error::unavailable("write", &self.path)(io::ErrorKind::FileTooLarge.into()))?;
        self.write(&guide)?;
        self.fences.clear();
        self.hashes.clear();
        self.footer.segments.push(place);
        self.file.flush().and_then(|()| self.file.get_ref().sync_data()).map_err(Error::unavailable("write", &self.path))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(Error::unavailable("write", &self.path))?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}

impl Drop for RunWriter {
    fn drop(&mut self) {
        if !self.is_finished
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, file = %self.path.display(), "an unfinished run stays until the index is opened again");
        }
    }
}
