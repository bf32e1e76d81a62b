//! Rebuilding Silver and Gold from Bronze, in tables beside the live ones, while these go on.
//!
//! A rebuild has three parts. First, all of Bronze at one version is decided about without the index: events that have one row where it lies, the others in the order of their
//! identities, in which the copies of an event stand side by side ([`pass`]). What Bronze has more by then is decided about as the live stage does it, until the rebuild stands where
//! Bronze stands. Then Gold is made of it. Progress is in the tables, as everywhere: a rebuild that was broken off anywhere is taken up there.
//!
//! A rebuild of some days only has the rows of these, decided about with all copies in view. It cannot catch up or take over: it is there to be compared.

use std::path::PathBuf;
use std::time::Duration;

use chrono::NaiveDate;
use lake::{Lake, Table};
use medallion::ledger::{DEAD_LETTER, DUPLICATE};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::Config;
use crate::error::Error;
use crate::gold::Fed;
use crate::identities::Identities;
use crate::silver::Silver;
use crate::stage::{Stage as _, Step, Surroundings};
use crate::status::Status;
use crate::tables::{self, Names};
use crate::work::Work;

mod by_file;
mod by_identity;
mod copies;
mod cut_over;
mod days;
mod pass;
mod prefix;
mod unit;

pub use cut_over::CutOver;
pub(crate) use days::Days;
use pass::Pass;

/// What is to be rebuilt, and into which tables.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The schema of the new tables: `silver_v2` stands for `silver_v2.events` and its kind, and `gold_v2.*`.
    pub into: String,
    /// The first day, by event time; from the beginning when there is none.
    pub from: Option<NaiveDate>,
    /// The day before which it ends; without an end when there is none.
    pub to: Option<NaiveDate>,
    /// Where the index of the new tables may lie while it is needed. Removed at the end.
    pub index_folder: PathBuf,
}

/// What a rebuild is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Finding out which events have more than one row in Bronze; nothing can be said of how far that is.
    Comparing,
    /// Deciding about those that have one, file by file.
    Deciding,
    /// Deciding about the others, identity by identity.
    Choosing,
    /// Joining small files.
    Joining,
    /// Deciding about what Bronze has more by now.
    CatchingUp,
    /// Making Gold.
    Gold,
    /// Taking the place of the live tables.
    CuttingOver,
}

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What it is at.
    pub phase: Phase,
    /// Parts of the whole of this phase that are done, of a million; 0 where it cannot be told.
    pub done_millionths: u32,
}

/// A rebuild that stands where Bronze stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// The schema of its tables.
    pub into: String,
    /// The version of Bronze that it stands at.
    pub bronze_version: i64,
    /// Rows of Silver.
    pub silver: u64,
    /// Copies of events that Silver has already, of all days.
    pub duplicates: u64,
    /// Rows of Bronze that became dead letters, of all days.
    pub dead_letters: u64,
    /// Whether an earlier run had begun it.
    pub resumed: bool,
    /// How long this run took until Silver stood where Bronze stands.
    pub silver_took: Duration,
    /// How long it took to make Gold of that.
    pub gold_took: Duration,
}

/// Who is told how far it is.
pub type Watcher<'a> = &'a (dyn Fn(Progress) + Send + Sync);

impl Replay {
    /// Rebuilds, or takes a rebuild up where it was broken off, until it stands where Bronze stands.
    ///
    /// # Errors
    /// `Setting` for names and days that cannot be used, a lake without Bronze, and a rebuild that was begun with other settings; else as the lake says. What is done
    /// stays done.
    pub async fn run(&self, lake: &Lake, config: &Config, watcher: Watcher<'_>) -> Result<Rebuilt, Error> {
        config.check()?;
        let (names, days) = (Names::of_build(&self.into)?, Days::new(self.from, self.to)?);
        let mut pass = Pass::open(lake, &names, config, days).await?;
        let (resumed, began) = (pass.is_begun(), Instant::now());
        pass.run(lake, watcher).await?;
        let bronze_version = if days.is_all() {
            join(lake, &names, config, watcher).await?;
            self.catch_up(lake, config, watcher).await?
        } else {
            pass.bronze_version()
        };
        let (silver_took, began) = (began.elapsed(), Instant::now());
        make_gold(lake, &names, config, watcher).await?;
        let gold_took = began.elapsed();
        let counts = pass::counts(lake, &names).await?;
        let silver = lake.table(&names.events()).await?.files().await?.iter().filter_map(|file| file.rows).sum();
        let (duplicates, dead_letters) = (counts.total(DUPLICATE), counts.total(DEAD_LETTER));
        Ok(Rebuilt { into: self.into.clone(), bronze_version, silver, duplicates, dead_letters, resumed, silver_took, gold_took })
    }

