//! A process of the product: started on a folder of its own, asked by its metrics, stopped when it is dropped.

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use servers::{Kafka, S3, free_port};

use super::http;
use super::running::{Running, to_end};
use super::scene::Scene;
use super::usage::Usage;

/// The write key of all of them.
pub(crate) const KEY: &str = "tg_key_of_the_benchmarks";
/// The bucket of lakes that are on S3.
pub(crate) const BUCKET: &str = "tidegate";
const READY_PATIENCE: Duration = Duration::from_secs(120);
const COMMAND_PATIENCE: Duration = Duration::from_secs(60);
/// How often metrics are asked for: each answer costs the process a millisecond.
const LOOK: Duration = Duration::from_millis(50);

/// Settings as variables.
pub(crate) type Settings = Vec<(String, String)>;

/// What every process is told: that no source is slowed down, for there is but one.
pub(crate) fn settings(more: &[(&str, &str)]) -> Settings {
    let unbounded = [("TIDEGATE_INGEST__EVENTS_PER_SECOND_MAX", "100000000"), ("TIDEGATE_INGEST__EVENTS_BURST_MAX", "100000000")];
    unbounded.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The same with the journal in Kafka. A yes is Kafka's: without the spool, by which a gate says yes while Kafka is slow.
pub(crate) fn on_kafka(kafka: &Kafka, more: &[(&str, &str)]) -> Settings {
    let journal = [
        ("TIDEGATE_JOURNAL__KIND", "kafka"),
        ("TIDEGATE_JOURNAL__KAFKA__BROKERS", kafka.bootstrap()),
        ("TIDEGATE_JOURNAL__SPOOL__ENABLED", "false"),
    ];
    settings(&[&journal[..], more].concat())
}

/// The same with the lake on S3.
pub(crate) fn on_kafka_and_s3(kafka: &Kafka, s3: &S3, more: &[(&str, &str)]) -> Settings {
    let location = format!("s3://{BUCKET}/lake");
    let mut settings = on_kafka(kafka, &[&[("TIDEGATE_LAKE__LOCATION", location.as_str())][..], more].concat());
    settings.extend(s3.environment());
    settings
}

/// A running process.
#[derive(Debug)]
pub(crate) struct Product {
    running: Running,
    port: u16,
    /// From its start until it said that it is ready.
    pub(crate) ready_seconds: f64,
}

impl Product {
    /// Starts a process on the data of a folder, with one source, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it is not ready within two minutes; the text ends with its log.
    pub(crate) fn start(scene: &Scene<'_>, name: &str, data: &Path, roles: &str, settings: &Settings) -> Result<Self> {
        if !data.join("sources.json").exists() {
            let mut add = command(scene, data, settings, &["source", "add", "bench", "--key", KEY]);
            to_end("tidegate source add", &mut add, &scene.kept(&format!("{name}-source")), COMMAND_PATIENCE)?;
        }
        let port = free_port()?;
        let mut serve = command(scene, data, settings, &["serve", "--roles", roles, "--listen", &format!("127.0.0.1:{port}")]);
        let began = Instant::now();
        let mut running = Running::start(name, &mut serve, &scene.kept(&format!("{name}.log")))?;
        running.wait_until(READY_PATIENCE, || http::is_ready(port, "/readyz"))?;
        Ok(Self { running, port, ready_seconds: began.elapsed().as_secs_f64() })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn id(&self) -> u32 {
        self.running.id()
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage::of(self.id())
    }

    /// All its metrics.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub(crate) fn metrics(&self) -> Result<String> {
        let (status, text) = http::get(self.port, "/metrics")?;
        if status != 200 {
            bail!("/metrics answered {status}");
        }
        Ok(text)
    }

    /// Waits until its metrics are so.
    ///
    /// # Errors
    ///
    /// When it ends before that, or takes longer than `patience`; `what` says then what was waited for.
    pub(crate) fn wait_for(&mut self, what: &str, patience: Duration, is_so: impl Fn(&str) -> bool) -> Result<()> {
        let began = Instant::now();
        while !is_so(&self.metrics()?) {
            self.running.check()?;
            if began.elapsed() > patience {
                bail!("{what} took longer than {} s", patience.as_secs());
            }
            sleep(LOOK);
        }
        Ok(())
    }

    /// That it runs.
    ///
    /// # Errors
    ///
    /// When it has ended; the text ends with its log.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.running.check()
    }
}

/// A command of the product on the data of a folder.
pub(crate) fn command(scene: &Scene<'_>, data: &Path, settings: &Settings, arguments: &[&str]) -> Command {
    let mut command = scene.tidegate();
    command.args(arguments).env("TIDEGATE_DATA", data).envs(settings.iter().map(|(name, value)| (name, value)));
    command
}
