//! A spool in front of Kafka: while Kafka does not take records, they are made durable on the local disk and brought to Kafka when it is back.
//!
//! - Nothing is answered before it is durable in one of the two.
//! - While Kafka is known to be away, records go to the spool at once. The first ones to notice wait for [`Config::after`]; then everything that is on its way is
//!   given up and spooled. What had left for the broker by then may arrive all the same: such a copy is one more record of the same event, which Silver knows
//!   for what it is.
//! - What is spooled is brought to Kafka in order, each record once, also when the process is killed at any moment. What is put meanwhile does not wait
//!   for it, so records of the same key may change order.
//! - It is bounded: a spool that is full is [`ErrorKind::Full`].
//!
//! [`ErrorKind::Full`]: crate::ErrorKind::Full

mod config;
mod drain;
mod log;
mod mark;
pub(crate) mod metrics;
mod state;

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use config::Config;
use log::Log;
use state::State;

use crate::embedded;
use crate::kafka::{self, Kafka};
use crate::{Error, ErrorKind, Journal as _, Record, Sink};

/// Why a spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The journal behind it, and a person has to act.
    #[error(transparent)]
    Kafka(#[from] kafka::OpenError),
    /// The files of the spool.
    #[error("the spool cannot be opened: {0}")]
    Log(#[from] embedded::OpenError),
}

/// How the spool is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// For how long Kafka has not taken records; `None` while it does.
    pub away_for: Option<Duration>,
    /// What failed last, until draining succeeds again.
    pub trouble: Option<String>,
    /// Records that are not yet in Kafka.
    pub records: u64,
    /// Bytes of all files of the spool.
    pub bytes: u64,
}

/// Kafka, and a spool in front of it. Dropping it stops draining; what is spooled stays.
#[derive(Debug)]
pub struct Spooled {
    state: Arc<State>,
    drain: JoinHandle<()>,
}

impl Spooled {
    /// Opens Kafka and the spool in a folder. Kafka may be away; then it is opened when it answers.
    ///
    /// # Errors
    ///
    /// When settings or the topic cannot be used, as far as that is known while Kafka is away; when the spool is damaged or in use by another process.
    pub async fn open(kafka: kafka::Config, folder: &Path, config: Config) -> Result<Self, OpenError> {
        kafka.check()?;
        if let Some(what) = config.complaint(&kafka) {
            return Err(kafka::OpenError::Settings(what).into());
        }
        let log = Log::open(folder, &config, &kafka).await?;
        let opened = match Kafka::open(kafka.clone()).await {
            Ok(opened) => Some(opened),
            Err(error) if error.is_passing() => {
                tracing::warn!(%error, "Kafka cannot be opened: records go to the spool until it can");
                None
            }
            Err(error) => return Err(error.into()),
        };
        let state = Arc::new(State::new(config, kafka, log, opened));
        let drain = tokio::spawn(drain::run(Arc::clone(&state)));
        Ok(Self { state, drain })
    }

    /// Kafka, as soon as it has answered once.
    pub async fn kafka(&self) -> Arc<Kafka> {
        self.state.kafka().await
    }

    /// How it is doing.
    pub fn status(&self) -> Status {
        let (log, away_for) = (&self.state.log, self.state.away_for());
        Status { away_for, trouble: self.state.trouble(), records: log.records(), bytes: log.bytes() }
    }

    /// Stops draining and lets go of the folder.
    pub async fn close(mut self) {
        self.drain.abort();
        // It ends by being aborted, which is no failure.
        drop((&mut self.drain).await);
    }

    /// Appends to Kafka, unless it takes too long.
    async fn append(&self, kafka: &Kafka, records: Vec<Record>) -> Result<(), Error> {
        let mut appending = pin!(kafka.append(records));
        if let Ok(outcome) = timeout(self.state.config.after, &mut appending).await {
            return outcome.map(drop);
        }
        let slow = Error::Unavailable {
            doing: format!("append to Kafka within {:?}", self.state.config.after),
            source: std::io::ErrorKind::TimedOut.into(),
        };
        self.state.note_away(&slow);
        kafka.give_up().await;
        // It has been answered by now, and perhaps well.
        appending.await.map(drop)
    }
}

#[async_trait]
impl Sink for Spooled {
    async fn put(&self, records: Vec<Record>) -> Result<(), Error> {
        if let Some(kafka) = self.state.reachable() {
            match self.append(&kafka, records.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Unavailable => drop(self.state.note_away(&error)),
                // Kafka is slower than what comes: the spool takes the rest.
                Err(Error::Full(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.state.log.append(records).await
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        self.drain.abort();
    }
}
