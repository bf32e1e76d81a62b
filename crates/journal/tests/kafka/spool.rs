//! The spool in front of Kafka: what is put while the broker is away arrives when it is back, each record once, also where the process is killed midway.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use journal::kafka::{Config, Kafka};
use journal::spool::{self, Spooled};
use journal::{ErrorKind, Record, Sink as _};

use crate::support::{Broker, counts, eventually, record};

/// Tells the test binary, started again, that it is the process to be killed: where its spool is, and the broker and topic.
const FOLDER: &str = "TIDEGATE_TEST_SPOOL_FOLDER";
const BROKERS: &str = "TIDEGATE_TEST_SPOOL_BROKERS";
const TOPIC: &str = "TIDEGATE_TEST_SPOOL_TOPIC";
const SIGKILL: i32 = 9;
/// Records that are spooled before the first kill.
const SPOOLED: u64 = 60_000;
const KILLS: usize = 6;

/// Small batches, so that a kill meets a drain that is not through.
fn kafka(config: Config) -> Config {
    Config { record_bytes_max: 16 << 10, queue_bytes_max: 128 << 10, delivery_timeout: Duration::from_secs(3), ..config }
}

fn quick() -> spool::Config {
    spool::Config {
        after: Duration::from_secs(2),
        retry_interval: Duration::from_millis(200),
        disk_free_bytes_min: 0,
        ..Default::default()
    }
}

async fn drained(spooled: &Spooled) {
    eventually(async || (spooled.status().records == 0 && spooled.status().away_for.is_none()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_while_the_broker_is_away_arrives_once() {
    let mut broker = Broker::own();
    let folder = tempfile::tempdir().unwrap();
    let config = kafka(broker.config());
    let spooled = Spooled::open(config.clone(), folder.path(), quick()).await.unwrap();
    spooled.put((0..100).map(record).collect()).await.unwrap();
    // The first may find a topic that nobody leads yet.
    drained(&spooled).await;
    spooled.put((0..100).map(record).collect()).await.unwrap();
    assert_eq!(spooled.status().records, 0, "while Kafka takes records, none is spooled");

    tokio::task::block_in_place(|| broker.server.kill().unwrap());
    let began = Instant::now();
    for first in (100..2_000).step_by(100) {
        spooled.put((first..first + 100).map(record).collect()).await.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(8), "only the first waits for Kafka: {:?}", began.elapsed());
    assert!(spooled.status().records >= 1_800 && spooled.status().away_for.is_some(), "{:?}", spooled.status());

    // The process ends and starts again while the broker is still away.
    spooled.close().await;
    let spooled = Spooled::open(config.clone(), folder.path(), quick()).await.unwrap();
    spooled.put((2_000..2_100).map(record).collect()).await.unwrap();

    tokio::task::block_in_place(|| broker.server.restart().unwrap());
    drained(&spooled).await;
    spooled.put((2_100..2_200).map(record).collect()).await.unwrap();
    let counts = counts(&Kafka::open(config).await.unwrap()).await;
    assert!((0..2_200).all(|number| counts.contains_key(&number)), "all of it is there");
    // What was on its way when the broker was killed may be there twice, and nothing else but what was put twice.
    let copies: Vec<_> = counts.iter().filter(|(number, count)| **number >= 100 && **count > 1).map(|(number, _)| *number).collect();
    assert!(copies.iter().all(|number| (100..200).contains(number)), "{copies:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_refuses_and_keeps_what_it_has() {
    let mut broker = Broker::own();
    let folder = tempfile::tempdir().unwrap();
    let config = kafka(broker.config());
    let spooled = Spooled::open(config.clone(), folder.path(), spool::Config { bytes_max: 2 << 20, ..quick() }).await.unwrap();
    spooled.put(vec![record(0)]).await.unwrap();
    drained(&spooled).await;
    tokio::task::block_in_place(|| broker.server.kill().unwrap());
    let large = |number| Record { value: Bytes::from(vec![b'x'; 10_000]), ..record(number) };
    let mut taken = 1;
    let refused = loop {
        match spooled.put(vec![large(taken)]).await {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 1_000, "the bound is not in force");
    };
    assert_eq!(refused.kind(), ErrorKind::Full, "{refused}");
    assert!(spooled.status().bytes <= 2 << 20 && spooled.status().records == taken - 1, "{:?}", spooled.status());

    tokio::task::block_in_place(|| broker.server.restart().unwrap());
    drained(&spooled).await;
    spooled.put(vec![large(taken)]).await.unwrap();
    let ends = journal::Journal::end(&Kafka::open(config).await.unwrap()).await.unwrap();
    // The first may have been given up on while it arrived.
    let there: u64 = ends.values().sum();
    assert!((taken + 1..=taken + 2).contains(&there), "{there} of {}", taken + 1);
}

/// The process that is killed: drains its spool, and says so when it has begun.
#[tokio::test(flavor = "multi_thread")]
async fn drains() {
    let (Ok(folder), Ok(brokers), Ok(topic)) = (std::env::var(FOLDER), std::env::var(BROKERS), std::env::var(TOPIC)) else { return };
    let config = kafka(Config { brokers: vec![brokers], topic, ..Config::default() });
    let spooled = Spooled::open(config, Path::new(&folder), quick()).await.unwrap();
    let before = spooled.status().records;
    eventually(async || (spooled.status().records < before).then_some(())).await;
    println!("draining {}", spooled.status().records);
    drained(&spooled).await;
    println!("drained");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_while_it_drains_doubles_nothing() {
    let mut broker = Broker::own();
    let folder = tempfile::tempdir().unwrap();
    let config = kafka(broker.config());
    drop(Kafka::open(config.clone()).await.unwrap());
    tokio::task::block_in_place(|| broker.server.kill().unwrap());
    let spooled = Spooled::open(config.clone(), folder.path(), quick()).await.unwrap();
    for first in (0..SPOOLED).step_by(500) {
        spooled.put((first..first + 500).map(record).collect()).await.unwrap();
    }
    assert_eq!(spooled.status().records, SPOOLED);
    spooled.close().await;
    tokio::task::block_in_place(|| broker.server.restart().unwrap());

    let mut midway = 0;
    for kill in 0..=KILLS {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "spool::drains", "--nocapture"]).stdout(Stdio::piped());
        command.env(FOLDER, folder.path()).env(BROKERS, broker.server.bootstrap()).env(TOPIC, &config.topic);
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ended = tokio::task::block_in_place(|| {
            let draining = lines.by_ref().map(Result::unwrap).find(|line| line.contains("draining "));
            if kill == KILLS || draining.is_none() {
                return process.wait().unwrap();
            }
            std::thread::sleep(Duration::from_millis(7 * kill as u64));
            process.kill().unwrap();
            process.wait().unwrap()
        });
        midway += usize::from(ended.signal() == Some(SIGKILL));
    }
    assert!(midway >= 2, "it was killed before it was through, {midway} times");
    let spooled = Spooled::open(config.clone(), folder.path(), quick()).await.unwrap();
    drained(&spooled).await;
    let counts = counts(&Kafka::open(config).await.unwrap()).await;
    assert_eq!(counts.len() as u64, SPOOLED, "nothing is lost");
    let copies: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).take(5).collect();
    assert!(copies.is_empty(), "{copies:?}");
}
