//! The journal that the settings name, and what the gate puts records into.

use std::sync::Arc;

use anyhow::Context as _;
use journal::embedded::Embedded;
use journal::kafka::Kafka;
use journal::spool::Spooled;
use journal::{Journal, Sink};

use crate::settings::{JournalKind, Role, Settings};

/// The journal, opened.
#[derive(Debug)]
pub(super) enum Medium {
    /// Nobody here needs it.
    Unused,
    /// In local files.
    Embedded(Arc<Embedded>),
    /// In Kafka, to be opened by whoever reads it: without a gate nothing is lost by waiting.
    Read(Box<journal::kafka::Config>),
    /// In Kafka, and what Kafka does not take is refused.
    Kafka(Arc<Kafka>),
    /// In Kafka, with a spool in front of it.
    Spooled(Arc<Spooled>),
}

impl Medium {
    /// Opens what the gate needs.
    ///
    /// # Errors
    ///
    /// What cannot be opened, with what to do.
    pub(super) async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let kafka = &settings.journal.kafka;
        if !settings.has(Role::Ingest) && !settings.has(Role::Pipeline) {
            return Ok(Self::Unused);
        }
        Ok(match settings.journal.kind {
            JournalKind::Embedded => {
                let journal = Embedded::open(settings.journal_folder(), settings.journal.embedded.clone()).await?;
                Self::Embedded(Arc::new(journal))
            }
            JournalKind::Kafka if !settings.has(Role::Ingest) => Self::Read(Box::new(kafka.clone())),
            JournalKind::Kafka if !settings.journal.spool.enabled => {
                Self::Kafka(Arc::new(Kafka::open(kafka.clone()).await.context("the journal in Kafka cannot be opened")?))
            }
            JournalKind::Kafka => {
                let spool = settings.journal.spool.clone();
                Self::Spooled(Arc::new(Spooled::open(kafka.clone(), &settings.spool_folder(), spool).await?))
            }
        })
    }

    /// What the gate puts records into; `None` where no gate was to be opened.
    pub(super) fn sink(&self) -> Option<Arc<dyn Sink>> {
        match self {
            Self::Embedded(journal) => Some(Arc::clone(journal) as Arc<dyn Sink>),
            Self::Unused | Self::Read(_) => None,
            Self::Kafka(kafka) => Some(Arc::clone(kafka) as Arc<dyn Sink>),
            Self::Spooled(spooled) => Some(Arc::clone(spooled) as Arc<dyn Sink>),
        }
    }

    /// A journal that only this process can append to. Kafka's anyone can.
    pub(super) fn sole_writer(&self) -> Option<Arc<dyn Sink>> {
        match self {
            Self::Embedded(journal) => Some(Arc::clone(journal) as Arc<dyn Sink>),
            Self::Unused | Self::Read(_) | Self::Kafka(_) | Self::Spooled(_) => None,
        }
    }

    /// What the stages read; `None` where there are to be none.
    pub(super) fn reading(&self) -> Option<Reading> {
        match self {
            Self::Unused => None,
            Self::Embedded(journal) => Some(Reading::Open(Arc::clone(journal) as Arc<dyn Journal>)),
            Self::Kafka(kafka) => Some(Reading::Open(Arc::clone(kafka) as Arc<dyn Journal>)),
            Self::Read(config) => Some(Reading::Kafka(config.clone())),
            Self::Spooled(spooled) => Some(Reading::BehindSpool(Arc::clone(spooled))),
        }
    }

    /// What is read to show the events as they come; `None` where the journal is a folder that another process has. In Kafka anyone can read.
    pub(super) fn watching(&self, settings: &Settings) -> Option<Reading> {
        match self {
            Self::Unused if settings.journal.kind == JournalKind::Kafka => Some(Reading::Kafka(Box::new(settings.journal.kafka.clone()))),
            other => other.reading(),
        }
    }

    /// Lets go of it. With a clean end the next opening need not look for an unfinished write; someone who still holds it only makes that look necessary.
    pub(super) async fn close(self) {
        let is_held = match self {
            Self::Embedded(journal) => match Arc::into_inner(journal) {
                Some(mut journal) => {
                    journal.close().await;
                    false
                }
                None => true,
            },
            Self::Spooled(spooled) => match Arc::into_inner(spooled) {
                Some(spooled) => {
                    spooled.close().await;
                    false
                }
                None => true,
            },
            Self::Unused | Self::Kafka(_) | Self::Read(_) => false,
        };
        if is_held {
            tracing::warn!("the journal is still in use at the end of the stop");
        }
    }
}

/// The journal as the stages come to it.
#[derive(Debug)]
pub(super) enum Reading {
    Open(Arc<dyn Journal>),
    /// To be opened, as often as it takes.
    Kafka(Box<journal::kafka::Config>),
    /// There as soon as Kafka has answered once.
    BehindSpool(Arc<Spooled>),
}

impl Reading {
    /// The journal.
    ///
    /// # Errors
    ///
    /// Why not; it may pass where [`journal::kafka::OpenError::is_passing`] says so.
    pub(super) async fn journal(&self) -> Result<Arc<dyn Journal>, journal::kafka::OpenError> {
        match self {
            Self::Open(journal) => Ok(Arc::clone(journal)),
            Self::Kafka(config) => Ok(Arc::new(Kafka::open((**config).clone()).await?)),
            Self::BehindSpool(spooled) => Ok(spooled.kafka().await),
        }
    }
}
