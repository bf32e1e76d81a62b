//! Journal → Bronze: every event the gate took, as it came; what it refused, to the dead letters.
//!
//! One step takes a range of the journal. What was refused in it goes to the dead letters first, then the rest to Bronze; each table has its own progress in the
//! journal, moved in the commit of its rows. A crash in between leaves the dead letters ahead, and what they have already is left out when the range is read again.
//!
//! Several processes may each read some of the partitions. Whoever reads one that another process has read meanwhile is refused by the commit, and takes its
//! place from the tables anew. So is everyone with an old generation of the journal, once the lake has records of a newer one: positions in Bronze only grow.
//!
//! A journal that was copied begins a new generation and still has records of earlier ones ([`lineage`]). The lake is in the new one from its first commit on, whatever that takes.

mod lineage;

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::{Erased, Position};
use journal::{Journal, Offsets, ReadLimit, Share, Stored};
use lake::{Commit, Lake, Table};
use medallion::bronze::{Arrival, Rows};
use medallion::ledger::{self, Counts};
use medallion::tables::Engine;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::{Duration, Instant};

use crate::error::Error;
use crate::stage::{Stage, Step, Surroundings, compute};
use crate::status::Status;
use crate::work::Work;
use crate::{erasure, metrics, tables, traced};
use lineage::{Generation, Place};

/// The most partitions that a journal may have.
const PARTITIONS_MAX: u32 = 1_024;
/// Versions that are read at a time on the way back to the newest one that took anything from the journal.
const VERSIONS_AT_A_LOOK: i64 = 16;
/// How often the journal is told what it may let go of. It frees whole files, so more often gains nothing.
const TRIM_EVERY: Duration = Duration::from_secs(5);
/// What a gate's look for an erasure may take, and the requests that it has judged before.
const GATE_LOOK_MAX: Duration = Duration::from_secs(3);
/// Each look for an erasure is a request to the store.
const LOOK_MIN: Duration = Duration::from_secs(1);

/// Under which name a commit of Bronze says how many bytes the records had that it took.
pub(crate) const BYTES: &str = "bytes";

/// What the journal has to forget because somebody was erased.
#[derive(Debug)]
struct Forgetting {
    /// The newest erasure.
    erasure: i64,
    partitions: Vec<u32>,
    /// When no gate lets anything of theirs in any more.
    from: Instant,
    /// Where it was sealed then.
    sealed: Option<Offsets>,
}

/// The stage.
#[derive(Debug)]
pub(crate) struct Bronze {
    journal: Arc<dyn Journal>,
    bronze: Table,
    dead_letters: Table,
    limit: ReadLimit,
    work: Work,
    /// Whose the stream is.
    owner: Engine,
    /// The partitions it has taken its places in.
    has: Share,
    /// From which offset on Bronze, by partition, has still to read.
    next: Offsets,
    /// The same for the dead letters, which may be ahead.
    next_refused: Offsets,
    /// The generation that a partition has still to read to its end, where that is not the journal's own.
    rests: BTreeMap<u32, Generation>,
    /// Generations that have begun, by partition, as Bronze has still to say.
    begun: BTreeMap<u32, Vec<(u32, u64)>>,
    trimmed: Instant,
    /// Whose events are kept out.
    erased: Arc<Erased>,
    /// The erasure up to which that list goes. `None`: it is not known.
    erasures: Option<Option<i64>>,
    /// What the journal has to forget.
    forgets: Option<Forgetting>,
    /// How often it looks for an erasure while nothing comes in.
    look_every: Duration,
    /// After so long every gate knows of an erasure.
    gates_know_after: Duration,
    lake: Lake,
    status: Status,
    stop: watch::Receiver<bool>,
    /// Tells Silver that there is something new. Dropped with the stage.
    committed: watch::Sender<i64>,
}

