//! The running platform in one process: what `serve` and `demo` start and stop.
//!
//! The order of a stop is the order of the data: the gate takes nothing new (503) and finishes what it took, the stages bring what the journal holds to Gold,
//! and only then the listener closes, so that clients are told to go elsewhere for as long as anything is in work.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use contract::Plan;
use ingest::{Gate, KeyFile, Keyring};
use listener::Server;
use listener::tls::{Keeping, Tls};
use telemetry::clock::SharedClock;
use telemetry::metrics::{PrometheusHandle, UPKEEP_SECONDS};
use tokio::task::JoinHandle;

mod console;
pub(crate) mod control;
mod erased;
mod medium;
pub(crate) mod metrics;
mod pages;
mod routes;
mod stages;
#[cfg(test)]
mod tests;

use crate::key_files;
use crate::settings::{Role, Settings};
use control::Control;
use medium::Medium;
use pages::{Console, Shown};
use stages::Stages;

/// The platform, running.
#[derive(Debug)]
pub(crate) struct Platform {
    key_file: KeyFile,
    status: pipeline::Status,
    gate: Option<Gate>,
    stages: Option<Stages>,
    server: Server,
    tls: Option<Keeping>,
    postgres: Option<console::Server>,
    pages: Option<Console>,
    control: Option<Control>,
    medium: Medium,
    upkeep: JoinHandle<()>,
    erased: Option<erased::Looking>,
}

impl Platform {
    /// Opens journal, lake, write keys and index, begins to listen (a port 0 is a free one), and starts the stages that the roles ask for.
    ///
    /// # Errors
    ///
    /// What cannot be opened, with what to do; nothing is left running.
    pub(crate) async fn start(settings: &Settings, clock: SharedClock) -> anyhow::Result<Self> {
        let metrics = metrics::install()?;
        let plan = plan(settings.plan.file.as_deref())?;
        let (tls, keeping) = settings.server.tls.files().map(|files| Tls::open(files, Arc::clone(&clock))).transpose()?.unzip();
        let medium = Medium::open(settings).await?;
        let key_file = settings.key_file();
        let gate = match medium.sink().filter(|_| settings.has(Role::Ingest)) {
            Some(sink) => {
                let keyring = Keyring::open(key_file.clone())?;
                Some(
                    Gate::builder(sink, keyring)
                        .plan(Arc::clone(&plan))
                        .clock(clock)
                        .config(settings.ingest.clone())
                        .over_tls(tls.is_some())
                        .pii_key(key_files::pii(settings)?)
                        .signing_key(key_files::signing(settings)?)
                        .build()?,
                )
            }
            None => None,
        };
        let erased = match &gate {
            Some(gate) => Some(erased::look(gate.clone(), settings).await),
            None => None,
        };
        let status = pipeline::Status::default();
        let stages = match medium.reading().filter(|_| settings.has(Role::Pipeline)) {
            Some(reading) => Some(Stages::start(reading, settings, status.clone()).await?),
            None => None,
        };
        let router = routes::router(gate.clone(), status.clone(), metrics.clone());
        let server = Server::bind(&settings.server.listener(), tls.clone(), router).await?;
        let postgres = console::start(settings).await?;
        let shown = Shown { reading: medium.watching(settings), status: settings.has(Role::Pipeline).then(|| status.clone()), plan, tls };
        let pages = Box::pin(Console::start(settings, shown)).await?;
        let control = match medium.sole_writer() {
            Some(sink) => Control::open(&settings.data, sink)?,
            None => None,
        };
        Ok(Self {
            key_file,
            status,
            gate,
            stages,
            server,
            tls: keeping,
            postgres,
            pages,
            control,
            medium,
            upkeep: tokio::spawn(keep_up(metrics, settings.data.clone())),
            erased,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Where Postgres clients are answered, if anywhere.
    pub(crate) fn postgres_address(&self) -> Option<SocketAddr> {
        self.postgres.as_ref().map(console::Server::address)
    }

    /// Where the console's pages are, if anywhere.
    pub(crate) fn console_address(&self) -> Option<SocketAddr> {
        self.pages.as_ref().map(Console::address)
    }

    /// How the stages are doing; all zeros without the role pipeline.
    pub(crate) fn status(&self) -> pipeline::Status {
        self.status.clone()
    }

    /// Its write keys.
    pub(crate) fn key_file(&self) -> KeyFile {
        self.key_file.clone()
    }

    /// Stops in the order of the data; whatever was answered with a yes is in Gold when this returns, or, where other processes read the same journal, in that. May
    /// take as long as the journal's rest needs.
    ///
    /// # Errors
    ///
    /// A stage or the listener that failed.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let mut stages = self.stages.take();
        self.stop_in_order(stages.as_mut()).await
    }

    /// The same, but what takes longer than `server.shutdown_timeout` is broken off where it is: nothing is lost, for the next start goes on there.
    ///
    /// # Errors
    ///
    /// As [`Platform::stop`], and where it took longer.
    pub(crate) async fn stop_within(mut self, shutdown_timeout: Duration) -> anyhow::Result<()> {
        let mut stages = self.stages.take();
        let stopped = tokio::time::timeout(shutdown_timeout, Box::pin(self.stop_in_order(stages.as_mut()))).await;
        if let Ok(stopped) = stopped {
            return stopped;
        }
        if let Some(stages) = stages {
            stages.give_up().await;
        }
        let seconds = shutdown_timeout.as_secs();
        bail!(
            "the stop took longer than server.shutdown_timeout, {seconds} s; what was taken is in the journal, the next start goes on there"
        )
    }

    async fn stop_in_order(mut self, stages: Option<&mut Stages>) -> anyhow::Result<()> {
        if let Some(gate) = &self.gate {
            gate.shutdown();
            gate.idle().await;
        }
        if let Some(erased) = self.erased {
            erased.end().await;
        }
        if let Some(pages) = &mut self.pages {
            pages.release().await;
        }
        if let Some(control) = self.control {
            control.close().await;
        }
        let drained = match stages {
            Some(stages) => stages.drain().await,
            None => Ok(()),
        };
        let closed = self.server.close().await;
        if let Some(postgres) = self.postgres {
            postgres.close().await?;
        }
        if let Some(pages) = self.pages {
            pages.close().await?;
        }
        drop(self.tls);
        self.upkeep.abort();
        drop(self.gate);
        self.medium.close().await;
        drained.and(closed.map_err(anyhow::Error::from))
    }

    /// Resolves when a part ends by itself, with why: then the rest is to be stopped too.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        tokio::select! {
            error = Stages::failed(&mut self.stages) => error,
            error = self.server.failed() => error.into(),
            error = console::failed(&mut self.postgres) => error,
            error = Console::failed(&mut self.pages) => error,
        }
    }
}

/// The tracking plan of a file; the built-in one without.
///
/// # Errors
///
/// A file that cannot be read or is no plan.
pub(crate) fn plan(file: Option<&Path>) -> anyhow::Result<Arc<Plan>> {
    let Some(path) = file else { return Ok(Arc::new(Plan::built_in())) };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the tracking plan {name}"))?;
    Ok(Arc::new(Plan::parse(&text, &name)?))
}

async fn keep_up(metrics: PrometheusHandle, data: PathBuf) {
    let process = metrics_process::Collector::default();
    let mut turn = tokio::time::interval(Duration::from_secs(UPKEEP_SECONDS));
    loop {
        turn.tick().await;
        self::metrics::note(&process, &data);
        metrics.run_upkeep();
    }
}
