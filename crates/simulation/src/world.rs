//! The simulated machines: gates and workers, what is done to them, and what is held against the laws in the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use contract::Timestamp;
use deltalake::logstore::ObjectStoreRef;
use ingest::{Gate, Keyring};
use journal::{Journal, Share};
use lake::{Lake, Options};
use pipeline::{Config, ErrorKind, Pipeline, Status};
use telemetry::clock::Clock;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use url::Url;

use crate::clients::{Client, Told};
use crate::events::{Event, event};
use crate::journal::{Handle, Topic, divided};
use crate::laws::{Law, Violation};
use crate::locked;
use crate::plant::Plant;
use crate::scenario::{Act, Scenario, Sending};
use crate::schedule::{Fate, Kind, Part, Process, Schedule};
use crate::store::Bucket;

/// When every simulation begins: 2026-11-23T10:00:00Z.
pub(crate) const BEGAN: Timestamp = Timestamp(1_795_428_000_000_000);
/// A day before which events are long past.
pub(crate) const OLD_DAY: &str = "2026-11-20";
/// What a gate may hold in memory: little, so that the bound is reached.
pub(crate) const IN_FLIGHT_BYTES_MAX: usize = 40 << 10;
const BODY_BYTES_MAX: usize = 8 << 10;
/// How long all may go on when the last thing is done.
const AFTERWARDS: Duration = Duration::from_secs(10);
/// How long it may take, when all is well, until the tables have everything.
const ENDS_WITHIN: Duration = Duration::from_secs(30 * 60);
const BOOKS_EVERY: Duration = Duration::from_secs(10);

/// What came of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The laws that were broken.
    pub violations: Vec<Violation>,
    /// Requests that happened.
    pub turns: u64,
    /// What tells this order of them from any other.
    pub digest: String,
    /// Events that a gate said yes to.
    pub accepted: usize,
    /// Records in the journal in the end.
    pub records: usize,
    /// Processes that were killed.
    pub kills: usize,
    /// How often clients were told to wait.
    pub waits: u64,
    /// What happened, a line each, if that was asked for.
    pub story: Option<String>,
}

/// A gate that runs.
pub(crate) struct Running {
    process: Process,
    gate: Gate,
    pub(crate) router: axum::Router,
    /// Ends when the gate dies.
    pub(crate) dies: watch::Sender<bool>,
}

/// A worker, whether it runs or not.
struct Worker {
    /// How often it was started.
    starts: usize,
    process: Option<Process>,
    task: Option<JoinHandle<()>>,
    share: Option<watch::Sender<Share>>,
    /// Where its index of identities lies now.
    index: PathBuf,
    /// An index that it had once.
    old_index: Option<PathBuf>,
}

/// All of it.
pub(crate) struct World {
    scenario: Scenario,
    plant: Option<Plant>,
    schedule: Schedule,
    topic: Topic,
    bucket: Bucket,
    gates: Arc<Mutex<Vec<Running>>>,
    offsets: Vec<Arc<AtomicI64>>,
    workers: Vec<Worker>,
    /// Who has which partitions.
    first: usize,
    told: Arc<Mutex<Told>>,
    clients: JoinSet<()>,
    folder: tempfile::TempDir,
    kills: usize,
    began: Instant,
}

/// The clock of a gate.
#[derive(Debug)]
struct SimulatedClock {
    began: Instant,
    offset: Arc<AtomicI64>,
}

impl Clock for SimulatedClock {
    fn now_micros(&self) -> i64 {
        let elapsed = i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX);
        BEGAN.micros() + elapsed + self.offset.load(Ordering::SeqCst)
    }
}