impl Bronze {
    pub(crate) async fn open(
        journal: Arc<dyn Journal>,
        surroundings: &Surroundings<'_>,
        stop: watch::Receiver<bool>,
        committed: watch::Sender<i64>,
    ) -> Result<Self, Error> {
        let Surroundings { lake, config, status, work } = surroundings.clone();
        let mut stage = Self {
            journal,
            bronze: lake.table(&tables::bronze()).await?,
            dead_letters: lake.table(&tables::dead_letters()).await?,
            limit: ReadLimit { records_max: config.batch_records_max, bytes_max: config.batch_bytes_max },
            work: work.clone(),
            owner: Engine::Workers,
            has: Share::default(),
            next: Offsets::new(),
            next_refused: Offsets::new(),
            rests: BTreeMap::new(),
            begun: BTreeMap::new(),
            trimmed: Instant::now(),
            erased: Arc::default(),
            erasures: None,
            forgets: None,
            look_every: config.commit_interval.max(LOOK_MIN),
            gates_know_after: config.erasure_interval.saturating_add(GATE_LOOK_MAX),
            lake: lake.clone(),
            status: status.clone(),
            stop,
            committed,
        };
        stage.take_position().await?;
        Ok(stage)
    }

    async fn take_position(&mut self) -> Result<(), Error> {
        // Before the tables are asked: the journal lets go of nothing that is not in them, so they are at least as far as it began then.
        let start = self.journal.start().await?;
        self.bronze.refresh().await?;
        self.take_list().await?;
        self.owner = Engine::of(self.bronze.progress(tables::ENGINE).await?);
        self.work.note_owner(self.owner);
        let generation = self.journal.generation();
        for table in [&mut self.bronze, &mut self.dead_letters] {
            let newest = table.progress(tables::GENERATION).await?;
            if let Some(newest) = newest.and_then(|newest| u32::try_from(newest).ok()).filter(|newest| *newest > generation) {
                return Err(Error::Overtaken { newest, generation });
            }
        }
        let has = self.work.partitions();
        let (mut own, mut refused) = (Offsets::new(), Offsets::new());
        let (mut rests, mut begun) = (BTreeMap::new(), BTreeMap::new());
        for partition in has.iter().copied() {
            let place = self.place(partition, start.get(&partition).copied().unwrap_or_default()).await?;
            let progress = tables::progress_in_journal(place.generation.number, partition);
            own.insert(partition, place.next);
            refused.insert(partition, offset(self.dead_letters.progress(&progress).await?).max(place.next));
            if place.generation.number != generation {
                rests.insert(partition, place.generation);
            }
            if !place.begun.is_empty() {
                begun.insert(partition, place.begun);
            }
        }
        // After the tables were asked: another process may move them on, but none beyond what the journal has by now.
        let end = self.journal.end().await?;
        for (partition, next) in own.iter().map(|(partition, next)| (*partition, *next)) {
            let start = start.get(&partition).copied().unwrap_or_default();
            let end = end.get(&partition).copied().unwrap_or_default();
            if next < start {
                return Err(Error::Gap { partition, start, progress: next });
            }
            if next > end {
                return Err(Error::Foreign { partition, end, progress: next });
            }
        }
        for gone in self.next.keys().filter(|partition| !own.contains_key(partition)) {
            metrics::lag(*gone, 0);
        }
        (self.next, self.next_refused, self.has) = (own, refused, has);
        (self.rests, self.begun) = (rests, begun);
        if let Some(erasures) = self.erasures.flatten() {
            let mut partitions = Vec::new();
            for partition in self.has.iter().copied() {
                if self.bronze.progress(&tables::progress_in_forgetting(partition)).await?.is_none_or(|forgotten| forgotten < erasures) {
                    partitions.push(partition);
                }
            }
            let is_known = self.forgets.as_ref().is_some_and(|forgets| (forgets.erasure, &forgets.partitions) == (erasures, &partitions));
            if !is_known {
                // Where it is to end, nothing comes in any more.
                let pause = if *self.stop.borrow() { Duration::ZERO } else { self.gates_know_after };
                let forgets = Forgetting { erasure: erasures, partitions, from: Instant::now() + pause, sealed: None };
                self.forgets = (!forgets.partitions.is_empty()).then_some(forgets);
            }
        }
        Ok(())
    }

