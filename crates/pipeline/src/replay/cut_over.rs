//! A rebuild takes the place of the live tables.
//!
//! Each table changes in one commit, Silver's events last. Readers of a table see all the old rows or all the new, under the name and in the folder they know; and
//! the old ones stay in the table's history as long as files are kept. Events are taken in all the time; the live Silver stage stands still for the last step, and takes its
//! place from the tables anew.

use lake::{Commit, Keep, Lake, Table};
use medallion::ledger::{BRONZE_EXPIRED, Counts, REFUSED, REFUSED_EXPIRED, UNREADABLE, UNTOLD, places};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Phase, Progress, Replay, Watcher, drop_build, pass};
use medallion::frontier::BUCKETS;

use crate::audit::said::Said;
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::hold;
use crate::retention;
use crate::tables::{self, Names};

/// How often another writer may be faster before it is given up. A live stage may be so once, with what it had decided before it knew that it is to stand still.
const ATTEMPTS_MAX: u32 = 20;

/// A rebuild that has taken the place of the live tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CutOver {
    /// The version of Bronze that Silver stands at by it.
    pub bronze_version: i64,
    /// The version of Silver that it made.
    pub silver_version: i64,
    /// Rows of Silver now.
    pub silver: u64,
    /// Attempts at which a live stage was faster.
    pub attempts_lost: u32,
}

/// Why an attempt came to nothing.
enum Outcome {
    Made(CutOver),
    /// A live stage has gone further meanwhile.
    Behind,
}

impl Replay {
    /// Brings the rebuild to where Bronze stands, puts it in the place of the live Silver, and removes its own tables. Gold is made anew by the live stage, which
    /// sees what happened to its input.
    ///
    /// # Errors
    /// `Setting` where there is no such rebuild, it is not finished, or it is one of some days only; `Retry` when the store fails, or live stages were faster every
    /// time. Called again it goes on.
    pub async fn cut_over(&self, lake: &Lake, config: &Config, watcher: Watcher<'_>) -> Result<CutOver, Error> {
        let names = Names::of_build(&self.into)?;
        self.check_whole(lake, &names).await?;
        // Most of the way before the live stages stand still.
        self.catch_up(lake, config, watcher).await?;
        let made = Box::pin(hold::during(lake, self.take_place(lake, config, &names, watcher))).await?;
        drop_build(lake, &self.into).await?;
        Ok(made)
    }

    async fn take_place(&self, lake: &Lake, config: &Config, names: &Names, watcher: Watcher<'_>) -> Result<CutOver, Error> {
        let mut lost = 0;
        loop {
            let bronze_version = self.catch_up(lake, config, watcher).await?;
            watcher(Progress { phase: Phase::CuttingOver, done_millionths: 0 });
            match replace(lake, names, bronze_version).await {
                Ok(Outcome::Made(made)) => return Ok(CutOver { attempts_lost: lost, ..made }),
                Ok(Outcome::Behind) if lost < ATTEMPTS_MAX => {}
                Ok(Outcome::Behind) => {
                    let what = format!("the live stages were faster {lost} times; try again when less is coming in");
                    return Err(lake::Error::Conflict { table: tables::SILVER.to_owned(), what }.into());
                }
                Err(error) if is_lost(&error) && lost < ATTEMPTS_MAX => tracing::debug!(%error, "a live stage was faster"),
                Err(error) => return Err(error),
            }
            lost += 1;
        }
    }

    async fn check_whole(&self, lake: &Lake, names: &Names) -> Result<(), Error> {
        let refuse = |what: &str| Err(Error::Setting(format!("{} cannot take the place of Silver: {what}", self.into)));
        let Some(mut events) = lake.reader(&names.events().name).await? else {
            return refuse("there is no such rebuild; make it with `tidegate replay --into`");
        };
        if !super::days_of(&events).await?.is_all() {
            return refuse("it has some days only");
        }
        if events.progress(&tables::progress_in_bucket(0)).await?.is_none() {
            return refuse("it is not finished; run `tidegate replay` again, it goes on where it was");
        }
        if events.files().await?.is_empty() {
            return refuse("it has no rows");
        }
        let mut bronze = lake.table(&tables::bronze()).await?;
        if retention::kept_from(&mut bronze).await? != pass::kept_from(&events).await? {
            return refuse("days of Bronze were let go of since it was begun; remove it with --drop and begin it anew");
        }
        Ok(())
    }
}

