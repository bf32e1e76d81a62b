//! The order of all that happens, and what fails: drawn by a seed.
//!
//! Whatever the product asks of the world around it is a request here. Time stands still while any of its tasks can go on; when all of them wait, one request is drawn, its fate with it, and it happens. So a
//! seed is an order, and the same seed is the same order again.
//!
//! What is read or written from a thread of its own, as the library that loads tables does, cannot wait for a turn, for time stands still until it is through. It happens at once, by a fate that depends on the
//! seed and on how often the same was asked.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, ThreadId};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::locked;
use crate::scenario::{Fault, Rates};

/// Between two turns.
const TICK: Duration = Duration::from_millis(1);
/// The longest that a slow request takes.
const SLOW_MILLIS_MAX: u64 = 20_000;
/// The longest that a request is under way whose sender was killed.
const ORPHAN_MILLIS_MAX: u64 = 30_000;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It happens, and is answered.
    Done,
    /// It fails, and nothing has happened.
    FailedBefore,
    /// It happens, and is answered with an error.
    FailedAfter,
    /// A part of it happens, and it is answered with an error. The number chooses the part.
    FailedPartly(u64),
    /// It is answered from how things stood a while ago.
    Stale,
}

/// What a request is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Journal,
    Store,
    Network,
}

/// Which fates a request may have beside those that each may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It changes nothing.
    Read,
    /// It changes nothing, and may show what is no longer so.
    Listing,
    /// It changes something, as a whole or not at all.
    Write,
    /// It changes something, and may do so in part.
    PartialWrite,
}

/// A process of the simulated machines, from its start to its end.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    name: Arc<str>,
    lives: Arc<AtomicBool>,
}

impl Process {
    pub(crate) fn new(name: String) -> Self {
        Self { name: name.into(), lives: Arc::new(AtomicBool::new(true)) }
    }

    pub(crate) fn lives(&self) -> bool {
        self.lives.load(Ordering::SeqCst)
    }
}

type Effect = Box<dyn FnOnce(Fate) + Send>;

struct Waiting {
    process: Process,
    part: Part,
    kind: Kind,
    label: String,
    number: u64,
    from: Instant,
    effect: Effect,
}

struct Outage {
    part: Part,
    /// Whose requests fail; all where there is none.
    process: Option<Arc<str>>,
    until: Instant,
    /// They wait until it is over, in the place of failing.
    hangs: bool,
}

struct State {
    random: StdRng,
    rates: Rates,
    waiting: Vec<Waiting>,
    outages: Vec<Outage>,
    numbers: u64,
    turns: u64,
    digest: blake3::Hasher,
    story: Option<String>,
    began: Instant,
    /// How often a request was made that could not wait, by what it was.
    hasty: BTreeMap<String, u64>,
}

/// Draws what happens next.
#[derive(Clone)]
pub(crate) struct Schedule(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    arrived: Notify,
    /// The thread on which all tasks run.
    home: ThreadId,
    seed: u64,
}

impl std::fmt::Debug for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Schedule").finish_non_exhaustive()
    }
}

