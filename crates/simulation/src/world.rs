//! The simulated machines: gates, workers and clients, what is done to them, and what is held against the laws in the end.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
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
use tower::ServiceExt as _;
use url::Url;

use crate::events::{Event, Expected, event};
use crate::journal::{Handle, Topic, divided};
use crate::laws::{Law, Violation};
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
/// How often a client sends a batch before it gives up.
const ATTEMPTS_MAX: u32 = 8;
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long all may go on when the last thing is done.
const AFTERWARDS: Duration = Duration::from_secs(10);
/// How long it may take, when all is well, until the tables have everything.
const ENDS_WITHIN: Duration = Duration::from_secs(30 * 60);
const BOOKS_EVERY: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What clients know: what they were told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Payloads to which a gate said yes, as often as it did.
    pub(crate) accepted: Vec<String>,
    /// Payloads to which a gate said no, and was right.
    pub(crate) refused: Vec<String>,
    /// What was not as it should be.
    pub(crate) violations: Vec<Violation>,
    /// How often a client was told to wait.
    pub(crate) waits: u64,
}

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
struct Running {
    process: Process,
    gate: Gate,
    router: axum::Router,
    /// Ends when the gate dies.
    dies: watch::Sender<bool>,
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

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        let source = ingest::keys::Source { name: "web".parse().context("a name")?, allowed_origins: Vec::new() };
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
            Act::LoseIndex(number) => {
                if self.kill_worker(number).await?
                    && let Some(worker) = self.workers.get(number)
                    && worker.index.exists()
                {
                    fs::remove_dir_all(&worker.index).context("an index is lost")?;
                }
                self.start_worker(number)?;
            }
            Act::OldIndex(number) => {
                let old = self.workers.get(number).and_then(|worker| worker.old_index.clone());
                if self.kill_worker(number).await?
                    && let (Some(worker), Some(old)) = (self.workers.get(number), old)
                {
                    if worker.index.exists() {
                        fs::remove_dir_all(&worker.index).context("an index is replaced")?;
                    }
                    copy(&old, &worker.index)?;
                }
                self.start_worker(number)?;
            }
            Act::Audit => self.audit().await?,
        }
        Ok(())
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

/// Who sends one batch.
struct Client {
    process: Process,
    schedule: Schedule,
    gates: Arc<Mutex<Vec<Running>>>,
    told: Arc<Mutex<Told>>,
}

impl Client {
    async fn send(self, gate: usize, events: Vec<Event>) {
        let payloads: Vec<&str> = events.iter().map(|event| event.payload.as_str()).collect();
        let body = format!("[{}]", payloads.join(","));
        for attempt in 0..ATTEMPTS_MAX {
            let answer = tokio::time::timeout(CLIENT_TIMEOUT, self.call(gate + attempt as usize / 3, &body)).await;
            match answer {
                // With 400 it says of each event why it is refused, where it took none.
                Ok(Some((StatusCode::OK | StatusCode::BAD_REQUEST, text))) => return self.hear(&events, &text),
                Ok(Some((StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, _))) => locked(&self.told).waits += 1,
                Ok(Some((status, text))) => {
                    locked(&self.told).violations.push(Violation::new(Law::Bad, format!("a gate answered {status}: {text}")));
                    return;
                }
                // Nobody knows whether it was taken.
                Ok(None) | Err(_) => {}
            }
            tokio::time::sleep(Duration::from_secs(1 << attempt.min(4))).await;
        }
    }

    /// One request. `None`: there was no answer.
    async fn call(&self, gate: usize, body: &str) -> Option<(StatusCode, String)> {
        let fate = self.schedule.request(&self.process, Part::Network, Kind::Write, "call", |fate| fate).await;
        if fate == Fate::FailedBefore {
            return None;
        }
        let (router, mut dies) = {
            let gates = locked(&self.gates);
            let running = gates.get(gate % gates.len().max(1))?;
            (running.router.clone(), running.dies.subscribe())
        };
        let request = Request::post("/v1/events").header("authorization", "Basic a2V5Og==").header("content-type", "application/json");
        let request = request.extension(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 5_000)))).body(Body::from(body.to_owned())).ok()?;
        let answered = async {
            let Ok(response) = router.oneshot(request).await;
            let status = response.status();
            let text = to_bytes(response.into_body(), ANSWER_BYTES_MAX).await.ok()?;
            Some((status, String::from_utf8_lossy(&text).into_owned()))
        };
        let answer = tokio::select! {
            answer = answered => answer,
            _ = dies.wait_for(|dies| *dies) => None,
        };
        let way_back = self.schedule.request(&self.process, Part::Network, Kind::Write, "answer", |fate| fate).await;
        answer.filter(|_| fate == Fate::Done && way_back == Fate::Done)
    }

    /// Notes what the gate said of each event.
    fn hear(&self, events: &[Event], text: &str) {
        let answer: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        let of = |list: &str| -> BTreeSet<u64> {
            let all = answer.pointer(list).and_then(serde_json::Value::as_array).into_iter().flatten();
            all.filter_map(|one| one.pointer("/index")?.as_u64()).collect()
        };
        let (refused, quarantined) = (of("/rejected"), of("/quarantined"));
        let mut told = locked(&self.told);
        for (at, event) in events.iter().enumerate() {
            let at = at as u64;
            let said = match (refused.contains(&at), quarantined.contains(&at)) {
                (true, _) => Expected::Refused,
                (false, true) => Expected::Quarantined,
                (false, false) => Expected::Taken,
            };
            if said != event.expected {
                let message = format!("{} should have been {:?}, and was {said:?}: {text}", event.payload, event.expected);
                told.violations.push(Violation::new(Law::Bad, message));
            }
            match said {
                Expected::Taken | Expected::Quarantined => told.accepted.push(event.payload.clone()),
                Expected::Refused => told.refused.push(event.payload.clone()),
            }
        }
    }
}
