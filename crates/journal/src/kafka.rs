//! The journal in Apache Kafka.
//!
//! A topic is the journal, its partitions are the partitions, its offsets the offsets. An append is answered when all in-sync replicas have it
//! (`acks=all`, idempotent producer).
//!
//! - Offsets may have gaps where somebody wrote to the topic in transactions; we never do.
//! - The payload is the message's value, as it came. What the gate says about it is in the message's header `tidegate`.
//! - Retention is Kafka's: `trim` does nothing. A lake that does not keep up for longer than the topic keeps records meets [`ErrorKind::Trimmed`].
//! - Partitions are divided among processes by a consumer group that holds no offsets; progress is kept with the rows that were read.
//! - A topic that is made anew, or gets more partitions, needs a higher `generation`.
//!
//! [`ErrorKind::Trimmed`]: crate::ErrorKind::Trimmed

mod client;
mod config;
mod delivery;
mod error;
mod membership;
mod message;
mod producer;
mod reader;
mod scan;
mod topic;
mod watermarks;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use rdkafka::ClientConfig;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

pub use config::{Compression, Config, Mechanism, Protocol, Secret, Security};
pub use error::OpenError;
use membership::Membership;
pub(crate) use message::{Mark, Outgoing};
use producer::Producer;
use reader::Reader;
use watermarks::{ends, starts, watermarks};

use crate::{Error, Journal, Offsets, ReadLimit, Record, Share, Stored};

/// The journal in Apache Kafka. Dropping it leaves the consumer group, and fails appends that are still on their way.
pub struct Kafka {
    config: Config,
    shared: ClientConfig,
    topic: Arc<str>,
    partitions: u32,
    producer: Arc<Producer>,
    /// Made by the first read: a gate never reads.
    reader: OnceLock<Reader>,
    opening: Mutex<()>,
    /// Joined when somebody asks for a share: a gate never does.
    membership: OnceLock<Membership>,
}

/// What is there of a journal in Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Brokers that are there.
    pub brokers: u32,
    /// Partitions of the topic, and on how many brokers each is at least; `None` where there is no topic yet.
    pub topic: Option<(u32, u32)>,
}

impl Kafka {
    /// Looks at the cluster and the topic that the settings name, and makes nothing.
    ///
    /// # Errors
    ///
    /// As [`Kafka::open`].
    pub async fn probe(config: &Config) -> Result<Probe, OpenError> {
        config.check()?;
        let seen = topic::look(config, &client::shared(config)?).await?;
        Ok(Probe { brokers: seen.brokers, topic: seen.topic.map(|found| (found.partitions, found.replicas)) })
    }

    /// Opens the journal in the topic that the settings name, and makes the topic where that is allowed.
    ///
    /// # Errors
    ///
    /// [`OpenError::Settings`] and [`OpenError::Topic`] say what a person has to change. [`OpenError::Journal`] may pass: the brokers do not answer.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        config.check()?;
        let shared = client::shared(&config)?;
        producer::check(&config, &shared)?;
        let partitions = topic::settle(&config, &shared).await?;
        let producer = Arc::new(Producer::new(&config, &shared, partitions));
        tracing::info!(topic = config.topic, partitions, generation = config.generation, "the journal is in Kafka");
        Ok(Self {
            topic: config.topic.as_str().into(),
            partitions,
            producer,
            reader: OnceLock::new(),
            opening: Mutex::new(()),
            membership: OnceLock::new(),
            shared,
            config,
        })
    }

    /// The settings it was opened with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Appends records that say where they came from.
    pub(crate) async fn append_marked(&self, records: Vec<Outgoing>) -> Result<Vec<(u32, u64)>, Error> {
        self.producer.send(records).await
    }

    /// Fails all appends that are on their way, at once. What had left already may arrive all the same.
    pub(crate) async fn give_up(&self) {
        let producer = Arc::clone(&self.producer);
        // A panic there has nothing to do with us.
        drop(spawn_blocking(move || producer.give_up()).await);
    }

    /// Collects from the values of a header what `read` makes of them, from these offsets to the present end of the topic.
    pub(crate) async fn collect_marks<T: Send + 'static>(
        &self,
        from: Offsets,
        name: &'static str,
        mut collected: T,
        mut note: impl FnMut(&mut T, &str) + Send + 'static,
    ) -> Result<T, Error> {
        let (config, shared) = (self.config.clone(), self.shared.clone());
        let scanning = spawn_blocking(move || {
            let tell = |value: &[u8]| str::from_utf8(value).into_iter().for_each(|value| note(&mut collected, value));
            scan::scan(&config, &shared, &from, name, tell)?;
            Ok(collected)
        });
        scanning.await.unwrap_or(Err(Error::Closed))
    }

    /// How much to append at a time so that it fits into the queue beside what others append.
    pub(crate) fn batch_limit(&self) -> ReadLimit {
        producer::batch_limit(&self.config)
    }

    fn reader(&self) -> Result<&Reader, Error> {
        let _one_at_a_time = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        match self.reader.get() {
            Some(reader) => Ok(reader),
            None => {
                let made = Reader::open(&self.config, &self.shared, Arc::clone(&self.producer))?;
                Ok(self.reader.get_or_init(|| made))
            }
        }
    }

    fn all(&self) -> std::ops::Range<u32> {
        0..self.partitions
    }
}

#[async_trait]
impl Journal for Kafka {
    fn generation(&self) -> u32 {
        self.config.generation
    }

    fn partitions(&self) -> u32 {
        self.partitions
    }

    async fn append(&self, records: Vec<Record>) -> Result<Vec<(u32, u64)>, Error> {
        self.producer.send(records.into_iter().map(Outgoing::from).collect()).await
    }

    async fn read(&self, from: &Offsets, limit: ReadLimit) -> Result<Vec<Stored>, Error> {
        self.reader()?.read(from, limit).await
    }

    async fn wait(&self, from: &Offsets) {
        match self.reader() {
            Ok(reader) => reader.wait(from).await,
            // The next read tells.
            Err(_) => tokio::time::sleep(client::ANSWER_TIMEOUT).await,
        }
    }

    fn share(&self) -> watch::Receiver<Share> {
        self.membership.get_or_init(|| Membership::join(&self.config, &self.shared)).share()
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn start(&self) -> Result<Offsets, Error> {
        Ok(starts(watermarks(&self.producer, &self.topic, self.all()).await?))
    }

    async fn end(&self) -> Result<Offsets, Error> {
        Ok(ends(watermarks(&self.producer, &self.topic, self.all()).await?))
    }

    /// Does nothing: Kafka lets go of records by the retention of the topic.
    async fn trim(&self, _before: &Offsets) -> Result<(), Error> {
        Ok(())
    }

    async fn seal(&self) -> Result<Offsets, Error> {
        self.end().await
    }

    async fn forget(&self, before: &Offsets) -> Result<(), Error> {
        topic::forget(&self.config, &self.shared, before).await
    }
}

impl std::fmt::Debug for Kafka {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Kafka").field("config", &self.config).field("partitions", &self.partitions).finish_non_exhaustive()
    }
}
