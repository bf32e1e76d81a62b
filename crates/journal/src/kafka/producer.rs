//! Appending: records go out in order, and are answered when all in-sync replicas have them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::Client;
use rdkafka::producer::{BaseRecord, Producer as _, PurgeConfig, ThreadedProducer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::{Config, RECORD_OVERHEAD_BYTES};
use super::delivery::{Append, Deliveries, Ticket};
use super::error::{OpenError, of_delivery, unavailable};
use super::message::Outgoing;
use crate::{Error, ReadLimit, metrics, partition_of};

/// What a message costs in memory beside its bytes: librdkafka's own notes and ours.
const MESSAGE_BYTES: usize = 512;
/// What is moved into Kafka goes in batches of no more than this.
const BATCH_RECORDS_MAX: usize = 5_000;
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Sends records to one topic.
pub(super) struct Producer {
    topic: String,
    partitions: u32,
    settings: ClientConfig,
    record_bytes_max: usize,
    queue_bytes_max: usize,
    /// Bytes that there is still room for.
    room: Arc<Semaphore>,
    /// Made when it is needed, and made anew after an error that it cannot recover from.
    live: Mutex<Option<Arc<Live>>>,
    /// What a client that only asks is told.
    questions: ClientConfig,
    /// Made when something is asked before anything was sent.
    asking: Mutex<Option<Arc<Live>>>,
}

impl Producer {
    pub(super) fn new(config: &Config, shared: &ClientConfig, partitions: u32) -> Self {
        Self {
            topic: config.topic.clone(),
            partitions,
            settings: settings(config, shared),
            record_bytes_max: config.record_bytes_max,
            queue_bytes_max: config.queue_bytes_max,
            room: Arc::new(Semaphore::new(config.queue_bytes_max)),
            live: Mutex::new(None),
            questions: shared.clone(),
            asking: Mutex::new(None),
        }
    }

    /// Sends the messages and returns, in the order given, where they are. Dropping it takes nothing back.
    pub(super) async fn send(&self, messages: Vec<Outgoing>) -> Result<Vec<(u32, u64)>, Error> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let started = Instant::now();
        let bytes = self.check(&messages)?;
        let room = self.admit(bytes)?;
        let live = self.live()?;
        let (append, answered) = Append::begin(messages.len(), room);
        let largest = messages.iter().map(Outgoing::payload_bytes).max().unwrap_or_default();
        let count = messages.len();
        for (index, message) in messages.into_iter().enumerate() {
            let ticket = Ticket { append: Arc::clone(&append), index };
            if !self.enqueue(&live, &message, ticket) {
                break;
            }
        }
        drop(append);
        let outcome = answered.await.map_err(|_| Error::Closed)?;
        let positions = outcome.map_err(|code| of_delivery(code, &self.topic, largest, self.record_bytes_max));
        match &positions {
            Ok(_) => {
                metrics::appended(started.elapsed());
                metrics::delivered(count, bytes);
            }
            Err(error) => metrics::refused(error.kind()),
        }
        positions
    }

    /// Gives up on everything that is on its way: whoever waits for it is told at once that it failed. What had left for the broker already may arrive all the
    /// same. Blocks for a moment.
    pub(super) fn give_up(&self) {
        if let Some(live) = self.lock().take() {
            live.0.purge(PurgeConfig::default().queue().inflight());
        }
    }

    /// A client for questions to the cluster: the one that sends, where there is one. It is not made for that: an idempotent producer asks for the right to write before it
    /// has anything to send, and who only reads need not have it.
    pub(super) fn asking(&self) -> Result<Arc<Live>, Error> {
        if let Some(live) = self.lock().as_ref() {
            return Ok(Arc::clone(live));
        }
        let mut slot = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asking) = slot.as_ref() {
            return Ok(Arc::clone(asking));
        }
        let made = self.questions.create_with_context(Deliveries).map_err(|error| unavailable("make a Kafka client", error))?;
        Ok(Arc::clone(slot.insert(Arc::new(Live(made)))))
    }

    /// The client that sends.
    fn live(&self) -> Result<Arc<Live>, Error> {
        let mut slot = self.lock();
        if let Some(live) = slot.as_ref() {
            let Some((code, reason)) = live.client().fatal_error() else { return Ok(Arc::clone(live)) };
            tracing::warn!(topic = self.topic, %code, reason, "the Kafka producer cannot go on and is made anew");
            metrics::delivery_failed("fatal");
        }
        let made = self.settings.create_with_context(Deliveries).map_err(|error| unavailable("make a Kafka producer", error))?;
        let live = Arc::new(Live(made));
        *slot = Some(Arc::clone(&live));
        Ok(live)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes that the messages take up; an error when that can never be taken. Nothing has been sent by then.
    fn check(&self, messages: &[Outgoing]) -> Result<usize, Error> {
        let mut sum = 0usize;
        for message in messages {
            let bytes = message.payload_bytes();
            if bytes > self.record_bytes_max {
                return Err(Error::TooLarge { bytes, limit: self.record_bytes_max });
            }
            sum = sum.saturating_add(bytes).saturating_add(MESSAGE_BYTES);
        }
        if sum > self.queue_bytes_max {
            return Err(Error::TooLarge { bytes: sum, limit: self.queue_bytes_max });
        }
        Ok(sum)
    }

    fn admit(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Error> {
        let asked = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.room).try_acquire_many_owned(asked).map_err(|_| {
            metrics::queue_full();
            Error::Full(format!(
                "{} bytes are on their way to Kafka, queue_bytes_max is {}; there is room again when it has answered",
                self.queue_bytes_max.saturating_sub(self.room.available_permits()),
                self.queue_bytes_max
            ))
        })
    }

    /// Gives one message to librdkafka, which copies it; whether it took it.
    fn enqueue(&self, live: &Live, message: &Outgoing, ticket: Ticket) -> bool {
        let partition = partition_of(&message.record.key, self.partitions);
        let record = BaseRecord::with_opaque_to(&self.topic, Box::new(ticket))
            .partition(i32::try_from(partition).unwrap_or(i32::MAX))
            .key(&message.record.key[..])
            .payload(&message.record.value[..])
            .headers(message.headers());
        match live.0.send(record) {
            Ok(()) => true,
            Err((error, record)) => {
                record.delivery_opaque.refuse(&error);
                false
            }
        }
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Producer").field("topic", &self.topic).field("partitions", &self.partitions).finish_non_exhaustive()
    }
}

