//! What the consumer tells, sorted by what is to be done about it.

use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{Consumer as _, ConsumerContext, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::super::client::Log;
use super::super::message::stored;
use crate::Stored;

/// What the consumer tells.
#[derive(Debug)]
pub(super) enum Event {
    /// The next record of some partition.
    Message(Stored),
    /// A partition has nothing more at present.
    End(u32),
    /// Something failed that is tried again by itself.
    Passing(String),
    /// The consumer does not go on with what it was to read.
    Lost(String),
    /// Stored data is damaged, and the consumer would go on behind it.
    Damage(String),
}

/// Keeps the reason that librdkafka gives right before it hands out an error, for the error itself has none.
#[derive(Debug, Default)]
pub(super) struct Ear {
    reason: Mutex<String>,
}

impl ClientContext for Ear {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Log.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        reason.clone_into(&mut self.reason.lock().unwrap_or_else(PoisonError::into_inner));
        Log.error(error, reason);
    }
}

impl ConsumerContext for Ear {}

/// Waits for the next event. Safe to drop.
pub(super) async fn next(consumer: &StreamConsumer<Ear>) -> Event {
    sort(consumer.recv().await, consumer)
}

/// The next event, if it is there already.
pub(super) fn ready(consumer: &StreamConsumer<Ear>) -> Option<Event> {
    // Whoever waits later looks before it sleeps, so nobody needs to be woken from here.
    match pin!(consumer.recv()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(sort(outcome, consumer)),
        Poll::Pending => None,
    }
}

fn sort(outcome: Result<BorrowedMessage<'_>, KafkaError>, consumer: &StreamConsumer<Ear>) -> Event {
    match outcome {
        Ok(message) => stored(&message).map_or_else(|| Event::Damage("a message without a place".into()), Event::Message),
        Err(KafkaError::PartitionEOF(partition)) => Event::End(u32::try_from(partition).unwrap_or(u32::MAX)),
        Err(error) => {
            let reason = std::mem::take(&mut *consumer.context().reason.lock().unwrap_or_else(PoisonError::into_inner));
            let what = format!("{error}: {reason}");
            match error.rdkafka_error_code() {
                Some(Code::BadMessage | Code::BadCompression | Code::InvalidMessage | Code::Underflow | Code::UnsupportedFeature) => {
                    Event::Damage(what)
                }
                Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation | Code::MessageSizeTooLarge | Code::Fatal) => {
                    Event::Lost(what)
                }
                _ => Event::Passing(what),
            }
        }
    }
}
