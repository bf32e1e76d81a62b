//! What it takes to be there: memory under load, the time to start, and disk.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::comparison::{Comparison, Target as Aim};
use super::http::sum_of;
use super::ingest::{embedded, notes, target};
use super::load::{self, Load};
use super::product::{self, Product, Settings, command};
use super::report::Found;
use super::running::to_end;
use super::scene::Scene;

const ALL_ROLES: &str = "ingest,pipeline,console";
const PATIENCE: Duration = Duration::from_secs(600);
/// Events a second of the platform's load, and events in a request.
const RATE: u32 = 5_000;
const BATCH: u32 = 100;
/// The same where a few are enough.
const FEW: u32 = 500;
/// Files of the history, half of them in Bronze and half in Silver.
const HISTORY_FILES_OF_A_TABLE: &str = "50000";
/// After a load, until what was made in memory is written.
const SETTLE: Duration = Duration::from_secs(5);
const GZIP: &str = "gzip -6 of NDJSON";

/// Memory of a gate and of the platform, and the start on a lake that is there already.
pub(crate) fn memory_and_start(scene: &Scene<'_>) -> Result<Found> {
    let seconds = scene.options.seconds;
    let mut gate_memory = Comparison::alone("memory of a gate at its peak", "MB").target(Aim::AtMost(150.0));
    let mut all_memory = Comparison::alone("memory of the platform at its peak", "MB").target(Aim::AtMost(500.0));
    let mut start = Comparison::alone("start to ready, empty lake", "s").target(Aim::AtMost(1.0));
    let mut late_start = Comparison::alone("start to ready, 100,000 files of history", "s").target(Aim::AtMost(1.0));
    let old = scene.folder("old")?;
    let settings = product::settings(&[]);
    make_history(scene, &old, &settings)?;
    for round in scene.rounds() {
        let gate = Product::start(scene, &format!("gate-{round}"), &scene.folder("gate")?, "ingest", &embedded())?;
        load::ingest(scene, &format!("gate-singles-{round}"), &target(&gate), Load::singles(seconds))?;
        load::ingest(scene, &format!("gate-batches-{round}"), &target(&gate), Load::batches(seconds))?;
        gate_memory.round_alone(gate.usage().rss_peak_bytes / 1e6);
        drop(gate);

        let platform = Product::start(scene, &format!("platform-{round}"), &scene.folder("platform")?, ALL_ROLES, &settings)?;
        start.round_alone(platform.ready_seconds);
        let steady = Load { batch: BATCH, rate: Some(RATE), ..Load::batches(seconds) };
        load::ingest(scene, &format!("platform-{round}"), &target(&platform), steady)?;
        sleep(SETTLE);
        all_memory.round_alone(platform.usage().rss_peak_bytes / 1e6);
        drop(platform);

        late_start.round_alone(Product::start(scene, &format!("old-{round}"), &old, ALL_ROLES, &settings)?.ready_seconds);
    }
    Ok(Found {
        comparisons: vec![gate_memory, all_memory, start, late_start],
        notes: notes(&[
            "The gate under 64 connections with single events and 16 with batches of 500, each as fast as it answers; the platform under 5,000 events/s in batches of 100, as by default. The same for ten minutes is in delay-embedded.",
            "The history: in Bronze and in Silver 50,000 files each were replaced, in some thousand versions, with a checkpoint of it; measured until /readyz says so.",
        ]),
    })
}