/// The producer that works now.
pub(super) struct Live(ThreadedProducer<Deliveries>);

impl Live {
    /// The client, for questions to the cluster.
    pub(super) fn client(&self) -> &Client<Deliveries> {
        self.0.client()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // Its end takes a moment, which nobody here is to wait for. Where no thread can be had, it ends right here.
        let producer = self.0.clone();
        drop(std::thread::Builder::new().name("kafka-farewell".into()).spawn(move || drop(producer)));
    }
}

fn settings(config: &Config, shared: &ClientConfig) -> ClientConfig {
    let mut settings = shared.clone();
    let milliseconds = |time: Duration| time.as_millis().to_string();
    let timeout = config.delivery_timeout;
    settings.set("enable.idempotence", "true").set("acks", "all").set("max.in.flight.requests.per.connection", "5");
    settings.set("compression.type", config.compression.name());
    settings.set("linger.ms", milliseconds(config.linger));
    settings.set("message.timeout.ms", milliseconds(timeout));
    // A broker that does not answer is asked again while there is time.
    settings.set("request.timeout.ms", milliseconds(timeout / 3));
    settings.set("socket.timeout.ms", milliseconds((timeout / 2).max(Duration::from_secs(1))));
    settings.set("retry.backoff.ms", "50").set("retry.backoff.max.ms", "1000");
    // Our own bound is met first: an append is refused as a whole or not at all.
    let messages_max = config.queue_bytes_max / MESSAGE_BYTES + 1;
    let bytes_max = config.queue_bytes_max + messages_max * RECORD_OVERHEAD_BYTES;
    settings.set("queue.buffering.max.messages", messages_max.to_string());
    settings.set("queue.buffering.max.kbytes", bytes_max.div_ceil(1024).min(i32::MAX as usize).to_string());
    settings
}

/// A batch that takes up at most half of the queue, and one record more.
pub(super) fn batch_limit(config: &Config) -> ReadLimit {
    let quarter = config.queue_bytes_max / 4;
    ReadLimit { records_max: (quarter / MESSAGE_BYTES).clamp(1, BATCH_RECORDS_MAX), bytes_max: quarter.min(BATCH_BYTES_MAX) }
}

/// Whether librdkafka takes these settings.
pub(super) fn check(config: &Config, shared: &ClientConfig) -> Result<(), OpenError> {
    let refused = |error: rdkafka::error::KafkaError| OpenError::Settings(format!("librdkafka refuses them: {error}"));
    settings(config, shared).create_native_config().map(drop).map_err(refused)
}
