//! Bronze → Silver: clean and unique rows, and what could not become one.
//!
//! One step decides about the rows of a range of Bronze's versions, in the buckets of identities that this process has. Exposures and dead letters are committed
//! first, Silver's events last, each with the version of Bronze that these buckets have come to. A crash in between leaves a table ahead of Silver; the same
//! versions are then decided about again, with the same outcome, and what a table has already is left out.
//!
//! Copies of an event are in one bucket, so no two processes decide about it; where two believe to have the bucket, its progress refuses the slower one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use lake::{Commit, Lake, Table};
use medallion::frontier::{self, Reached, Task, in_buckets};
use medallion::ledger::Counts;
use medallion::silver::{self, Candidates, Rules};
use medallion::tables::Engine;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::bronze::Taken;
use crate::error::Error;
use crate::identities::Identities;
use crate::stage::{Stage, Step, Surroundings, compute};
use crate::status::Status;
use crate::tables::Names;
use crate::traced::Traced;
use crate::work::{Work, may_meet};
use crate::{bronze, hold, lost, metrics, tables, traced};

/// Versions of Bronze that are looked at in one step.
const VERSIONS_MAX: i64 = 256;
/// Versions with nothing for a bucket, after which its progress is committed all the same: the log of Bronze is kept from the least of them on.
const VERSIONS_UNSAID_MAX: i64 = 128;

/// The stage.
#[derive(Debug)]
pub(crate) struct Silver {
    lake: Lake,
    bronze: Table,
    silver: Table,
    exposures: Table,
    dead_letters: Table,
    identities: Identities,
    rules: Rules,
    size_max: Size,
    work: Work,
    /// Whose the stream is.
    owner: Engine,
    /// What Silver says of a hold.
    hold: Option<i64>,
    /// How far the buckets are that this process has taken its places in.
    reached: BTreeMap<u32, Reached>,
    /// Of these, what Silver says itself; it may be behind where there was nothing to say.
    said: BTreeMap<u32, i64>,
    /// How often Bronze is looked at, where other processes write it too.
    look_every: Duration,
    status: Status,
    bronze_committed: watch::Receiver<i64>,
    /// Tells Gold that there is something new. Dropped with the stage.
    committed: watch::Sender<i64>,
}

/// What is decided about some buckets in a range of Bronze.
struct Decided {
    read: u64,
    /// When the oldest of these rows was received, in microseconds.
    oldest: Option<i64>,
    traced: Vec<Traced>,
    /// When it was begun, in microseconds.
    began: i64,
    chosen: silver::Chosen,
    dead_letters: Vec<RecordBatch>,
    counts: Counts,
}

impl Silver {
    pub(crate) async fn open(
        identities: Identities,
        names: &Names,
        surroundings: &Surroundings<'_>,
        bronze_committed: watch::Receiver<i64>,
        committed: watch::Sender<i64>,
    ) -> Result<Self, Error> {
        let Surroundings { lake, config, status, work } = surroundings.clone();
        let mut stage = Self {
            lake: lake.clone(),
            bronze: lake.table(&tables::bronze()).await?,
            silver: lake.table(&names.events()).await?,
            exposures: lake.table(&names.exposures()).await?,
            dead_letters: lake.table(&names.dead_letters()).await?,
            identities,
            rules: config.rules(),
            size_max: Size { rows: config.silver_rows_max, bytes: config.silver_bytes_max },
            work: work.clone(),
            owner: Engine::Workers,
            hold: None,
            reached: BTreeMap::new(),
            said: BTreeMap::new(),
            look_every: config.commit_interval,
            status: status.clone(),
            bronze_committed,
            committed,
        };
        stage.take_position().await?;
        Ok(stage)
    }

    /// What the index of identities holds.
    pub(crate) fn index(&self) -> Option<dedup::Stats> {
        self.identities.stats()
    }

    /// The version of Bronze that every bucket of this process has come to.
    pub(crate) fn reached(&self) -> i64 {
        self.reached.values().map(|reached| reached.silver).min().unwrap_or(-1)
    }

    /// The newest version of Bronze that it knows of.
    pub(crate) fn newest(&self) -> i64 {
        self.bronze.version()
    }

