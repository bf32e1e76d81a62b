//! The lake's settings.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::s3::S3Options;

const MIB: u64 = 1 << 20;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The lake's settings, each with a default that is safe for a laptop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// A Parquet file is closed and the next one begun once it holds so many bytes. Bounds the memory of a write: a file is built in memory.
    pub file_bytes_max: u64,
    /// The same, in rows.
    pub file_rows_max: u64,
    /// zstd level of the Parquet files, 1 to 22.
    pub zstd_level: i32,
    /// Files of one commit that are being uploaded at a time.
    pub uploads_max: usize,
    /// A checkpoint of the log is written every so many versions.
    pub checkpoint_interval: u64,
    /// How long the versions of a table are kept in its log once a checkpoint covers them and no stage has still to read them. Each is a file, and
    /// each load of the table lists them.
    #[serde(with = "humantime_serde")]
    pub log_retention: Duration,
    /// How long a file that is no longer part of a table, or never became part of it, is kept. Must be longer than the longest query and the longest
    /// commit. Each is named in every checkpoint meanwhile.
    #[serde(with = "humantime_serde")]
    pub file_retention: Duration,
    /// How many commits of others one commit may lose against before it gives up with a conflict.
    pub commit_attempts_max: u32,
    /// How many errors of the store one commit sits out before it is given up as unsettled.
    pub commit_errors_max: u32,
    /// The pause after the first such error; it doubles with each.
    #[serde(with = "humantime_serde")]
    pub commit_error_pause: Duration,
    /// Memory that the queries of one session may use together, in bytes. What needs more spills to disk or fails.
    pub query_memory_bytes_max: u64,
    /// Disk that they may use for spilling, in bytes.
    pub query_spill_bytes_max: u64,
    /// Rows of one record batch when tables are read.
    pub read_batch_rows: usize,
    /// How a lake on S3 is reached; not looked at for a lake in a folder.
    pub s3: S3Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            file_bytes_max: 128 * MIB,
            file_rows_max: 4_000_000,
            zstd_level: 3,
            uploads_max: 4,
            checkpoint_interval: 50,
            log_retention: DAY,
            file_retention: DAY,
            commit_attempts_max: 64,
            commit_errors_max: 4,
            commit_error_pause: Duration::from_millis(100),
            query_memory_bytes_max: 512 * MIB,
            query_spill_bytes_max: 10 * 1024 * MIB,
            read_batch_rows: 8192,
            s3: S3Options::default(),
        }
    }
}

impl Options {
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let positive = [
            ("file_bytes_max", self.file_bytes_max),
            ("file_rows_max", self.file_rows_max),
            ("uploads_max", self.uploads_max as u64),
            ("checkpoint_interval", self.checkpoint_interval),
            ("commit_attempts_max", u64::from(self.commit_attempts_max)),
            ("query_memory_bytes_max", self.query_memory_bytes_max),
            ("read_batch_rows", self.read_batch_rows as u64),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(Error::Setting(format!("lake.{name} must be at least 1")));
        }
        if !(1..=22).contains(&self.zstd_level) {
            return Err(Error::Setting(format!("lake.zstd_level must be 1 to 22, not {}", self.zstd_level)));
        }
        self.s3.validate(self.file_bytes_max)
    }
}
