//! The broker is killed under load and starts again, or stands still: what was answered is there, in order, and what was not is an error in time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use journal::kafka::{Config, Kafka};
use journal::{ErrorKind, Journal as _, Record, Stored};

use crate::support::{Broker, counts, drain, eventually, number, record};

/// Appends until told to stop; returns what was answered, and where.
async fn append(journal: Arc<Kafka>, next: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> (BTreeMap<u64, (u32, u64)>, usize) {
    let (mut answered, mut failures) = (BTreeMap::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let first = next.fetch_add(10, Ordering::Relaxed);
        match journal.append((first..first + 10).map(record).collect()).await {
            Ok(positions) => answered.extend((first..).zip(positions)),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Full), "{error}");
                failures += 1;
            }
        }
    }
    (answered, failures)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_survives_kills_of_the_broker() {
    let mut broker = Broker::own();
    let config = Config { delivery_timeout: Duration::from_secs(3), ..broker.config() };
    let journal = Arc::new(Kafka::open(config.clone()).await.unwrap());
    let (next, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let appenders: Vec<_> = (0..8).map(|_| tokio::spawn(append(Arc::clone(&journal), Arc::clone(&next), Arc::clone(&stop)))).collect();
    for pause in [0, 5] {
        tokio::time::sleep(Duration::from_secs(1)).await;
        tokio::task::block_in_place(|| broker.server.kill().unwrap());
        // The second time for longer than an append may take.
        tokio::time::sleep(Duration::from_secs(pause)).await;
        tokio::task::block_in_place(|| broker.server.restart().unwrap());
        let before = next.load(Ordering::Relaxed);
        eventually(async || (next.load(Ordering::Relaxed) > before + 1000).then_some(())).await;
    }
    stop.store(true, Ordering::Relaxed);
    let (mut answered, mut failures) = (BTreeMap::new(), 0);
    for appender in appenders {
        let (some, failed) = appender.await.unwrap();
        answered.extend(some);
        failures += failed;
    }
    assert!(failures > 0, "appends failed while the broker was away");
    assert!(answered.len() > 2000, "there was load: {}", answered.len());

    let reader = Kafka::open(config).await.unwrap();
    let found: BTreeMap<(u32, u64), Record> = drain(&reader, reader.start().await.unwrap())
        .await
        .into_iter()
        .map(|Stored { partition, offset, record }| ((partition, offset), record))
        .collect();
    for (answer, position) in &answered {
        assert_eq!(found.get(position).map(number), Some(*answer), "what was answered is at {position:?}");
    }
    // What was answered is there once. What failed may be there, and nothing that was never appended.
    let counts = counts(&reader).await;
    assert!(answered.keys().all(|answer| counts.get(answer) == Some(&1)));
    assert!(counts.keys().all(|number| *number < next.load(Ordering::Relaxed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stands_still_is_an_error_in_time_and_memory_stays_bounded() {
    let broker = Broker::own();
    let config =
        Config { delivery_timeout: Duration::from_secs(3), record_bytes_max: 100_000, queue_bytes_max: 1_000_000, ..broker.config() };
    let journal = Arc::new(Kafka::open(config).await.unwrap());
    journal.append(vec![record(0)]).await.unwrap();
    broker.server.freeze().unwrap();
    let began = Instant::now();
    let waiting: Vec<_> = (1..=20)
        .map(|number| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move { journal.append(vec![Record { value: vec![7; 90_000].into(), ..record(number) }]).await })
        })
        .collect();
    let mut kinds = Vec::new();
    for waited in waiting {
        kinds.push(waited.await.unwrap().unwrap_err().kind());
    }
    assert!(began.elapsed() < Duration::from_secs(10), "appends took {:?}", began.elapsed());
    assert!(kinds.contains(&ErrorKind::Full) && kinds.contains(&ErrorKind::Unavailable), "{kinds:?}");
    // A read fails in time as well, and a wait neither ends the process's patience nor its processor.
    let start = journal.start().await;
    assert_eq!(start.unwrap_err().kind(), ErrorKind::Unavailable);
    broker.server.thaw().unwrap();
    eventually(async || journal.append(vec![record(100)]).await.ok()).await;
}
