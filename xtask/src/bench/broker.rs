//! Kafka, as it is when it is measured, and its own tools for measuring.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use servers::{Kafka, KafkaOptions, S3, S3Options};

use super::product::BUCKET;
use super::running::to_end;
use super::scene::Scene;

/// As many as the product makes of its own topic.
const PARTITIONS: &str = "4";
const TOOL_PATIENCE: Duration = Duration::from_secs(60);
/// However slow the broker is.
const MEASURE_PATIENCE: Duration = Duration::from_secs(600);
/// What `kafka-producer-perf-test.sh` gives to Java.
const AS_ITS_SCRIPTS_DO: [&str; 6] = [
    "-Xmx512m",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
];
/// The same durability, order, compression and time for company as the gate's producer, and as large batches and as many bytes on their way.
const PRODUCER: [&str; 7] = [
    "acks=all",
    "enable.idempotence=true",
    "compression.type=lz4",
    "linger.ms=2",
    "batch.size=1000000",
    "buffer.memory=67108864",
    "max.request.size=2097152",
];

/// Starts Kafka, without anything in it.
///
/// # Errors
///
/// When it does not start; the text ends with its log.
pub(crate) fn start(scene: &Scene<'_>) -> Result<Kafka> {
    start_with(scene, &[])
}

/// The same for loads, which nobody reads: what is old goes, so that the disk is bounded. It costs a few files' names.
///
/// # Errors
///
/// As [`start`].
pub(crate) fn start_for_loads(scene: &Scene<'_>) -> Result<Kafka> {
    start_with(
        scene,
        &[("log.retention.bytes", "536870912"), ("log.segment.bytes", "268435456"), ("log.retention.check.interval.ms", "10000")],
    )
}

fn start_with(scene: &Scene<'_>, properties: &[(&str, &str)]) -> Result<Kafka> {
    let options = KafkaOptions {
        jars: scene.tools.servers()?.jars.clone(),
        port: None,
        advertised: None,
        secure: false,
        accounts: Vec::new(),
        properties: properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        fast: true,
    };
    Kafka::start_with(&scene.folder("kafka")?, &options)
}

/// Starts the S3 server, with an empty bucket.
///
/// # Errors
///
/// As [`start`].
pub(crate) fn start_s3(scene: &Scene<'_>) -> Result<S3> {
    let s3 = S3::start_with(&scene.folder("s3")?, &S3Options { program: scene.tools.servers()?.gateway.clone(), port: None })?;
    s3.bucket(BUCKET)?;
    Ok(s3)
}

/// Makes a topic that is as the product's own.
///
/// # Errors
///
/// When it cannot be made.
pub(crate) fn make_topic(scene: &Scene<'_>, kafka: &Kafka, topic: &str) -> Result<()> {
    let mut tool = tool(scene, "org.apache.kafka.tools.TopicCommand")?;
    tool.args(["--bootstrap-server", kafka.bootstrap(), "--create", "--topic", topic, "--partitions", PARTITIONS]);
    tool.args(["--config", "max.message.bytes=2162688", "--config", "min.insync.replicas=1"]);
    to_end("kafka-topics", &mut tool, &scene.kept(&format!("topic-{topic}")), TOOL_PATIENCE).map(drop)
}

/// Records a second that Kafka's own ProducerPerformance sends: each a line of a file, in no order.
///
/// # Errors
///
/// When it fails, or does not say how fast it was.
pub(crate) fn produced_per_second(scene: &Scene<'_>, name: &str, kafka: &Kafka, topic: &str, lines: &Path, records: u64) -> Result<f64> {
    let mut tool = tool(scene, "org.apache.kafka.tools.ProducerPerformance")?;
    tool.args(["--bootstrap-server", kafka.bootstrap(), "--topic", topic, "--throughput", "-1", "--num-records", &records.to_string()]);
    // As its loads have it too: the first fifth is to warm up.
    tool.args(["--warmup-records", &(records / 6).to_string()]).arg("--payload-file").arg(lines);
    tool.arg("--command-property").args(PRODUCER);
    let ended = to_end("ProducerPerformance", &mut tool, &scene.kept(name), MEASURE_PATIENCE)?;
    produced(&ended.text()?).context("ProducerPerformance does not say how fast it was")
}

/// Records a second that Kafka's own ConsumerPerformance reads.
///
/// # Errors
///
/// When it fails, or does not say how fast it was.
pub(crate) fn consumed_per_second(scene: &Scene<'_>, name: &str, kafka: &Kafka, topic: &str, records: u64) -> Result<f64> {
    let mut tool = tool(scene, "org.apache.kafka.tools.ConsumerPerformance")?;
    tool.args(["--bootstrap-server", kafka.bootstrap(), "--topic", topic, "--timeout", "60000", "--num-records", &records.to_string()]);
    let ended = to_end("ConsumerPerformance", &mut tool, &scene.kept(name), MEASURE_PATIENCE)?;
    consumed(&ended.text()?).context("ConsumerPerformance does not say how fast it was")
}

fn tool(scene: &Scene<'_>, class: &str) -> Result<Command> {
    let mut java = Command::new("java");
    java.env("CLASSPATH", scene.tools.servers()?.jars.join("*")).args(AS_ITS_SCRIPTS_DO);
    java.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn").arg(class);
    Ok(java)
}

/// Of the last summary: `300000 steady state records sent, 93632.958801 records/sec (76.12 MB/sec), …`.
fn produced(text: &str) -> Option<f64> {
    let summary = text.lines().rev().find(|line| line.contains("records sent, "))?;
    summary.split_once("records sent, ")?.1.split_once(" records/sec")?.0.parse().ok()
}

/// Of the only line of numbers, the last one: records a second while it read, without the time to find its partitions.
fn consumed(text: &str) -> Option<f64> {
    let line = text.lines().rev().find(|line| line.starts_with(|char: char| char.is_ascii_digit()))?;
    line.rsplit(',').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_its_tools_print_is_read() {
        let text = "Number of records read: 20000\n400000 records sent, 91932.9 records/sec (74.74 MB/sec), 949.71 ms avg latency, 1410 ms 99th.\n\
                    300000 steady state records sent, 93632.958801 records/sec (76.12 MB/sec), 1080.47 ms avg latency.\n";
        assert_eq!(produced(text), Some(93_632.958_801));
        assert_eq!(produced("Number of records read: 20000\n"), None);
        let text = "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec\n\
                    2026-11-30 21:38:56:961, 2026-11-30 21:39:01:911, 340.3906, 68.7658, 400231, 80854.7475, 2663, 2287, 148.8372, 175002.6235";
        assert_eq!(consumed(text), Some(175_002.623_5));
        assert_eq!(consumed("WARNING: timed out\n"), None);
    }
}
