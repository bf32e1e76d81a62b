//! What deduplication costs with a history of so many identities: the step from Bronze to Silver as the platform makes it, behind an index that was filled before.
//!
//! The identities of the history are in the index alone, not in Silver: the step asks no one else, and Silver with as many rows would take hours to make. What is measured is the
//! whole step: reading Bronze, its transform, the index, writing Parquet, the commits.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::Args;
use contract::{Identity, Timestamp};
use dedup::{Entry, Index, shard_of};
use lake::{Commit, Lake};
use pipeline::{Config, SilverAlone, tables};
use serde_json::json;
use telemetry::clock::{Clock as _, SystemClock};
use tokio::task::spawn_blocking;

use super::events::KindsArgs;
use super::machine::{self, Process};
use super::model::{Event, Events, Ids, id_text};
use super::report::{Report, ReportArgs};
use super::rows::{Rows, SOURCE};
use crate::commands::spinner::Spinner;
use crate::demo::random::Random;

/// Rows of a commit of Bronze.
const COMMIT_ROWS: u64 = 25_000;
/// Identities that the index is given at a time.
const ENTRIES: u64 = 100_000;
/// How far the history goes back.
const YEAR_MICROS: i64 = 365 * 86_400_000_000;

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// Identities that the index has before, of the last year
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=10_000_000_000))]
    ids: u64,
    /// Events that are brought from Bronze to Silver
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    events: u64,
    #[command(flatten)]
    kinds: KindsArgs,
    /// A folder on the disk to be used; what is made in it is gone at the end
    #[arg(long, value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    #[command(flatten)]
    report: ReportArgs,
}

pub(super) async fn run(args: HistoryArgs) -> anyhow::Result<()> {
    let KindsArgs { event_bytes, copies, late, random_ids } = args.kinds;
    let settings = json!({
        "ids": args.ids, "events": args.events, "event_bytes": event_bytes, "copies": copies, "late": late, "random_ids": random_ids, "folder": args.folder.display().to_string(),
    });
    let mut report = Report::begin("history", settings);
    let folder = tempfile::Builder::new().prefix("tidegate-bench-").tempdir_in(&args.folder);
    let folder = folder.with_context(|| format!("no folder can be made in {} (--folder)", args.folder.display()))?;
    Box::pin(measure(&mut report, &args, folder.path())).await?;
    args.report.tell(&report, None)
}

async fn measure(report: &mut Report, args: &HistoryArgs, folder: &Path) -> anyhow::Result<()> {
    let (spinner, config) = (Spinner::new(), Config::default());
    let (lake_folder, index_folder) = (std::path::absolute(folder.join("lake"))?, folder.join("index"));
    fs::create_dir_all(&lake_folder)?;
    let location = lake_folder.to_str().context("the folder's name is no text; choose another with --folder")?;
    let lake = Lake::open(location, lake::Options::default()).await?;
    Box::pin(pipeline::prepare(&lake, &config)).await?;

    spinner.say("making Bronze");
    let from = Events::beginning(Timestamp(SystemClock.now_micros()), args.events);
    Box::pin(fill_bronze(&lake, args, from)).await?;

    spinner.say("filling the index");
    let silver = lake.reader(tables::SILVER).await?.context("there is no Silver; please report it")?;
    let options = dedup::Options { lake_id: lake.location().to_string(), limits: config.index.clone() };
    let history = History { ids: args.ids, kind: args.kinds.kinds().ids, before: from, version: silver.version() };
    let (at, with, began) = (index_folder.clone(), options.clone(), Instant::now());
    spawn_blocking(move || history.fill(&at, with)).await.context("the filling of the index panicked")??;
    if args.ids > 0 {
        report.set("index_filled_ids_per_second", args.ids as f64 / began.elapsed().as_secs_f64());
    }

    let (at, began) = (index_folder.clone(), Instant::now());
    let index = spawn_blocking(move || Index::open(&at, options)).await.context("the opening of the index panicked")??;
    report.set("cold_start_ms", began.elapsed().as_secs_f64() * 1000.0);
    report.set("index_file_bytes", index.stats().file_bytes as f64);
    drop(index);

    spinner.say("making Silver");
    let mut stage = Box::pin(SilverAlone::open(&lake, index_folder, &config)).await?;
    machine::forget_peak();
    let (began, used) = (Instant::now(), Process::This.cpu_seconds().ok());
    while stage.step().await? {}
    let (took, used) = (began.elapsed(), used.zip(Process::This.cpu_seconds().ok()).map(|(before, after)| after - before));
    spinner.end();
    tell(report, args.events, &stage, took.as_secs_f64(), used)
}

