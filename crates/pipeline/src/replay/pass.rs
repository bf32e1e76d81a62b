//! The pass over all of Bronze at one version. An event that has one row is decided about where the row lies, in the order of Bronze's files; the rows of the others are brought into the
//! order of their identities first, so that the copies of an event stand side by side and no index is needed. Each part of the two orders is one commit with how far it goes.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use lake::{Commit, Lake, Table};
use medallion::ledger::Counts;
use medallion::silver::{self, Rules};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::copies::Copies;
use super::days::Days;
use super::unit::{Size, Unit};
use super::{Phase, Progress, Watcher, by_file, by_identity, prefix};
use medallion::frontier::BUCKETS;

use crate::config::Config;
use crate::error::Error;
use crate::ledger::posted;
use crate::retention;
use crate::silver::refine_all;
use crate::stage::compute;
use crate::tables::{self, Names};

const STAGE: &str = "replay";
/// The progress in the order of files: so many rows are read, and those of them that are the only ones of their event are decided about.
const ROWS: &str = "tidegate:replay:rows";
/// The progress in the order of identities: those up to this prefix that may have more rows are decided about.
const IDENTITIES: &str = "tidegate:replay";
/// Units that are decided about at a time.
const DECIDED_AT_A_TIME: usize = 2;
/// One commit is so many times what a live one may be: the late events of a part lie in all days there are, and each day is a file.
const COMMIT: u64 = 4;
/// The name of Bronze at the version of the pass.
const AT_VERSION: &str = "bronze.at_version";
/// Under which name the first commit says its days.
const DAYS: &str = "days";
/// Under which name that commit says from which day on Bronze was kept.
const KEPT_FROM: &str = "bronze_kept_from";
/// Versions of a rebuild among which the first commit is: the table is made before, and fitted to the settings.
const FIRST_VERSIONS: i64 = 8;

/// The pass over all of Bronze.
#[derive(Debug)]
pub(super) struct Pass {
    bronze: Table,
    events: Table,
    exposures: Table,
    dead_letters: Table,
    rules: Arc<Rules>,
    days: Days,
    /// Which settings and which days: another rebuild cannot be taken up.
    kind: String,
    version: i64,
    begun: bool,
    /// What one commit of live Silver is at most.
    live_max: Size,
}

/// The two orders in which rows are decided about, one after the other.
#[derive(Debug, Clone, Copy)]
enum Order {
    /// Of the files: the rows that are the only ones of their event.
    Files,
    /// Of the identities: all others.
    Identities,
}

/// What is decided about some rows.
#[derive(Debug)]
struct Decided {
    /// How far their order is decided about with them.
    through: i64,
    size: Size,
    events: Vec<RecordBatch>,
    exposures: Vec<RecordBatch>,
    dead_letters: Vec<RecordBatch>,
    counts: Counts,
}

impl Pass {
    pub(super) async fn open(lake: &Lake, names: &Names, config: &Config, days: Days) -> Result<Self, Error> {
        let missing = || Error::NoTable { location: lake.location().to_string(), table: tables::BRONZE.to_owned() };
        let mut bronze = lake.reader(tables::BRONZE).await?.ok_or_else(missing)?;
        let (rules, kind) = (config.rules(), kind(&config.rules(), days));
        let mut events = lake.table(&names.events()).await?;
        let (version, begun) = match events.progress(&kind).await? {
            Some(version) => (version, true),
            None if events.files().await?.is_empty() && events.progress(IDENTITIES).await?.is_none() => (bronze.refresh().await?, false),
            None => {
                return Err(Error::Setting(format!(
                    "{} was begun with other settings or days, or by another release; give the rebuild another name with --into, or remove that one with --drop",
                    names.silver()
                )));
            }
        };
        Ok(Self {
            bronze,
            events,
            exposures: lake.table(&names.exposures()).await?,
            dead_letters: lake.table(&names.dead_letters()).await?,
            rules: Arc::new(rules),
            days,
            kind,
            version,
            begun,
            live_max: Size { rows: config.silver_rows_max, bytes: config.silver_bytes_max },
        })
    }

    /// Whether an earlier run had begun it.
    pub(super) fn is_begun(&self) -> bool {
        self.begun
    }

    /// The version of Bronze it is over.
    pub(super) fn bronze_version(&self) -> i64 {
        self.version
    }