fn is_lost(error: &Error) -> bool {
    error.kind() == ErrorKind::Retry
        && matches!(error, Error::Lake(error) if matches!(error.kind(), lake::ErrorKind::Fenced | lake::ErrorKind::Conflict))
}

async fn replace(lake: &Lake, names: &Names, through: i64) -> Result<Outcome, Error> {
    let live = Names::live();
    let mut silver = lake.table(&live.events()).await?;
    let Some(silver_commit) = moving(&mut silver, through).await? else { return Ok(Outcome::Behind) };
    let mut correction = pass::counts(lake, names).await?;
    // An erasure says in the commit of the dead letters what it took out of them; what the gate refused is no part of a rebuild.
    let dead_letters = lake.table(&live.dead_letters()).await?;
    let mut said = Said::read(lake, &[&silver, &dead_letters], through).await?.all;
    let of_the_gate = said.only_where(|measure| [REFUSED, UNREADABLE, REFUSED_EXPIRED].contains(&measure) || places::is_place(measure));
    said.subtract(&of_the_gate);
    correction.subtract(&said);
    // A rebuild is made of what retention has left of Bronze.
    let bronze = lake.table(&tables::bronze()).await?;
    let expired = Said::read(lake, &[&bronze], through).await?.all.only(&[BRONZE_EXPIRED]);
    correction.merge(&expired.counted_as(UNTOLD));

    for (spec, from) in [(live.exposures(), names.exposures()), (live.dead_letters(), names.dead_letters())] {
        let (mut table, mut from) = (lake.table(&spec).await?, lake.table(&from).await?);
        let Some(mut commit) = moving(&mut table, through).await? else { return Ok(Outcome::Behind) };
        let keep = if table.name() == tables::DEAD_LETTERS { Keep::Rows(std::sync::Arc::new(not_of_silver)) } else { Keep::Nothing };
        commit.info = info(through, None);
        table.take_over(&mut from, &keep, commit).await?;
    }
    let mut from = lake.table(&names.events()).await?;
    let commit = Commit { info: info(through, Some(&correction)), ..silver_commit };
    let made = silver.take_over(&mut from, &Keep::Nothing, commit).await?;
    Ok(Outcome::Made(CutOver { bronze_version: through, silver_version: made.version, silver: made.rows, attempts_lost: 0 }))
}

/// A commit that takes every bucket to that version, and fences whoever decided on the rows before it. `None`: one is further already.
async fn moving(table: &mut Table, through: i64) -> Result<Option<Commit>, Error> {
    let mut commit = Commit::default();
    for bucket in 0..BUCKETS {
        let name = tables::progress_in_bucket(bucket);
        match table.progress(&name).await? {
            Some(reached) if reached > through => return Ok(None),
            Some(reached) if reached == through => commit.guards.push(name),
            _ => commit.progress.push((name, through)),
        }
    }
    let replacements = table.progress(tables::REPLACEMENTS).await?.unwrap_or_default();
    commit.progress.push((tables::REPLACEMENTS.to_owned(), replacements + 1));
    Ok(Some(commit))
}

/// The dead letters that never were rows of Bronze: no rebuild makes them.
fn not_of_silver(batch: &arrow::array::RecordBatch) -> Result<arrow::array::BooleanArray, arrow::error::ArrowError> {
    use arrow::array::AsArray as _;
    let missing = || arrow::error::ArrowError::SchemaError("dead letters have no column stage".to_owned());
    let stages = batch.column_by_name("stage").and_then(|column| column.as_string_opt::<i32>()).ok_or_else(missing)?;
    Ok(stages.iter().map(|stage| Some(stage.is_some_and(crate::audit::is_before_silver))).collect())
}

fn info(through: i64, counts: Option<&Counts>) -> Map<String, Value> {
    let mut info = Map::from_iter([
        ("stage".to_owned(), Value::from("replay")),
        ("input_version".to_owned(), through.into()),
        (tables::REPLACED.to_owned(), true.into()),
    ]);
    if let Some(counts) = counts {
        info.insert("counts".to_owned(), counts.to_json());
    }
    info
}
