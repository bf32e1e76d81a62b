//! From the answer until an event can be queried: one event after the other, or of events in a stream.
//!
//! Of a stream, one event of each request is looked for. A watcher follows the log of Silver's table and reads the ids of what each version added, so that it costs as little
//! as can be; an event counts as visible when the version that has it is noticed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use arrow::array::AsArray as _;
use clap::Args;
use contract::Timestamp;
use futures::TryStreamExt as _;
use hdrhistogram::Histogram;
use lake::{Added, Lake, Table};
use pipeline::tables;
use serde_json::json;
use telemetry::clock::{Clock as _, SystemClock};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::time::{MissedTickBehavior, interval};

use super::Target;
use super::load::{self, LoadArgs, Taken};
use super::model;
use super::report::{self, Report, ReportArgs};
use crate::commands::{LakeArgs, say};

const GIVE_UP: Duration = Duration::from_secs(60);
/// Between two looks at the log of Silver's table.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Events that are looked for at a time, and those of which the watcher has not heard yet.
const SAMPLES_MAX: usize = 1_000_000;
const UNHEARD_MAX: usize = 65_536;

#[derive(Debug, Args)]
pub(super) struct DelayArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    lake: LakeArgs,
    /// How many events, one after the other, where no --rate is given
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    events: u16,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    report: ReportArgs,
}

pub(super) async fn run(args: DelayArgs) -> anyhow::Result<()> {
    let lake = args.lake.open().await?;
    if args.load.rate.is_some() { Box::pin(of_stream(args, lake)).await } else { Box::pin(one_by_one(args, lake)).await }
}

async fn one_by_one(args: DelayArgs, lake: Lake) -> anyhow::Result<()> {
    let http = args.target.trust.read()?.client().build()?;
    let url = format!("{}{}", args.target.url.trim_end_matches('/'), args.target.path);
    let mut report = Report::begin("delay", json!({"url": args.target.url, "path": args.target.path, "events": args.events}));
    let mut delays = report::times()?;
    for _ in 0..args.events {
        let now = Timestamp(SystemClock.now_micros());
        let id = contract::id::uuid_v7(now, rand::random());
        let body = format!(r#"{{"event_id":"{id}","event_type":"page_view","event_time":"{now}","anonymous_id":"bench"}}"#);
        let answer = http.post(&url).basic_auth(&args.target.key, Some("")).body(body).send().await;
        let answer = answer.with_context(|| format!("{url} cannot be reached; is the server running?"))?;
        if answer.status() != 200 {
            bail!("{url} answered {}: {}", answer.status(), answer.text().await?);
        }
        let answered = Instant::now();
        let today = now.date_text();
        let sql = format!("SELECT event_id FROM silver.events WHERE event_date = DATE '{today}' AND event_id = '{id}'");
        while lake.session().await?.sql(&sql).await?.count().await? == 0 {
            if answered.elapsed() > GIVE_UP {
                bail!("{id} cannot be queried after {} s; is this the lake of that server?", GIVE_UP.as_secs());
            }
        }
        delays.saturating_record(micros(answered.elapsed()));
    }
    report.set_times("queryable", &delays);
    args.report.tell(&report, Some(&delays))
}

async fn of_stream(args: DelayArgs, lake: Lake) -> anyhow::Result<()> {
    let silver = lake.reader(tables::SILVER).await?;
    let silver =
        silver.with_context(|| format!("{} has no table {}; is this the lake of that server?", lake.location(), tables::SILVER))?;
    let mut report = Report::begin("delay", args.load.settings(&args.target));
    let (taken, heard) = mpsc::channel(UNHEARD_MAX);
    let loading = Box::pin(load::run(&args.target, &args.load, Some(taken)));
    let (measured, watched) = tokio::try_join!(loading, Box::pin(watch(silver, heard)))?;
    measured.tell(&mut report);
    report.set_times("visible", &watched.delays);
    report.set("sampled", watched.sampled as f64);
    report.set("missing", watched.waiting.len() as f64);
    args.report.tell(&report, Some(&watched.delays))?;
    if let Some(error) = measured.error() {
        say(&format!("the first error: {error}"));
    }
    if watched.sampled > 0 && watched.delays.is_empty() {
        bail!("no event could be seen within {} s; is this the lake of that server?", GIVE_UP.as_secs());
    }
    Ok(())
}

/// What the watcher knows.
#[derive(Debug)]
struct Watched {
    /// From the answer until it was seen, in microseconds.
    delays: Histogram<u64>,
    /// The events that are looked for, and when they were answered.
    waiting: HashMap<u128, Instant>,
    sampled: u64,
}

impl Watched {
    /// Takes in what was answered since. `false`: nothing more will be.
    fn hear(&mut self, heard: &mut mpsc::Receiver<Taken>) -> bool {
        loop {
            match heard.try_recv() {
                Ok(taken) if self.waiting.len() < SAMPLES_MAX => {
                    self.sampled += 1;
                    self.waiting.insert(taken.id, taken.at);
                }
                Ok(_) => {}
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// These were seen at this time.
    fn see(&mut self, ids: &[u128], at: Instant) {
        for id in ids {
            if let Some(answered) = self.waiting.remove(id) {
                self.delays.saturating_record(micros(at.saturating_duration_since(answered)));
            }
        }
    }
}

/// Looks for what was answered, until all of it was seen, or for some time after the last answer.
async fn watch(mut silver: Table, mut heard: mpsc::Receiver<Taken>) -> anyhow::Result<Watched> {
    let mut watched = Watched { delays: report::times()?, waiting: HashMap::new(), sampled: 0 };
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut known, mut ended) = (silver.refresh().await?, None);
    loop {
        looks.tick().await;
        let newest = silver.refresh().await?;
        let noticed = Instant::now();
        let ids = if newest > known { ids(&silver, &silver.added(known, newest).await?).await? } else { Vec::new() };
        known = newest;
        // After the files were read: an event may be in a table before its answer is here.
        if !watched.hear(&mut heard) && ended.is_none() {
            ended = Some(noticed);
        }
        watched.see(&ids, noticed);
        if ended.is_some_and(|ended| watched.waiting.is_empty() || ended.elapsed() > GIVE_UP) {
            return Ok(watched);
        }
    }
}

/// The ids in some files, as far as they may be ours.
async fn ids(silver: &Table, files: &[Added]) -> anyhow::Result<Vec<u128>> {
    let mut ids = Vec::new();
    let mut batches = silver.stream(files, Some(&["event_id"]))?;
    while let Some(batch) = batches.try_next().await? {
        ids.extend(batch.column(0).as_string::<i32>().iter().flatten().filter_map(model::parse_id));
    }
    Ok(ids)
}

fn micros(time: Duration) -> u64 {
    time.as_micros().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_answered_is_looked_for() {
        let (taken, mut heard) = mpsc::channel(8);
        let mut watched = Watched { delays: report::times().unwrap(), waiting: HashMap::new(), sampled: 0 };
        let at = Instant::now();
        for id in [1, 2, 3] {
            taken.try_send(Taken { id, at }).unwrap();
        }
        assert!(watched.hear(&mut heard));
        watched.see(&[9, 2, 1, 1], at + Duration::from_millis(40));
        assert_eq!((watched.sampled, watched.waiting.len(), watched.delays.len()), (3, 1, 2));
        assert!((39_000..41_000).contains(&watched.delays.max()), "{}", watched.delays.max());
        drop(taken);
        assert!(!watched.hear(&mut heard));
    }
}
