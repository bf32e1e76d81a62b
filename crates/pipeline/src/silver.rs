//! Bronze → Silver: clean and unique rows, and what could not become one.
//!
//! One step decides about the rows of a range of Bronze's versions. Exposures and dead letters are committed first, Silver's events last, each with the version of
//! Bronze they have come to. A crash in between leaves a table ahead of Silver; the same range of versions is then decided about again, with the same outcome,
//! and what a table has already is left out.

use std::sync::Arc;

use arrow::array::RecordBatch;
use lake::{Commit, Lake, Table};
use medallion::ledger::Counts;
use medallion::silver::{self, Candidates, Rules};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::Config;
use crate::error::Error;
use crate::identities::Identities;
use crate::stage::{Stage, Step, compute};
use crate::status::Status;
use crate::{bronze, metrics, tables};

/// Versions of Bronze that are looked at in one step.
const VERSIONS_MAX: i64 = 256;

/// The stage.
#[derive(Debug)]
pub(crate) struct Silver {
    bronze: Table,
    silver: Table,
    exposures: Table,
    dead_letters: Table,
    identities: Identities,
    rules: Rules,
    size_max: Size,
    /// The version of Bronze up to which everything is in Silver.
    through: i64,
    status: Status,
    bronze_committed: watch::Receiver<i64>,
    /// Tells Gold that there is something new. Dropped with the stage.
    committed: watch::Sender<i64>,
}

/// What is decided about a range of Bronze.
struct Decided {
    through: i64,
    read: u64,
    chosen: silver::Chosen,
    dead_letters: Vec<RecordBatch>,
    counts: Counts,
}

impl Silver {
    pub(crate) async fn open(
        lake: &Lake,
        identities: Identities,
        config: &Config,
        status: Status,
        bronze_committed: watch::Receiver<i64>,
        committed: watch::Sender<i64>,
    ) -> Result<Self, Error> {
        let mut stage = Self {
            bronze: lake.table(&tables::bronze()).await?,
            silver: lake.table(&tables::silver()).await?,
            exposures: lake.table(&tables::exposures()).await?,
            dead_letters: lake.table(&tables::dead_letters()).await?,
            identities,
            rules: config.rules(),
            size_max: Size { rows: config.silver_rows_max, bytes: config.silver_bytes_max },
            through: -1,
            status,
            bronze_committed,
            committed,
        };
        stage.take_position().await?;
        Ok(stage)
    }

    async fn take_position(&mut self) -> Result<(), Error> {
        self.through = self.silver.progress(&progress()).await?.unwrap_or(-1);
        self.exposures.progress(&progress()).await?;
        self.dead_letters.progress(&progress()).await?;
        Ok(())
    }

    /// The version of Bronze up to which a table has what was decided.
    async fn has_through(table: &mut Table) -> Result<i64, Error> {
        Ok(table.progress(&progress()).await?.unwrap_or(-1))
    }

    /// The range that a crash left half committed, if there is one: it must be decided about exactly so again.
    async fn left_over(&mut self) -> Result<Option<i64>, Error> {
        let exposures = Self::has_through(&mut self.exposures).await?;
        let dead_letters = Self::has_through(&mut self.dead_letters).await?;
        let ahead = exposures.max(dead_letters);
        Ok((ahead > self.through).then_some(ahead))
    }

    /// The files to decide about next, and the version they reach to. `None`: there is nothing new.
    async fn next(&mut self) -> Result<Option<(i64, Vec<lake::Added>, bool)>, Error> {
        let newest = self.bronze.refresh().await?;
        if newest <= self.through {
            return Ok(None);
        }
        if let Some(through) = self.left_over().await? {
            let files = self.bronze.added(self.through, through).await?;
            return Ok(Some((through, files, true)));
        }
        let window = newest.min(self.through.saturating_add(VERSIONS_MAX));
        let files = self.bronze.added(self.through, window).await?;
        let (through, files) = cut(files, window, self.size_max);
        Ok(Some((through, files, through < newest)))
    }

    async fn decide(&mut self, through: i64, files: &[lake::Added]) -> Result<Decided, Error> {
        let batches = self.bronze.read(files, None).await?;
        let read = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        let rules = self.rules.clone();
        let refined = compute(Self::NAME, move || refine_all(&batches, &rules)).await?;
        let (candidates, mut dead_letters, mut counts) = refined;
        let candidates = Arc::new(candidates);
        let known = self.identities.probe(&self.silver, Arc::clone(&candidates)).await?;
        let chosen = compute(Self::NAME, move || Ok(silver::choose(&candidates, &known)?)).await?;
        counts.merge(&chosen.counts);
        dead_letters.push(chosen.dead_letters.clone());
        Ok(Decided { through, read, chosen, dead_letters, counts })
    }

    async fn commit(&mut self, decided: Decided) -> Result<(), Error> {
        let Decided { through, read: _, chosen, dead_letters, counts } = decided;
        let progress = || vec![(progress(), through)];
        if chosen.exposures.num_rows() > 0 && Self::has_through(&mut self.exposures).await? < through {
            let info = info(through, None);
            self.exposures.append(vec![chosen.exposures], Commit { progress: progress(), info }).await?;
        }
        let dead_rows = dead_letters.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
        if dead_rows > 0 && Self::has_through(&mut self.dead_letters).await? < through {
            let info = info(through, None);
            self.dead_letters.append(dead_letters, Commit { progress: progress(), info }).await?;
        }
        // What was counted is told by Silver's own commit, also for the dead letters: it alone says that a range is decided about.
        let info = info(through, Some(&counts));
        let committed = self.silver.append(vec![chosen.events], Commit { progress: progress(), info }).await?;
        self.through = through;
        self.note(&counts);
        self.identities.insert(committed.version, chosen.winners).await?;
        self.committed.send_replace(committed.version);
        Ok(())
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
        let Some((through, files, more)) = self.next().await? else { return Ok(Step::Idle) };
        if files.is_empty() {
            // Compactions and the like: nothing to commit, and nothing that would have to be remembered.
            self.through = through;
            return Ok(if more { Step::More } else { Step::Idle });
        }
        let decided = self.decide(through, &files).await?;
        let read = decided.read;
        self.commit(decided).await?;
        metrics::silver(read, began.elapsed());
        Ok(if more { Step::More } else { Step::Moved })
    }

    async fn recover(&mut self) -> Result<(), Error> {
        for table in [&mut self.bronze, &mut self.silver, &mut self.exposures, &mut self.dead_letters] {
            table.refresh().await?;
        }
        self.take_position().await
    }

    async fn wait(&mut self) -> bool {
        let open = self.bronze_committed.changed().await.is_ok();
        if !open && let Err(error) = self.identities.flush().await {
            // It costs the next start some reading, and nothing else.
            tracing::warn!(%error, "the index of identities was not written to disk");
        }
        open
    }
}

fn progress() -> String {
    tables::progress_in(tables::BRONZE)
}

fn info(through: i64, counts: Option<&Counts>) -> Map<String, Value> {
    let mut info = Map::from_iter([("stage".to_owned(), "silver".into()), ("input_version".to_owned(), through.into())]);
    if let Some(counts) = counts {
        info.insert("counts".to_owned(), counts.to_json());
    }
    info
}

type Refined = (Vec<Candidates>, Vec<RecordBatch>, Counts);

fn refine_all(batches: &[RecordBatch], rules: &Rules) -> Result<Refined, Error> {
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
