//! Silver anew from Bronze, beside how fast it was made at first.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

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
    let mut gold = Comparison::alone("Gold after it", "s");
    for round in scene.rounds() {
        let name = format!("worker-{round}");
        let (data, settings) = (scene.folder("worker")?, worker_settings(&kafka, &name));
        let mut worker = [Product::start(scene, &name, &data, "pipeline", &settings)?];
        let live = staged(&mut worker, scene.options.events)?;
        live.write(&scene.kept(&format!("live-{round}.json")), "stages")?;
        drop(worker);
        // Nobody needs it meanwhile.
        kafka.stop()?;
        let mut replay = command(scene, &data, &settings, &["replay", "--format", "ndjson"]);
        let ended = to_end("tidegate replay", &mut replay, &scene.kept(&format!("replay-{round}")), PATIENCE)?;
        kafka.restart()?;
        let used = ended.usage.cpu_seconds / ended.seconds / f64::from(cores());
        let (silver_seconds, gold_seconds) = parts(&ended.text()?)?;
        rate.round(events / silver_seconds, live.silver_per_second);
        share.round_alone(used);
        gold.round_alone(gold_seconds);
        memory.round_alone(ended.usage.rss_peak_bytes / 1e6);
        let figures = [
            ("events_per_second", events / silver_seconds),
            ("silver_seconds", silver_seconds),
            ("gold_seconds", gold_seconds),
            ("seconds", ended.seconds),
            ("measured_cpu_seconds", ended.usage.cpu_seconds),
            ("measured_rss_peak_bytes", ended.usage.rss_peak_bytes),
        ];
        write_run(&scene.kept(&format!("replay-{round}.json")), "replay", &figures)?;
    }
    Ok(Found {
        comparisons: vec![rate, share, gold, memory],
        notes: notes(&[
            "All of Bronze, as a process of its own, while nothing else runs: until Silver is there, files joined, as the command tells it. Live Silver is the worker's, which makes Bronze at the same time and has Kafka beside it; its Gold waits. Gold, which comes after the rebuild, has a time of its own; cores and memory are those of the process as a whole.",
        ]),
    })
}

/// How many seconds Silver took, and how many Gold after it, by the line that the command prints.
fn parts(printed: &str) -> Result<(f64, f64)> {
    let line = printed.lines().find(|line| line.starts_with('{')).context("tidegate replay printed no result")?;
    let result: Value = serde_json::from_str(line).context("what tidegate replay printed cannot be read")?;
    let seconds = |name: &str| {
        result.get(name).and_then(Value::as_f64).filter(|seconds| *seconds > 0.0).with_context(|| format!("tidegate replay told no {name}"))
    };
    Ok((seconds("silver_seconds")?, seconds("gold_seconds")?))
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn the_parts_of_a_rebuild_are_read() {
        let line = "{\"rebuild\":\"silver_rebuild\",\"silver\":297059,\"silver_seconds\":5.25,\"gold_seconds\":60.5}\n";
        assert_eq!(parts(line).unwrap(), (5.25, 60.5));
        let check = |line: &str, expect: &str| {
            let error = parts(line).unwrap_err().to_string();
            assert!(error.contains(expect), "{line}: {error}");
        };
        check("", "printed no result");
        check("{\"silver_seconds\":0,\"gold_seconds\":1}", "told no silver_seconds");
        check("{\"silver_seconds\":1}", "told no gold_seconds");
    }
}