    /// Where Bronze is in a partition, of which the journal has what lies behind `start`.
    async fn place(&mut self, partition: u32, start: u64) -> Result<Place, Error> {
        let generations = lineage::generations(&*self.journal, partition);
        let mut reached = BTreeMap::new();
        for known in &generations {
            let progress = self.bronze.progress(&tables::progress_in_journal(known.number, partition)).await?;
            reached.extend(progress.map(|progress| (known.number, offset(Some(progress)))));
        }
        let own = self.journal.generation();
        let place = lineage::place(&generations, own, &reached);
        if let Some(shared) = lineage::shared(&generations, &reached) {
            // The lake has taken nothing of this copy yet, and passes over what it has of the journal that was copied, if it is that.
            let from = start.max(shared.begin);
            lineage::check(&*self.journal, &self.lake, partition, shared.generation, from..place.next).await?;
        }
        Ok(place)
    }

    /// Reads whose events are to be kept out. Every commit relies on it: who is erased meanwhile makes it fail.
    async fn take_list(&mut self) -> Result<(), Error> {
        self.erasures = None;
        let erasures = self.bronze.progress(tables::ERASURES).await?;
        self.dead_letters.progress(tables::ERASURES).await?;
        // After that: what is on the list is there before the tables say so.
        let erased = if erasures.is_some() { erasure::list(&self.lake).await?.erased } else { Erased::default() };
        (self.erased, self.erasures) = (Arc::new(erased), Some(erasures));
        Ok(())
    }

    /// Whether someone was erased since the list was read.
    async fn is_list_old(&mut self) -> Result<bool, Error> {
        let Some(known) = self.erasures else { return Ok(true) };
        self.bronze.refresh().await?;
        self.erasures = None;
        if self.bronze.progress(tables::ERASURES).await? == known {
            self.erasures = Some(known);
        }
        Ok(self.erasures.is_none())
    }

    /// Has the journal forget what it held when somebody was erased, as soon as Bronze has all of that. Tells whether it did.
    async fn forget(&mut self) -> Result<bool, Error> {
        let Some(forgets) = &mut self.forgets else { return Ok(false) };
        if Instant::now() < forgets.from && !*self.stop.borrow() {
            return Ok(false);
        }
        let sealed = match &forgets.sealed {
            Some(sealed) => sealed,
            None => forgets.sealed.insert(self.journal.seal().await?),
        };
        let is_read = |partition: &u32| self.next.get(partition) >= sealed.get(partition);
        if !forgets.partitions.iter().all(is_read) {
            return Ok(false);
        }
        self.journal.forget(&self.next).await?;
        let progress = forgets.partitions.iter().map(|partition| (tables::progress_in_forgetting(*partition), forgets.erasure)).collect();
        let erasure = forgets.erasure;
        let info = Map::from_iter([("stage".to_owned(), Value::from("bronze"))]);
        self.bronze.append(Vec::new(), Commit { progress, guards: vec![tables::ERASURES.to_owned()], info }).await?;
        tracing::info!(erasure, "the journal has forgotten what it held when a person was erased");
        self.forgets = None;
        Ok(true)
    }

    /// That the lake is in this generation: as progress where it has not been, else as a condition of the commit.
    async fn in_generation(table: &mut Table, generation: u32, commit: Commit) -> Result<Commit, Error> {
        let mut commit = commit;
        commit.guards.push(tables::ERASURES.to_owned());
        if table.progress(tables::GENERATION).await? == Some(generation.into()) {
            commit.guards.push(tables::GENERATION.to_owned());
        } else {
            commit.progress.push((tables::GENERATION.to_owned(), generation.into()));
        }
        Ok(commit)
    }

    /// The ranges of the journal that these records are, by partition: from, and one past the last.
    fn ranges(&self, records: &[Stored]) -> BTreeMap<u32, (u64, u64)> {
        let mut ranges = BTreeMap::new();
        for record in records {
            let from = self.next.get(&record.partition).copied().unwrap_or_default();
            let range = ranges.entry(record.partition).or_insert((from, from));
            range.1 = range.1.max(record.offset + 1);
        }
        ranges
    }

