//! How soon an event that was answered can be queried, at a steady rate for ten minutes.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use super::broker;
use super::comparison::{Comparison, Target as Aim};
use super::ingest::notes;
use super::load::{self, Figures};
use super::product::{self, KEY, Product, Settings};
use super::report::Found;
use super::scene::Scene;

/// Events a second, and events in a request.
const RATE: &str = "5000";
const BATCH: &str = "100";
/// For so many times as long as other loads: files are joined, logs get checkpoints, Gold is made again and again.
const TIMES: u32 = 60;
/// What is to be reached, of the platform as it is by default.
const EMBEDDED_AT_MOST_MS: [(&str, f64); 2] = [("p50", 800.0), ("p99", 2_000.0)];
const NOTE: &str = "5,000 events a second in requests of 100, measured once, for 60 times as long as other loads: from when an event is answered until a query of silver.events gives it, asked by another process on the same machine.";

/// As it is without any settings.
pub(crate) fn embedded(scene: &Scene<'_>) -> Result<Found> {
    let (data, settings) = (scene.folder("platform")?, product::settings(&[]));
    let platform = Product::start(scene, "platform", &data, "ingest,pipeline,console", &settings)?;
    let figures = measure(scene, &platform, &data, &settings)?;
    let mut memory = Comparison::alone("memory of the platform at its peak", "MB").target(Aim::AtMost(500.0));
    memory.round_alone(platform.usage().rss_peak_bytes / 1e6);
    let mut comparisons = delays(&figures, &EMBEDDED_AT_MOST_MS)?;
    comparisons.push(memory);
    Ok(Found { comparisons, notes: notes(&[NOTE, "Everything as by default, in one process."]) })
}

/// A gate and a worker on Kafka and S3.
pub(crate) fn kafka(scene: &Scene<'_>) -> Result<Found> {
    let (kafka, s3) = (broker::start(scene)?, broker::start_s3(scene)?);
    let settings = product::on_kafka_and_s3(&kafka, &s3, &[]);
    let data = scene.folder("gate")?;
    let gate = Product::start(scene, "gate", &data, "ingest", &settings)?;
    let worker = Product::start(scene, "worker", &scene.folder("worker")?, "pipeline", &settings)?;
    let figures = measure(scene, &gate, &data, &settings)?;
    let mut memory = Comparison::alone("memory of the gate at its peak", "MB").target(Aim::AtMost(150.0));
    memory.round_alone(gate.usage().rss_peak_bytes / 1e6);
    let mut of_worker = Comparison::alone("memory of the worker at its peak", "MB");
    of_worker.round_alone(worker.usage().rss_peak_bytes / 1e6);
    let mut comparisons = delays(&figures, &[])?;
    comparisons.extend([memory, of_worker]);
    Ok(Found {
        comparisons,
        notes: notes(&[NOTE, "A gate and a worker, Kafka (acks=all, one replica) and an S3 server, all on this machine."]),
    })
}

fn measure(scene: &Scene<'_>, gate: &Product, data: &Path, settings: &Settings) -> Result<Figures> {
    let seconds = scene.options.seconds.saturating_mul(TIMES);
    let (url, text) = (gate.url(), seconds.to_string());
    let arguments = ["delay", "--url", &url, "--key", KEY, "--rate", RATE, "--seconds", &text, "--batch", BATCH];
    // It begins with a fifth to warm up, and waits a while for what is late.
    let figures = load::bench(scene, "delay", data, settings, &arguments, Duration::from_secs(u64::from(seconds) * 2 + 180))?;
    let missing = figures.get("missing")?;
    if missing > 0.0 {
        bail!("{missing} of {} events that were looked for were never seen in silver.events", figures.get("sampled")?);
    }
    Ok(figures)
}

fn delays(figures: &Figures, at_most: &[(&str, f64)]) -> Result<Vec<Comparison>> {
    let of_quantile = |quantile: &str| -> Result<Comparison> {
        let mut comparison = Comparison::alone(&format!("answered to visible, {quantile}"), "ms");
        comparison.target = at_most.iter().find(|(name, _)| *name == quantile).map(|(_, most)| Aim::AtMost(*most));
        comparison.round_alone(figures.get(&format!("visible_{quantile}_ms"))?);
        Ok(comparison)
    };
    ["p50", "p99", "max"].into_iter().map(of_quantile).collect()
}