    /// Does what is not done.
    pub(super) async fn run(&mut self, lake: &Lake, watcher: Watcher<'_>) -> Result<(), Error> {
        if self.events.progress(IDENTITIES).await? == Some(prefix::END) {
            return Ok(());
        }
        if !self.begun {
            // From now on the log of Bronze is kept from that version on.
            let mut info = info(self.version, None);
            info.insert(DAYS.to_owned(), self.days.to_string().into());
            info.insert(KEPT_FROM.to_owned(), retention::kept_from(&mut self.bronze).await?.into());
            let commit = Commit { progress: vec![(self.kind.clone(), self.version)], info, ..Commit::default() };
            self.events.append(Vec::new(), commit).await?;
        }
        watcher(Progress { phase: Phase::Comparing, done_millionths: 0 });
        let session = lake.session().await?;
        session.register_table(AT_VERSION, self.bronze.provider_at(self.version).await?).map_err(Error::query("the replay"))?;
        session.register_udf(prefix::function());
        let copies = Arc::new(Copies::find(&session, AT_VERSION).await?);
        self.decide_by_file(&copies, watcher).await?;
        if !copies.is_empty() {
            session.register_udf(copies.function());
            let after = self.events.progress(IDENTITIES).await?.unwrap_or(-1);
            let units = by_identity::units(&session, AT_VERSION, after, self.live_max.half()).await?;
            self.decide(Order::Identities, units, &copies, &[], &|through| {
                watcher(Progress { phase: Phase::Choosing, done_millionths: prefix::millionths(through) });
            })
            .await?;
        }
        let mut progress: Vec<_> = (0..BUCKETS).map(|bucket| (tables::progress_in_bucket(bucket), self.version)).collect();
        progress.push((IDENTITIES.to_owned(), prefix::END));
        self.events.append(Vec::new(), Commit { progress, info: info(self.version, None), ..Commit::default() }).await?;
        Ok(())
    }

    /// Decides about the rows that are the only ones of their event.
    async fn decide_by_file(&mut self, copies: &Arc<Copies>, watcher: Watcher<'_>) -> Result<(), Error> {
        let after = self.events.progress(ROWS).await?.unwrap_or_default();
        // A run that was broken off may have written there what the events do not have. Where a commit of this run ends at the same row, such a table has all of it or nothing.
        let mut cuts = Vec::new();
        for table in [&mut self.exposures, &mut self.dead_letters] {
            cuts.extend(table.progress(ROWS).await?.filter(|reached| *reached > after));
        }
        let cuts: Arc<[i64]> = cuts.into();
        let files = by_file::ordered(self.bronze.files_at(self.version).await?);
        let rows = files.iter().filter_map(|file| file.rows).sum::<u64>().max(1);
        let units = by_file::units(&self.bronze, &files, after, &cuts, self.live_max.half())?;
        self.decide(Order::Files, units, copies, &cuts, &|through| {
            let done = u128::from(through.unsigned_abs()) * 1_000_000 / u128::from(rows);
            watcher(Progress { phase: Phase::Deciding, done_millionths: u32::try_from(done).unwrap_or(1_000_000) });
        })
        .await
    }

    /// Decides about units while what is decided about those before them is written. `done` is told how far it is.
    async fn decide(
        &mut self,
        order: Order,
        units: BoxStream<'static, Result<Unit, Error>>,
        copies: &Arc<Copies>,
        cuts: &[i64],
        done: &(dyn Fn(i64) + Send + Sync),
    ) -> Result<(), Error> {
        let (rules, commit_max) = (Arc::clone(&self.rules), self.live_max.times(COMMIT));
        let decide = |unit: Result<Unit, Error>| {
            let (rules, copies) = (Arc::clone(&rules), Arc::clone(copies));
            async move {
                let unit = unit?;
                compute(STAGE, move || order.decide(unit, &copies, &rules)).await
            }
        };
        let mut decided = Box::pin(units.map(decide).buffered(DECIDED_AT_A_TIME));
        let (send, mut receive) = mpsc::channel(1);
        let deciding = async move {
            // Nothing is gathered before the last part is being written: no more than two are in memory.
            while let Ok(place) = send.reserve().await {
                let Some(mut part) = decided.try_next().await? else { break };
                while !part.size.reaches(commit_max) && !cuts.contains(&part.through) {
                    let Some(unit) = decided.try_next().await? else { break };
                    part.add(unit);
                }
                place.send(part);
            }
            Ok::<(), Error>(())
        };
        let writing = async {
            while let Some(part) = receive.recv().await {
                let through = part.through;
                self.commit(order, part).await?;
                done(through);
            }
            Ok(())
        };
        futures::future::try_join(deciding, writing).await?;
        Ok(())
    }

