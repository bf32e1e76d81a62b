//! What sends: many connections, as fast as they are answered or at a rate of their own.
//!
//! At a rate, each request is due at a fixed time, and its answer is counted from then on, whenever it could be sent: what a slow server keeps from being sent is part of how slow it
//! is. Whoever is behind sends at once, and nothing is skipped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use contract::Timestamp;
use serde_json::{Value, json};
use telemetry::clock::{Clock as _, SystemClock};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, sleep_until, timeout_at};

mod schedule;
mod seen;

use super::Target;
use super::events::bytes;
use super::machine::Process;
use super::model::{Event, Ids, Writer};
use super::wire::{Address, Answer, Wire};
use crate::demo::random::Random;
use crate::misuse::Misuse;
use schedule::Schedule;
use seen::{Measured, Seen};

/// How long after the end what was due before it may still be answered.
const GRACE: Duration = Duration::from_secs(10);
/// Before a request is sent again that could not be sent.
const FAILED_PAUSE: Duration = Duration::from_millis(50);
/// The longest that the pacer sleeps: it looks then whether anybody is left to send.
const PACER_PAUSE_MAX: Duration = Duration::from_millis(200);

/// How to send.
#[derive(Debug, Clone, Args)]
pub(super) struct LoadArgs {
    /// Events a second to send, each request at its time and measured from it [default: as fast as the connections are answered]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(super) rate: Option<u64>,
    /// Connections that send at the same time, each one request after the other
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) connections: u16,
    /// Threads that work the connections
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Events in each request
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) batch: u16,
    /// How long to measure, after a fifth of that to warm up
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    seconds: u16,
    /// Bytes of each event, about
    #[arg(long, default_value_t = 600, value_parser = bytes)]
    event_bytes: usize,
    /// Ids are random (UUIDv4) and not of the time (UUIDv7)
    #[arg(long)]
    random_ids: bool,
    /// A process whose use of CPU and memory is measured too, such as that of the server; may be given more than once
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
}

impl LoadArgs {
    /// As the report has them.
    pub(super) fn settings(&self, target: &Target) -> Value {
        json!({
            "url": target.url, "path": target.path, "rate": self.rate, "connections": self.connections, "threads": self.threads, "events_a_request": self.batch,
            "seconds": self.seconds, "event_bytes": self.event_bytes, "random_ids": self.random_ids,
        })
    }
}

/// What all connections of a run have in common.
#[derive(Debug)]
struct Run {
    address: Address,
    writer: Writer,
    ids: Ids,
    batch: u16,
    schedule: Option<Schedule>,
    /// When requests begin, when what is measured begins, when both end, and when nobody waits any longer.
    start: Instant,
    begins: Instant,
    ends: Instant,
    gives_up: Instant,
    /// Requests that are due and that nobody has taken, and the number of the next one.
    due: Semaphore,
    next: AtomicU64,
    /// Who is told of one event of each request that was taken.
    taken: Option<mpsc::Sender<Taken>>,
}

/// An event that the server has taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    pub(super) id: u128,
    /// When its answer was here.
    pub(super) at: Instant,
}

