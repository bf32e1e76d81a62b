//! All of Bronze at one version, in the order of identities: where the copies of an event stand side by side, which of them is the row of Silver is decided without
//! an index, and each part of the order is one commit with how far it goes.

use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use futures::stream::{self, BoxStream, StreamExt as _};
use lake::{Commit, Lake, Table};
use medallion::ledger::Counts;
use medallion::silver::{self, Chosen, Rules};
use serde_json::{Map, Value};

use super::days::Days;
use super::{Phase, Progress, Watcher, prefix};
use medallion::frontier::BUCKETS;

use crate::config::Config;
use crate::error::Error;
use crate::ledger::posted;
use crate::retention;
use crate::silver::refine_all;
use crate::stage::compute;
use crate::tables::{self, Names};

const STAGE: &str = "replay";
/// The progress of the pass: the identities up to this prefix are decided about.
const THROUGH: &str = "tidegate:replay";
/// Parts of the order that are decided about at a time.
const DECIDED_AT_A_TIME: usize = 2;
/// The name of Bronze at the version of the pass.
const AT_VERSION: &str = "bronze.at_version";
/// Under which name the first commit says its days.
const DAYS: &str = "days";
/// Under which name that commit says from which day on Bronze was kept.
const KEPT_FROM: &str = "bronze_kept_from";
/// Versions of a rebuild among which the first commit is: the table is made before, and fitted to the settings.
const FIRST_VERSIONS: i64 = 8;
const PREFIX: &str = "identity_prefix_of_row";

/// The pass over all of Bronze.
#[derive(Debug)]
pub(super) struct Sorted {
    bronze: Table,
    events: Table,
    exposures: Table,
    dead_letters: Table,
    rules: Rules,
    days: Days,
    /// Which settings and which days: another rebuild cannot be taken up.
    kind: String,
    version: i64,
    begun: bool,
    through: i64,
    rows_max: u64,
    bytes_max: u64,
}

/// A part of the order of identities.
struct Part {
    batches: Vec<RecordBatch>,
    /// The last prefix it has.
    through: i64,
}

/// What is decided about it.
struct Decided {
    through: i64,
    chosen: Chosen,
    dead_letters: Vec<RecordBatch>,
    counts: Counts,
}