impl World {
    /// Plays a scenario. Needs a runtime of one thread whose clock stands still.
    pub(crate) async fn play(scenario: Scenario, plant: Option<Plant>, tells: bool) -> Result<Outcome> {
        let schedule = Schedule::new(scenario.seed, scenario.rates, tells);
        let mut world = Self {
            topic: Topic::new(scenario.partitions, plant),
            bucket: Bucket::new(plant),
            gates: Arc::default(),
            offsets: (0..scenario.gates).map(|_| Arc::default()).collect(),
            workers: Vec::new(),
            first: 0,
            told: Arc::default(),
            clients: JoinSet::new(),
            folder: tempfile::tempdir().context("a folder is needed")?,
            kills: 0,
            began: Instant::now(),
            schedule,
            plant,
            scenario,
        };
        let driver = {
            let schedule = world.schedule.clone();
            tokio::spawn(async move { schedule.run().await })
        };
        world.begin()?;
        for step in world.scenario.steps.clone() {
            tokio::time::sleep(step.after).await;
            world.act(step.act).await?;
        }
        tokio::time::sleep(AFTERWARDS).await;
        world.end().await?;
        driver.abort();
        let (turns, digest) = world.schedule.digest();
        let mut told = std::mem::take(&mut *locked(&world.told));
        Ok(Outcome {
            violations: std::mem::take(&mut told.violations),
            turns,
            digest,
            accepted: told.accepted.len(),
            records: world.topic.all().len(),
            kills: world.kills,
            waits: told.waits,
            story: world.schedule.story(),
        })
    }

    fn begin(&mut self) -> Result<()> {
        for number in 0..self.scenario.gates {
            let gate = self.gate(number, 0)?;
            locked(&self.gates).push(gate);
        }
        for number in 0..self.scenario.workers {
            let index = self.folder.path().join(format!("index-{number}-0"));
            self.workers.push(Worker { starts: 0, process: None, task: None, share: None, index, old_index: None });
            self.start_worker(number)?;
        }
        Ok(())
    }

    fn gate(&self, number: usize, start: usize) -> Result<Running> {
        let process = Process::new(format!("gate-{number}-{start}"));
        let (journal, _) = self.topic.seen_by(&process, &self.schedule, Share::default());
        let source = ingest::keys::Source::of_any_key("web".parse().context("a name")?);
        let clock = SimulatedClock { began: self.began, offset: self.offsets.get(number).cloned().unwrap_or_default() };
        let bound = if self.plant == Some(Plant::Unbounded) { IN_FLIGHT_BYTES_MAX * 100 } else { IN_FLIGHT_BYTES_MAX };
        let config = ingest::Config {
            body_bytes_max: BODY_BYTES_MAX,
            append_bytes_max: BODY_BYTES_MAX * 2,
            in_flight_bytes_max: bound,
            ..ingest::Config::default()
        };
        let gate = Gate::builder(Arc::new(journal) as Arc<dyn journal::Sink>, Keyring::for_any_key(source));
        let gate = gate.config(config).clock(Arc::new(clock)).build()?;
        Ok(Running { process, router: ingest::router(gate.clone()), gate, dies: watch::channel(false).0 })
    }

    fn config(&self, number: usize) -> Config {
        let hour = Duration::from_secs(3_600);
        let compacts = if self.scenario.compacts { Duration::from_secs(15) } else { hour * 24 };
        let mut config = Config {
            commit_interval: Duration::from_secs(1),
            batch_records_max: self.scenario.batch_records_max,
            silver_rows_max: self.scenario.silver_rows_max,
            gold_interval: if self.scenario.gold { Duration::from_secs(20) } else { hour * 24 },
            ledger_interval: Duration::from_secs(10),
            watch_interval: hour * 24,
            compaction_interval: compacts,
            cleaning_interval: hour * 24,
            ..Config::default()
        };
        config.index.memtable_entries_max = self.scenario.memtable_entries_max;
        if self.plant == Some(Plant::OtherRules) && number == 0 {
            config.allowed_lateness = hour * 24 * 365;
        }
        config
    }

    fn lake(&self, store: ObjectStoreRef) -> Result<Lake> {
        let options = Options { checkpoint_interval: self.scenario.checkpoint_interval, ..Options::default() };
        Ok(Lake::with_store(Url::parse("memory:///lake")?, store, options)?)
    }

    fn start_worker(&mut self, number: usize) -> Result<()> {
        let shares = divided(self.scenario.partitions, self.scenario.workers, self.first);
        let has = shares.get(number).cloned().unwrap_or_default();
        self.start(number, has)
    }