    async fn commit(&mut self, order: Order, decided: Decided) -> Result<(), Error> {
        let Decided { through, size: _, events, exposures, dead_letters, counts } = decided;
        let (version, days) = (self.version, self.days);
        let commit =
            |counts| Commit { progress: vec![(order.progress().to_owned(), through)], info: info(version, counts), ..Commit::default() };
        let of_days = |batches: &[RecordBatch]| batches.iter().map(|batch| days.only(batch)).collect::<Result<Vec<_>, _>>();
        order.put_what_is_new(&mut self.exposures, tables::EXPOSURES, of_days(&exposures)?, commit(None), through).await?;
        // Dead letters have no day of their own: they are compared, and taken over, as a whole.
        if days.is_all() {
            order.put_what_is_new(&mut self.dead_letters, tables::DEAD_LETTERS, dead_letters, commit(None), through).await?;
        }
        self.events.append(of_days(&events)?, commit(Some(&counts))).await?;
        Ok(())
    }
}

impl Order {
    fn progress(self) -> &'static str {
        match self {
            Self::Files => ROWS,
            Self::Identities => IDENTITIES,
        }
    }

    fn decide(self, unit: Unit, copies: &Copies, rules: &Rules) -> Result<Decided, Error> {
        let Unit { mut batches, through } = unit;
        if let Self::Files = self {
            batches = batches.iter().map(|batch| copies.without(batch)).collect::<Result<_, _>>()?;
        }
        let (candidates, mut dead_letters, mut counts) = refine_all(&batches, rules)?;
        // All rows of each event are here: nothing is known from elsewhere.
        let known = vec![None; candidates.iter().map(silver::Candidates::len).sum()];
        let chosen = silver::choose(&candidates, &known)?;
        counts.merge(&chosen.counts);
        dead_letters.push(chosen.dead_letters);
        let mut size = Size::default();
        [&chosen.events, &chosen.exposures].into_iter().chain(&dead_letters).for_each(|batch| size.add(batch));
        Ok(Decided { through, size, events: vec![chosen.events], exposures: vec![chosen.exposures], dead_letters, counts })
    }

    /// Appends those rows that the table does not have from a run that was broken off.
    async fn put_what_is_new(
        self,
        table: &mut Table,
        name: &'static str,
        mut batches: Vec<RecordBatch>,
        commit: Commit,
        through: i64,
    ) -> Result<(), Error> {
        let has = table.progress(self.progress()).await?.unwrap_or(-1);
        if has >= through {
            return Ok(());
        }
        if let Self::Identities = self {
            batches = batches.iter().map(|batch| prefix::after(batch, name, has)).collect::<Result<_, _>>()?;
        }
        if batches.iter().any(|batch| batch.num_rows() > 0) {
            table.append(batches, commit).await?;
        }
        Ok(())
    }
}

impl Decided {
    /// Takes in what comes after it in the same order.
    fn add(&mut self, other: Self) {
        self.through = other.through;
        self.size = self.size.and(other.size);
        self.events.extend(other.events);
        self.exposures.extend(other.exposures);
        self.dead_letters.extend(other.dead_letters);
        self.counts.merge(&other.counts);
    }
}

/// Which rebuild it is, as the name of its progress.
fn kind(rules: &Rules, days: Days) -> String {
    format!("{ROWS}:{}:{}:{days}", rules.clock_skew_tolerance_micros, rules.allowed_lateness_micros)
}

fn info(version: i64, counts: Option<&Counts>) -> Map<String, Value> {
    let mut info = Map::from_iter([("stage".to_owned(), STAGE.into()), ("input_version".to_owned(), version.into())]);
    if let Some(counts) = counts {
        info.insert("counts".to_owned(), counts.to_json());
    }
    info
}

/// What the first commit of a rebuild says: the version of Bronze it is over, and its days.
pub(super) async fn began(events: &Table) -> Result<Option<(i64, Days)>, Error> {
    let infos = events.infos(-1, events.version().min(FIRST_VERSIONS)).await?;
    let read = |info: &Map<String, Value>| {
        let days = info.get(DAYS)?.as_str().and_then(|days| days.parse().ok())?;
        Some((info.get("input_version")?.as_i64()?, days))
    };
    Ok(infos.iter().find_map(|(_, info)| read(info)))
}

/// From which day on Bronze was kept when a rebuild began, as its first commit says.
pub(super) async fn kept_from(events: &Table) -> Result<Option<i64>, Error> {
    let infos = events.infos(-1, events.version().min(FIRST_VERSIONS)).await?;
    Ok(infos.iter().find_map(|(_, info)| info.get(KEPT_FROM)?.as_i64()))
}

/// What the commits of a rebuild counted, all together.
pub(super) async fn counts(lake: &Lake, names: &Names) -> Result<Counts, Error> {
    let mut counts = Counts::default();
    let events = lake.table(&names.events()).await?;
    for posted in posted(&events, -1, events.version()).await? {
        counts.merge(&posted.counts);
    }
    Ok(counts)
}
