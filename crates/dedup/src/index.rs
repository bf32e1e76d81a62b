//! The index: the memtable, the runs, and what is done with them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::files::Folder;
use crate::key::Key;
use crate::manifest::{Manifest, RunFacts};
use crate::memtable::Memtable;
use crate::merge::Merge;
use crate::run::{Query, Run};
use crate::writer::RunWriter;
use crate::{Entry, Error, Limits, Options, Rebuild, Shard, metrics};

/// A merge under way takes so many entries on for each one that is inserted. With 2, the merge of a size class is done when half of what would
/// begin the next one has come.
const MERGED_PER_INSERTED: usize = 2;

/// What an index holds and takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// How many identities are known.
    pub identities: u64,
    /// How many of them are in memory alone, and would be read from Silver again after a crash.
    pub memtable_entries: u64,
    /// How many runs there are.
    pub runs: usize,
    /// How many merges are under way.
    pub merges: usize,
    /// How many bytes of filters and block indexes are in memory.
    pub filter_bytes: usize,
    /// How long all runs are.
    pub file_bytes: u64,
}

/// The identities that Silver has. One process at a time has the folder.
///
/// Every call may fail with [`crate::ErrorKind::Unavailable`] and may then be made again. After [`crate::ErrorKind::Corrupt`] the index is to be dropped
/// and made anew with [`Index::rebuild`].
pub struct Index {
    folder: Folder,
    limits: Limits,
    /// What is, or is about to be, in the manifest.
    lake_id: String,
    next_run: u64,
    /// Oldest first. An identity is in one run or in the memtable, never in two places.
    runs: Vec<Run>,
    memtable: Memtable,
    /// Up to here everything is in the runs or the memtable.
    applied: Option<i64>,
    /// Up to here everything is in the runs.
    flushed: Option<i64>,
    /// Whether the manifest on disk says what `runs` and `flushed` say.
    is_saved: bool,
    /// Files to be removed once no manifest mentions them.
    replaced: Vec<PathBuf>,
    /// By size class, at most one of each.
    merges: Vec<(u32, Merge)>,
    cache: Cache,
}

impl Index {
    /// Opens the index in a folder, or begins an empty one where there is none, or one of another lake or of another version's format. Fails when
    /// another process has the folder, when what is there is damaged, or when a bound makes no sense.
    pub fn open(dir: &Path, options: Options) -> Result<Self, Error> {
        options.limits.check()?;
        let folder = Folder::take(dir)?;
        let Some(manifest) = Manifest::load(&folder, &options.lake_id)? else {
            tracing::info!(dir = %dir.display(), lake = options.lake_id, "a new index of identities");
            return Self::begin(folder, options);
        };
        let open = |facts: RunFacts| Run::open(folder.run_path(facts.id), facts);
        let runs = manifest.runs.iter().copied().map(open).collect::<Result<Vec<_>, _>>()?;
        // What a crash left, or a failure to remove.
        folder.keep_only(&runs.iter().map(Run::id).collect::<Vec<_>>())?;
        Ok(Self::with(folder, options, manifest, runs))
    }

    /// Begins an index anew, whatever is in the folder: push all that Silver holds, then finish.
    pub fn rebuild(dir: &Path, options: Options) -> Result<Rebuild, Error> {
        options.limits.check()?;
        Ok(Rebuild::new(Self::begin(Folder::take(dir)?, options)?))
    }

    /// The version of Silver up to which the index has everything; `None` when it has yet to be filled from the start. After a crash it is
    /// [`Index::flushed`]: the caller inserts what came later again.
    pub fn applied(&self) -> Option<i64> {
        self.applied
    }

    /// The version of Silver up to which everything is durable here.
    pub fn flushed(&self) -> Option<i64> {
        self.flushed
    }

    /// The content beside each identity, in the order asked; `None` for one that is not known.
    pub fn probe(&mut self, keys: &[(Shard, [u8; 16])]) -> Result<Vec<Option<u64>>, Error> {
        let answers = self.find(keys)?;
        metrics::probed(answers.len(), answers.iter().flatten().count());
        Ok(answers)
    }

