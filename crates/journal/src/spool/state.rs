//! What is known of Kafka now, shared by those who put records and by the one who drains.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;

use super::config::Config;
use super::log::Log;
use super::metrics;
use crate::Error;
use crate::kafka::{self, Kafka, OpenError};

/// What is known, and what is there to work with.
#[derive(Debug)]
pub(super) struct State {
    pub(super) config: Config,
    pub(super) log: Log,
    settings: kafka::Config,
    /// `None` until Kafka answered for the first time.
    kafka: watch::Sender<Option<Arc<Kafka>>>,
    /// Since when Kafka does not take records; `None` while it does.
    away: watch::Sender<Option<Instant>>,
    trouble: Mutex<Option<String>>,
}

impl State {
    pub(super) fn new(config: Config, settings: kafka::Config, log: Log, kafka: Option<Kafka>) -> Self {
        let away = kafka.is_none().then(Instant::now);
        metrics::is_away(away.is_some());
        Self {
            config,
            log,
            settings,
            kafka: watch::Sender::new(kafka.map(Arc::new)),
            away: watch::Sender::new(away),
            trouble: Mutex::new(None),
        }
    }

    /// Kafka, if it takes records as far as is known.
    pub(super) fn reachable(&self) -> Option<Arc<Kafka>> {
        let kafka = self.kafka.borrow().clone();
        kafka.filter(|_| self.away.borrow().is_none())
    }

    /// Kafka, as soon as it has answered once.
    pub(super) async fn kafka(&self) -> Arc<Kafka> {
        loop {
            // An error would mean that the sender is gone, and we hold it.
            if let Ok(known) = self.kafka.subscribe().wait_for(Option::is_some).await
                && let Some(kafka) = known.as_ref()
            {
                return Arc::clone(kafka);
            }
        }
    }

    /// Opens Kafka, as often as it takes.
    pub(super) async fn reach(&self) -> Arc<Kafka> {
        loop {
            if let Some(kafka) = self.kafka.borrow().clone() {
                return kafka;
            }
            match Kafka::open(self.settings.clone()).await {
                Ok(kafka) => drop(self.kafka.send_replace(Some(Arc::new(kafka)))),
                Err(error) => {
                    self.note_closed(&error);
                    sleep(self.config.retry_interval).await;
                }
            }
        }
    }

    /// Waits until something is spooled or Kafka is away.
    pub(super) async fn something_to_do(&self) {
        let mut away = self.away.subscribe();
        tokio::select! {
            () = self.log.wait() => {}
            // An error would mean that the sender is gone, and we hold it.
            _ = away.wait_for(Option::is_some) => {}
        }
    }

    /// Notes that Kafka does not take records; whether that is new.
    pub(super) fn note_away(&self, error: &Error) -> bool {
        let is_new = self.away.send_if_modified(|away| {
            let is_new = away.is_none();
            away.get_or_insert_with(Instant::now);
            is_new
        });
        if is_new {
            metrics::is_away(true);
            tracing::warn!(%error, "Kafka does not take records: they go to the spool until it does");
        }
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        is_new
    }

    /// Notes that Kafka could not be opened. What a person has to mend is said loudly, but once.
    fn note_closed(&self, error: &OpenError) {
        let text = error.to_string();
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.as_ref() == Some(&text) {
            return;
        }
        if error.is_passing() {
            tracing::warn!(%error, "Kafka cannot be opened: records go to the spool until it can");
        } else {
            tracing::error!(%error, "Kafka cannot be opened and a person has to act: records go to the spool until then");
        }
        *trouble = Some(text);
    }

    /// Notes that the spool cannot be drained though Kafka answers.
    pub(super) fn note_stuck(&self, error: &Error) {
        let text = error.to_string();
        let before = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).replace(text.clone());
        if before != Some(text) {
            tracing::error!(%error, "the spool cannot be drained and a person has to look");
        }
    }

    /// Notes that Kafka takes records.
    pub(super) fn note_back(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let Some(since) = self.away.send_replace(None) else { return };
        metrics::is_away(false);
        tracing::info!(seconds = since.elapsed().as_secs(), spooled = self.log.records(), "Kafka takes records again");
    }

    /// For how long Kafka has not taken records.
    pub(super) fn away_for(&self) -> Option<Duration> {
        self.away.borrow().map(|since| since.elapsed())
    }

    /// What failed last, until something succeeds.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
