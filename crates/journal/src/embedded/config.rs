//! The bounds of the embedded journal.

use serde::{Deserialize, Serialize};

use super::OpenError;
use super::frame::encoded_bytes_max;

/// The most partitions a journal can have. Each position of the index holds an offset for every partition, so this bounds its memory.
pub const PARTITIONS_MAX: u32 = 64;

const MIB: u64 = 1024 * 1024;

/// The settings of [`Embedded`](super::Embedded).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Partitions of a journal that is made new, 1 to [`PARTITIONS_MAX`]. A journal that exists must have as many.
    pub partitions: u32,
    /// The generation of a journal that is made new, at least 1. A journal that exists keeps its own.
    pub generation: u32,
    /// A segment file that has reached this many bytes is followed by a new one. Disk space is given back in whole segments, and an opening journal reads its
    /// last segment through.
    pub segment_bytes: u64,
    /// The largest record: bytes of header and value together.
    pub record_bytes_max: usize,
    /// Bytes of records that may wait to be written; one append over it is too large, an append that finds no room is refused as full.
    pub queue_bytes_max: usize,
    /// Appends that may wait to be written.
    pub queue_appends_max: usize,
    /// Bytes of records that are made durable together, with one write and one sync; a single larger append goes alone.
    pub group_bytes_max: usize,
    /// Bytes of all segment files; an append that would go over is refused as full until trimming has made room.
    pub disk_bytes_max: u64,
    /// Bytes that must remain free on the disk; an append that would leave less is refused as full. The lake beside the journal needs room to drain it.
    pub disk_free_bytes_min: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            partitions: 4,
            generation: 1,
            segment_bytes: 64 * MIB,
            record_bytes_max: 8 * MIB as usize,
            queue_bytes_max: 32 * MIB as usize,
            queue_appends_max: 4096,
            group_bytes_max: 8 * MIB as usize,
            disk_bytes_max: 10 * 1024 * MIB,
            disk_free_bytes_min: 256 * MIB,
        }
    }
}

impl Config {
    /// Refuses settings that contradict each other.
    pub(super) fn check(&self) -> Result<(), OpenError> {
        let refuse = |what: String| Err(OpenError::Settings(what));
        if self.partitions == 0 || self.partitions > PARTITIONS_MAX {
            return refuse(format!("partitions is {}, it must be 1 to {PARTITIONS_MAX}", self.partitions));
        }
        if self.generation == 0 {
            return refuse("generation is 0, the first is 1".into());
        }
        if self.queue_appends_max == 0 {
            return refuse("queue_appends_max is 0, then nothing could ever be appended".into());
        }
        if self.record_bytes_max == 0 || encoded_bytes_max(1, self.record_bytes_max) > self.queue_bytes_max {
            return refuse(format!(
                "record_bytes_max is {}, it must be at least 1 and, with its framing, fit into queue_bytes_max, which is {}",
                self.record_bytes_max, self.queue_bytes_max
            ));
        }
        if self.queue_bytes_max > 1024 * MIB as usize {
            return refuse(format!("queue_bytes_max is {}, it must be at most 1 GiB", self.queue_bytes_max));
        }
        // The segment that is written to cannot be trimmed. With less than this, a journal that is drained could stay full for ever.
        let least = self.segment_bytes.saturating_add(2 * self.queue_bytes_max as u64);
        if self.disk_bytes_max < least {
            return refuse(format!(
                "disk_bytes_max is {}, it must be at least segment_bytes and twice queue_bytes_max: {least}",
                self.disk_bytes_max
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Config), expect: Option<&str>) {
        let mut config = Config::default();
        change(&mut config);
        match (config.check(), expect) {
            (Ok(()), None) => {}
            (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{error}"),
            (outcome, _) => panic!("{outcome:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn contradictions_are_refused() {
        check(|_| (), None);
        check(|c| c.partitions = 0, Some("partitions is 0"));
        check(|c| c.partitions = 65, Some("it must be 1 to 64"));
        check(|c| c.generation = 0, Some("generation is 0"));
        check(|c| c.queue_appends_max = 0, Some("queue_appends_max is 0"));
        check(|c| c.record_bytes_max = c.queue_bytes_max, Some("record_bytes_max"));
        check(|c| c.record_bytes_max = 0, Some("record_bytes_max"));
        check(|c| c.queue_bytes_max = usize::MAX, Some("at most 1 GiB"));
        check(|c| c.disk_bytes_max = c.segment_bytes, Some("disk_bytes_max"));
    }

    #[test]
    fn unknown_settings_are_refused() {
        assert_eq!(serde_json::from_str::<Config>("{}").unwrap(), Config::default());
        assert!(serde_json::from_str::<Config>(r#"{"partition":4}"#).is_err());
    }
}