    /// Takes in what versions of Silver up to this one added, in any order. An identity that is known already keeps its first content, so the same may be
    /// inserted again. Writes memory to disk where a bound says so, and takes the merges under way a little further.
    pub fn insert(&mut self, version: i64, entries: &[Entry]) -> Result<(), Error> {
        let entries_max = self.limits.memtable_entries_max;
        for chunk in entries.chunks(entries_max) {
            if self.memtable.len() + chunk.len() > entries_max {
                // Without this version, which is not yet complete here.
                self.flush()?;
            }
            let keys: Vec<_> = chunk.iter().map(|entry| (entry.shard, entry.digest)).collect();
            for (entry, known) in chunk.iter().zip(self.find(&keys)?) {
                if known.is_none() {
                    self.memtable.insert(entry.shard, entry.digest, entry.content);
                }
            }
        }
        self.applied = self.applied.max(Some(version));
        let unflushed = version.saturating_sub(self.flushed.unwrap_or(-1));
        if self.memtable.len() >= entries_max || unflushed >= self.limits.unflushed_versions_max {
            self.flush()?;
        }
        self.advance_merges(entries.len().saturating_mul(MERGED_PER_INSERTED))?;
        metrics::state(&self.stats());
        Ok(())
    }

    /// Makes everything durable that is in memory alone.
    pub fn flush(&mut self) -> Result<(), Error> {
        if self.memtable.len() > 0 {
            let mut writer = self.begin_run(true)?;
            for (key, content) in self.memtable.sorted() {
                writer.push(key, content)?;
            }
            self.runs.push(writer.finish()?);
            self.is_saved = false;
            metrics::flushed(self.memtable.len() as u64);
            self.memtable.clear();
        }
        if self.flushed != self.applied {
            (self.flushed, self.is_saved) = (self.applied, false);
        }
        self.save()?;
        self.begin_merges()?;
        self.save()
    }

    /// What the index holds and takes.
    pub fn stats(&self) -> Stats {
        let in_runs: u64 = self.runs.iter().map(|run| run.footer.entries()).sum();
        let memtable_entries = self.memtable.len() as u64;
        Stats {
            identities: in_runs + memtable_entries,
            memtable_entries,
            runs: self.runs.len(),
            merges: self.merges.len(),
            filter_bytes: self.cache.bytes(),
            file_bytes: self.runs.iter().map(|run| run.facts.bytes).sum(),
        }
    }

    /// An empty index in place of whatever is in the folder.
    fn begin(folder: Folder, options: Options) -> Result<Self, Error> {
        let manifest = Manifest { lake_id: options.lake_id.clone(), applied: None, next_run: 1, runs: Vec::new() };
        manifest.save(&folder)?;
        folder.keep_only(&[])?;
        Ok(Self::with(folder, options, manifest, Vec::new()))
    }