    async fn take_position(&mut self) -> Result<(), Error> {
        for table in [&mut self.silver, &mut self.exposures, &mut self.dead_letters] {
            // Every commit relies on it: what is decided here is decided on these rows and no others.
            table.progress(tables::REPLACEMENTS).await?;
        }
        self.owner = Engine::of(self.silver.progress(tables::ENGINE).await?);
        self.hold = self.silver.progress(tables::HOLD).await?;
        let (mut reached, mut said) = (BTreeMap::new(), BTreeMap::new());
        for bucket in self.work.buckets() {
            let progress = tables::progress_in_bucket(bucket);
            let mut through = [-1; 3];
            for (through, table) in through.iter_mut().zip([&mut self.silver, &mut self.exposures, &mut self.dead_letters]) {
                *through = table.progress(&progress).await?.unwrap_or(-1);
            }
            let [silver, exposures, dead_letters] = through;
            reached.insert(bucket, Reached::new(silver, exposures, dead_letters));
            said.insert(bucket, silver);
        }
        (self.reached, self.said) = (reached, said);
        let furthest = self.reached.values().map(|reached| reached.silver.max(reached.exposures).max(reached.dead_letters)).max();
        let reader = self.silver.name().to_owned();
        lost::check(&mut self.bronze, &reader, furthest.unwrap_or(-1)).await
    }

    /// What to decide about next, with the files that hold it, and the version they reach to. `None`: there is nothing new.
    async fn next(&mut self) -> Result<Option<(Task, i64, Vec<lake::Added>)>, Error> {
        let newest = self.bronze.refresh().await?;
        let Some(task) = frontier::next(&self.reached, newest, VERSIONS_MAX) else { return Ok(None) };
        let files = self.bronze.added(task.after, task.through_max).await?;
        let files = files.into_iter().filter(|file| may_hold(file, &task.buckets)).collect();
        let size_max = if task.whole { Size { rows: u64::MAX, bytes: u64::MAX } } else { self.size_max };
        let (through, files) = cut(files, task.through_max, size_max);
        Ok(Some((task, through, files)))
    }

    async fn decide(&mut self, task: &Task, files: &[lake::Added]) -> Result<Decided, Error> {
        let began = self.lake.now();
        let batches = self.bronze.read(files, None).await?;
        let (rules, buckets) = (self.rules.clone(), task.buckets.clone());
        let refined = compute(Self::NAME, move || {
            let batches = batches.iter().map(|batch| in_buckets(batch, &buckets)).collect::<Result<Vec<_>, _>>()?;
            let read = batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
            let oldest = batches.iter().filter_map(oldest).min();
            Ok((refine_all(&batches, &rules)?, read, oldest, traced::of_bronze(&batches)))
        });
        let ((candidates, mut dead_letters, mut counts), read, oldest, traced) = refined.await?;
        let candidates = Arc::new(candidates);
        let known = self.identities.probe(&self.silver, Arc::clone(&candidates)).await?;
        let chosen = compute(Self::NAME, move || Ok(silver::choose(&candidates, &known)?)).await?;
        counts.merge(&chosen.counts);
        dead_letters.push(chosen.dead_letters.clone());
        Ok(Decided { read, oldest, traced, began, chosen, dead_letters, counts })
    }

    async fn commit(&mut self, task: &Task, through: i64, decided: Decided) -> Result<(), Error> {
        let Decided { read: _, oldest, traced, began, chosen, dead_letters, counts } = decided;
        let progress: Vec<_> = task.buckets.iter().map(|bucket| (tables::progress_in_bucket(*bucket), through)).collect();
        let commit = |counts| Commit { progress: progress.clone(), guards: guards(), info: info(through, counts) };
        if chosen.exposures.num_rows() > 0 && task.reached.exposures < through {
            self.exposures.append(vec![chosen.exposures], commit(None)).await?;
        }
        let dead_rows = dead_letters.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
        if dead_rows > 0 && task.reached.dead_letters < through {
            self.dead_letters.append(dead_letters, commit(None)).await?;
        }
        // What was counted is told by Silver's own commit, also for the dead letters: it alone says that a range is decided about.
        let mut commit = commit(Some(&counts));
        commit.guards.extend([tables::ENGINE.to_owned(), tables::HOLD.to_owned()]);
        let committed = self.silver.append(vec![chosen.events], commit).await?;
        self.moved(task, through, true);
        self.note(&counts);
        if let Some(oldest) = oldest {
            metrics::queryable(self.lake.now().saturating_sub(oldest));
        }
        traced::tell(&traced, Self::NAME, began, self.lake.now(), committed.version);
        self.identities.insert(&self.silver, committed.version, chosen.winners).await?;
        self.committed.send_replace(committed.version);
        Ok(())
    }