/// Sends, and measures. `taken` is told of the first event of each request, as far as there is room.
///
/// # Errors
///
/// A server that cannot be reached, or refuses the first request over a connection.
pub(super) async fn run(target: &Target, args: &LoadArgs, taken: Option<mpsc::Sender<Taken>>) -> anyhow::Result<Measured> {
    let address = Address::find(&target.url, &target.path, &target.key, target.trust.read()?)?;
    let (connections, threads) = (args.connections, args.threads.min(args.connections));
    let seconds = Duration::from_secs(args.seconds.into());
    let start = Instant::now();
    let ends = start + seconds / 5 + seconds;
    let run = Arc::new(Run {
        address,
        writer: Writer::new(args.event_bytes, true),
        ids: if args.random_ids { Ids::Random } else { Ids::ByTime },
        batch: args.batch,
        schedule: args.rate.map(|rate| Schedule { rate, batch: args.batch.into() }),
        start,
        begins: start + seconds / 5,
        ends,
        gives_up: ends + GRACE,
        due: Semaphore::new(0),
        next: AtomicU64::new(0),
        taken,
    });
    let processes: Vec<Process> = args.pid.iter().copied().map(Process::Other).collect();
    used(&processes).map_err(|error| Misuse(format!("{error:#} (--pid)")))?;
    let mut workers = JoinSet::new();
    for thread in 0..threads {
        let (run, numbers) = (Arc::clone(&run), (thread..connections).step_by(threads.into()).collect::<Vec<_>>());
        workers.spawn(async move { spawn_blocking(move || work(&run, &numbers)).await? });
    }
    if let Some(schedule) = run.schedule {
        let run = Arc::clone(&run);
        std::thread::Builder::new().name("pace".to_owned()).spawn(move || pace(&run, schedule, connections))?;
    }
    let measure = async {
        sleep_until(run.begins.into()).await;
        let before = (Process::This.cpu_seconds().ok(), used(&processes)?);
        sleep_until(run.ends.into()).await;
        let after = (Process::This.cpu_seconds().ok(), used(&processes)?);
        anyhow::Ok((before.0.zip(after.0).map(|(before, after)| after - before), after.1 - before.1))
    };
    let gather = async {
        let mut all = Seen::new()?;
        while let Some(seen) = workers.join_next().await {
            all.add(seen??)?;
        }
        anyhow::Ok(all)
    };
    let (mut seen, (generator_cpu_seconds, cpu_seconds)) = tokio::try_join!(gather, measure)?;
    run.count_untaken(&mut seen);
    if seen.requests == 0 {
        bail!("{} answered nothing with success: {}", run.address.url, seen.first_error.as_deref().unwrap_or("it only told to wait"));
    }
    let peaks = processes.iter().map(|process| process.rss_peak_bytes()).sum::<anyhow::Result<u64>>();
    let is_measured = !processes.is_empty();
    Ok(Measured {
        seen,
        seconds: seconds.as_secs_f64(),
        generator_cpu_seconds,
        cpu_seconds: is_measured.then_some(cpu_seconds),
        rss_peak_bytes: peaks.ok().filter(|_| is_measured),
    })
}

/// The CPU seconds of all of these processes.
fn used(processes: &[Process]) -> anyhow::Result<f64> {
    processes.iter().map(|process| process.cpu_seconds()).sum()
}

/// Says which requests are due, to a fraction of a millisecond, which the runtime's own clock does not have.
fn pace(run: &Arc<Run>, schedule: Schedule, connections: u16) {
    let all = schedule.count_before(run.ends - run.start);
    let mut told = 0;
    while told < all && Arc::strong_count(run) > 1 {
        let due = schedule.count_before(run.start.elapsed()).min(all);
        run.due.add_permits(usize::try_from(due - told).unwrap_or(usize::MAX));
        told = due;
        std::thread::sleep(schedule.due(told).saturating_sub(run.start.elapsed()).min(PACER_PAUSE_MAX));
    }
    // Those who find that there is no further one end.
    run.due.add_permits(connections.into());
}

/// Works some of the connections until the end, on this thread.
fn work(run: &Arc<Run>, numbers: &[u16]) -> anyhow::Result<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a thread of the generator cannot begin")?;
    runtime.block_on(async {
        let mut connections = JoinSet::new();
        for number in numbers {
            let (run, number) = (Arc::clone(run), *number);
            connections.spawn(async move { run.connection(number).await });
        }
        let mut all = Seen::new()?;
        while let Some(seen) = connections.join_next().await {
            all.add(seen??)?;
        }
        Ok(all)
    })
}

