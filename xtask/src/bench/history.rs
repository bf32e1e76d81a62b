//! Deduplication with a long history, beside a short one.

use std::time::Duration;

use anyhow::Result;

use super::comparison::{Comparison, Target as Aim};
use super::ingest::notes;
use super::load::{self, Figures};
use super::product::Settings;
use super::report::Found;
use super::scene::Scene;

const FEW: &str = "1000000";
const MANY: &str = "100000000";
const BESIDE: &str = "1 M ids of history";
/// A hundred million ids are drawn, sorted and written first.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// With 100 million ids, and with 1 million.
pub(crate) fn history(scene: &Scene<'_>) -> Result<Found> {
    let rate = |ids: &str| Comparison::beside(BESIDE, &format!("events a second, 100 M {ids}"), "events/s");
    let mut comparisons = [rate("ids by time (UUIDv7)"), rate("random ids (UUIDv4)")];
    let mut cpu = Comparison::beside(BESIDE, "CPU an event, 100 M ids by time", "ns").target(Aim::RatioAtMost(1.2));
    let mut filters = Comparison::beside(BESIDE, "filters in memory, 100 M ids by time", "MB").target(Aim::AtMost(300.0));
    let mut start = Comparison::beside(BESIDE, "opening the index, 100 M ids by time", "ms");
    for round in scene.rounds() {
        for (kind, comparison) in ["by-time", "random"].into_iter().zip(&mut comparisons) {
            let few = measure(scene, &format!("1m-{kind}-{round}"), FEW, kind)?;
            let many = measure(scene, &format!("100m-{kind}-{round}"), MANY, kind)?;
            comparison.round(many.get("step_events_per_second")?, few.get("step_events_per_second")?);
            if kind == "by-time" {
                cpu.round(many.get("step_event_cpu_ns")?, few.get("step_event_cpu_ns")?);
                filters.round(many.get("filter_resident_bytes")? / 1e6, few.get("filter_resident_bytes")? / 1e6);
                start.round(many.get("cold_start_ms")?, few.get("cold_start_ms")?);
            }
        }
    }
    let mut all = Vec::from(comparisons);
    all.extend([cpu, filters, start]);
    Ok(Found {
        comparisons: all,
        notes: notes(&[
            "The step from Bronze to Silver as a whole: reading, the transform, the index, Parquet, commits. 1 % copies, 5 % late by up to a year. The ids of the history are spread over a year.",
        ]),
    })
}

fn measure(scene: &Scene<'_>, name: &str, ids: &str, kind: &str) -> Result<Figures> {
    let folder = scene.folder("history")?;
    let (events, place) = (scene.options.events.to_string(), folder.display().to_string());
    let mut arguments = vec!["history", "--ids", ids, "--events", &events, "--folder", &place];
    if kind == "random" {
        arguments.push("--random-ids");
    }
    load::bench(scene, name, &folder, &Settings::new(), &arguments, PATIENCE)
}
