//! The running platform in one process: what `serve` and `demo` start and stop.
//!
//! The order of a stop is the order of the data: the gate takes nothing new (503) and finishes what it took, the stages bring what the journal holds to Gold,
//! and only then the listener closes, so that clients are told to go elsewhere for as long as anything is in work.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use contract::Plan;
use ingest::{Gate, KeyFile, Keyring};
use journal::Journal;
use journal::embedded::Embedded;
use pipeline::Pipeline;
use telemetry::clock::SharedClock;
use telemetry::metrics::{PrometheusHandle, UPKEEP_SECONDS};
use tokio::sync::watch;
use tokio::task::JoinHandle;

mod http;
mod metrics;
mod routes;
#[cfg(test)]
mod tests;

use crate::settings::{Role, Settings};
use http::Server;

/// The platform, running.
#[derive(Debug)]
pub(crate) struct Platform {
    key_file: KeyFile,
    lake: lake::Lake,
    status: pipeline::Status,
    gate: Option<Gate>,
    stages: Option<Stages>,
    server: Server,
    journal: Arc<Embedded>,
    upkeep: JoinHandle<()>,
}

#[derive(Debug)]
struct Stages {
    drain: watch::Sender<bool>,
    task: JoinHandle<Result<(), pipeline::Error>>,
}

impl Platform {
    /// Opens journal, lake, write keys and index, begins to listen (a port 0 is a free one), and starts the stages that the roles ask for.
    ///
    /// # Errors
    ///
    /// What cannot be opened, with what to do; nothing is left running.
    pub(crate) async fn start(settings: &Settings, clock: SharedClock) -> anyhow::Result<Self> {
        let metrics = metrics::install()?;
        let plan = plan(settings)?;
        let journal = Embedded::open(settings.journal_folder(), settings.journal.embedded.clone()).await?;
        let journal = Arc::new(journal);
        let lake = lake::Lake::open(&settings.lake_location(), settings.lake.options.clone()).await?;
        let key_file = settings.key_file();
        let gate = if settings.has(Role::Ingest) {
            let keyring = Keyring::open(key_file.clone())?;
            let gate = Gate::builder(Arc::clone(&journal) as Arc<dyn Journal>, keyring).plan(plan).clock(clock);
            Some(gate.config(settings.ingest.clone()).build()?)
        } else {
            None
        };
        let pipeline = if settings.has(Role::Pipeline) {
            let journal = Arc::clone(&journal) as Arc<dyn Journal>;
            Some(Pipeline::open(journal, lake.clone(), settings.index_folder(), settings.pipeline.clone()).await?)
        } else {
            None
        };
        let status = pipeline.as_ref().map_or_else(pipeline::Status::default, Pipeline::status);
        let router = routes::router(gate.clone(), status.clone(), metrics.clone());
        let server = Server::bind(&settings.server, router).await?;
        let stages = pipeline.map(Stages::start);
        Ok(Self { key_file, lake, status, gate, stages, server, journal, upkeep: tokio::spawn(keep_up(metrics)) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The lake it writes.
    pub(crate) fn lake(&self) -> &lake::Lake {
        &self.lake
    }

    /// How the stages are doing; all zeros without the role pipeline.
    pub(crate) fn status(&self) -> pipeline::Status {
        self.status.clone()
    }

    /// Its write keys.
    pub(crate) fn key_file(&self) -> KeyFile {
        self.key_file.clone()
    }

    /// Stops in the order of the data; whatever was answered with a yes is in Gold when this returns. May take as long as the journal's rest needs: bound
    /// it from outside. Dropped midway it loses nothing, for the next start goes on there.
    ///
    /// # Errors
    ///
    /// A stage or the listener that failed.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        if let Some(gate) = &self.gate {
            gate.shutdown();
            gate.idle().await;
        }
        let drained = match self.stages {
            Some(stages) => stages.drain().await,
            None => Ok(()),
        };
        let closed = self.server.close().await;
        self.upkeep.abort();
        drop(self.gate);
        // With a clean end the next opening need not look for an unfinished write. Someone who still holds it only makes that look necessary.
        match Arc::into_inner(self.journal) {
            Some(mut journal) => journal.close().await,
            None => tracing::warn!("the journal is still in use at the end of the stop"),
        }
        drained.and(closed)
    }

    /// Resolves when a part ends by itself, with why: then the rest is to be stopped too.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        tokio::select! {
            error = Stages::failed(&mut self.stages) => error,
            error = self.server.failed() => error,
        }
    }
}

impl Stages {
    fn start(pipeline: Pipeline) -> Self {
        let (drain, draining) = watch::channel(false);
        Self { drain, task: tokio::spawn(pipeline.run(draining)) }
    }

    async fn drain(self) -> anyhow::Result<()> {
        self.drain.send_replace(true);
        self.task.await.context("the pipeline panicked")?.context("the pipeline failed")
    }

    async fn failed(stages: &mut Option<Self>) -> anyhow::Error {
        let Some(running) = stages else { return std::future::pending().await };
        let ended = (&mut running.task).await;
        *stages = None;
        match ended {
            Ok(Ok(())) => anyhow!("the pipeline ended by itself; please report it with the log"),
            Ok(Err(error)) => anyhow::Error::new(error).context("the pipeline failed"),
            Err(panic) => anyhow::Error::new(panic).context("the pipeline panicked; please report it with the log"),
        }
    }
}

fn plan(settings: &Settings) -> anyhow::Result<Arc<Plan>> {
    let Some(path) = &settings.plan.file else { return Ok(Arc::new(Plan::built_in())) };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the tracking plan {name}"))?;
    Ok(Arc::new(Plan::parse(&text, &name)?))
}

async fn keep_up(metrics: PrometheusHandle) {
    let mut turn = tokio::time::interval(Duration::from_secs(UPKEEP_SECONDS));
    loop {
        turn.tick().await;
        metrics.run_upkeep();
    }
}
