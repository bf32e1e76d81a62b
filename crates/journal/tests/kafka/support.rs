//! What the tests share: a broker while somebody needs one, topics of their own, records that can be told apart.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use journal::kafka::{Config, Kafka};
use journal::{Journal as _, Offsets, ReadLimit, Record, Stored};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use tempfile::TempDir;

pub(crate) const MUCH: ReadLimit = ReadLimit { records_max: 10_000, bytes_max: 16 << 20 };

/// A broker, and the folder it lives in.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) server: servers::Kafka,
    _folder: TempDir,
}

impl Broker {
    /// One that nobody else uses, to be treated badly.
    pub(crate) fn own() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { server: servers::Kafka::start(folder.path()).unwrap(), _folder: folder }
    }

    /// The same, with a listener for TLS and passwords.
    pub(crate) fn secure() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { server: servers::Kafka::start_secure(folder.path()).unwrap(), _folder: folder }
    }

    /// One that tests share as long as there is one that uses it.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Broker>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let broker = Arc::new(Self::own());
            *shared = Arc::downgrade(&broker);
            broker
        })
    }

    /// Settings for a topic that no other test has, and a group that has no other members.
    pub(crate) fn config(&self) -> Config {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let topic = format!("test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Config { brokers: vec![self.server.bootstrap().to_owned()], group: format!("{topic}-group"), topic, ..Config::default() }
    }

    pub(crate) fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", self.server.bootstrap()).create().unwrap()
    }

    /// Makes a topic as somebody else would.
    pub(crate) async fn make_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let topic = NewTopic { config: settings.to_vec(), ..NewTopic::new(name, partitions, TopicReplication::Fixed(1)) };
        let made = self.admin().create_topics([&topic], &AdminOptions::new()).await.unwrap();
        made.into_iter().for_each(|made| drop(made.unwrap()));
    }
}

/// A record that tells its number.
pub(crate) fn record(number: u64) -> Record {
    let key = (u128::from(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)) << 64 | u128::from(number)).rotate_left(64).to_le_bytes();
    Record { key, header: Bytes::from(format!("number {number}")), value: Bytes::from(format!("{{\"value\": {number}}}")) }
}

/// The number that a record tells.
pub(crate) fn number(record: &Record) -> u64 {
    let number = str::from_utf8(&record.header).unwrap().strip_prefix("number ").unwrap().parse().unwrap();
    assert_eq!(*record, self::record(number), "a record is as it was appended");
    number
}

/// Everything from these offsets on to the present end.
pub(crate) async fn drain(journal: &Kafka, mut from: Offsets) -> Vec<Stored> {
    let end = eventually(async || journal.end().await.ok()).await;
    let mut all = Vec::new();
    while from.iter().any(|(partition, from)| end.get(partition).is_some_and(|end| from < end)) {
        for stored in journal.read(&from, MUCH).await.unwrap() {
            from.insert(stored.partition, stored.offset + 1);
            all.push(stored);
        }
    }
    all
}

/// Everything there is: how often each number is there. Asserts that each partition has its records in order of their offsets.
pub(crate) async fn counts(journal: &Kafka) -> BTreeMap<u64, usize> {
    let start = eventually(async || journal.start().await.ok()).await;
    let (mut counts, mut last) = (BTreeMap::new(), Offsets::new());
    for stored in drain(journal, start).await {
        *counts.entry(number(&stored.record)).or_default() += 1;
        let before = last.insert(stored.partition, stored.offset);
        assert!(before.is_none_or(|before| before < stored.offset));
    }
    counts
}

/// Waits for what must come.
pub(crate) async fn eventually<T>(look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it does not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