impl Run {
    async fn connection(&self, number: u16) -> anyhow::Result<Seen> {
        let (mut seen, mut wire) = (Seen::new()?, Wire::to(&self.address));
        let mut random = Random::stream(rand::random(), &[number.into()]);
        let mut writer = self.writer.clone();
        while let Some(due) = self.turn().await {
            let first = Event::at(Timestamp(SystemClock.now_micros()), self.ids, &mut random);
            let body = self.body(first, &mut random, &mut writer);
            let is_taken = self.insist(&mut wire, body.into(), &mut seen).await?;
            let now = Instant::now();
            let is_measured = (self.begins..self.ends).contains(&due);
            match is_taken {
                Some(true) => {
                    if is_measured {
                        seen.note(now - due);
                    }
                    if (self.begins..self.ends).contains(&now) {
                        seen.requests += 1;
                        seen.events += u64::from(self.batch);
                    }
                    if let Some(taken) = self.taken.as_ref().filter(|_| is_measured) {
                        // Where there is no room, this one is not among the samples.
                        _ = taken.try_send(Taken { id: first.id, at: now });
                    }
                }
                Some(false) => {}
                None => {
                    seen.unanswered += 1;
                    if is_measured {
                        seen.note(now - due);
                    }
                }
            }
        }
        seen.reconnects = wire.reconnects;
        Ok(seen)
    }

    /// Waits until there is a request to send. When it is due; `None` at the end.
    async fn turn(&self) -> Option<Instant> {
        let Some(schedule) = self.schedule else {
            let now = Instant::now();
            return (now < self.ends).then_some(now);
        };
        timeout_at(self.gives_up.into(), self.due.acquire()).await.ok()?.ok()?.forget();
        if Instant::now() >= self.gives_up {
            return None;
        }
        let due = self.start + schedule.due(self.next.fetch_add(1, Ordering::Relaxed));
        (due < self.ends).then_some(due)
    }

    fn body(&self, first: Event, random: &mut Random, writer: &mut Writer) -> Vec<u8> {
        let mut body = Vec::with_capacity((writer.event_bytes() + 1) * usize::from(self.batch) + 1);
        body.push(b'[');
        writer.write(&first, &mut body);
        for _ in 1..self.batch {
            body.push(b',');
            writer.write(&Event::at(first.time, self.ids, random), &mut body);
        }
        body.push(b']');
        body
    }

    /// Sends until it is taken. `Some(false)` where it was refused, `None` where there is no time left.
    async fn insist(&self, wire: &mut Wire<'_>, body: bytes::Bytes, seen: &mut Seen) -> anyhow::Result<Option<bool>> {
        loop {
            let Ok(answered) = timeout_at(self.gives_up.into(), wire.post(body.clone())).await else { return Ok(None) };
            let pause = match answered {
                Ok(Answer::Taken) => {
                    seen.is_proven = true;
                    return Ok(Some(true));
                }
                Ok(Answer::Wait(pause)) => {
                    seen.waits += 1;
                    pause
                }
                Ok(Answer::Refused(text)) => {
                    if !seen.is_proven {
                        bail!("{} answered {text}", self.address.url);
                    }
                    seen.errors += 1;
                    seen.first_error.get_or_insert(text);
                    return Ok(Some(false));
                }
                Err(error) if !seen.is_proven => return Err(error),
                Err(error) => {
                    seen.errors += 1;
                    seen.first_error.get_or_insert_with(|| format!("{error:#}"));
                    FAILED_PAUSE
                }
            };
            if Instant::now() + pause >= self.gives_up {
                return Ok(None);
            }
            sleep(pause).await;
        }
    }

    /// Requests that were due, and that nobody has begun with.
    fn count_untaken(&self, seen: &mut Seen) {
        let Some(schedule) = self.schedule else { return };
        for number in self.next.load(Ordering::Relaxed)..schedule.count_before(self.ends - self.start) {
            let due = self.start + schedule.due(number);
            seen.unanswered += 1;
            if due >= self.begins {
                seen.note(self.gives_up - due);
            }
        }
    }
}
