//! Which partitions this process is to read: membership in a consumer group, and nothing else.
//!
//! The member fetches no record and commits no offset. It only hears from the group what is its own; progress is kept with the rows. The group divides
//! partitions in turn (round robin), so that each member's lie spread over the whole range.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::sync::watch;

use super::client::Log;
use super::config::Config;
use crate::{Share, metrics};

/// How often the member looks whether it is to leave.
const TURN: Duration = Duration::from_millis(100);
/// How long leaving may hold up who drops the journal. A member that could not leave is missed after the session timeout.
const FAREWELL: Duration = Duration::from_secs(3);
/// The pause before joining is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// A member of the group. Dropping it leaves the group.
#[derive(Debug)]
pub(super) struct Membership {
    share: watch::Receiver<Share>,
    stop: Arc<AtomicBool>,
    /// Ends when the member has left.
    left: std::sync::Mutex<mpsc::Receiver<()>>,
}

impl Membership {
    /// Joins the group in the background. The share is empty until the group has given one.
    pub(super) fn join(config: &Config, shared: &ClientConfig) -> Self {
        let (sender, share) = watch::channel(Share::default());
        let stop = Arc::new(AtomicBool::new(false));
        let (leaving, left) = mpsc::channel::<()>();
        let (settings, topic, is_over) = (settings(config, shared), config.topic.clone(), Arc::clone(&stop));
        let body = move || {
            take_part(&settings, &topic, &sender, &is_over);
            drop(leaving);
        };
        if let Err(error) = thread::Builder::new().name("kafka-member".into()).spawn(body) {
            tracing::error!(%error, "no thread for the consumer group: this process reads nothing");
        }
        Self { share, stop, left: left.into() }
    }

    pub(super) fn share(&self) -> watch::Receiver<Share> {
        self.share.clone()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Nothing is ever sent: this waits for the other end to go.
        if let Ok(left) = self.left.get_mut()
            && left.recv_timeout(FAREWELL) == Err(mpsc::RecvTimeoutError::Timeout)
        {
            tracing::warn!("leaving the consumer group takes long, the others wait for the session timeout");
        }
    }
}

/// Is a member until told to stop.
fn take_part(settings: &ClientConfig, topic: &str, share: &watch::Sender<Share>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let member = Member { topic: topic.to_owned(), share: share.clone() };
        let joined: KafkaResult<BaseConsumer<Member>> = settings.create_with_context(member);
        let outcome = joined.and_then(|consumer| consumer.subscribe(&[topic]).and_then(|()| hear(&consumer, stop)));
        share.send_replace(Share::default());
        if let Err(error) = outcome {
            tracing::warn!(topic, %error, "this process is no member of the consumer group, it joins again");
            thread::sleep(PAUSE);
        }
    }
}

/// Hears what the group says, until told to stop or until the member cannot go on.
fn hear(consumer: &BaseConsumer<Member>, stop: &AtomicBool) -> KafkaResult<()> {
    let mut is_told = false;
    while !stop.load(Ordering::Relaxed) {
        // What the group gives and takes arrives in the context. A record that was fetched before its partition paused is not looked at.
        match consumer.poll(TURN) {
            Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(error),
            // It is tried again for ever, so it is said once.
            Some(Err(error)) if !is_told && error.rdkafka_error_code() == Some(Code::GroupAuthorizationFailed) => {
                is_told = true;
                tracing::warn!(%error, "the user of journal.kafka.security may not join the consumer group: this process reads nothing until that is allowed");
            }
            Some(Err(error)) => tracing::debug!(%error, "from the consumer group"),
            Some(Ok(_)) | None => {}
        }
    }
    Ok(())
}

/// Publishes what the group gives and takes.
#[derive(Debug)]
struct Member {
    topic: String,
    share: watch::Sender<Share>,
}

impl Member {
    fn publish(&self, partitions: BTreeSet<u32>) {
        metrics::rebalanced(partitions.len());
        self.share.send_replace(Arc::new(partitions));
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Log.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Log.error(error, reason);
    }
}

impl ConsumerContext for Member {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, change: &Rebalance<'_>) {
        // What is taken away is given up before the group hands it on.
        if let Rebalance::Revoke(taken) = change {
            tracing::info!(topic = self.topic, partitions = ?numbers(taken), "the consumer group takes partitions away");
            self.publish(BTreeSet::new());
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, change: &Rebalance<'_>) {
        match change {
            Rebalance::Assign(given) => {
                if let Err(error) = consumer.pause(given) {
                    tracing::debug!(%error, "partitions cannot be paused, what is fetched of them is not looked at");
                }
                let partitions = numbers(given);
                tracing::info!(topic = self.topic, ?partitions, "the consumer group gives partitions");
                self.publish(partitions);
            }
            Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => {
                tracing::warn!(topic = self.topic, %error, "the consumer group cannot divide the partitions");
                self.publish(BTreeSet::new());
            }
        }
    }
}

fn numbers(list: &TopicPartitionList) -> BTreeSet<u32> {
    list.elements().iter().filter_map(|element| u32::try_from(element.partition()).ok()).collect()
}

fn settings(config: &Config, shared: &ClientConfig) -> ClientConfig {
    let mut settings = shared.clone();
    let session = config.session_timeout;
    settings.set("group.id", &config.group);
    settings.set("partition.assignment.strategy", "roundrobin");
    settings.set("session.timeout.ms", session.as_millis().to_string());
    settings.set("heartbeat.interval.ms", (session / 4).min(Duration::from_secs(3)).as_millis().to_string());
    settings.set("max.poll.interval.ms", session.max(Duration::from_secs(60)).as_millis().to_string());
    settings.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
    // Where reading begins is not decided here.
    settings.set("auto.offset.reset", "latest");
    // Next to nothing is to be fetched before a partition is paused.
    settings.set("queued.min.messages", "1").set("queued.max.messages.kbytes", "1");
    settings.set("socket.timeout.ms", "10000");
    settings
}
