//! A run: an immutable file of entries in order.
//!
//! ```text
//! (blocks, guide) of each segment | footer
//! ```
//!
//! Every piece carries its own checksum, and the manifest has the footer's. The footer is in memory; guides come through the [`Cache`]; blocks are read
//! when a filter lets an identity pass.

use std::cell::OnceCell;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::block::{self, BLOCK_BYTES};
use crate::cache::Cache;
use crate::codec::checksum;
use crate::footer::Footer;
use crate::key::Key;
use crate::manifest::RunFacts;
use crate::segment::{Guide, Place};
use crate::{Error, metrics};

/// A run that is whole on disk.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) path: PathBuf,
    pub(crate) facts: RunFacts,
    pub(crate) footer: Arc<Footer>,
    /// Open from the first read on. There are few runs, by the bound on those of a size.
    file: OnceCell<File>,
}

/// A key that was asked for, and its place in the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Query {
    pub(crate) key: Key,
    pub(crate) place: u32,
}

impl Run {
    pub(crate) fn new(path: PathBuf, facts: RunFacts, footer: Footer) -> Self {
        Self { path, facts, footer: Arc::new(footer), file: OnceCell::new() }
    }

    /// Reads what is to be in memory of a run that the manifest promises.
    pub(crate) fn open(path: PathBuf, facts: RunFacts) -> Result<Self, Error> {
        let file = File::open(&path).map_err(Error::unreadable(&path))?;
        let bytes = file.metadata().map_err(Error::unreadable(&path))?.len();
        let footer_bytes = facts.bytes.checked_sub(facts.footer_at).and_then(|bytes| usize::try_from(bytes).ok());
        let (true, Some(footer_bytes)) = (bytes == facts.bytes, footer_bytes) else {
            return Err(Error::corrupt(&path, format!("it has {bytes} bytes instead of {}", facts.bytes)));
        };
        let stored = read(&file, &path, facts.footer_at, footer_bytes)?;
        let footer = Some(stored).filter(|stored| checksum(stored) == facts.footer_checksum);
        match footer.and_then(|stored| Footer::decode(&stored, facts.footer_at)).filter(|footer| footer.run == facts.id) {
            Some(footer) => Ok(Self::new(path, facts, footer)),
            None => Err(Error::corrupt(&path, "its footer is not what was written")),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.facts.id
    }

    /// Writes the contents of the keys that this run holds into the answers, and returns how many there are. The queries are in order.
    pub(crate) fn answer(&self, queries: &[Query], cache: &mut Cache, answers: &mut [Option<u64>]) -> Result<usize, Error> {
        let mut reading = Reading { run: self, block: Vec::new(), known: 0 };
        for of_shard in queries.chunk_by(|left, right| left.key.shard == right.key.shard) {
            let Some(first) = of_shard.first().filter(|first| self.footer.has(first.key.shard)) else { continue };
            let (mut rest, mut key) = (of_shard, first.key);
            while !rest.is_empty() {
                let (segment, next) = self.footer.segment_of(key);
                let end = next.map_or(rest.len(), |next| rest.partition_point(|query| query.key < next));
                let (here, beyond) = rest.split_at(end);
                reading.answer(segment, here, cache, answers)?;
                rest = beyond;
                key = rest.first().map_or(key, |query| query.key);
            }
        }
        Ok(reading.known)
    }

    fn load_guide(&self, place: &Place) -> Result<Guide, Error> {
        let at = place.at + (place.blocks() * BLOCK_BYTES) as u64;
        let stored = read(self.file()?, &self.path, at, place.guide_bytes as usize)?;
        Guide::decode(&stored, self.id(), place)
            .ok_or_else(|| Error::corrupt(&self.path, format!("the filter at byte {at} is not what was written")))
    }

    fn file(&self) -> Result<&File, Error> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = File::open(&self.path).map_err(Error::unreadable(&self.path))?;
        Ok(self.file.get_or_init(|| file))
    }
}

/// One pass over a run.
#[derive(Debug)]
struct Reading<'a> {
    run: &'a Run,
    block: Vec<u8>,
    known: usize,
}

impl Reading<'_> {
    /// Answers the queries that fall into a segment.
    fn answer(&mut self, segment: usize, queries: &[Query], cache: &mut Cache, answers: &mut [Option<u64>]) -> Result<(), Error> {
        let run = self.run;
        let Some(place) = run.footer.segments.get(segment) else { return Ok(()) };
        let guide = cache.guide((run.id(), segment), || run.load_guide(place))?;
        let mut held = None;
        let (mut blocks, mut passed, known_before) = (0, 0, self.known);
        for query in queries.iter().filter(|query| guide.may_hold(query.key)) {
            let number = guide.block_of(query.key);
            if held != Some(number) {
                self.load_block(place, number)?;
                held = Some(number);
                blocks += 1;
            }
            passed += 1;
            let content = block::find(&self.block, place.entries_of(number), &query.key.digest());
            if let (Some(content), Some(answer)) = (content, answers.get_mut(query.place as usize)) {
                *answer = Some(content);
                self.known += 1;
            }
        }
        metrics::read(blocks, passed - (self.known - known_before));
        Ok(())
    }

    fn load_block(&mut self, place: &Place, number: usize) -> Result<(), Error> {
        let run = self.run;
        let at = place.at + (number * BLOCK_BYTES) as u64;
        self.block.resize(BLOCK_BYTES, 0);
        run.file()?.read_exact_at(&mut self.block, at).map_err(Error::unreadable(&run.path))?;
        if block::is_sound(&self.block, run.id(), place.first_block + number as u32) { Ok(()) } else { Err(damaged_block(&run.path, at)) }
    }
}

pub(crate) fn read(file: &File, path: &Path, at: u64, bytes: usize) -> Result<Vec<u8>, Error> {
    let mut stored = vec![0; bytes];
    file.read_exact_at(&mut stored, at).map_err(Error::unreadable(path))?;
    Ok(stored)
}

pub(crate) fn damaged_block(path: &Path, at: u64) -> Error {
    Error::corrupt(path, format!("the block at byte {at} is not what was written"))
}