    /// What to read next, and of which generation it is: what earlier ones have left comes first, the oldest before the others.
    fn reading(&self) -> (u32, Offsets) {
        let Some(oldest) = self.rests.values().map(|rest| rest.number).min() else { return (self.journal.generation(), self.next.clone()) };
        let is_of_oldest = |partition: &u32| self.rests.get(partition).is_some_and(|rest| rest.number == oldest);
        let next = self.next.iter().filter(|(partition, _)| is_of_oldest(partition));
        (oldest, next.map(|(partition, next)| (*partition, *next)).collect())
    }

    /// Whether a record is of the generation that is being read, and not of one that begins behind it.
    fn is_of_reading(&self, stored: &Stored) -> bool {
        let end = self.rests.get(&stored.partition).and_then(|rest| rest.end);
        end.is_none_or(|end| stored.offset < end)
    }

    /// Says in Bronze which generations have begun: before the journal lets go of what tells it.
    async fn begin(&mut self) -> Result<(), Error> {
        let generation = self.journal.generation();
        let progress = self.begun.iter().flat_map(|(partition, begun)| lineage::progress_of(*partition, begun)).collect();
        let mut info = Map::from_iter([("stage".to_owned(), Value::from("bronze"))]);
        info.insert("journal".to_owned(), journal_of(generation, self.journal.partitions(), &BTreeMap::new()));
        let commit = Commit { progress, info, guards: vec![tables::ENGINE.to_owned()] };
        let commit = Self::in_generation(&mut self.bronze, generation, commit).await?;
        self.bronze.append(Vec::new(), commit).await?;
        tracing::info!(generation, "the journal is a copy: the lake goes on in it where it was in the one it was copied from");
        self.begun.clear();
        Ok(())
    }

    /// Takes the records, all of which are of the generation `of`: the journal's own, or one that it still has the rest of.
    async fn commit(&mut self, of: u32, records: Vec<Stored>) -> Result<(), Error> {
        let generation = self.journal.generation();
        let ranges = self.ranges(&records);
        let progress: Vec<(String, i64)> =
            ranges.iter().map(|(partition, (_, until))| (tables::progress_in_journal(of, *partition), version(*until))).collect();
        // Where that generation ends with these records.
        let followed: BTreeMap<u32, Place> = ranges
            .iter()
            .filter(|(partition, _)| self.rests.contains_key(*partition))
            .map(|(partition, (_, until))| {
                let reached = BTreeMap::from([(of, *until)]);
                (*partition, lineage::place(&lineage::generations(&*self.journal, *partition), generation, &reached))
            })
            .collect();
        let count = records.len() as u64;
        let (bytes, refused_from) = (bytes_of(&records), self.next_refused.clone());
        let (traced, began) = (traced::of_records(&records), self.lake.now());
        let erased = Arc::clone(&self.erased);
        let rows = compute(Self::NAME, move || {
            let records = records.into_iter().map(|Stored { partition, offset, record }| {
                let is_new = refused_from.get(&partition).is_none_or(|next| offset >= *next);
                (Arrival::read(Position { generation: of, partition, offset }, &record.header, record.value), is_new)
            });
            Ok(Rows::of(records, &erased)?)
        })
        .await?;
        let unreadable = rows.refused.total(ledger::UNREADABLE);
        if unreadable > 0 {
            tracing::error!(records = unreadable, "records of the journal have no receipt that can be read; they are kept as dead letters");
        }

        let journal = journal_of(of, self.journal.partitions(), &ranges);
        if rows.dead_letters.iter().any(|batch| batch.num_rows() > 0) {
            let info = info("gate", &rows.refused);
            // Only what moves may be named: the dead letters may have a part of these ranges already.
            let ahead = |(name, until): &(String, i64)| {
                let partition = name.rsplit(':').next().and_then(|partition| partition.parse().ok()).unwrap_or_default();
                self.next_refused.get(&partition).is_none_or(|next| version(*next) < *until)
            };
            let moved = progress.iter().filter(|moved| ahead(moved)).cloned().collect();
            let commit = Commit { progress: moved, info, ..Commit::default() };
            let commit = Self::in_generation(&mut self.dead_letters, generation, commit).await?;
            let committed = self.dead_letters.append(rows.dead_letters, commit).await?;
            for (partition, (_, until)) in &ranges {
                let next = self.next_refused.entry(*partition).or_default();
                *next = (*next).max(*until);
            }
            self.status.update(|progress| progress.dead_letters += committed.rows);
        }

        let mut info = info("bronze", &rows.accepted);
        info.insert("journal".to_owned(), journal);
        info.insert(BYTES.to_owned(), bytes.into());
        let begun = followed.iter().flat_map(|(partition, place)| lineage::progress_of(*partition, &place.begun));
        let progress = progress.into_iter().chain(begun).collect();
        let commit = Commit { progress, info, guards: vec![tables::ENGINE.to_owned()] };
        let commit = Self::in_generation(&mut self.bronze, generation, commit).await?;
        let committed = self.bronze.append(vec![rows.bronze], commit).await?;
        for (partition, (_, until)) in ranges {
            self.next.insert(partition, until);
            let refused = self.next_refused.entry(partition).or_default();
            *refused = (*refused).max(until);
        }
        for (partition, place) in followed.into_iter().filter(|(_, place)| place.generation.number != of) {
            // What the dead letters have of the old generation beyond this is not of this journal.
            self.next_refused.insert(partition, place.next);
            self.rests.remove(&partition);
            self.rests.extend((place.generation.number != generation).then_some((partition, place.generation)));
        }
        metrics::bronze(&committed, count, bytes);
        traced::tell(&traced, Self::NAME, began, self.lake.now(), committed.version);
        self.status.update(|progress| {
            progress.records += count;
            progress.bronze += committed.rows;
        });
        self.committed.send_replace(committed.version);
        Ok(())
    }

