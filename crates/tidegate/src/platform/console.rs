//! The port for Postgres clients, where the settings name one.

use std::time::Duration;

use ::console::Reader;
pub(super) use ::console::postgres::Server;
use lake::Lake;

use super::stages::RETRY_PAUSE_MIN;
use crate::settings::{Role, Settings};

/// Listens, where the role and the settings say so. A lake that cannot be reached yet is waited for in the background.
///
/// # Errors
///
/// An address that cannot be listened on, or a plan that cannot be read.
pub(super) async fn start(settings: &Settings) -> anyhow::Result<Option<Server>> {
    let Some(listen) = settings.postgres.listen.as_deref().filter(|_| settings.has(Role::Console)) else { return Ok(None) };
    let plan = super::plan(settings.plan.file.as_deref())?;
    let (location, options, config) = (settings.lake_location(), settings.lake.options.clone(), settings.query.clone());
    let pause_max = settings.pipeline.retry_pause_max.max(RETRY_PAUSE_MIN);
    let reader = async move {
        let lake = opened(&location, &options, pause_max).await?;
        Reader::new(lake, plan, config)
    };
    Ok(Some(Server::bind(listen, &settings.postgres, settings.reader_file(), Box::pin(reader)).await?))
}

/// Resolves when it ends by itself, with why; never where there is none.
pub(super) async fn failed(server: &mut Option<Server>) -> anyhow::Error {
    let Some(running) = server else { return std::future::pending().await };
    let error = running.failed().await;
    *server = None;
    error.into()
}

async fn opened(location: &str, options: &lake::Options, pause_max: Duration) -> Result<Lake, lake::Error> {
    let mut pause = RETRY_PAUSE_MIN;
    loop {
        match Lake::open(location, options.clone()).await {
            Err(error) if error.kind() == lake::ErrorKind::Retry => {
                tracing::warn!(%error, "Postgres clients have to wait for the lake, it will be tried again");
            }
            outcome => return outcome,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(pause_max);
    }
}
