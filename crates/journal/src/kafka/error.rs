//! What Kafka's errors mean to the caller.

use std::io;

use rdkafka::types::RDKafkaErrorCode as Code;

use crate::Error;

/// Why the journal in Kafka cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Settings cannot be used.
    #[error("the settings of the journal cannot be used: {0}")]
    Settings(String),
    /// The topic cannot be the journal, and a person has to change that.
    #[error("the topic {topic} cannot be the journal: {what}")]
    Topic {
        /// Its name.
        topic: String,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// The cluster does not answer, or not in time.
    #[error(transparent)]
    Journal(#[from] Error),
}

impl OpenError {
    /// Whether it may go by itself: opening can be tried again. Otherwise a person has to act first.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Journal(_))
    }
}

/// The error of something that was asked of the cluster and did not come about.
pub(super) fn unavailable(doing: impl Into<String>, what: impl ToString) -> Error {
    Error::Unavailable { doing: doing.into(), source: io::Error::other(what.to_string()) }
}

/// What the failure of a message's delivery means to the one who appended it. `bytes_max` is the bound of a message.
pub(super) fn of_delivery(code: Code, topic: &str, bytes: usize, bytes_max: usize) -> Error {
    match code {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => Error::TooLarge { bytes, limit: bytes_max },
        Code::QueueFull => Error::Full("librdkafka has no room for more messages; it has room again when Kafka answers".into()),
        _ => {
            let kind = match code {
                Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed | Code::Authentication => io::ErrorKind::PermissionDenied,
                Code::MessageTimedOut | Code::RequestTimedOut | Code::OperationTimedOut => io::ErrorKind::TimedOut,
                _ => io::ErrorKind::Other,
            };
            Error::Unavailable { doing: format!("append to topic {topic}"), source: io::Error::new(kind, code.to_string()) }
        }
    }
}

/// A short name for the metrics, of a bounded set.
pub(super) fn label(code: Code) -> &'static str {
    match code {
        Code::MessageTimedOut | Code::RequestTimedOut | Code::OperationTimedOut => "timeout",
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => "too_large",
        Code::QueueFull => "queue_full",
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => "too_few_replicas",
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed | Code::Authentication => "not_allowed",
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => "no_topic",
        Code::PurgeQueue | Code::PurgeInflight => "given_up",
        Code::Fatal => "fatal",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn the_caller_is_told_what_to_do() {
        let check = |code, expect| assert_eq!(of_delivery(code, "events", 5, 4).kind(), expect, "{code:?}");
        check(Code::MessageSizeTooLarge, ErrorKind::TooLarge);
        check(Code::QueueFull, ErrorKind::Full);
        check(Code::MessageTimedOut, ErrorKind::Unavailable);
        check(Code::NotEnoughReplicas, ErrorKind::Unavailable);
        check(Code::TopicAuthorizationFailed, ErrorKind::Unavailable);
        check(Code::Fatal, ErrorKind::Unavailable);
        check(Code::PurgeQueue, ErrorKind::Unavailable);
    }
}
