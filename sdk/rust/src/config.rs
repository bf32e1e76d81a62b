//! How a client is set up.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// What a call does when the queue has no room for its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The call's own event is dropped, as `queue_full`.
    DropNewest,
    /// Those that have waited longest and are not being sent are dropped.
    DropOldest,
    /// The call waits, for so long at most; then its event is dropped. It stops the thread: not for calls within async code.
    Block(Duration),
}

/// A client that cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It could not be sent.
    #[error("the write key is empty, or has characters that no header can hold; `tidegate source add NAME` makes one")]
    WriteKey,
    /// It is empty.
    #[error("the signing secret is empty; `tidegate source add NAME --signed` makes one")]
    SigningSecret,
    /// With what was given.
    #[error("url must be like https://events.example.com, is {0:?}")]
    Url(String),
    /// A bound that nothing fits in.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// Zero would be no time to answer in.
    #[error("timeout must be more than nothing, and a day at most")]
    Timeout,
    /// It is no JSON.
    #[error("{0}")]
    Context(String),
    /// It is no plan.
    #[cfg(feature = "plan")]
    #[error(transparent)]
    Plan(#[from] rules::RulesError),
    /// By its id.
    #[error("experiment {id:?}: {message}")]
    Experiment {
        /// Of the experiment.
        id: String,
        /// What is wrong.
        message: String,
    },
}

const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Bounds and paces; docs/sdk-contract.md says what they mean.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) batch_events_max: usize,
    pub(crate) batch_bytes_max: usize,
    pub(crate) batch_interval: Duration,
    pub(crate) queue_events_max: usize,
    pub(crate) queue_bytes_max: usize,
    pub(crate) when_full: WhenFull,
    pub(crate) timeout: Duration,
    pub(crate) spool: Option<PathBuf>,
    pub(crate) spool_bytes_max: u64,
    pub(crate) spool_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            batch_events_max: 500,
            batch_bytes_max: 512 * 1024,
            batch_interval: Duration::from_secs(1),
            queue_events_max: 10_000,
            queue_bytes_max: 32 * 1024 * 1024,
            when_full: WhenFull::DropNewest,
            timeout: Duration::from_secs(10),
            spool: None,
            spool_bytes_max: 256 * 1024 * 1024,
            spool_interval: Duration::from_millis(50),
        }
    }
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let bounds = [
            ("batch_events_max", self.batch_events_max == 0),
            ("batch_bytes_max", self.batch_bytes_max == 0),
            ("queue_events_max", self.queue_events_max == 0),
            ("queue_bytes_max", self.queue_bytes_max == 0),
            ("spool_bytes_max", self.spool_bytes_max == 0),
        ];
        if let Some((name, _)) = bounds.iter().find(|(_, is_zero)| *is_zero) {
            return Err(ConfigError::Zero(name));
        }
        if self.timeout.is_zero() || self.timeout > TIMEOUT_MAX {
            return Err(ConfigError::Timeout);
        }
        Ok(())
    }

    /// So many events are sent without waiting for more: a batch, or half of what the queue holds.
    pub(crate) fn due_events(&self) -> usize {
        self.batch_events_max.min((self.queue_events_max / 2).max(1))
    }

    /// The same in bytes.
    pub(crate) fn due_bytes(&self) -> usize {
        self.batch_bytes_max.min((self.queue_bytes_max / 2).max(1))
    }
}
