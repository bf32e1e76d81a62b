//! What workers make of a journal that is full already: Bronze and Silver, beside Spark and the limit.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use servers::Kafka;

use super::broker;
use super::comparison::{Comparison, Target as Aim};
use super::http::sum_of;
use super::ingest::{gate_on_kafka, limits, notes};
use super::load;
use super::peers::{self, SPARK, Table};
use super::product::{self, Product, Settings};
use super::report::{Found, write_run};
use super::scene::Scene;

/// The topic that the product makes.
pub(crate) const TOPIC: &str = "tidegate.events";
const LIMIT: &str = "read, then write Parquet";
const LOOK: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(1_800);
const BRONZE_ROWS: &str = "tidegate_bronze_rows_total";
const SILVER_READ: &str = "tidegate_silver_read_rows_total";

const FILLED: &str = "The topic is filled first, by the gate alone: events of 850 bytes, 1 % copies, 5 % late by up to a year. Ours is measured from when the worker is ready until its metrics say that all of them are committed.";
const ALL_STAGES: &str = "Ours makes Bronze and Silver, each with its books, at the same time on the same two cores; Spark makes the one table that is measured. Gold, which Spark does not make, waits.";
const SPARK_IS_WARM: &str = "Spark reads the same topic in about ten micro-batches, of which the first three are to warm up, on local[2] with 3 GB; its rates are those of its StreamingQueryProgress. Delta, Parquet with zstd, on the same disk.";

/// How fast workers were.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Staged {
    pub(crate) bronze_per_second: f64,
    pub(crate) silver_per_second: f64,
    cpu_seconds: f64,
    rss_peak_bytes: f64,
    seconds: f64,
}

impl Staged {
    /// Writes it as a report.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub(crate) fn write(&self, file: &Path, what: &str) -> Result<()> {
        let Self { bronze_per_second, silver_per_second, cpu_seconds, rss_peak_bytes, seconds } = *self;
        let figures = [
            ("bronze_events_per_second", bronze_per_second),
            ("silver_events_per_second", silver_per_second),
            ("measured_cpu_seconds", cpu_seconds),
            ("measured_rss_peak_bytes", rss_peak_bytes),
            ("seconds", seconds),
        ];
        write_run(file, what, &figures)
    }
}

/// Kafka → Bronze.
pub(crate) fn bronze(scene: &Scene<'_>) -> Result<Found> {
    let kafka = filled(scene)?;
    let mut spark = Comparison::beside(SPARK, "events a second", "events/s").target(Aim::RatioAtLeast(10.0));
    let mut limit = Comparison::beside(LIMIT, "events a second", "events/s").target(Aim::RatioAtLeast(0.6));
    for round in scene.rounds() {
        let ours = worker(scene, &kafka, round)?.bronze_per_second;
        let theirs = peers::spark(scene, &format!("spark-{round}"), &kafka, TOPIC, Table::Bronze)?;
        spark.round(ours, theirs.get("processed_events_per_second")?);
        let read = broker::consumed_per_second(scene, &format!("consumer-{round}"), &kafka, TOPIC, scene.options.events.into())?;
        let written = limits(scene, &format!("limits-{round}"))?.get("parquet_all_cores_events_per_second")?;
        limit.round(ours, one_after_the_other(read, written));
    }
    Ok(Found {
        comparisons: vec![spark, limit],
        notes: notes(&[
            FILLED,
            ALL_STAGES,
            SPARK_IS_WARM,
            "The limit: Kafka's own ConsumerPerformance reads the topic, then all cores encode the same rows as Parquet, one after the other: 1 / (1 / read + 1 / written).",
        ]),
    })
}

/// Kafka → Silver, each event once.
pub(crate) fn silver(scene: &Scene<'_>) -> Result<Found> {
    let kafka = filled(scene)?;
    let mut spark = Comparison::beside(SPARK, "events a second", "events/s").target(Aim::RatioAtLeast(10.0));
    for round in scene.rounds() {
        let ours = worker(scene, &kafka, round)?.silver_per_second;
        let theirs = peers::spark(scene, &format!("spark-{round}"), &kafka, TOPIC, Table::Silver)?;
        spark.round(ours, theirs.get("processed_events_per_second")?);
    }
    Ok(Found {
        comparisons: vec![spark],
        notes: notes(&[
            FILLED,
            ALL_STAGES,
            SPARK_IS_WARM,
            "Both deduplicate exactly and without a time window: Spark by a MERGE of each micro-batch on the event's id, which only inserts. Its history is what it has read so far, as ours is.",
        ]),
    })
}

