//! The settings of the journal in Kafka.

mod brokers;
mod security;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::OpenError;

pub use security::{Mechanism, Protocol, Secret, Security};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What Kafka adds to a record at most: its key, the names of our headers, framing, and the batch it travels in.
pub(super) const RECORD_OVERHEAD_BYTES: usize = 4 * KIB;
/// The most that one fetch may bring: librdkafka takes no answer of more than 100 MB.
const FETCH_BYTES_MAX: usize = 64 * MIB;

/// The settings of [`Kafka`](super::Kafka).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Brokers to begin with, `host:port`, as a list or separated by commas. The others are learned from them.
    #[serde(deserialize_with = "brokers::deserialize")]
    pub brokers: Vec<String>,
    /// The topic that is the journal. Nothing else should write to it.
    pub topic: String,
    /// The generation, at least 1. It must grow when the topic is made anew or its number of partitions changes.
    pub generation: u32,
    /// Partitions of a topic that is made new. A topic that exists has as many as it has.
    pub partitions: u32,
    /// Brokers that keep each record, for a topic that is made new; without it 3, or as many as there are brokers.
    pub replication_factor: Option<u32>,
    /// Whether a topic that is missing is made.
    pub create_topic: bool,
    /// How long a topic that is made new keeps records. What the lake has not taken up by then is lost.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// How batches of records are compressed.
    pub compression: Compression,
    /// How long a record waits for company before it is sent. librdkafka waits for the last millisecond of it by asking again and again, so one alone would cost more CPU than it saves.
    #[serde(with = "humantime_serde")]
    pub linger: Duration,
    /// How long an append may take, with all that is tried again; after that it has failed. Under 30 s, for clients wait no longer.
    #[serde(with = "humantime_serde")]
    pub delivery_timeout: Duration,
    /// Bytes of records on their way to Kafka; an append that finds no room is refused as full, one that is over it alone as too large.
    pub queue_bytes_max: usize,
    /// The largest record: bytes of header and value together.
    pub record_bytes_max: usize,
    /// Bytes of records that are fetched ahead of reading.
    pub fetch_bytes_max: usize,
    /// The consumer group over whose members the partitions are divided.
    pub group: String,
    /// A member of the group that was not heard of for so long loses its partitions to the others.
    #[serde(with = "humantime_serde")]
    pub session_timeout: Duration,
    /// How to reach the brokers safely, and as whom.
    pub security: Security,
}

/// How batches of records are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    None,
    /// Fast, to half or less for JSON.
    #[default]
    Lz4,
    /// Slower and smaller.
    Zstd,
    /// For brokers and consumers that know nothing newer.
    Gzip,
    /// About as `lz4`.
    Snappy,
}

impl Compression {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            brokers: Vec::new(),
            topic: "tidegate.events".into(),
            generation: 1,
            partitions: 4,
            replication_factor: None,
            create_topic: true,
            retention: Duration::from_secs(7 * 24 * 3600),
            compression: Compression::default(),
            linger: Duration::from_millis(2),
            delivery_timeout: Duration::from_secs(10),
            queue_bytes_max: 64 * MIB,
            record_bytes_max: 2 * MIB,
            fetch_bytes_max: 32 * MIB,
            group: "tidegate".into(),
            session_timeout: Duration::from_secs(10),
            security: Security::default(),
        }
    }
}

impl Config {
    /// Refuses settings that cannot be used.
    ///
    /// # Errors
    ///
    /// [`OpenError::Settings`], which names the setting.
    pub fn check(&self) -> Result<(), OpenError> {
        self.complaint().map_or(Ok(()), |what| Err(OpenError::Settings(what)))
    }

    /// What a Kafka client in Java is told to reach this cluster, secrets among it.
    ///
    /// # Errors
    ///
    /// [`OpenError::Settings`] where a file cannot be read.
    pub fn java_properties(&self) -> Result<Vec<(&'static str, String)>, OpenError> {
        let mut properties = vec![("bootstrap.servers", self.brokers.join(","))];
        properties.extend(self.security.java_properties()?);
        Ok(properties)
    }

    /// The largest message that goes to Kafka.
    pub(super) fn message_bytes_max(&self) -> usize {
        self.record_bytes_max.saturating_add(RECORD_OVERHEAD_BYTES)
    }

