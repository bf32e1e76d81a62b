//! How much goes through the served setup on this machine. Not part of the tests, for it asserts nothing about speed:
//! `cargo test --release --workspace --test server -- --ignored --nocapture figures`, with the variables that `cargo xtask test` sets.

use std::time::{Duration, Instant};

use std::process::Command;

use crate::cluster::Cluster;
use crate::process::{Place, text};
use crate::spark::harness::{Job, Servers, events_or, hand_over, patience};
use crate::traffic::{Load, Traffic};

const EVENTS: u64 = 400_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures, and tests nothing"]
async fn figures() {
    for workers in [1, 2, 4] {
        let mut cluster = Cluster::new(1, workers, &[]);
        cluster.gates[0].start();
        let began = Instant::now();
        let traffic = Traffic::start(cluster.urls(), Load { batch: 500, rate: 0, events: EVENTS });
        let copies: u64 = traffic.finish().await.iter().map(|told| told.copies).sum();
        let sent = EVENTS + copies;
        let to_kafka = sent as f64 / began.elapsed().as_secs_f64();
        cluster.gates[0].stop();
        let began = Instant::now();
        for worker in &mut cluster.workers {
            worker.start();
        }
        let count = |cluster: &Cluster| {
            let answer = cluster.place().run(&["query", "SELECT count(*) AS n FROM silver.events", "--format", "csv"]);
            String::from_utf8_lossy(&answer.stdout).lines().nth(1).and_then(|line| line.parse::<u64>().ok()).unwrap_or_default()
        };
        while count(&cluster) < EVENTS {
            assert!(began.elapsed() < Duration::from_secs(300), "{}", cluster.logs());
            std::thread::sleep(Duration::from_millis(500));
        }
        let to_silver = sent as f64 / began.elapsed().as_secs_f64();
        let peak = cluster.workers.iter().map(|worker| worker.running().resident_bytes() >> 20).max().unwrap_or_default();
        println!(
            "{workers} workers: gate to Kafka {to_kafka:.0} events/s; Kafka to Bronze to Silver on S3 {to_silver:.0} events/s; largest worker {peak} MiB"
        );
        for worker in &mut cluster.workers {
            worker.stop();
        }
    }
}

/// The same job in Spark's own functions, with no line of ours in it.
const OWN_FUNCTIONS: &str = include_str!("figures.py");
/// Records of a micro-batch, for all three.
const BATCH: &str = "250000";

/// The same topic to Bronze and Silver on S3: by a worker, by the Spark job, and by a job in Spark's own functions. All on this machine, one after the other, in turns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures, and tests nothing"]
async fn spark_beside_the_worker() {
    let events = events_or(EVENTS as usize) as u64;
    let servers = Servers::start();
    let own = [
        ("TIDEGATE_PIPELINE__BATCH_RECORDS_MAX", BATCH),
        ("TIDEGATE_PIPELINE__SILVER_ROWS_MAX", BATCH),
        // The third makes none; with `--once` the job makes its own after all the rest.
        ("TIDEGATE_PIPELINE__GOLD_INTERVAL", "1h"),
    ];
    let gate = servers.place("gate", &own);
    let running = gate.start_with(&[("TIDEGATE_SERVER__ROLES", "ingest")]);
    let told = Traffic::start(vec![gate.url()], Load { batch: 500, rate: 0, events }).finish().await;
    running.stop(&gate);
    let sent = events + told.iter().map(|told| told.copies).sum::<u64>();
    for turn in 0..2 {
        let worker = servers.place(&format!("worker-{turn}"), &own);
        let began = Instant::now();
        let running = worker.start_with(&[("TIDEGATE_SERVER__ROLES", "pipeline")]);
        let by_worker = rate(sent, events, &worker, began);
        running.stop(&worker);

        let place = servers.place(&format!("spark-{turn}"), &own);
        hand_over(&place, "spark");
        let mut job = Job::submit(&place, &["--once", "--master", "local[2]"], &["--driver-memory", "2g"]);
        job.wait_until("it has started", || job_log(&place).contains("taking the stream on"));
        let by_spark = rate(sent, events, &place, Instant::now());
        assert_eq!(job.wait(), 0, "{}", job_log(&place));

        let mut own_functions = Command::new(servers.spark.python());
        own_functions.args([
            "-c",
            OWN_FUNCTIONS,
            servers.kafka.bootstrap(),
            "tidegate.events",
            &format!("s3a://tidegate/own-{turn}"),
            BATCH,
            servers.s3.url(),
        ]);
        own_functions.arg(servers.spark.jars().join("*")).envs(servers.s3.environment()).env("SPARK_LOCAL_IP", "127.0.0.1");
        let output = own_functions.output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let (seconds, rows) =
            text(&output.stdout).trim().split_once(' ').map(|(a, b)| (a.parse::<f64>().unwrap(), b.parse::<u64>().unwrap())).unwrap();
        assert_eq!(rows, events);
        let by_own = sent as f64 / seconds;
        println!(
            "turn {turn}, {sent} events to Bronze and Silver: the worker {by_worker:.0} events/s, the Spark job {by_spark:.0}, Spark's own functions {by_own:.0}; \
             Spark job : own functions = {:.2}, Spark job : worker = {:.2}",
            by_spark / by_own,
            by_spark / by_worker
        );
    }
}

fn job_log(place: &Place) -> String {
    std::fs::read_to_string(place.data().join("spark.log")).unwrap_or_default()
}

/// Events a second until all of them are in Silver.
fn rate(sent: u64, events: u64, place: &Place, began: Instant) -> f64 {
    loop {
        let answer = place.run(&["query", "SELECT count(*) AS n FROM silver.events", "--format", "csv"]);
        if text(&answer.stdout).lines().nth(1).and_then(|line| line.parse().ok()) == Some(events) {
            return sent as f64 / began.elapsed().as_secs_f64();
        }
        assert!(began.elapsed() < patience(), "{}", job_log(place));
        std::thread::sleep(Duration::from_millis(500));
    }
}
