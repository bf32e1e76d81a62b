//! The settings of the spool.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{embedded, kafka};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The settings of [`Spooled`](super::Spooled).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether there is a spool at all. Whoever opens the journal decides by it; without a spool, what Kafka does not take is refused.
    pub enabled: bool,
    /// An append that Kafka has not answered for so long goes to the spool.
    #[serde(with = "humantime_serde")]
    pub after: Duration,
    /// How often it is tried whether Kafka is back.
    #[serde(with = "humantime_serde")]
    pub retry_interval: Duration,
    /// Bytes of all files of the spool; an append that would go over is refused as full.
    pub bytes_max: u64,
    /// Bytes that must remain free on the disk; an append that would leave less is refused as full.
    pub disk_free_bytes_min: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            after: Duration::from_secs(2),
            retry_interval: Duration::from_secs(1),
            bytes_max: 1024 * MIB,
            disk_free_bytes_min: 256 * MIB,
        }
    }
}

impl Config {
    /// What of this cannot be used, in front of such a Kafka.
    pub(super) fn complaint(&self, kafka: &kafka::Config) -> Option<String> {
        if self.after < Duration::from_millis(100) || self.after > kafka.delivery_timeout {
            return Some("journal.spool.after must be at least 100 ms and at most journal.kafka.delivery_timeout".into());
        }
        if !(Duration::from_millis(10)..=Duration::from_secs(60)).contains(&self.retry_interval) {
            return Some("journal.spool.retry_interval must be 10 ms to 1 minute".into());
        }
        if kafka.queue_bytes_max / 4 < kafka.record_bytes_max {
            return Some(
                "journal.kafka.queue_bytes_max must be at least four times record_bytes_max, for the spool is drained through it".into(),
            );
        }
        let least = 16 * (kafka.record_bytes_max as u64).max(64 * KIB);
        (self.bytes_max < least)
            .then(|| format!("journal.spool.bytes_max is {}, it must be at least {least}: 16 of the largest records", self.bytes_max))
    }

    /// The journal that the spool is kept in. Space is given back in whole files, so these are small.
    pub(super) fn log(&self, kafka: &kafka::Config) -> embedded::Config {
        let queue_bytes_max =
            usize::try_from(self.bytes_max / 4).unwrap_or(usize::MAX).min(32 * MIB as usize).max(2 * kafka.record_bytes_max);
        embedded::Config {
            // One, so that it has one order. Kafka's own partitions are chosen when a record gets there.
            partitions: 1,
            segment_bytes: (self.bytes_max / 16).min(32 * MIB),
            record_bytes_max: kafka.record_bytes_max,
            queue_bytes_max,
            group_bytes_max: queue_bytes_max / 4,
            disk_bytes_max: self.bytes_max,
            disk_free_bytes_min: self.disk_free_bytes_min,
            ..embedded::Config::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Config, &mut kafka::Config), expect: Option<&str>) {
        let (mut config, mut kafka) = (Config::default(), kafka::Config::default());
        change(&mut config, &mut kafka);
        let complaint = config.complaint(&kafka);
        match (&complaint, expect) {
            (None, None) => {
                let log = config.log(&kafka);
                assert!(log.segment_bytes + 2 * log.queue_bytes_max as u64 <= log.disk_bytes_max, "{log:?}");
                assert!(log.record_bytes_max < log.queue_bytes_max, "{log:?}");
            }
            (Some(what), Some(part)) if what.contains(part) => {}
            _ => panic!("{complaint:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        check(|_, _| (), None);
        check(|s, k| (s.bytes_max, k.record_bytes_max) = (1 << 20, 1 << 10), None);
        check(|s, _| s.bytes_max = 32 << 20, None);
        check(|s, _| s.bytes_max = 31 << 20, Some("journal.spool.bytes_max"));
        check(|s, _| s.after = Duration::ZERO, Some("journal.spool.after"));
        check(|s, k| s.after = k.delivery_timeout * 2, Some("journal.spool.after"));
        check(|s, _| s.retry_interval = Duration::ZERO, Some("journal.spool.retry_interval"));
        check(|_, k| k.queue_bytes_max = 3 * k.record_bytes_max, Some("journal.kafka.queue_bytes_max"));
        assert!(serde_json::from_str::<Config>(r#"{"size": 1}"#).is_err());
    }
}