    async fn note_lag(&self) -> Result<u64, Error> {
        let end = self.journal.end().await?;
        // What others have is in their figures.
        let mut lag = 0;
        for (partition, next) in &self.next {
            let behind = end.get(partition).copied().unwrap_or_default().saturating_sub(*next);
            metrics::lag(*partition, behind);
            lag += behind;
        }
        self.status.update(|progress| progress.lag_records = lag);
        Ok(lag)
    }

    async fn trim(&mut self) -> Result<(), Error> {
        if self.trimmed.elapsed() >= TRIM_EVERY {
            self.journal.trim(&self.next).await?;
            self.trimmed = Instant::now();
        }
        Ok(())
    }
}

impl Stage for Bronze {
    const NAME: &'static str = "bronze";

    async fn step(&mut self) -> Result<Step, Error> {
        if self.work.partitions() != self.has || self.erasures.is_none() || self.owner != Engine::Workers {
            self.recover().await?;
        }
        if self.owner != Engine::Workers {
            // What the journal has to forget is still this process's to do: the other engine only reads it.
            return Ok(if self.forget().await? { Step::Moved } else { Step::Idle });
        }
        if !self.begun.is_empty() {
            self.begin().await?;
        }
        let (of, from) = self.reading();
        let mut records = self.journal.read(&from, self.limit).await?;
        records.retain(|stored| self.is_of_reading(stored));
        if records.is_empty() {
            if self.is_list_old().await? {
                self.recover().await?;
            }
            return Ok(if self.forget().await? { Step::Moved } else { Step::Idle });
        }
        self.commit(of, records).await?;
        self.trim().await?;
        self.forget().await?;
        // A whole batch more is not waited for: the next commit is due.
        let more = self.note_lag().await? >= self.limit.records_max as u64;
        Ok(if more { Step::More } else { Step::Moved })
    }

