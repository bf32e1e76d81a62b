//! The settings of queries.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[query]`: what a statement may take. How much memory and disk all of a process may take together is said in `[lake]`: `query_memory_bytes_max` and
/// `query_spill_bytes_max`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long a statement may take, from its arrival to its last row.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Statements that are being answered at a time; more wait, and their time runs.
    pub concurrency_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(5 * 60), concurrency_max: 8 }
    }
}

impl Config {
    /// Refuses what cannot be used.
    ///
    /// # Errors
    ///
    /// The setting, and what it must be.
    pub fn check(&self) -> Result<(), String> {
        if self.timeout.is_zero() {
            return Err("timeout must be longer than nothing".to_owned());
        }
        if !(1..=tokio::sync::Semaphore::MAX_PERMITS).contains(&self.concurrency_max) {
            return Err("concurrency_max must be at least 1".to_owned());
        }
        Ok(())
    }
}
