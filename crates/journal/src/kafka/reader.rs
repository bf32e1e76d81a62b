//! Reading: one consumer that stands where the last read ended, and fetches ahead of the next.
//!
//! The consumer belongs to no group as far as reading goes: it is told partitions and offsets, and commits none. Who reads is decided elsewhere.

mod batch;
mod event;
mod position;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use batch::Batch;
use event::{Ear, Event};
use position::Position;

use super::client::ANSWER_TIMEOUT;
use super::config::Config;
use super::error::unavailable;
use super::producer::Producer;
use super::watermarks::{Watermarks, ends, watermarks};
use crate::{Error, Offsets, ReadLimit, Stored};

/// How long a broker holds a fetch that finds nothing. While it does, a new place is not fetched from.
const FETCH_WAIT: Duration = Duration::from_millis(100);
/// A read that has found something does not wait longer for more of what is there.
const QUIET: Duration = Duration::from_millis(300);
/// A partition whose end was reported, and from which nothing more came for so long, has nothing to read before its end: a transaction's markers, say.
const SILENCE: Duration = Duration::from_millis(600);
/// A wait holds other readers up for no longer.
const HOLD: Duration = Duration::from_millis(100);
/// The pause before the brokers are asked again.
const PAUSE: Duration = Duration::from_millis(250);

/// Reads one topic.
pub(super) struct Reader {
    topic: Arc<str>,
    consumer: StreamConsumer<Ear>,
    producer: Arc<Producer>,
    position: Mutex<Position>,
}

impl Reader {
    pub(super) fn open(config: &Config, shared: &ClientConfig, producer: Arc<Producer>) -> Result<Self, Error> {
        let consumer =
            settings(config, shared).create_with_context(Ear::default()).map_err(|error| unavailable("make a Kafka consumer", error))?;
        Ok(Self { topic: config.topic.as_str().into(), consumer, producer, position: Mutex::new(Position::default()) })
    }

    /// Reads from the given offsets on; see [`crate::Journal::read`].
    pub(super) async fn read(&self, from: &Offsets, limit: ReadLimit) -> Result<Vec<Stored>, Error> {
        if from.is_empty() || limit.records_max == 0 {
            return Ok(Vec::new());
        }
        let mut position = self.position.lock().await;
        self.stand(&mut position, from).await?;
        let mut batch = Batch::new(limit);
        match self.fill(&mut position, &mut batch).await {
            Ok(()) => Ok(batch.found),
            Err(error) => {
                // It is read again from where the caller stands, and fails again if it must: nothing is skipped.
                position.forget();
                // What lies before the fault is good.
                if batch.found.is_empty() { Err(error) } else { Ok(batch.found) }
            }
        }
    }

    /// Waits until there is something to read, or may be; see [`crate::Journal::wait`].
    pub(super) async fn wait(&self, from: &Offsets) {
        let began = Instant::now();
        loop {
            let is_there = match self.glance(from).await {
                Ok(is_there) => is_there,
                // The next read meets the same error and tells of it. While brokers are away there is nothing to tell.
                Err(Error::Unavailable { .. }) => {
                    sleep(PAUSE).await;
                    began.elapsed() > ANSWER_TIMEOUT
                }
                Err(_) => true,
            };
            if is_there {
                return;
            }
        }
    }

    /// Whether something is there now or a moment later.
    async fn glance(&self, from: &Offsets) -> Result<bool, Error> {
        let mut position = self.position.lock().await;
        if position.is_nowhere() {
            self.stand(&mut position, from).await?;
        }
        if !position.is(from) {
            // Somebody else reads elsewhere. To stand here would take away what is fetched for them.
            drop(position);
            sleep(PAUSE).await;
            let marks = watermarks(&self.producer, &self.topic, from.keys().copied()).await?;
            return Ok(marks.iter().any(|(partition, range)| from.get(partition).is_some_and(|from| *from < range.end)));
        }
        if position.has_kept() {
            return Ok(true);
        }
        if position.is_beyond_some() {
            let marks = watermarks(&self.producer, &self.topic, from.keys().copied()).await?;
            if position.is_overtaken(&ends(marks)) {
                return Ok(true);
            }
        }
        let Ok(event) = timeout(HOLD, event::next(&self.consumer)).await else { return Ok(false) };
        match event {
            Event::Message(stored) => {
                position.keep(stored);
                Ok(position.has_kept())
            }
            Event::End(partition) => {
                position.note_end(partition);
                Ok(false)
            }
            Event::Passing(_) => {
                drop(position);
                sleep(PAUSE).await;
                Ok(false)
            }
            Event::Lost(_) | Event::Damage(_) => {
                position.forget();
                Ok(true)
            }
        }
    }

