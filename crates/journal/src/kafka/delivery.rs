//! One append on its way: each of its messages holds a share of it, and the last one to let go answers the caller.
//!
//! Nothing here waits or is lost when the caller goes away: the room that the append takes up in the queue is given back when Kafka is done with it.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::client::Log;
use super::error::label;
use crate::metrics;

/// Partition and offset of each message, or why one of them could not be delivered.
pub(super) type Outcome = Result<Vec<(u32, u64)>, Code>;

/// An append whose messages are on their way.
#[derive(Debug)]
pub(super) struct Append {
    progress: Mutex<Progress>,
    _room: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Progress {
    /// By message; `None` for what has not been delivered.
    positions: Vec<Option<(u32, u64)>>,
    fault: Option<Code>,
    answer: Option<oneshot::Sender<Outcome>>,
}

impl Append {
    /// An append of so many messages, for which there is room, and where its answer will come.
    pub(super) fn begin(messages: usize, room: OwnedSemaphorePermit) -> (Arc<Self>, oneshot::Receiver<Outcome>) {
        let (answer, answered) = oneshot::channel();
        let progress = Progress { positions: vec![None; messages], fault: None, answer: Some(answer) };
        (Arc::new(Self { progress: Mutex::new(progress), _room: room }), answered)
    }

    /// Notes where a message is, or why it is not.
    fn settle(&self, index: usize, outcome: Result<(u32, u64), Code>) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(position) => {
                if let Some(place) = progress.positions.get_mut(index) {
                    *place = Some(position);
                }
            }
            Err(code) => {
                metrics::delivery_failed(label(code));
                progress.fault.get_or_insert(code);
            }
        }
    }
}

impl Drop for Append {
    fn drop(&mut self) {
        let progress = self.progress.get_mut().unwrap_or_else(PoisonError::into_inner);
        let positions: Option<Vec<(u32, u64)>> = std::mem::take(&mut progress.positions).into_iter().collect();
        let outcome = match (progress.fault, positions) {
            (None, Some(positions)) => Ok(positions),
            (fault, _) => Err(fault.unwrap_or(Code::Unknown)),
        };
        // A caller that does not wait any more is told nothing.
        if let Some(answer) = progress.answer.take() {
            drop(answer.send(outcome));
        }
    }
}

/// A message's share of its append.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) append: Arc<Append>,
    pub(super) index: usize,
}

impl Ticket {
    /// The message could not even be given to librdkafka.
    pub(super) fn refuse(&self, error: &KafkaError) {
        self.append.settle(self.index, Err(error.rdkafka_error_code().unwrap_or(Code::Fail)));
    }
}

/// Takes librdkafka's reports of deliveries.
#[derive(Debug)]
pub(super) struct Deliveries;

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Log.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Log.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let outcome = match result {
            // After a lost answer the broker may know that it has the message and no longer where. Who appended it is not told a place that is not true.
            Ok(message) => match (u32::try_from(message.partition()), u64::try_from(message.offset())) {
                (Ok(partition), Ok(offset)) => Ok((partition, offset)),
                _ => Err(Code::Unknown),
            },
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(Code::Fail)),
        };
        ticket.append.settle(ticket.index, outcome);
    }
}
