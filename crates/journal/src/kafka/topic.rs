//! The topic: made when it is missing, and looked at closely before it becomes the journal.

mod judge;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use judge::{Facts, Verdict, judge};

use super::client::{ANSWER_TIMEOUT, Log};
use super::config::Config;
use super::error::{OpenError, unavailable};
use crate::{Error, Offsets};

/// How often a topic that was just made is looked for, a quarter of a second apart.
const LOOKS_MAX: u32 = 40;
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// The most brokers that keep a record, unless asked otherwise.
const REPLICAS: u32 = 3;

/// What is there of a topic.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) partitions: u32,
    pub(super) replicas: u32,
}

/// The cluster as it answers now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) brokers: u32,
    pub(super) topic: Option<Found>,
}

/// Makes sure that the topic is there and fit to be the journal, and returns its number of partitions.
pub(super) async fn settle(config: &Config, shared: &ClientConfig) -> Result<u32, OpenError> {
    let cluster = Cluster::reach(config, shared)?;
    let seen = cluster.look().await?;
    let found = match seen.topic {
        Some(found) => found,
        None if config.create_topic => {
            cluster.create(config, seen.brokers).await?;
            cluster.look_for().await?
        }
        None => return Err(cluster.refuse("it does not exist: make it, or set journal.kafka.create_topic".into())),
    };
    cluster.examine(config, found).await?;
    Ok(found.partitions)
}

/// What is there of the topic, and whether it is fit to be the journal. Makes none.
pub(super) async fn look(config: &Config, shared: &ClientConfig) -> Result<Seen, OpenError> {
    let cluster = Cluster::reach(config, shared)?;
    let seen = cluster.look().await?;
    if let Some(found) = seen.topic {
        cluster.examine(config, found).await?;
    }
    Ok(seen)
}

/// Has the brokers let go of what lies before these offsets. They stop giving it out at once, and delete it with the files that it is in.
pub(super) async fn forget(config: &Config, shared: &ClientConfig, before: &Offsets) -> Result<(), Error> {
    let doing = || format!("delete records of topic {} in Kafka", config.topic);
    let failed = |error: KafkaError| unavailable(doing(), error);
    let mut offsets = TopicPartitionList::new();
    for (partition, offset) in before.iter().filter(|(_, offset)| **offset > 0) {
        let (partition, offset) = (i32::try_from(*partition).unwrap_or(i32::MAX), i64::try_from(*offset).unwrap_or(i64::MAX));
        offsets.add_partition_offset(&config.topic, partition, Offset::Offset(offset)).map_err(failed)?;
    }
    if offsets.count() == 0 {
        return Ok(());
    }
    let admin: AdminClient<Log> = shared.create_with_context(Log).map_err(failed)?;
    let options = AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT)).operation_timeout(Some(ANSWER_TIMEOUT));
    let done = admin.delete_records(&offsets, &options).await.map_err(failed)?;
    let outcome = done.elements().into_iter().find_map(|element| element.error().err());
    // What is gone already need not go.
    match outcome {
        Some(error) if error.rdkafka_error_code() != Some(Code::OffsetOutOfRange) => Err(failed(error)),
        _ => Ok(()),
    }
}

/// Clients to ask with, and what to ask for.
struct Cluster {
    topic: Arc<str>,
    consumer: Arc<BaseConsumer<Log>>,
    admin: AdminClient<Log>,
}

impl Cluster {
    fn reach(config: &Config, shared: &ClientConfig) -> Result<Self, OpenError> {
        let failed = |error: KafkaError| OpenError::Settings(format!("librdkafka refuses them: {error}"));
        // A consumer asks, because a producer's question alone would make the topic on some brokers.
        let consumer = shared.create_with_context(Log).map_err(failed)?;
        let admin = shared.create_with_context(Log).map_err(failed)?;
        Ok(Self { topic: config.topic.as_str().into(), consumer: Arc::new(consumer), admin })
    }

    fn refuse(&self, what: String) -> OpenError {
        OpenError::Topic { topic: self.topic.to_string(), what }
    }

