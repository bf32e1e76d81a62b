//! The peers as processes: the API in Python, and the job on Spark. What they are is in `bench/peers`.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use servers::{Kafka, free_port};

use super::broker;
use super::http;
use super::load::{Figures, Target};
use super::product::KEY;
use super::running::{Running, to_end};
use super::scene::Scene;

pub(crate) const FAST_API: &str = "FastAPI + aiokafka";
pub(crate) const SPARK: &str = "Spark local[2]";
/// As many as there are cores to share.
const WORKERS: &str = "2";
const TOPIC: &str = "peer.events";
const READY_PATIENCE: Duration = Duration::from_secs(60);
const SPARK_PATIENCE: Duration = Duration::from_secs(3_600);

/// The ingestion API of the peer, running, on a topic of its own.
#[derive(Debug)]
pub(crate) struct FastApi {
    running: Running,
    port: u16,
}

impl FastApi {
    /// Makes its topic, starts it, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it does not start; the text ends with its log.
    pub(crate) fn start(scene: &Scene<'_>, kafka: &Kafka) -> Result<Self> {
        broker::make_topic(scene, kafka, TOPIC)?;
        let port = free_port()?;
        let mut uvicorn = Command::new(scene.tools.fast_api()?);
        uvicorn.args(["-m", "uvicorn", "app:app", "--app-dir"]).arg(scene.place.root().join("bench/peers/fastapi"));
        uvicorn.args(["--workers", WORKERS, "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]);
        uvicorn.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        uvicorn.env("PEER_BROKERS", kafka.bootstrap()).env("PEER_TOPIC", TOPIC).env("PEER_KEY", KEY).env("PYTHONDONTWRITEBYTECODE", "1");
        let mut running = Running::start("FastAPI", &mut uvicorn, &scene.kept("fastapi.log"))?;
        running.wait_until(READY_PATIENCE, || http::is_ready(port, "/readyz"))?;
        Ok(Self { running, port })
    }

    /// As what is measured.
    pub(crate) fn target(&self) -> Target {
        Target { url: format!("http://127.0.0.1:{}", self.port), process: self.running.id() }
    }
}

/// What the job on Spark makes of the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Bronze,
    /// With exact deduplication.
    Silver,
}

/// Lets Spark make a table of all that a topic has; the figures of its progress, once it was warm.
///
/// # Errors
///
/// When it fails, or takes longer than an hour.
pub(crate) fn spark(scene: &Scene<'_>, name: &str, kafka: &Kafka, topic: &str, table: Table) -> Result<Figures> {
    let engine = scene.tools.spark()?;
    let report = scene.kept(&format!("{name}.json"));
    let folder = scene.folder("spark")?;
    let mut job = Command::new(&engine.interpreter);
    job.arg(scene.place.root().join("bench/peers/spark/stream.py"));
    job.arg(if table == Table::Bronze { "bronze" } else { "silver" });
    job.args(["--brokers", kafka.bootstrap(), "--topic", topic]).arg("--jars").arg(&engine.jars);
    job.arg("--folder").arg(folder).arg("--json").arg(&report);
    job.args(["--batch-records", &batch_records(scene.options.events).to_string()]);
    job.env("SPARK_LOCAL_IP", "127.0.0.1").env("PYSPARK_PYTHON", &engine.interpreter).env("PYTHONDONTWRITEBYTECODE", "1");
    to_end("Spark", &mut job, &scene.kept(name), SPARK_PATIENCE)?;
    Figures::read(&report)
}

/// Records of a micro-batch, in such a number that there are about ten: the first of them are to warm up.
fn batch_records(events: u32) -> u32 {
    events.div_ceil(10).max(1)
}