    /// The buckets have come to this version; `said`: Silver says so.
    fn moved(&mut self, task: &Task, through: i64, said: bool) {
        let Reached { exposures, dead_letters, .. } = task.reached;
        for bucket in &task.buckets {
            self.reached.insert(*bucket, Reached::new(through, exposures, dead_letters));
            if said {
                self.said.insert(*bucket, through);
            }
        }
    }

    /// Goes on where there is nothing to decide about: compactions and the like, or what others have decided. It need not be remembered, but for keeping the log
    /// of Bronze short.
    async fn pass(&mut self, task: &Task, through: i64) -> Result<(), Error> {
        let unsaid = task.buckets.iter().filter_map(|bucket| self.said.get(bucket)).any(|said| through - said >= VERSIONS_UNSAID_MAX);
        if unsaid {
            let progress = task.buckets.iter().map(|bucket| (tables::progress_in_bucket(*bucket), through)).collect();
            let guards = guards().into_iter().chain([tables::ENGINE.to_owned(), tables::HOLD.to_owned()]).collect();
            self.silver.append(Vec::new(), Commit { progress, guards, info: info(through, None) }).await?;
        }
        self.moved(task, through, unsaid);
        Ok(())
    }

    fn is_held(&self) -> bool {
        hold::stands(self.hold, self.lake.now())
    }

    fn note(&self, counts: &Counts) {
        for measure in ["silver", "duplicate", "dead_letter", "conflict", "late", "clock_corrected", "flagged"] {
            metrics::outcome(measure, counts.total(measure));
        }
        self.status.update(|progress| {
            progress.silver += counts.total("silver");
            progress.duplicates += counts.total("duplicate");
            progress.dead_letters += counts.total("dead_letter");
            progress.late += counts.total("late");
        });
    }
}

impl Stage for Silver {
    const NAME: &'static str = "silver";

    async fn step(&mut self) -> Result<Step, Error> {
        let began = Instant::now();
        if !self.reached.keys().copied().eq(self.work.buckets()) || self.owner != Engine::Workers || self.is_held() {
            self.recover().await?;
        }
        if self.owner != Engine::Workers || self.is_held() {
            return Ok(Step::Idle);
        }
        let Some((task, through, files)) = self.next().await? else { return Ok(Step::Idle) };
        if files.is_empty() {
            self.pass(&task, through).await?;
            return Ok(Step::More);
        }
        let decided = self.decide(&task, &files).await?;
        let read = decided.read;
        self.commit(&task, through, decided).await?;
        metrics::silver(read, began.elapsed());
        let is_behind = self.reached.values().any(|reached| reached.silver < self.bronze.version());
        Ok(if is_behind { Step::More } else { Step::Moved })
    }

    async fn recover(&mut self) -> Result<(), Error> {
        for table in [&mut self.bronze, &mut self.silver, &mut self.exposures, &mut self.dead_letters] {
            table.refresh().await?;
        }
        self.take_position().await
    }

    async fn wait(&mut self) -> bool {
        tokio::select! {
            changed = self.bronze_committed.changed() => changed.is_ok(),
            () = self.work.changes() => true,
            () = tokio::time::sleep(self.look_every), if self.work.is_shared() || self.is_held() => true,
        }
    }

    async fn close(&mut self) {
        if let Err(error) = self.identities.flush().await {
            // It costs the next start some reading, and nothing else.
            tracing::warn!(%error, "the index of identities was not written to disk");
        }
    }
}

/// Whether a file of Bronze may hold events of these buckets. What nobody told may be anything.
pub(crate) fn may_hold(file: &lake::Added, buckets: &BTreeSet<u32>) -> bool {
    let Some(taken) = Taken::read(&file.info) else { return true };
    let meets = |partition: &u32| buckets.iter().any(|bucket| may_meet(*bucket, *partition, taken.partitions));
    taken.from.keys().any(meets)
}