fn tell(report: &mut Report, events: u64, stage: &SilverAlone, seconds: f64, cpu_seconds: Option<f64>) -> anyhow::Result<()> {
    let progress = stage.progress();
    if progress.dead_letters > 0 || progress.silver + progress.duplicates != events {
        bail!("of {events} events Silver has {} and {} are copies; please report it", progress.silver, progress.duplicates);
    }
    report.set("step_events_per_second", events as f64 / seconds);
    report.set("step_event_wall_ns", seconds * 1e9 / events as f64);
    report.set("step_event_cpu_ns", cpu_seconds.map_or(f64::NAN, |cpu_seconds| cpu_seconds * 1e9 / events as f64));
    if let Ok(bytes) = Process::This.rss_peak_bytes() {
        report.set("rss_peak_bytes", bytes as f64);
    }
    if let Some(index) = stage.index() {
        report.set("filter_resident_bytes", index.filter_bytes as f64);
    }
    report.set("silver_rows", progress.silver as f64);
    report.set("duplicate_rows", progress.duplicates as f64);
    report.set("late_rows", progress.late as f64);
    Ok(())
}

async fn fill_bronze(lake: &Lake, args: &HistoryArgs, from: Timestamp) -> anyhow::Result<()> {
    let mut bronze = lake.table(&tables::bronze()).await?;
    let mut rows = Rows::new(args.kinds.kinds(), args.kinds.event_bytes, 1, from)?;
    let mut left = args.events;
    while left > 0 {
        let count = left.min(COMMIT_ROWS);
        left -= count;
        let batch;
        (rows, batch) = spawn_blocking(move || {
            let batch = rows.batch(usize::try_from(count)?)?;
            anyhow::Ok((rows, batch))
        })
        .await
        .context("the making of rows panicked")??;
        Box::pin(bronze.append(vec![batch], Commit::default())).await?;
    }
    Ok(())
}

/// Identities that nobody has sent, of the year before a time.
#[derive(Debug, Clone, Copy)]
struct History {
    ids: u64,
    kind: Ids,
    before: Timestamp,
    /// The version of Silver that is to have all of them.
    version: i64,
}

impl History {
    fn fill(self, folder: &Path, options: dedup::Options) -> anyhow::Result<()> {
        let mut rebuild = Index::rebuild(folder, options)?;
        let mut random = Random::stream(2, &[0]);
        let mut left = self.ids;
        while left > 0 {
            let count = left.min(ENTRIES);
            left -= count;
            rebuild.push(&(0..count).map(|_| self.entry(&mut random)).collect::<Vec<_>>())?;
        }
        rebuild.finish(self.version)?;
        Ok(())
    }

    fn entry(self, random: &mut Random) -> Entry {
        let time = Timestamp(self.before.micros().saturating_sub(random.between(0, YEAR_MICROS)));
        let event_id = id_text(Event::at(time, self.kind, random).id);
        let digest = Identity { source: SOURCE, event_id: &event_id }.digest();
        Entry { digest, shard: shard_of(&event_id, &digest), content: random.bits() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_step_is_measured_behind_a_history() {
        let folder = tempfile::tempdir().unwrap();
        for (ids, random_ids) in [(0, false), (3_000, true)] {
            let kinds = KindsArgs { event_bytes: 600, copies: 0.1, late: 0.1, random_ids };
            let folder = folder.path().join(ids.to_string());
            let args = HistoryArgs { ids, events: 2_000, kinds, folder: folder.clone(), report: ReportArgs::default() };
            let mut report = Report::begin("history", json!({}));
            Box::pin(measure(&mut report, &args, &folder)).await.unwrap();
            let figure = |name: &str| report.figures.get(name).unwrap_or_default();
            assert!(figure("duplicate_rows") > 100.0 && figure("late_rows") > 100.0, "{:?}", report.figures);
            assert!(figure("step_event_wall_ns") > 0.0 && figure("cold_start_ms") > 0.0, "{:?}", report.figures);
            assert_eq!(figure("index_file_bytes") > 0.0, ids > 0, "{:?}", report.figures);
        }
    }
}