/// A future that a request is.
pub(crate) type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Schedule {
    /// For the runtime of this thread.
    pub(crate) fn new(seed: u64, rates: Rates, tells: bool) -> Self {
        let began = Instant::now();
        let state = State {
            random: StdRng::seed_from_u64(seed),
            rates,
            waiting: Vec::new(),
            outages: Vec::new(),
            numbers: 0,
            turns: 0,
            digest: blake3::Hasher::new(),
            story: tells.then(String::new),
            began,
            hasty: BTreeMap::new(),
        };
        let home = thread::current().id();
        Self(Arc::new(Shared { state: Mutex::new(state), arrived: Notify::new(), home, seed }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.0.state)
    }

    /// Asks for something: `effect` makes it happen, by its fate. Who asks and has died never gets an answer, and nothing happens.
    pub(crate) fn request<T: Send + 'static>(
        &self,
        process: &Process,
        part: Part,
        kind: Kind,
        label: &str,
        effect: impl FnOnce(Fate) -> T + Send + 'static,
    ) -> Answer<T> {
        if !process.lives() {
            return Box::pin(std::future::pending());
        }
        let label = nameless(label);
        if thread::current().id() != self.0.home {
            let fate = self.hasty(process, part, kind, &label);
            return Box::pin(std::future::ready(effect(fate)));
        }
        let (answer, answered) = oneshot::channel();
        let effect: Effect = Box::new(move |fate| {
            // Who asked may be gone.
            drop(answer.send(effect(fate)));
        });
        {
            let mut state = self.state();
            state.numbers += 1;
            let number = state.numbers;
            state.waiting.push(Waiting { process: process.clone(), part, kind, label, number, from: Instant::now(), effect });
        }
        self.0.arrived.notify_one();
        Box::pin(async move {
            match answered.await {
                Ok(answer) => answer,
                // It was lost with its sender.
                Err(_) => std::future::pending().await,
            }
        })
    }

    /// The fate of a request that cannot wait.
    fn hasty(&self, process: &Process, part: Part, kind: Kind, label: &str) -> Fate {
        let now = Instant::now();
        let mut state = self.state();
        let what = format!("{} {label}", process.name);
        let times = state.hasty.entry(what.clone()).and_modify(|times| *times += 1).or_default();
        let drawn = blake3::hash(format!("{} {what} {times}", self.0.seed).as_bytes());
        let mut random = StdRng::from_seed(*drawn.as_bytes());
        if state.outage_of(process, part, now).is_some() {
            return Fate::FailedBefore;
        }
        let rates = state.rates;
        draw(&mut random, rates, kind)
    }

    /// Lets things happen, one after the other, for ever.
    pub(crate) async fn run(&self) {
        loop {
            // Only when nothing else can go on is this over.
            tokio::time::sleep(TICK).await;
            let next = self.state().next(Instant::now());
            match next {
                Next::Happens(effect, fate) => effect(fate),
                Next::Waits => {}
                Next::At(moment) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(moment) => {}
                        () = self.0.arrived.notified() => {}
                    }
                }
                Next::Nothing => self.0.arrived.notified().await,
            }
        }
    }

    /// Kills a process. What it has asked for and not got is lost on its way, or still arrives, later.
    pub(crate) fn kill(&self, process: &Process) {
        process.lives.store(false, Ordering::SeqCst);
        let now = Instant::now();
        let mut state = self.state();
        let mut waiting = std::mem::take(&mut state.waiting);
        waiting.sort_by(|one, other| one.order().cmp(&other.order()));
        for mut request in waiting {
            if Arc::ptr_eq(&request.process.lives, &process.lives) {
                if state.random.random_bool(0.5) {
                    continue;
                }
                request.from = now + Duration::from_millis(state.random.random_range(0..ORPHAN_MILLIS_MAX));
            }
            state.waiting.push(request);
        }
        state.tell(now, &format!("kill {}", process.name));
        drop(state);
        self.0.arrived.notify_one();
    }

    /// Lets all requests of a part fail for a while, or wait until it is over: those of one process, or of all.
    pub(crate) fn outage(&self, part: Part, process: Option<&Process>, lasts: Duration, hangs: bool) {
        let until = Instant::now() + lasts;
        let process = process.map(|process| Arc::clone(&process.name));
        let mut state = self.state();
        state.tell(Instant::now(), &format!("outage {part:?} {process:?} {lasts:?} hangs: {hangs}"));
        state.outages.push(Outage { part, process, until, hangs });
    }

    /// From now on nothing fails any more.
    pub(crate) fn heal(&self) {
        let mut state = self.state();
        state.rates = Rates::default();
        state.outages.clear();
        let now = Instant::now();
        for request in &mut state.waiting {
            request.from = request.from.min(now + Duration::from_secs(1));
        }
        state.tell(now, "all is well");
        drop(state);
        self.0.arrived.notify_one();
    }

    /// Notes something in the story that is no request.
    pub(crate) fn tell(&self, what: &str) {
        self.state().tell(Instant::now(), what);
    }

    /// Turns so far, and what tells this order of them from any other.
    pub(crate) fn digest(&self) -> (u64, String) {
        let state = self.state();
        (state.turns, state.digest.finalize().to_hex().chars().take(16).collect())
    }

    /// What happened, a line each.
    pub(crate) fn story(&self) -> Option<String> {
        self.state().story.clone()
    }
}

enum Next {
    Happens(Effect, Fate),
    Waits,
    At(Instant),
    Nothing,
}

impl Waiting {
    /// Which of two that wait is listed first: by what they are, and only then by which came first.
    fn order(&self) -> (&str, &str, u64) {
        (&self.process.name, &self.label, self.number)
    }
}

