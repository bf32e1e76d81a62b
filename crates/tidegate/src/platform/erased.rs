//! Keeps the gate's list of erased persons up to the lake's.

use std::sync::Arc;
use std::time::Duration;

use ingest::Gate;
use lake::Lake;
use pipeline::erasure;
use tokio::task::JoinHandle;

use crate::settings::Settings;

/// How long the start waits for the first look.
const FIRST_LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// The task that looks. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Looking(JoinHandle<()>);

impl Looking {
    /// Ends it, and with it what it holds of the gate.
    pub(super) async fn end(mut self) {
        self.0.abort();
        drop((&mut self.0).await);
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Gives the gate the list, and goes on doing so every `pipeline.erasure_interval`: what comes in before the gate knows of an erasure is kept out of the lake all the same, and the stages wait so
/// long before the journal forgets it. Where the lake cannot be read, as by a gate without rights in it, the stages alone keep these events out.
pub(super) async fn look(gate: Gate, settings: &Settings) -> Looking {
    let mut list =
        List { gate, location: settings.lake_location(), options: settings.lake.options.clone(), lake: None, version: -1, failed: false };
    // A lake that is not there has nobody erased, and is not made by looking.
    let is_there = settings.lake_folder().is_none_or(|folder| folder.is_dir());
    if is_there && tokio::time::timeout(FIRST_LOOK_TIMEOUT, list.take()).await.is_err() {
        tracing::warn!("the list of erased persons was not read within {} s; it is tried again", FIRST_LOOK_TIMEOUT.as_secs());
    }
    let look_every = settings.pipeline.erasure_interval;
    Looking(tokio::spawn(async move {
        loop {
            tokio::time::sleep(look_every).await;
            list.take().await;
        }
    }))
}

struct List {
    gate: Gate,
    location: String,
    options: lake::Options,
    lake: Option<Lake>,
    version: i64,
    failed: bool,
}

impl List {
    /// Takes the newest list, and tells once where it cannot.
    async fn take(&mut self) {
        match self.try_take().await {
            Ok(()) if self.failed => {
                tracing::info!("the list of erased persons can be read again");
                self.failed = false;
            }
            Ok(()) => {}
            Err(error) => {
                if !self.failed {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "the list of erased persons cannot be read: the stages keep their events out of the lake, the journal has them until then"
                    );
                }
                self.failed = true;
            }
        }
    }

    async fn try_take(&mut self) -> anyhow::Result<()> {
        let lake = match &self.lake {
            Some(lake) => lake,
            None => self.lake.insert(Lake::open(&self.location, self.options.clone()).await?),
        };
        let Some(list) = erasure::newer(lake, self.version).await? else { return Ok(()) };
        self.version = list.version;
        self.gate.keep_out(Arc::new(list.erased));
        Ok(())
    }
}