    fn complaint(&self) -> Option<String> {
        let seconds = |from: u64, to: u64| Duration::from_secs(from)..=Duration::from_secs(to);
        if self.brokers.is_empty() {
            return Some("set journal.kafka.brokers, such as [\"kafka-1:9092\", \"kafka-2:9092\"]".into());
        }
        if !is_topic_name(&self.topic) {
            return Some("journal.kafka.topic must be 1 to 249 letters, digits, dots, dashes and underscores".into());
        }
        if self.generation == 0 {
            return Some("journal.kafka.generation is 0, the first is 1".into());
        }
        if self.partitions == 0 || self.partitions > 1000 {
            return Some(format!("journal.kafka.partitions is {}, it must be 1 to 1000", self.partitions));
        }
        if self.replication_factor.is_some_and(|factor| !(1..=10).contains(&factor)) {
            return Some("journal.kafka.replication_factor must be 1 to 10, or left out".into());
        }
        if !seconds(60, 10 * 365 * 24 * 3600).contains(&self.retention) {
            return Some("journal.kafka.retention must be 1 minute to 10 years".into());
        }
        if self.linger > Duration::from_secs(1) {
            return Some("journal.kafka.linger must be at most 1 s".into());
        }
        if self.delivery_timeout < Duration::from_secs(1) || self.delivery_timeout >= Duration::from_secs(30) {
            return Some("journal.kafka.delivery_timeout must be at least 1 s and less than 30 s, for clients wait no longer".into());
        }
        if !seconds(1, 300).contains(&self.session_timeout) {
            return Some("journal.kafka.session_timeout must be 1 s to 5 minutes".into());
        }
        if self.group.is_empty() {
            return Some("set journal.kafka.group".into());
        }
        self.complaint_of_bounds().or_else(|| self.security.complaint())
    }

    fn complaint_of_bounds(&self) -> Option<String> {
        if self.record_bytes_max == 0 || self.message_bytes_max() > self.queue_bytes_max {
            return Some(format!(
                "journal.kafka.record_bytes_max is {}, it must be at least 1 and, with {RECORD_OVERHEAD_BYTES} bytes more, fit into \
                 journal.kafka.queue_bytes_max, which is {}",
                self.record_bytes_max, self.queue_bytes_max
            ));
        }
        if self.queue_bytes_max > 1024 * MIB {
            return Some(format!("journal.kafka.queue_bytes_max is {}, it must be at most 1 GiB", self.queue_bytes_max));
        }
        if self.message_bytes_max() > self.fetch_bytes_max || self.fetch_bytes_max > FETCH_BYTES_MAX {
            return Some(format!(
                "journal.kafka.fetch_bytes_max is {}, it must be at most {FETCH_BYTES_MAX} and, less {RECORD_OVERHEAD_BYTES} bytes, at least \
                 journal.kafka.record_bytes_max, which is {}",
                self.fetch_bytes_max, self.record_bytes_max
            ));
        }
        None
    }
}

fn is_topic_name(name: &str) -> bool {
    let is_legal = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    (1..=249).contains(&name.len()) && name.chars().all(is_legal) && name != "." && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Config), expect: Option<&str>) {
        let mut config = Config { brokers: vec!["localhost:9092".into()], ..Config::default() };
        change(&mut config);
        match (config.check(), expect) {
            (Ok(()), None) => {}
            (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{error}"),
            (outcome, _) => panic!("{outcome:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        check(|_| (), None);
        check(|c| c.brokers.clear(), Some("set journal.kafka.brokers"));
        check(|c| c.topic.clear(), Some("journal.kafka.topic"));
        check(|c| c.topic = "events of ours".into(), Some("journal.kafka.topic"));
        check(|c| c.generation = 0, Some("journal.kafka.generation"));
        check(|c| c.partitions = 0, Some("journal.kafka.partitions"));
        check(|c| c.replication_factor = Some(0), Some("journal.kafka.replication_factor"));
        check(|c| c.retention = Duration::ZERO, Some("journal.kafka.retention"));
        check(|c| c.linger = Duration::from_secs(2), Some("journal.kafka.linger"));
        check(|c| c.delivery_timeout = Duration::from_secs(30), Some("journal.kafka.delivery_timeout"));
        check(|c| c.session_timeout = Duration::ZERO, Some("journal.kafka.session_timeout"));
        check(|c| c.group.clear(), Some("journal.kafka.group"));
        check(|c| c.record_bytes_max = 0, Some("journal.kafka.record_bytes_max"));
        check(|c| c.record_bytes_max = c.queue_bytes_max, Some("journal.kafka.record_bytes_max"));
        check(|c| c.queue_bytes_max = usize::MAX, Some("at most 1 GiB"));
        check(|c| c.fetch_bytes_max = c.record_bytes_max, Some("journal.kafka.fetch_bytes_max"));
        check(|c| c.security.mechanism = Some(Mechanism::Plain), Some("journal.kafka.security.mechanism"));
    }

    #[test]
    fn they_are_read_as_people_write_them() {
        let read = |json: &str| serde_json::from_str::<Config>(json);
        assert_eq!(read("{}").unwrap(), Config::default());
        assert_eq!(read(r#"{"brokers": "a:1, b:2"}"#).unwrap().brokers, ["a:1", "b:2"]);
        assert_eq!(read(r#"{"brokers": ["a:1", "b:2"]}"#).unwrap().brokers, ["a:1", "b:2"]);
        assert_eq!(read(r#"{"brokers": ""}"#).unwrap().brokers, Vec::<String>::new());
        assert_eq!(read(r#"{"retention": "2days"}"#).unwrap().retention, Duration::from_secs(2 * 24 * 3600));
        assert!(read(r#"{"broker": "a:1"}"#).is_err());
        assert!(read(r#"{"security": {"user": "u"}}"#).is_err());
    }
}
