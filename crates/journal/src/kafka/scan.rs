//! Looking through the topic for marks: what of another log has been put into it already.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::Log;
use super::config::Config;
use super::error::unavailable;
use super::message::header;
use crate::{Error, Offsets};

/// A scan that hears nothing for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);
const TURN: Duration = Duration::from_millis(200);

/// Goes through the topic from these offsets to its present end, and tells the value of each header of this name. Blocks.
///
/// # Errors
///
/// [`Error::Unavailable`] when the brokers do not answer. Nothing is skipped, so what was told by then is not everything.
pub(super) fn scan(config: &Config, shared: &ClientConfig, from: &Offsets, name: &str, mut tell: impl FnMut(&[u8])) -> Result<(), Error> {
    let failed = |what: &dyn std::fmt::Display| unavailable(format!("look through topic {}", config.topic), what);
    let consumer: BaseConsumer<Log> = settings(config, shared).create_with_context(Log).map_err(|error| failed(&error))?;
    let mut list = TopicPartitionList::new();
    let mut open = BTreeSet::new();
    for (partition, offset) in from {
        let number = i32::try_from(*partition).unwrap_or(i32::MAX);
        let offset = Offset::Offset(i64::try_from(*offset).unwrap_or(i64::MAX));
        list.add_partition_offset(&config.topic, number, offset).map_err(|error| failed(&error))?;
        open.insert(number);
    }
    consumer.assign(&list).map_err(|error| failed(&error))?;
    let mut heard = Instant::now();
    let mut trouble = "the brokers sent nothing".to_owned();
    while !open.is_empty() {
        match consumer.poll(TURN) {
            Some(Ok(message)) => {
                heard = Instant::now();
                if let Some(value) = header(&message, name) {
                    tell(value);
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                heard = Instant::now();
                open.remove(&partition);
            }
            Some(Err(error)) => trouble = error.to_string(),
            None => {}
        }
        if heard.elapsed() > PATIENCE {
            return Err(failed(&trouble));
        }
    }
    Ok(())
}

fn settings(config: &Config, shared: &ClientConfig) -> ClientConfig {
    let mut settings = shared.clone();
    settings.set("group.id", &config.group);
    settings.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
    settings.set("enable.partition.eof", "true").set("check.crcs", "true");
    // Records that retention has removed are not there: the scan begins with the first that is.
    settings.set("auto.offset.reset", "earliest");
    settings.set("fetch.wait.max.ms", "100").set("fetch.queue.backoff.ms", "20");
    settings.set("fetch.max.bytes", config.fetch_bytes_max.to_string());
    settings.set("queued.max.messages.kbytes", (config.fetch_bytes_max / 1024).to_string());
    settings.set("socket.timeout.ms", "10000");
    settings
}