    fn with(folder: Folder, options: Options, manifest: Manifest, runs: Vec<Run>) -> Self {
        Self {
            folder,
            lake_id: options.lake_id,
            next_run: manifest.next_run,
            runs,
            memtable: Memtable::default(),
            applied: manifest.applied,
            flushed: manifest.applied,
            is_saved: true,
            replaced: Vec::new(),
            merges: Vec::new(),
            cache: Cache::new(options.limits.filter_bytes_max),
            limits: options.limits,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes the place of an empty index: this run is all that Silver has up to this version.
    pub(crate) fn fill(mut self, version: i64, run: Option<Run>) -> Result<Self, Error> {
        self.runs.extend(run);
        self.applied = Some(version);
        self.flush()?;
        metrics::state(&self.stats());
        Ok(self)
    }

    /// Begins the file of a new run, with filters or, if it is only to be merged, without.
    pub(crate) fn begin_run(&mut self, is_filtered: bool) -> Result<RunWriter, Error> {
        let run = self.next_run;
        self.next_run += 1;
        RunWriter::create(self.folder.run_path(run), run, self.limits.segment_blocks(), is_filtered)
    }

    fn find(&mut self, keys: &[(Shard, [u8; 16])]) -> Result<Vec<Option<u64>>, Error> {
        let mut answers: Vec<_> = keys.iter().map(|(_, digest)| self.memtable.get(*digest)).collect();
        let asked = keys.iter().zip(&answers).zip(0..).filter(|((_, answer), _)| answer.is_none());
        let mut queries: Vec<_> = asked.map(|(((shard, digest), _), place)| Query { key: Key::new(*shard, *digest), place }).collect();
        queries.sort_unstable();
        for run in &self.runs {
            if run.answer(&queries, &mut self.cache, &mut answers)? > 0 {
                queries.retain(|query| answers.get(query.place as usize).is_some_and(Option::is_none));
            }
        }
        Ok(answers)
    }

    /// Writes the manifest, unless it says all this already.
    fn save(&mut self) -> Result<(), Error> {
        if self.is_saved {
            return Ok(());
        }
        let runs = self.runs.iter().map(|run| run.facts).collect();
        Manifest { lake_id: self.lake_id.clone(), applied: self.flushed, next_run: self.next_run, runs }.save(&self.folder)?;
        self.is_saved = true;
        for path in self.replaced.drain(..) {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(%error, file = %path.display(), "a merged run stays until the index is opened again");
            }
        }
        Ok(())
    }

    /// Begins to merge the runs of each size class that has enough of them. Small merges are done at once.
    fn begin_merges(&mut self) -> Result<(), Error> {
        while let Some((class, ids)) = self.next_merge() {
            if let Some(under_way) = self.merges.iter().position(|(of, _)| *of == class) {
                // It did not keep up, as after a restart: the number of runs is bounded all the same.
                self.step_merge(under_way, usize::MAX)?;
            }
            let writer = self.begin_run(true)?;
            let runs = self.runs.iter().filter(|run| ids.contains(&run.id()));
            let entries: u64 = runs.clone().map(|run| run.footer.entries()).sum();
            self.merges.push((class, Merge::begin(runs, writer)?));
            if entries <= self.limits.memtable_entries_max as u64 {
                self.step_merge(self.merges.len() - 1, usize::MAX)?;
            }
        }
        Ok(())
    }

    /// The oldest runs of a size class that has enough of them outside merges.
    fn next_merge(&self) -> Option<(u32, Vec<u64>)> {
        let runs_per_level = self.limits.runs_per_level_max;
        let is_free = |run: &&Run| !self.merges.iter().any(|(_, merge)| merge.inputs().contains(&run.id()));
        let class_of = |run: &Run| run.footer.entries().max(1).ilog(runs_per_level as u64);
        let free: Vec<_> = self.runs.iter().filter(is_free).map(|run| (class_of(run), run.id())).collect();
        let of_class = |class| free.iter().filter(move |(of, _)| *of == class).map(|(_, id)| *id);
        let full = free.iter().map(|(class, _)| *class).filter(|class| of_class(*class).count() >= runs_per_level).min()?;
        Some((full, of_class(full).take(runs_per_level).collect()))
    }

    fn advance_merges(&mut self, entries_max: usize) -> Result<(), Error> {
        // From the last on: one that is finished goes out of the list.
        for merge in (0..self.merges.len()).rev() {
            self.step_merge(merge, entries_max)?;
        }
        self.save()
    }

    /// Takes a merge further and, once it is through, puts its run in the place of those merged. One that fails is given up and begun again at the
    /// next flush.
    fn step_merge(&mut self, place: usize, entries_max: usize) -> Result<(), Error> {
        let (class, mut merge) = self.merges.remove(place);
        if !merge.step(entries_max)? {
            self.merges.insert(place, (class, merge));
            return Ok(());
        }
        let inputs = merge.inputs().to_vec();
        let merged = merge.finish()?;
        metrics::merged(merged.footer.entries());
        let first = self.runs.iter().position(|run| inputs.contains(&run.id())).unwrap_or(self.runs.len());
        self.runs.insert(first, merged);
        let replaced = self.runs.extract_if(.., |run| inputs.contains(&run.id()));
        for run in replaced {
            self.cache.forget(run.id());
            self.replaced.push(run.path);
        }
        self.is_saved = false;
        Ok(())
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        formatter
            .debug_struct("Index")
            .field("folder", &self.folder)
            .field("applied", &self.applied)
            .field("stats", &stats)
            .finish_non_exhaustive()
    }
}
