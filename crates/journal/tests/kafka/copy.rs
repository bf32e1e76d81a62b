//! An embedded journal is moved to Kafka: what the lake lacks arrives once, however often the copy is begun.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use journal::embedded::{self, Embedded};
use journal::kafka::{Config, Kafka};
use journal::{Copied, Journal as _, copy};

use crate::support::{Broker, MUCH, counts, record};

/// Far longer than a record takes to a broker on the same machine.
const QUIET: Duration = Duration::from_millis(500);

/// Waits until nothing of a copy that was broken off is on its way any more, as when its process has ended.
async fn settled(to: &Kafka) {
    let mut end = to.end().await.unwrap();
    loop {
        tokio::time::sleep(QUIET).await;
        let now = to.end().await.unwrap();
        if now == end {
            return;
        }
        end = now;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_lake_lacks_arrives_once() {
    let broker = Broker::shared();
    let folder = tempfile::tempdir().unwrap();
    let settings = embedded::Config { disk_free_bytes_min: 0, ..Default::default() };
    let from = Embedded::open(folder.path(), settings).await.unwrap();
    for first in (0..5_000).step_by(100) {
        from.append((first..first + 100).map(record).collect()).await.unwrap();
    }
    // The lake has the first third of each partition.
    let mut after = from.end().await.unwrap();
    after.values_mut().for_each(|offset| *offset /= 3);
    let taken: u64 = after.values().sum();
    let config = Config { generation: 2, partitions: 3, record_bytes_max: 16 << 10, queue_bytes_max: 256 << 10, ..broker.config() };
    let to = Kafka::open(config).await.unwrap();

    // Broken off midway, twice, and begun again.
    for portion in [700, 1_500] {
        let seen = AtomicU64::new(0);
        let stop = tokio::sync::Notify::new();
        let copying = copy(&from, &after, &to, |copied: Copied| {
            seen.store(copied.copied, Ordering::SeqCst);
            if copied.copied >= portion {
                stop.notify_one();
            }
        });
        tokio::select! {
            done = copying => assert!(done.unwrap().copied >= portion, "it was through before it could be broken off"),
            () = stop.notified() => {}
        }
        assert!(seen.load(Ordering::SeqCst) > 0);
        settled(&to).await;
    }
    let last = copy(&from, &after, &to, |_| ()).await.unwrap();
    assert_eq!(last.copied + last.already, 5_000 - taken);
    assert!(last.already > 0, "{last:?}");
    let counts = counts(&to).await;
    assert!(counts.values().all(|count| *count == 1));
    assert_eq!(counts.len() as u64, 5_000 - taken);
    let lacking = from.read(&after, MUCH).await.unwrap();
    assert!(lacking.iter().all(|stored| counts.contains_key(&crate::support::number(&stored.record))));
}
