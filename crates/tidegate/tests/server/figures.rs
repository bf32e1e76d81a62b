//! How much goes through the served setup on this machine. Not part of the tests, for it asserts nothing about speed:
//! `cargo test --release --workspace --test server -- --ignored --nocapture figures`, with the variables that `cargo xtask test` sets.

use std::time::{Duration, Instant};

use crate::cluster::Cluster;
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