    fn start(&mut self, number: usize, has: Share) -> Result<()> {
        let config = self.config(number);
        let Some(worker) = self.workers.get(number) else { return Ok(()) };
        if worker.process.is_some() {
            return Ok(());
        }
        let process = Process::new(format!("worker-{number}-{}", worker.starts));
        let (journal, share) = self.topic.seen_by(&process, &self.schedule, has);
        let lake = self.lake(Arc::new(self.bucket.seen_by(&process, &self.schedule)))?;
        let working = working(Arc::new(journal), lake, worker.index.clone(), config, Arc::clone(&self.told), process.clone());
        let task = tokio::spawn(working);
        if let Some(worker) = self.workers.get_mut(number) {
            (worker.process, worker.task, worker.share) = (Some(process), Some(task), Some(share));
            worker.starts += 1;
        }
        Ok(())
    }

    async fn kill_worker(&mut self, number: usize) -> Result<bool> {
        let Some(worker) = self.workers.get_mut(number) else { return Ok(false) };
        let (Some(process), Some(task)) = (worker.process.take(), worker.task.take()) else { return Ok(false) };
        self.schedule.kill(&process);
        task.abort();
        if let Err(error) = task.await
            && error.is_panic()
        {
            locked(&self.told).violations.push(Violation::new(Law::Bounds, format!("{process:?} panicked: {error}")));
        }
        self.kills += 1;
        // What a thread of the dead one still writes goes to a folder that nobody looks at.
        let next = self.folder.path().join(format!("index-{number}-{}", worker.starts));
        copy(&worker.index, &next)?;
        worker.old_index = Some(std::mem::replace(&mut worker.index, next));
        Ok(true)
    }

    fn restart_gate(&mut self, number: usize) -> Result<()> {
        let starts = self.kills + 1;
        let next = self.gate(number, starts)?;
        let mut gates = locked(&self.gates);
        if let Some(gate) = gates.get_mut(number) {
            let before = std::mem::replace(gate, next);
            self.schedule.kill(&before.process);
            before.dies.send_replace(true);
            before.gate.shutdown();
            self.kills += 1;
        }
        Ok(())
    }

    async fn act(&mut self, act: Act) -> Result<()> {
        match act {
            Act::Send { gate, batches } => {
                for batch in batches {
                    self.send(gate, &batch);
                }
            }
            Act::KillWorker(number) => drop(self.kill_worker(number).await?),
            Act::StartWorker(number) => self.start_worker(number)?,
            Act::RestartGate(number) => self.restart_gate(number)?,
            Act::Rebalance => self.rebalance(),
            Act::StoreAway { worker, lasts } => {
                let process = worker.and_then(|number| self.workers.get(number)).and_then(|worker| worker.process.as_ref());
                self.schedule.outage(Part::Store, process, lasts, false);
            }
            Act::JournalAway { hangs, lasts } => self.schedule.outage(Part::Journal, None, lasts, hangs),
            Act::ClockJump { gate, seconds } => {
                if let Some(offset) = self.offsets.get(gate) {
                    offset.store(seconds * 1_000_000, Ordering::SeqCst);
                }
                self.schedule.tell(&format!("the clock of gate {gate} jumps to {seconds} s beside the time"));
            }
            Act::LoseIndex(number) => self.replace_index(number, None).await?,
            Act::OldIndex(number) => {
                // Where it has not died before, the one it has.
                let old = self.workers.get(number).map(|worker| worker.old_index.as_ref().unwrap_or(&worker.index).clone());
                self.replace_index(number, old).await?;
            }
            Act::Audit => self.audit().await?,
        }
        Ok(())
    }

    /// Kills a worker and starts it again, with another index of identities or with none; one that does not run keeps what it has.
    async fn replace_index(&mut self, number: usize, by: Option<PathBuf>) -> Result<()> {
        if self.kill_worker(number).await?
            && let Some(worker) = self.workers.get(number)
        {
            if worker.index.exists() {
                fs::remove_dir_all(&worker.index).context("an index is lost")?;
            }
            if let Some(by) = by {
                copy(&by, &worker.index)?;
            }
        }
        self.start_worker(number)
    }

