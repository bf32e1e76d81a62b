//! Kafka is away, for longer than any client waits: the gate spools, tells no untruth, and its memory stays as it was.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::traffic::{Load, Traffic, check_silver};

/// How long the broker is away. `TIDEGATE_TEST_BROKER_OUTAGE_SECONDS` sets another number.
const OUTAGE_SECONDS: u64 = 15;
const RATE: u64 = 2_000;
/// What the gate's memory may grow by in that time.
const GROWTH_BYTES_MAX: u64 = 96 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_taken_while_the_broker_is_away_and_all_arrive() {
    let outage = std::env::var("TIDEGATE_TEST_BROKER_OUTAGE_SECONDS").map_or(OUTAGE_SECONDS, |seconds| seconds.parse().unwrap());
    let mut cluster = Cluster::new(1, 1, &[]);
    for node in cluster.gates.iter_mut().chain(&mut cluster.workers) {
        node.start();
    }
    let traffic = Traffic::start(cluster.urls(), Load { batch: 20, rate: RATE, events: u64::MAX / 2 });
    tokio::time::sleep(Duration::from_secs(5)).await;
    cluster.kafka.kill().unwrap();
    let before = (traffic.acknowledged(), cluster.gates[0].running().resident_bytes());
    assert!(before.0 > 0);
    let mut peak = before.1;
    for _ in 0..outage {
        tokio::time::sleep(Duration::from_secs(1)).await;
        peak = peak.max(cluster.gates[0].running().resident_bytes());
    }
    let spooled = traffic.acknowledged() - before.0;
    assert!(spooled > RATE * outage / 2, "events were taken all the time: {spooled} in {outage} s");
    // A gate that is killed now has all of it on disk.
    cluster.gates[0].kill_and_start();
    tokio::time::sleep(Duration::from_secs(3)).await;
    cluster.kafka.restart().unwrap();
    // The spool drains while new events flow.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let told = traffic.end().await;
    let (acknowledged, copies): (u64, u64) = told.iter().fold((0, 0), |sum, told| (sum.0 + told.acknowledged, sum.1 + told.copies));
    let books = cluster.caught_up(acknowledged + copies);
    for node in cluster.gates.iter_mut().chain(&mut cluster.workers) {
        node.stop();
    }
    assert_eq!(books["balanced"], true, "{books}");
    check_silver(cluster.place(), &told);
    assert!(peak < before.1 + GROWTH_BYTES_MAX, "from {} to {peak} bytes", before.1);
    println!(
        "{acknowledged} events acknowledged, {spooled} of them in {outage} s without a broker; memory {} to {peak} bytes; books: {}",
        before.1, books["total"]
    );
}