/// A lake that is there for long: many versions, many files that were replaced, and a checkpoint.
fn make_history(scene: &Scene<'_>, data: &Path, settings: &Settings) -> Result<()> {
    let steady = Load { batch: BATCH, rate: Some(RATE), ..Load::batches(3) };
    // Many commits with a file each, which nobody joins.
    let mut often = settings.clone();
    often.push(("TIDEGATE_PIPELINE__COMMIT_INTERVAL".to_owned(), "20ms".to_owned()));
    often.push(("TIDEGATE_PIPELINE__COMPACTION_INTERVAL".to_owned(), "1h".to_owned()));
    let mut platform = Product::start(scene, "old-new", data, ALL_ROLES, &often)?;
    load::ingest(scene, "old-new", &target(&platform), steady)?;
    caught_up(&mut platform)?;
    drop(platform);

    let lake = data.join("lake");
    let mut history = Command::new("python3");
    history.arg(scene.place.root().join("bench/lake_history.py")).args([lake.join("bronze/events"), lake.join("silver/events")]);
    history.args(["--files", HISTORY_FILES_OF_A_TABLE]);
    to_end("lake_history.py", &mut history, &scene.kept("history"), PATIENCE)?;

    // What goes on for long has made a checkpoint of all of it by its next versions. Each takes a while, so there are to be few.
    let logs = ["bronze/events", "silver/events"].map(|table| lake.join(table).join("_delta_log"));
    let made = logs.iter().map(|log| newest_version(log)).collect::<Result<Vec<_>>>()?;
    often.push(("TIDEGATE_LAKE__CHECKPOINT_INTERVAL".to_owned(), "1".to_owned()));
    often.push(("TIDEGATE_PIPELINE__COMMIT_INTERVAL".to_owned(), "1s".to_owned()));
    let mut platform = Product::start(scene, "old-checkpoint", data, ALL_ROLES, &often)?;
    load::ingest(scene, "old-checkpoint", &target(&platform), Load { rate: Some(FEW), ..steady })?;
    caught_up(&mut platform)?;
    sleep(SETTLE);
    for (log, made) in logs.iter().zip(made) {
        if checkpoint_version(log)? <= made {
            bail!("{} has no checkpoint behind version {made}: the start would be measured without one", log.display());
        }
    }
    Ok(())
}

/// The newest version that a log has a file of.
fn newest_version(log: &Path) -> Result<f64> {
    let mut newest = None;
    for entry in fs::read_dir(log).with_context(|| format!("{} cannot be read", log.display()))? {
        let name = entry?.file_name();
        let version = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse::<u32>().ok());
        newest = newest.max(version);
    }
    newest.map(f64::from).with_context(|| format!("{} has no versions", log.display()))
}

/// The version of the newest checkpoint.
fn checkpoint_version(log: &Path) -> Result<f64> {
    let file = log.join("_last_checkpoint");
    let text = fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    serde_json::from_str::<Value>(&text)?
        .get("version")
        .and_then(Value::as_f64)
        .with_context(|| format!("{} names no version", file.display()))
}

/// Waits until Silver has all that the gate of the same process has taken.
fn caught_up(platform: &mut Product) -> Result<()> {
    platform.wait_for("bringing all to Silver", PATIENCE, |metrics| {
        let read = sum_of(metrics, "tidegate_silver_read_rows_total", "");
        read > 0.0 && read >= sum_of(metrics, "tidegate_ingest_accepted_total", "")
    })
}

/// Bytes an event in the tables, beside the same events as a compressed text.
pub(crate) fn storage(scene: &Scene<'_>) -> Result<Found> {
    let events = f64::from(scene.options.events);
    let lines = scene.temporary("lines.ndjson");
    load::write_events(scene, &lines, scene.options.events)?;
    let mut gzip = Command::new("gzip");
    gzip.args(["-6", "--stdout"]).arg(&lines);
    let packed = to_end("gzip", &mut gzip, &scene.temporary("lines.gz"), PATIENCE)?;
    let packed = fs::metadata(packed.out).context("what gzip wrote cannot be found")?.len() as f64 / events;

    let (data, settings) = (scene.folder("platform")?, product::settings(&[("TIDEGATE_PIPELINE__WATCH_INTERVAL", "1s")]));
    let mut platform = Product::start(scene, "platform", &data, ALL_ROLES, &settings)?;
    load::send(scene, &platform.url(), &lines)?;
    caught_up(&mut platform)?;
    let mut compact = command(scene, &data, &settings, &["compact"]);
    to_end("tidegate compact", &mut compact, &scene.kept("compact"), PATIENCE)?;
    // Until it has looked at the tables again.
    sleep(SETTLE);
    let metrics = platform.metrics()?;
    let bytes = |table: &str| sum_of(&metrics, "tidegate_table_bytes", &format!("table=\"{table}\"")) / events;
    let (bronze, silver) = (bytes("bronze.events"), bytes("silver.events"));

    let mut comparisons = Vec::new();
    for (what, bytes, at_most) in [("Bronze and Silver", bronze + silver, Some(0.6)), ("Bronze", bronze, None), ("Silver", silver, None)] {
        let mut comparison = Comparison::beside(GZIP, &format!("bytes an event in {what}"), "bytes");
        comparison.target = at_most.map(Aim::RatioAtMost);
        comparison.round(bytes, packed);
        comparisons.push(comparison);
    }
    Ok(Found {
        comparisons,
        notes: notes(&[
            "Measured once: the same events give the same bytes. Files are joined (`tidegate compact`); those that were replaced, which go after lake.file_retention, do not count. An event of the text has 850 bytes.",
        ]),
    })
}