    /// Lets the consumer stand at these offsets.
    async fn stand(&self, position: &mut Position, from: &Offsets) -> Result<(), Error> {
        if position.is(from) {
            return Ok(());
        }
        position.forget();
        let marks = watermarks(&self.producer, &self.topic, from.keys().copied()).await?;
        let place = Position::at(from, &marks)?;
        let mut list = TopicPartitionList::new();
        let failed = |error| unavailable(format!("read topic {}", self.topic), error);
        for (partition, offset) in place.within() {
            let (partition, offset) =
                (i32::try_from(partition).unwrap_or(i32::MAX), Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX)));
            list.add_partition_offset(&self.topic, partition, offset).map_err(failed)?;
        }
        if place.is_beyond_some() {
            tracing::warn!(topic = %self.topic, ?from, ends = ?ends(marks), "some offsets to read from lie behind the end of their partition");
        }
        self.consumer.assign(&list).map_err(failed)?;
        *position = place;
        Ok(())
    }

    /// Fills the batch with what is there.
    async fn fill(&self, position: &mut Position, batch: &mut Batch) -> Result<(), Error> {
        position.take_kept(batch);
        while !batch.is_full()
            && let Some(event) = event::ready(&self.consumer)
        {
            self.take(event, position, batch)?;
        }
        if batch.is_full() {
            return Ok(());
        }
        let marks = match watermarks(&self.producer, &self.topic, position.partitions()).await {
            Ok(marks) => marks,
            Err(_) if !batch.found.is_empty() => return Ok(()),
            Err(error) => return Err(error),
        };
        self.fill_up_to(marks, position, batch).await
    }

    /// Goes on until the batch is full or the ends are reached.
    async fn fill_up_to(&self, marks: Watermarks, position: &mut Position, batch: &mut Batch) -> Result<(), Error> {
        let ends = ends(marks);
        let began = Instant::now();
        let mut heard = began;
        let mut trouble = "the brokers sent nothing".to_owned();
        while !batch.is_full() && !position.is_at(&ends, began.elapsed() > SILENCE) {
            let patience = if batch.found.is_empty() { ANSWER_TIMEOUT } else { QUIET };
            if heard.elapsed() > patience {
                break;
            }
            let Ok(event) = timeout(HOLD, event::next(&self.consumer)).await else { continue };
            match event {
                Event::Passing(what) => trouble = what,
                event => {
                    heard = Instant::now();
                    self.take(event, position, batch)?;
                }
            }
        }
        if position.is_overtaken(&ends) {
            position.forget();
        }
        let is_late = batch.found.is_empty() && !position.is_at(&ends, began.elapsed() > SILENCE);
        if is_late { Err(unavailable(format!("read topic {}", self.topic), trouble)) } else { Ok(()) }
    }

    fn take(&self, event: Event, position: &mut Position, batch: &mut Batch) -> Result<(), Error> {
        match event {
            Event::Message(stored) => {
                if position.advance(&stored) {
                    batch.push(stored);
                }
                Ok(())
            }
            Event::End(partition) => {
                position.note_end(partition);
                Ok(())
            }
            Event::Passing(_) => Ok(()),
            Event::Lost(what) => Err(unavailable(format!("read topic {} from where it stood", self.topic), what)),
            Event::Damage(what) => Err(Error::Damaged { place: format!("topic {} at or after {}", self.topic, position.describe()), what }),
        }
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reader").field("topic", &self.topic).finish_non_exhaustive()
    }
}

fn settings(config: &Config, shared: &ClientConfig) -> ClientConfig {
    let mut settings = shared.clone();
    settings.set("group.id", &config.group);
    settings.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
    settings.set("enable.partition.eof", "true");
    // An offset that is gone must be an error. It is never another one instead.
    settings.set("auto.offset.reset", "error");
    settings.set("check.crcs", "true");
    settings.set("fetch.wait.max.ms", FETCH_WAIT.as_millis().to_string());
    settings.set("fetch.queue.backoff.ms", "20").set("fetch.error.backoff.ms", "200");
    settings.set("fetch.max.bytes", config.fetch_bytes_max.to_string());
    settings.set("queued.max.messages.kbytes", (config.fetch_bytes_max / 1024).to_string());
    settings.set("socket.timeout.ms", "10000");
    settings
}