    async fn recover(&mut self) -> Result<(), Error> {
        // What cannot be committed waits, and that is told above all while it is so.
        if let Err(error) = self.note_lag().await {
            tracing::debug!(%error, "how much waits in the journal cannot be told");
        }
        self.bronze.refresh().await?;
        self.dead_letters.refresh().await?;
        self.take_position().await
    }

    async fn wait(&mut self) -> bool {
        tokio::select! {
            () = self.journal.wait(&self.next), if self.owner == Engine::Workers => true,
            () = self.work.changes() => true,
            () = tokio::time::sleep(self.look_every) => true,
            _ = self.stop.wait_for(|stop| *stop) => false,
        }
    }
}

fn info(stage: &str, counts: &Counts) -> Map<String, Value> {
    Map::from_iter([("stage".to_owned(), stage.into()), ("counts".to_owned(), counts.to_json())])
}

/// What a commit of Bronze says about the journal: its generation, how many partitions that has, and the offsets that were taken, by partition: from,
/// and one past the last.
fn journal_of(generation: u32, partitions: u32, ranges: &BTreeMap<u32, (u64, u64)>) -> Value {
    let ranges: Map<String, Value> =
        ranges.iter().map(|(partition, (from, until))| (partition.to_string(), json!([from, until]))).collect();
    json!({ "generation": generation, "partitions": partitions, "ranges": ranges })
}

/// The generation of the journal that Bronze is in, and how many partitions that has: as the newest commit says that took anything from it. Where the log has no such commit
/// any more, it is as many as a journal may have.
pub(crate) async fn newest_journal(bronze: &mut Table) -> Result<(u32, u32), Error> {
    let generation = bronze.progress(tables::GENERATION).await?.and_then(|generation| u32::try_from(generation).ok()).unwrap_or_default();
    let mut through = bronze.version();
    while through >= 0 {
        let after = (through - VERSIONS_AT_A_LOOK).max(-1);
        let infos = match bronze.infos(after, through).await {
            Ok(infos) => infos,
            Err(error) if error.kind() == lake::ErrorKind::Missing => break,
            Err(error) => return Err(error.into()),
        };
        let newest = infos.iter().rev().find_map(|(_, info)| Taken::read(info));
        // A copy takes what is left of the generation before it first, and has as many partitions.
        if let Some(taken) = newest.filter(|taken| taken.generation <= generation) {
            return Ok((generation, taken.partitions));
        }
        through = after;
    }
    Ok((generation, PARTITIONS_MAX))
}

/// What a commit of Bronze took from the journal, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) generation: u32,
    pub(crate) partitions: u32,
    /// The first offset it took, by partition.
    pub(crate) from: BTreeMap<u32, u64>,
}

impl Taken {
    /// Reads it off the commit's information; `None` where that is not ours.
    pub(crate) fn read(info: &Map<String, Value>) -> Option<Self> {
        let journal = info.get("journal")?;
        let number = |name: &str| journal.get(name)?.as_u64().and_then(|number| u32::try_from(number).ok());
        let ranges = journal.get("ranges")?.as_object()?;
        let from = ranges.iter().map(|(partition, range)| Some((partition.parse().ok()?, range.get(0)?.as_u64()?)));
        Some(Self { generation: number("generation")?, partitions: number("partitions")?, from: from.collect::<Option<_>>()? })
    }
}

fn bytes_of(records: &[Stored]) -> u64 {
    records.iter().map(|stored| (stored.record.header.len() + stored.record.value.len()) as u64).sum()
}

fn offset(progress: Option<i64>) -> u64 {
    progress.and_then(|progress| u64::try_from(progress).ok()).unwrap_or_default()
}

fn version(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_says_what_it_took_and_is_read_again() {
        let ranges = BTreeMap::from([(0, (5, 9)), (3, (0, 1))]);
        let info = Map::from_iter([("journal".to_owned(), journal_of(2, 4, &ranges))]);
        let expect = Taken { generation: 2, partitions: 4, from: BTreeMap::from([(0, 5), (3, 0)]) };
        assert_eq!(Taken::read(&info), Some(expect));
        assert_eq!(Taken::read(&Map::new()), None);
    }
}