fn guards() -> Vec<String> {
    vec![tables::REPLACEMENTS.to_owned()]
}

fn info(through: i64, counts: Option<&Counts>) -> Map<String, Value> {
    let mut info = Map::from_iter([("stage".to_owned(), "silver".into()), ("input_version".to_owned(), through.into())]);
    if let Some(counts) = counts {
        info.insert("counts".to_owned(), counts.to_json());
    }
    info
}

/// When the oldest row of Bronze was received.
fn oldest(rows: &RecordBatch) -> Option<i64> {
    arrow::compute::min(rows.column_by_name("received_at")?.as_primitive_opt::<TimestampMicrosecondType>()?)
}

pub(crate) type Refined = (Vec<Candidates>, Vec<RecordBatch>, Counts);

pub(crate) fn refine_all(batches: &[RecordBatch], rules: &Rules) -> Result<Refined, Error> {
    let (mut candidates, mut dead_letters, mut counts) = (Vec::with_capacity(batches.len()), Vec::new(), Counts::default());
    for batch in batches {
        let refined = silver::refine(batch, rules)?;
        candidates.push(refined.candidates);
        if refined.dead_letters.num_rows() > 0 {
            dead_letters.push(refined.dead_letters);
        }
        counts.merge(&refined.counts);
    }
    Ok((candidates, dead_letters, counts))
}

/// How much there is in some versions of Bronze.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    rows: u64,
    /// Of the records that became these rows.
    bytes: u64,
}

impl Size {
    /// What nobody told counts as nothing: such a version is not one of ours.
    fn of(files: &[lake::Added]) -> Self {
        let bytes = files.first().and_then(|file| file.info.get(bronze::BYTES)).and_then(Value::as_u64);
        Self { rows: files.iter().filter_map(|file| file.rows).sum(), bytes: bytes.unwrap_or_default() }
    }

    fn and(self, other: Self) -> Self {
        Self { rows: self.rows + other.rows, bytes: self.bytes + other.bytes }
    }

    fn is_over(self, max: Self) -> bool {
        self.rows > max.rows || self.bytes > max.bytes
    }
}

/// Whole versions from the front, as many as are not over the bound together, and the first in any case.
fn cut(files: Vec<lake::Added>, window: i64, max: Size) -> (i64, Vec<lake::Added>) {
    let mut size = Size::default();
    let mut end = 0;
    for version in files.chunk_by(|a, b| a.version == b.version) {
        size = size.and(Size::of(version));
        if end > 0 && size.is_over(max) {
            let through = version.first().map_or(window, |file| file.version - 1);
            let mut files = files;
            files.truncate(end);
            return (through, files);
        }
        end += version.len();
    }
    (window, files)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row of two bytes.
    fn file(version: i64, rows: u64) -> lake::Added {
        let info = Map::from_iter([(bronze::BYTES.to_owned(), Value::from(2 * rows))]);
        lake::Added { version, path: format!("{version}-{rows}"), rows: Some(rows), bytes: 1, partition_values: Default::default(), info }
    }

    #[test]
    fn a_range_is_cut_between_versions() {
        let check_size = |files: &[(i64, u64)], max: Size, through: i64, count: usize| {
            let files = files.iter().map(|(version, rows)| file(*version, *rows)).collect();
            let (to, files) = cut(files, 9, max);
            assert_eq!((to, files.len()), (through, count), "{max:?}");
        };
        let check = |files: &[(i64, u64)], rows: u64, through: i64, count: usize| {
            check_size(files, Size { rows, bytes: u64::MAX }, through, count);
        };
        check(&[], 10, 9, 0);
        check(&[(1, 4), (2, 4)], 10, 9, 2);
        check(&[(1, 4), (2, 4), (4, 3)], 10, 3, 2);
        check(&[(1, 4), (1, 4), (1, 4), (4, 1)], 10, 3, 3);
        check(&[(1, 40), (2, 1)], 10, 1, 1);
        check(&[(1, 5), (2, 5)], 10, 9, 2);
        check(&[(1, 5), (2, 3), (2, 3)], 10, 1, 1);
        check_size(&[(1, 4), (2, 4), (4, 3)], Size { rows: 100, bytes: 16 }, 3, 2);
        check_size(&[(1, 40), (2, 1)], Size { rows: 100, bytes: 1 }, 1, 1);
    }
}
