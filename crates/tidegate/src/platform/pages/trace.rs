//! The way of one event.

use ::console::pages::trace::{Step, page as drawn};
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::{Asking, Refused, show};

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    id: Option<String>,
}

pub(super) async fn page(State(pages): Asking, Query(Asked { id }): Query<Asked>) -> Result<Response, Refused> {
    let id = id.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty());
    let mut steps = Vec::new();
    if let Some(id) = &id {
        let models = pages.settings.pipeline.models().map_err(Refused::unavailable)?;
        let found = pipeline::trace::trace(pages.lake().await?, &models, id).await.map_err(Refused::unavailable)?;
        let step = |pipeline::trace::Step { table, source, journal, received_at, what }| Step { table, source, journal, received_at, what };
        steps = found.into_iter().map(step).collect();
    }
    Ok(show(drawn(id.as_deref(), &steps)))
}
