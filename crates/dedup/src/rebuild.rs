//! Makes the index anew from all that Silver holds, in any order: sorted in memory in parts, the parts merged from disk.

use std::fs;
use std::mem;

use crate::key::Key;
use crate::merge::Merge;
use crate::run::Run;
use crate::{Entry, Error, Index};

/// How many sorted parts are merged at a time: each has its file open and 64 KiB in memory.
const PARTS_MAX: usize = 64;

/// An index that is being made anew. Dropped before it is finished, it leaves an empty index behind.
#[derive(Debug)]
pub struct Rebuild {
    /// Empty until the end.
    index: Index,
    buffer: Vec<(Key, u64)>,
    /// Sorted parts, oldest first.
    parts: Vec<Run>,
}

impl Rebuild {
    pub(crate) fn new(index: Index) -> Self {
        Self { index, buffer: Vec::new(), parts: Vec::new() }
    }

    /// Takes entries in. Of an identity that comes more than once, the first content stays. After an error the rebuild is to be begun again.
    pub fn push(&mut self, entries: &[Entry]) -> Result<(), Error> {
        for entry in entries {
            self.buffer.push((Key::new(entry.shard, entry.digest), entry.content));
            if self.buffer.len() >= self.index.limits().rebuild_entries_max {
                let part = self.write_buffer(false)?;
                self.parts.push(part);
            }
        }
        Ok(())
    }

    /// The index of all that was pushed, durable, which is all that Silver has up to this version.
    pub fn finish(mut self, version: i64) -> Result<Index, Error> {
        if self.parts.is_empty() {
            let run = if self.buffer.is_empty() { None } else { Some(self.write_buffer(true)?) };
            return self.index.fill(version, run);
        }
        if !self.buffer.is_empty() {
            let part = self.write_buffer(false)?;
            self.parts.push(part);
        }
        while self.parts.len() > PARTS_MAX {
            for parts in in_groups(mem::take(&mut self.parts)) {
                let part = self.merge(parts, false)?;
                self.parts.push(part);
            }
        }
        let parts = mem::take(&mut self.parts);
        let run = self.merge(parts, true)?;
        self.index.fill(version, Some(run))
    }

    /// Writes what is in memory to a run; with filters if it is the whole index.
    fn write_buffer(&mut self, is_whole: bool) -> Result<Run, Error> {
        let mut buffer = mem::take(&mut self.buffer);
        // Stable: the first content of an identity stays first.
        buffer.sort_by_key(|(key, _)| *key);
        buffer.dedup_by_key(|(key, _)| *key);
        let mut writer = self.index.begin_run(is_whole)?;
        for (key, content) in &buffer {
            writer.push(*key, *content)?;
        }
        buffer.clear();
        self.buffer = buffer;
        writer.finish()
    }

    /// Makes one run of several and removes those; with filters if it is the whole index.
    fn merge(&mut self, parts: Vec<Run>, is_whole: bool) -> Result<Run, Error> {
        let mut merge = Merge::begin(&parts, self.index.begin_run(is_whole)?)?;
        while !merge.step(usize::MAX)? {}
        let run = merge.finish()?;
        for Run { path, .. } in parts {
            fs::remove_file(&path).map_err(Error::unavailable("remove", &path))?;
        }
        Ok(run)
    }
}

fn in_groups(mut parts: Vec<Run>) -> Vec<Vec<Run>> {
    let mut groups = Vec::new();
    while !parts.is_empty() {
        let rest = parts.split_off(parts.len().min(PARTS_MAX));
        groups.push(mem::replace(&mut parts, rest));
    }
    groups
}
