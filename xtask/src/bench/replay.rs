//! Silver anew from Bronze, beside how fast it was made at first.

use std::time::Duration;

use anyhow::Result;

use super::comparison::{Comparison, Target as Aim};
use super::ingest::notes;
use super::machine::cores;
use super::product::{Product, command};
use super::report::{Found, write_run};
use super::running::to_end;
use super::scene::Scene;
use super::stages::{self, staged, worker_settings};

const LIVE: &str = "live Silver";
const PATIENCE: Duration = Duration::from_secs(1_800);

/// `tidegate replay` of a lake that a worker has just made.
pub(crate) fn replay(scene: &Scene<'_>) -> Result<Found> {
    let mut kafka = stages::filled(scene)?;
    let events = f64::from(scene.options.events);
    let mut rate = Comparison::beside(LIVE, "events a second", "events/s").target(Aim::RatioAtLeast(3.0));
    let mut share = Comparison::alone("part of all cores that it uses", "").target(Aim::AtLeast(0.8));
    let mut memory = Comparison::alone("memory at its peak", "MB");
    for round in scene.rounds() {
        let name = format!("worker-{round}");
        let (data, settings) = (scene.folder("worker")?, worker_settings(&kafka, &name));
        let mut worker = [Product::start(scene, &name, &data, "pipeline", &settings)?];
        let live = staged(&mut worker, scene.options.events)?;
        live.write(&scene.kept(&format!("live-{round}.json")), "stages")?;
        drop(worker);
        // Nobody needs it meanwhile.
        kafka.stop()?;
        let mut replay = command(scene, &data, &settings, &["replay", "--format", "json"]);
        let ended = to_end("tidegate replay", &mut replay, &scene.kept(&format!("replay-{round}")), PATIENCE)?;
        kafka.restart()?;
        let used = ended.usage.cpu_seconds / ended.seconds / f64::from(cores());
        rate.round(events / ended.seconds, live.silver_per_second);
        share.round_alone(used);
        memory.round_alone(ended.usage.rss_peak_bytes / 1e6);
        let figures = [
            ("events_per_second", events / ended.seconds),
            ("seconds", ended.seconds),
            ("measured_cpu_seconds", ended.usage.cpu_seconds),
            ("measured_rss_peak_bytes", ended.usage.rss_peak_bytes),
        ];
        write_run(&scene.kept(&format!("replay-{round}.json")), "replay", &figures)?;
    }
    Ok(Found {
        comparisons: vec![rate, share, memory],
        notes: notes(&[
            "All of Bronze, as a process of its own, from its start to its end, with Gold and the joining of files, while nothing else runs. Live Silver is the worker's, which makes Bronze at the same time and has Kafka beside it.",
        ]),
    })
}