    async fn look(&self) -> Result<Seen, OpenError> {
        let (consumer, topic) = (Arc::clone(&self.consumer), Arc::clone(&self.topic));
        let answer = spawn_blocking(move || {
            let metadata = consumer.fetch_metadata(Some(&topic), ANSWER_TIMEOUT)?;
            let brokers = count(metadata.brokers().len());
            let Some(about) = metadata.topics().iter().find(|about| about.name() == &*topic) else {
                return Ok(Seen { brokers, topic: None });
            };
            match about.error().map(Code::from) {
                None => {}
                Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::LeaderNotAvailable) => {
                    return Ok(Seen { brokers, topic: None });
                }
                Some(code) => return Err(KafkaError::MetadataFetch(code)),
            }
            let replicas = about.partitions().iter().map(|partition| count(partition.replicas().len())).min();
            let found = replicas.map(|replicas| Found { partitions: count(about.partitions().len()), replicas });
            Ok(Seen { brokers, topic: found })
        });
        let failed = |error: KafkaError| match error.rdkafka_error_code() {
            Some(Code::TopicAuthorizationFailed) => {
                self.refuse("the user of journal.kafka.security may not describe it: allow that".into())
            }
            _ => unavailable(format!("find topic {} in Kafka", self.topic), error).into(),
        };
        answer.await.map_err(|_| Error::Closed)?.map_err(failed)
    }

    async fn create(&self, config: &Config, brokers: u32) -> Result<(), OpenError> {
        let replicas = config.replication_factor.unwrap_or(REPLICAS.min(brokers.max(1)));
        // With three replicas one may be away, and what was answered is still on two.
        let replicas_min = if replicas >= REPLICAS { "2" } else { "1" };
        let (retention, bytes_max) = (config.retention.as_millis().to_string(), config.message_bytes_max().to_string());
        let number = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
        let topic = NewTopic::new(&self.topic, number(config.partitions), TopicReplication::Fixed(number(replicas)))
            .set("cleanup.policy", "delete")
            .set("retention.ms", &retention)
            .set("max.message.bytes", &bytes_max)
            .set("min.insync.replicas", replicas_min)
            .set("unclean.leader.election.enable", "false");
        let options = AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT)).operation_timeout(Some(ANSWER_TIMEOUT));
        let failed = |error: KafkaError| unavailable(format!("make topic {} in Kafka", self.topic), error);
        let results = self.admin.create_topics([&topic], &options).await.map_err(failed)?;
        match results.into_iter().find_map(Result::err) {
            None => {
                tracing::info!(topic = %self.topic, partitions = config.partitions, replicas, "made the topic of the journal");
                Ok(())
            }
            // Another process was quicker.
            Some((_, Code::TopicAlreadyExists)) => Ok(()),
            Some((_, code @ (Code::RequestTimedOut | Code::OperationTimedOut | Code::NotController | Code::BrokerNotAvailable))) => {
                Err(unavailable(format!("make topic {} in Kafka", self.topic), code).into())
            }
            Some((_, code)) => Err(self.refuse(format!(
                "it does not exist and cannot be made with {} partitions on {replicas} brokers: {code}; make it, or change journal.kafka.partitions and \
                 journal.kafka.replication_factor",
                config.partitions
            ))),
        }
    }

    /// Looks for a topic that was just made: not every broker knows of it at once.
    async fn look_for(&self) -> Result<Found, OpenError> {
        for _ in 0..LOOKS_MAX {
            if let Some(found) = self.look().await?.topic {
                return Ok(found);
            }
            sleep(LOOK_PAUSE).await;
        }
        Err(unavailable(format!("find topic {} in Kafka", self.topic), "it was made and does not appear").into())
    }

    async fn examine(&self, config: &Config, found: Found) -> Result<(), OpenError> {
        let options = AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT));
        let answer = self.admin.describe_configs([&ResourceSpecifier::Topic(&self.topic)], &options).await;
        let described = match answer.map(|mut resources| resources.pop()) {
            Ok(Some(Ok(described))) if !described.entries.is_empty() => described,
            // Whoever may not see it is shown nothing, and told of no error.
            Ok(None | Some(Ok(_))) => {
                self.warn_unseen("the brokers show nothing of it: the user of journal.kafka.security needs DescribeConfigs on the topic");
                return Ok(());
            }
            Ok(Some(Err(code))) => {
                self.warn_unseen(&code.to_string());
                return Ok(());
            }
            Err(error) => {
                self.warn_unseen(&error.to_string());
                return Ok(());
            }
        };
        let value = |name: &str| described.get(name)?.value.clone();
        let facts = Facts {
            cleanup_policy: value("cleanup.policy"),
            message_bytes_max: value("max.message.bytes").and_then(|value| value.parse().ok()),
            retention_milliseconds: value("retention.ms").and_then(|value| value.parse().ok()),
            replicas_min: value("min.insync.replicas").and_then(|value| value.parse().ok()),
            replicas: found.replicas,
        };
        match judge(&facts, config) {
            Verdict::Refused(what) => Err(self.refuse(what)),
            Verdict::Fit(concerns) => {
                for concern in concerns {
                    tracing::warn!(topic = %self.topic, concern, "the topic of the journal is less safe than it could be");
                }
                Ok(())
            }
        }
    }

    fn warn_unseen(&self, error: &str) {
        tracing::warn!(topic = %self.topic, error, "the configuration of the topic cannot be read, so nothing says that it is fit to be the journal");
    }
}

fn count(many: usize) -> u32 {
    u32::try_from(many).unwrap_or(u32::MAX)
}