    /// Divides the partitions anew. Each worker hears of it in its own time.
    fn rebalance(&mut self) {
        self.first += 1;
        let shares = divided(self.scenario.partitions, self.scenario.workers, self.first);
        for (worker, share) in self.workers.iter().zip(shares) {
            let (Some(process), Some(sender)) = (&worker.process, worker.share.clone()) else { continue };
            let hears = move |fate| {
                if fate != Fate::FailedBefore {
                    sender.send_replace(share);
                }
            };
            tokio::spawn(self.schedule.request(process, Part::Network, Kind::Read, "share", hears));
        }
    }

    fn send(&mut self, gate: usize, batch: &[Sending]) {
        let events: Vec<Event> = batch.iter().map(|sending| event(*sending, BEGAN)).collect();
        let name = batch.first().map_or(0, |sending| sending.number);
        let client = Client {
            process: Process::new(format!("client-{name}")),
            schedule: self.schedule.clone(),
            gates: Arc::clone(&self.gates),
            told: Arc::clone(&self.told),
        };
        self.clients.spawn(client.send(gate, events));
    }

    /// At every moment the books balance, as far as they are made up.
    async fn audit(&self) -> Result<()> {
        let lake = self.lake(self.bucket.objects())?;
        if lake.reader(pipeline::tables::LEDGER).await?.is_none() {
            return Ok(());
        }
        let books = pipeline::audit(&lake).await?;
        if !books.balanced {
            let violation = Violation::new(Law::Books, format!("the books do not balance on the way: {:?}", books.findings));
            locked(&self.told).violations.push(violation);
        }
        Ok(())
    }

    /// Lets all be well, lets everything come to its end, and holds it against the laws.
    async fn end(&mut self) -> Result<()> {
        self.schedule.heal();
        while self.clients.join_next().await.is_some() {}
        for number in 0..self.workers.len() {
            self.kill_worker(number).await?;
        }
        // One worker has all.
        self.start(0, Arc::new((0..self.scenario.partitions).collect()))?;
        let lake = self.lake(self.bucket.objects())?;
        let deadline = Instant::now() + ENDS_WITHIN;
        let mut newest = None;
        let books = loop {
            tokio::time::sleep(BOOKS_EVERY).await;
            // What was still on its way may come yet.
            let records = self.topic.all().len() as u64;
            let is_there = lake.reader(pipeline::tables::LEDGER).await?.is_some();
            if is_there {
                let books = pipeline::audit(&lake).await?;
                if !books.balanced || (books.total.received == records && books.total.pending == 0) {
                    break Some(books);
                }
                newest = Some(books.total);
            }
            if Instant::now() > deadline || !locked(&self.told).violations.is_empty() {
                break None;
            }
        };
        if self.scenario.gold {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        self.kill_worker(0).await?;
        let mut told = std::mem::take(&mut *locked(&self.told));
        match books {
            None => {
                let what = format!("not all of the journal came to the tables, however long it was waited for: {newest:?}");
                told.violations.push(Violation::new(Law::Yes, what));
            }
            Some(books) if !books.balanced => {
                told.violations.push(Violation::new(Law::Books, format!("the books do not balance in the end: {:?}", books.findings)));
            }
            Some(_) => {}
        }
        let found = crate::laws::check(&lake, &self.topic, &told, &self.config(1), self.scenario.gold.then(|| self.folder.path())).await?;
        told.violations.extend(found);
        *locked(&self.told) = told;
        Ok(())
    }
}

/// What a worker does for as long as it lives.
async fn working(journal: Arc<Handle>, lake: Lake, index: PathBuf, config: Config, told: Arc<Mutex<Told>>, process: Process) {
    loop {
        let (_stop, running) = watch::channel(false);
        let journal = Arc::clone(&journal) as Arc<dyn Journal>;
        let opened = Pipeline::open(journal, lake.clone(), index.clone(), config.clone(), Status::default()).await;
        let outcome = match opened {
            Ok(pipeline) => pipeline.run(running).await,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome
            && error.kind() != ErrorKind::Retry
            && process.lives()
        {
            locked(&told).violations.push(Violation::new(Law::Progress, format!("{process:?} gave up: {error}")));
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Copies an index, if there is one.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if !from.exists() {
        return Ok(());
    }
    fs::create_dir_all(to).context("make a folder")?;
    for entry in fs::read_dir(from).context("read an index")? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target).context("copy an index")?;
        }
    }
    Ok(())
}