impl Sorted {
    pub(super) async fn open(lake: &Lake, names: &Names, config: &Config, days: Days) -> Result<Self, Error> {
        let missing = || Error::NoTable { location: lake.location().to_string(), table: tables::BRONZE.to_owned() };
        let mut bronze = lake.reader(tables::BRONZE).await?.ok_or_else(missing)?;
        let (rules, kind) = (config.rules(), kind(&config.rules(), days));
        let mut events = lake.table(&names.events()).await?;
        let (version, begun) = match events.progress(&kind).await? {
            Some(version) => (version, true),
            None if events.files().await?.is_empty() && events.progress(THROUGH).await?.is_none() => (bronze.refresh().await?, false),
            None => {
                return Err(Error::Setting(format!(
                    "{} was begun with other settings or days; give the rebuild another name with --into, or remove that one with --drop",
                    names.silver()
                )));
            }
        };
        let through = events.progress(THROUGH).await?.unwrap_or(-1);
        Ok(Self {
            bronze,
            events,
            exposures: lake.table(&names.exposures()).await?,
            dead_letters: lake.table(&names.dead_letters()).await?,
            rules,
            days,
            kind,
            version,
            begun,
            through,
            rows_max: config.silver_rows_max.saturating_mul(2),
            bytes_max: config.silver_bytes_max,
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
        if self.through == prefix::END {
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
        watcher(Progress { phase: Phase::Sorting, done_millionths: 0 });
        let session = lake.session().await?;
        session.register_table(AT_VERSION, self.bronze.provider_at(self.version).await?).map_err(Error::query("the replay"))?;
        session.register_udf(prefix::function());
        let parts = parts(session, self.through, self.rows_max, self.bytes_max).await?;
        let rules = Arc::new(self.rules.clone());
        let decide = |part: Result<Part, Error>| {
            let rules = Arc::clone(&rules);
            async move {
                let part = part?;
                compute(STAGE, move || part.decide(&rules)).await
            }
        };
        let mut decided = Box::pin(parts.map(decide).buffered(DECIDED_AT_A_TIME));
        while let Some(part) = decided.next().await {
            self.commit(part?).await?;
            watcher(Progress { phase: Phase::Deciding, done_millionths: prefix::millionths(self.through) });
        }
        let mut progress: Vec<_> = (0..BUCKETS).map(|bucket| (tables::progress_in_bucket(bucket), self.version)).collect();
        progress.push((THROUGH.to_owned(), prefix::END));
        self.events.append(Vec::new(), Commit { progress, info: info(self.version, None), ..Commit::default() }).await?;
        self.through = prefix::END;
        Ok(())
    }

    async fn commit(&mut self, decided: Decided) -> Result<(), Error> {
        let Decided { through, chosen, dead_letters, counts } = decided;
        let version = self.version;
        let commit = |counts| Commit { progress: vec![(THROUGH.to_owned(), through)], info: info(version, counts), ..Commit::default() };
        let exposures = self.days.only(&chosen.exposures)?;
        put_what_is_new(&mut self.exposures, vec![exposures], through, commit(None)).await?;
        // Dead letters have no day of their own: they are compared, and taken over, as a whole.
        if self.days.is_all() {
            put_what_is_new(&mut self.dead_letters, dead_letters, through, commit(None)).await?;
        }
        self.events.append(vec![self.days.only(&chosen.events)?], commit(Some(&counts))).await?;
        self.through = through;
        Ok(())
    }
}

/// Appends those rows that the table does not have from a run that was broken off.
async fn put_what_is_new(table: &mut Table, batches: Vec<RecordBatch>, through: i64, commit: Commit) -> Result<(), Error> {
    let has = table.progress(THROUGH).await?.unwrap_or(-1);
    let new = batches.iter().map(|batch| prefix::after(batch, has)).collect::<Result<Vec<_>, _>>()?;
    if has < through && new.iter().any(|batch| batch.num_rows() > 0) {
        table.append(new, commit).await?;
    }
    Ok(())
}

impl Part {
    fn decide(self, rules: &Rules) -> Result<Decided, Error> {
        let (candidates, mut dead_letters, mut counts) = refine_all(&self.batches, rules)?;
        // All copies of each event are here: nothing is known from elsewhere.
        let known = vec![None; candidates.iter().map(silver::Candidates::len).sum()];
        let chosen = silver::choose(&candidates, &known)?;
        counts.merge(&chosen.counts);
        dead_letters.push(chosen.dead_letters.clone());
        Ok(Decided { through: self.through, chosen, dead_letters, counts })
    }
}

/// Which rebuild it is, as the name of its progress.
fn kind(rules: &Rules, days: Days) -> String {
    format!("{THROUGH}:{}:{}:{days}", rules.clock_skew_tolerance_micros, rules.allowed_lateness_micros)
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

/// Bronze after that prefix, in the order of identities, in parts that end between two prefixes. The query sorts within its bound of memory and on disk beyond.
async fn parts(
    session: SessionContext,
    after: i64,
    rows_max: u64,
    bytes_max: u64,
) -> Result<BoxStream<'static, Result<Part, Error>>, Error> {
    let sql = format!(
        "SELECT * FROM (SELECT *, {}(source, event_id) AS {PREFIX} FROM {AT_VERSION}) WHERE {PREFIX} > {after} ORDER BY {PREFIX}",
        prefix::FUNCTION
    );
    let failed = || Error::query("the replay");
    let rows = session.sql(&sql).await.map_err(failed())?.execute_stream().await.map_err(failed())?;
    let cutting = Cutting { held: Vec::new(), rows: 0, bytes: 0, rows_max, bytes_max };
    let parts = stream::unfold((Some(rows), cutting), |(rows, mut cutting)| async move {
        let mut rows = rows?;
        loop {
            match rows.next().await {
                Some(Ok(batch)) => {
                    if let Some(part) = cutting.push(batch) {
                        return Some((Ok(part), (Some(rows), cutting)));
                    }
                }
                Some(Err(error)) => return Some((Err(Error::query("the replay")(error)), (None, cutting))),
                None => return cutting.rest().map(|part| (Ok(part), (None, cutting))),
            }
        }
    });
    Ok(parts.boxed())
}

/// Cuts a stream in the order of prefixes into parts.
#[derive(Debug)]
struct Cutting {
    held: Vec<RecordBatch>,
    rows: u64,
    bytes: u64,
    rows_max: u64,
    bytes_max: u64,
}

impl Cutting {
    /// Takes a batch; gives a part once there is enough. What has the last prefix is kept: more of it may come.
    fn push(&mut self, batch: RecordBatch) -> Option<Part> {
        self.rows += batch.num_rows() as u64;
        self.bytes += batch.get_array_memory_size() as u64;
        self.held.push(batch);
        if self.rows < self.rows_max && self.bytes < self.bytes_max {
            return None;
        }
        let last = last_prefix(self.held.last()?)?;
        let mut batches = Vec::new();
        let mut rest = Vec::new();
        let mut through = None;
        for batch in self.held.drain(..) {
            let cut = prefixes(&batch).map_or(0, |prefixes| prefixes.values().partition_point(|prefix| *prefix < last));
            if cut > 0 {
                let front = batch.slice(0, cut);
                through = last_prefix(&front).or(through);
                batches.push(front);
            }
            if cut < batch.num_rows() {
                rest.push(batch.slice(cut, batch.num_rows() - cut));
            }
        }
        self.rows = rest.iter().map(|batch| batch.num_rows() as u64).sum();
        // Slices share the memory of what they were cut from; rows are the better measure of what is left.
        self.bytes = 0;
        self.held = rest;
        through.map(|through| Part { batches, through })
    }

    /// What is left at the end.
    fn rest(&mut self) -> Option<Part> {
        let through = last_prefix(self.held.last()?)?;
        Some(Part { batches: std::mem::take(&mut self.held), through })
    }
}

fn prefixes(batch: &RecordBatch) -> Option<&Int64Array> {
    batch.column_by_name(PREFIX).and_then(|column| column.as_primitive_opt::<Int64Type>())
}

fn last_prefix(batch: &RecordBatch) -> Option<i64> {
    let prefixes = prefixes(batch)?;
    prefixes.values().last().copied().filter(|_| prefixes.null_count() == 0)
}

#[cfg(test)]
mod tests {
    use arrow::array::ArrayRef;
    use proptest::prelude::*;

    use super::*;

    fn batch(prefixes: &[i64]) -> RecordBatch {
        RecordBatch::try_from_iter([(PREFIX, Arc::new(Int64Array::from(prefixes.to_vec())) as ArrayRef)]).unwrap()
    }

    fn values(part: &Part) -> Vec<i64> {
        part.batches.iter().flat_map(|batch| prefixes(batch).unwrap().values().to_vec()).collect()
    }

    proptest! {
        #[test]
        fn parts_are_the_whole_and_share_no_prefix(mut all in prop::collection::vec(0_i64..40, 1..200), size in 1_usize..20, rows_max in 1_u64..50) {
            all.sort_unstable();
            let mut cutting = Cutting { held: Vec::new(), rows: 0, bytes: 0, rows_max, bytes_max: u64::MAX };
            let mut parts: Vec<Part> = all.chunks(size).filter_map(|chunk| cutting.push(batch(chunk))).collect();
            parts.extend(cutting.rest());
            prop_assert_eq!(parts.iter().flat_map(values).collect::<Vec<_>>(), all);
            for part in &parts {
                prop_assert_eq!(values(part).last().copied(), Some(part.through));
            }
            prop_assert!(parts.windows(2).all(|pair| pair[0].through < values(&pair[1])[0]));
        }
    }
}