    /// Brings a rebuild to where Bronze stands now, and tells which version that is.
    async fn catch_up(&self, lake: &Lake, config: &Config, watcher: Watcher<'_>) -> Result<i64, Error> {
        let names = Names::of_build(&self.into)?;
        let (status, work) = (Status::default(), Work::whole());
        let surroundings = Surroundings { lake, config, status: &status, work: &work };
        let (_bronze, bronze_seen) = watch::channel(-1);
        let (committed, _silver_seen) = watch::channel(-1);
        let index = Identities::open(lake.clone(), names.events().name, self.index_folder.clone(), config.index.clone()).await?;
        let mut silver = Silver::open(index, &names, &surroundings, bronze_seen, committed).await?;
        let first = silver.reached();
        watcher(Progress { phase: Phase::CatchingUp, done_millionths: 0 });
        while silver.step().await? != Step::Idle {
            let (reached, newest) = (silver.reached() - first, silver.newest() - first);
            let done_millionths = u32::try_from(1_000_000 * reached.max(0) / newest.max(1)).unwrap_or(1_000_000);
            watcher(Progress { phase: Phase::CatchingUp, done_millionths });
        }
        let reached = silver.reached();
        drop(silver);
        // It is derived from the table, and what follows the catching up will be another table.
        remove_folder(self.index_folder.clone()).await;
        Ok(reached)
    }
}

/// Removes the tables of a rebuild, finished or not.
///
/// # Errors
/// `Setting` for a name that is none, or that no rebuild has; `Retry` when the store fails, and some of it may be left.
pub async fn drop_build(lake: &Lake, name: &str) -> Result<(), Error> {
    let names = Names::of_build(name)?;
    let there = lake.tables().await?;
    let own = names.own(&there);
    if own.is_empty() {
        let builds: Vec<String> = tables::builds(&there).iter().map(Names::silver).collect();
        let known = if builds.is_empty() { "there is none".to_owned() } else { format!("there are {}", builds.join(", ")) };
        return Err(Error::Setting(format!("the lake has no rebuild {name}; {known}")));
    }
    // Its events last: while they are there it can be named again.
    for table in own.iter().rev() {
        lake.remove(table).await?;
    }
    Ok(())
}

/// The version of Bronze that a rebuild is over; `None` where it has not begun.
pub(crate) async fn began_at(events: &Table) -> Result<Option<i64>, Error> {
    Ok(pass::began(events).await?.map(|(version, _)| version))
}

/// The days that a rebuild has: all, where it is none.
pub(crate) async fn days_of(events: &Table) -> Result<Days, Error> {
    Ok(pass::began(events).await?.map_or(Days::all(), |(_, days)| days))
}

/// Joins the small files that a rebuild writes: each of its parts has late events, which lie in many days.
async fn join(lake: &Lake, names: &Names, config: &Config, watcher: Watcher<'_>) -> Result<(), Error> {
    watcher(Progress { phase: Phase::Joining, done_millionths: 0 });
    for spec in [names.events(), names.exposures(), names.dead_letters()] {
        let mut table = lake.table(&spec).await?;
        while table.compact(&config.compaction).await?.files_before > 0 {}
    }
    Ok(())
}

async fn make_gold(lake: &Lake, names: &Names, config: &Config, watcher: Watcher<'_>) -> Result<(), Error> {
    let models = config.models()?;
    for (number, model) in (0_u32..).zip(models.iter()) {
        let done_millionths = 1_000_000 * number / u32::try_from(models.iter().len()).unwrap_or(u32::MAX).max(1);
        watcher(Progress { phase: Phase::Gold, done_millionths });
        Fed::open(lake, names, model).await?.refresh(lake).await?;
    }
    Ok(())
}

async fn remove_folder(folder: PathBuf) {
    let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(&folder).map_err(|error| (folder, error))).await;
    if let Ok(Err((folder, error))) = removed
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(folder = %folder.display(), %error, "the index of a rebuild could not be removed");
    }
}
