//! The stages in a task of their own: opened as soon as their journal and their lake can be, run until they are told to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use journal::Journal;
use pipeline::{Pipeline, Status};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::medium::Reading;
use crate::settings::Settings;

/// The first pause before opening is tried again; it doubles up to `pipeline.retry_pause_max`.
pub(super) const RETRY_PAUSE_MIN: Duration = Duration::from_millis(500);

/// How long a stage may compute before it notices that it is given up.
const GIVE_UP_TIMEOUT: Duration = Duration::from_secs(1);

/// The stages, opening or running. Dropped, they are given up.
#[derive(Debug)]
pub(super) struct Stages {
    drain: watch::Sender<bool>,
    give_up: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Stages {
    /// Opens the stages and starts them. What may pass, such as a store that does not answer, is sat out in the background, and told by `status`.
    ///
    /// # Errors
    ///
    /// What a person has to change.
    pub(super) async fn start(reading: Reading, settings: &Settings, status: Status) -> anyhow::Result<Self> {
        let opening = Opening {
            reading,
            journal: None,
            location: settings.lake_location(),
            options: settings.lake.options.clone(),
            lake: None,
            index: settings.index_folder(),
            config: settings.pipeline.clone(),
            status,
        };
        let (drain, draining) = watch::channel(false);
        let (give_up, given_up) = oneshot::channel();
        let ending = Ending { draining, given_up };
        // What can be opened at once is, so that what is wrong with it ends the start.
        let task = if matches!(opening.reading, Reading::Open(_)) {
            let mut opening = opening;
            match opening.open().await {
                Ok(pipeline) => tokio::spawn(ending.run(pipeline)),
                Err(Failure { error, passes: false }) => return Err(error),
                Err(Failure { error, passes: true }) => {
                    opening.tell(&error);
                    tokio::spawn(opening.run(ending))
                }
            }
        } else {
            tokio::spawn(opening.run(ending))
        };
        Ok(Self { drain, give_up, task })
    }

    /// Lets them bring what there is to Gold, or leave it to others, and end.
    ///
    /// # Errors
    ///
    /// A stage that failed.
    pub(super) async fn drain(&mut self) -> anyhow::Result<()> {
        self.drain.send_replace(true);
        (&mut self.task).await.context("the pipeline panicked")?.context("the pipeline failed")
    }

    /// Breaks them off where they wait, and waits until none of them runs: one that outlived the runtime's threads would tell of reads that failed.
    pub(super) async fn give_up(self) {
        let Self { drain, give_up, task } = self;
        drain.send_replace(true);
        drop(give_up);
        if !task.is_finished() && tokio::time::timeout(GIVE_UP_TIMEOUT, task).await.is_err() {
            tracing::warn!("a stage is still at work and is left alone; nothing is lost");
        }
    }

    /// Resolves when they end by themselves, with why; never where there are none.
    pub(super) async fn failed(stages: &mut Option<Self>) -> anyhow::Error {
        let Some(running) = stages else { return std::future::pending().await };
        let ended = (&mut running.task).await;
        *stages = None;
        match ended {
            Ok(Ok(())) => anyhow!("the pipeline ended by itself; please report it with the log"),
            Ok(Err(error)) => error.context("the pipeline failed"),
            Err(panic) => anyhow::Error::new(panic).context("the pipeline panicked; please report it with the log"),
        }
    }
}

/// How the stages are told to end.
struct Ending {
    draining: watch::Receiver<bool>,
    /// Resolves when its sender is gone, too.
    given_up: oneshot::Receiver<()>,
}

impl Ending {
    async fn run(self, pipeline: Pipeline) -> anyhow::Result<()> {
        let Self { draining, given_up } = self;
        Ok(pipeline.run_unless(async { drop(given_up.await) }, draining).await?)
    }
}

/// What the stages are opened with.
struct Opening {
    reading: Reading,
    journal: Option<Arc<dyn Journal>>,
    location: String,
    options: lake::Options,
    lake: Option<lake::Lake>,
    index: PathBuf,
    config: pipeline::Config,
    status: Status,
}

/// Why they could not be opened.
struct Failure {
    error: anyhow::Error,
    passes: bool,
}

impl Opening {
    async fn run(mut self, mut ending: Ending) -> anyhow::Result<()> {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let opened = tokio::select! {
                _ = ending.draining.wait_for(|drain| *drain) => return Ok(()),
                opened = self.open() => opened,
            };
            match opened {
                Ok(pipeline) => return ending.run(pipeline).await,
                Err(Failure { error, passes: false }) => return Err(error),
                Err(Failure { error, passes: true }) => self.tell(&error),
            }
            tokio::select! {
                _ = ending.draining.wait_for(|drain| *drain) => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(self.config.retry_pause_max.max(RETRY_PAUSE_MIN));
        }
    }

    /// Opens what is not open yet.
    async fn open(&mut self) -> Result<Pipeline, Failure> {
        let journal = match &self.journal {
            Some(journal) => Arc::clone(journal),
            None => {
                let opened = self.reading.journal().await;
                let journal = opened.map_err(|error| Failure { passes: error.is_passing(), error: error.into() })?;
                Arc::clone(self.journal.insert(journal))
            }
        };
        let lake = match &self.lake {
            Some(lake) => lake.clone(),
            None => {
                let opened = lake::Lake::open(&self.location, self.options.clone()).await;
                let passes = |error: &lake::Error| error.kind() == lake::ErrorKind::Retry;
                self.lake.insert(opened.map_err(|error| Failure { passes: passes(&error), error: error.into() })?).clone()
            }
        };
        let opened = Pipeline::open(journal, lake, self.index.clone(), self.config.clone(), self.status.clone()).await;
        let passes = |error: &pipeline::Error| error.kind() == pipeline::ErrorKind::Retry;
        let pipeline = opened.map_err(|error| Failure { passes: passes(&error), error: error.into() })?;
        self.status.started();
        Ok(pipeline)
    }

    fn tell(&self, error: &anyhow::Error) {
        let what = format!("{error:#}");
        tracing::warn!(error = what, "the stages cannot start yet, it will be tried again");
        self.status.starting(what);
    }
}