impl State {
    fn next(&mut self, now: Instant) -> Next {
        let mut due: Vec<usize> =
            (0..self.waiting.len()).filter(|at| self.waiting.get(*at).is_some_and(|waiting| waiting.from <= now)).collect();
        due.sort_by(|one, other| self.waiting.get(*one).map(Waiting::order).cmp(&self.waiting.get(*other).map(Waiting::order)));
        if due.is_empty() {
            let soonest = self.waiting.iter().map(|waiting| waiting.from).min();
            return soonest.map_or(Next::Nothing, Next::At);
        }
        let drawn = self.random.random_range(0..due.len());
        let Some(at) = due.get(drawn).copied() else { return Next::Nothing };
        let outage = self.waiting.get(at).map(|waiting| (waiting.process.clone(), waiting.part));
        let outage = outage.and_then(|(process, part)| self.outage_of(&process, part, now));
        if let Some((until, true)) = outage
            && let Some(waiting) = self.waiting.get_mut(at)
        {
            waiting.from = until;
            return Next::Waits;
        }
        if self.rates.draw(Fault::Slow, &mut self.random) {
            let pause = Duration::from_millis(self.random.random_range(0..SLOW_MILLIS_MAX));
            if let Some(waiting) = self.waiting.get_mut(at) {
                waiting.from = now + pause;
            }
            return Next::Waits;
        }
        let Waiting { process, kind, label, effect, .. } = self.waiting.swap_remove(at);
        let fate = if outage.is_some() {
            Fate::FailedBefore
        } else {
            let rates = self.rates;
            draw(&mut self.random, rates, kind)
        };
        self.turns += 1;
        self.tell(now, &format!("{} {label}: {fate:?}", process.name));
        Next::Happens(effect, fate)
    }

    /// Until when a part is away for a process, and whether what is asked of it waits.
    fn outage_of(&mut self, process: &Process, part: Part, now: Instant) -> Option<(Instant, bool)> {
        self.outages.retain(|outage| outage.until > now);
        let is_of = |outage: &&Outage| outage.part == part && outage.process.as_ref().is_none_or(|name| *name == process.name);
        self.outages.iter().find(is_of).map(|outage| (outage.until, outage.hangs))
    }

    fn tell(&mut self, now: Instant, what: &str) {
        self.digest.update(what.as_bytes());
        self.digest.update(b"\n");
        let (turns, millis) = (self.turns, (now - self.began).as_millis());
        if let Some(story) = &mut self.story {
            story.push_str(&format!("{turns:>6} {millis:>8} ms  {what}\n"));
        }
    }
}

/// The fate of a request that is not slow.
fn draw(random: &mut StdRng, rates: Rates, kind: Kind) -> Fate {
    if rates.draw(Fault::Before, random) {
        return Fate::FailedBefore;
    }
    if kind == Kind::Listing && rates.draw(Fault::Stale, random) {
        return Fate::Stale;
    }
    if matches!(kind, Kind::Write | Kind::PartialWrite) && rates.draw(Fault::After, random) {
        return Fate::FailedAfter;
    }
    if kind == Kind::PartialWrite && rates.draw(Fault::Partly, random) {
        return Fate::FailedPartly(random.random());
    }
    Fate::Done
}

/// What is asked for, without the names that are drawn anew each time: UUIDs.
fn nameless(label: &str) -> String {
    let mut text = String::with_capacity(label.len());
    let mut rest = label;
    while let Some(first) = rest.chars().next() {
        let is_name = rest.get(..UUID_CHARS).is_some_and(is_uuid);
        text.push(if is_name { '*' } else { first });
        rest = rest.get(if is_name { UUID_CHARS } else { first.len_utf8() }..).unwrap_or_default();
    }
    text
}

const UUID_CHARS: usize = 36;

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, byte)| if matches!(at, 8 | 13 | 18 | 23) { byte == b'-' } else { byte.is_ascii_hexdigit() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_drawn_are_left_out() {
        let label = "put silver/event_date=2026-11-23/part-01a22a55-fb82-71c5-ab25-f66b56b9939e.zstd.parquet";
        assert_eq!(nameless(label), "put silver/event_date=2026-11-23/part-*.zstd.parquet");
        assert_eq!(nameless("get _delta_log/00000000000000000021.json é"), "get _delta_log/00000000000000000021.json é");
    }
}