/// Kafka with a topic that has all events.
///
/// # Errors
///
/// When something does not start, or an event is refused.
pub(crate) fn filled(scene: &Scene<'_>) -> Result<Kafka> {
    let kafka = broker::start(scene)?;
    let lines = scene.temporary("lines.ndjson");
    load::write_events(scene, &lines, scene.options.events)?;
    let gate = gate_on_kafka(scene, &kafka)?;
    load::send(scene, &gate.url(), &lines)?;
    Ok(kafka)
}

/// One worker on a lake of its own in a folder, from the beginning of the topic to its end.
fn worker(scene: &Scene<'_>, kafka: &Kafka, round: u32) -> Result<Staged> {
    let name = format!("worker-{round}");
    let settings = worker_settings(kafka, &name);
    let mut worker = [Product::start(scene, &name, &scene.folder("worker")?, "pipeline", &settings)?];
    let staged = staged(&mut worker, scene.options.events)?;
    staged.write(&scene.kept(&format!("ours-{round}.json")), "stages")?;
    Ok(staged)
}

/// As by default, but for Gold, which has its own time; and a consumer group of its own, so that nobody waits for one that is gone.
pub(crate) fn worker_settings(kafka: &Kafka, group: &str) -> Settings {
    product::on_kafka(kafka, &waiting(group))
}

/// The same as pairs.
pub(crate) fn waiting(group: &str) -> [(&'static str, &str); 2] {
    [("TIDEGATE_PIPELINE__GOLD_INTERVAL", "1h"), ("TIDEGATE_JOURNAL__KAFKA__GROUP", group)]
}

/// Watches workers, which are ready, until they have brought so many events to Silver.
///
/// # Errors
///
/// When one ends before that, or it takes longer than half an hour.
pub(crate) fn staged(workers: &mut [Product], events: u32) -> Result<Staged> {
    let events = f64::from(events);
    let began = Instant::now();
    // What they did before they were said to be ready does not count.
    let first = done(workers)?;
    let cpu_before: f64 = workers.iter().map(|worker| worker.usage().cpu_seconds).sum();
    let mut bronze_seconds = None;
    loop {
        let (bronze, silver) = done(workers)?;
        let seconds = began.elapsed().as_secs_f64();
        if bronze >= events {
            bronze_seconds.get_or_insert(seconds);
        }
        if silver >= events {
            let bronze_seconds = bronze_seconds.context("Silver has events that Bronze has not")?;
            return Ok(Staged {
                bronze_per_second: (events - first.0) / bronze_seconds,
                silver_per_second: (events - first.1) / seconds,
                cpu_seconds: workers.iter().map(|worker| worker.usage().cpu_seconds).sum::<f64>() - cpu_before,
                rss_peak_bytes: workers.iter().map(|worker| worker.usage().rss_peak_bytes).sum(),
                seconds,
            });
        }
        for worker in &mut *workers {
            worker.check()?;
        }
        if began.elapsed() > PATIENCE {
            bail!("Silver has {silver} of {events} events after {} s", PATIENCE.as_secs());
        }
        sleep(LOOK);
    }
}

/// Rows that Bronze has, and rows of it that Silver has decided about.
fn done(workers: &[Product]) -> Result<(f64, f64)> {
    let mut done = (0.0, 0.0);
    for worker in workers {
        let metrics = worker.metrics()?;
        done.0 += sum_of(&metrics, BRONZE_ROWS, "");
        done.1 += sum_of(&metrics, SILVER_READ, "");
    }
    Ok(done)
}

/// The rate of two things of which each event needs both.
fn one_after_the_other(one: f64, other: f64) -> f64 {
    1.0 / (1.0 / one + 1.0 / other)
}

#[cfg(test)]
mod tests {
    use super::one_after_the_other;

    #[test]
    fn what_is_done_one_after_the_other_takes_both_times() {
        assert_eq!(one_after_the_other(100.0, 100.0), 50.0);
        assert!(one_after_the_other(100.0, 1e12) > 99.9);
    }
}
