//! The tracking plan with its volumes.

use ::console::pages::plan as drawn;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::{Asking, show};

pub(super) async fn page(State(pages): Asking) -> Response {
    let volumes = pages.ask(&drawn::volumes(None)).await;
    show(drawn::page(&pages.plan, volumes.as_deref().map_err(String::as_str)))
}

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    name: String,
}

pub(super) async fn one(State(pages): Asking, Query(Asked { name }): Query<Asked>) -> Response {
    let volumes = pages.ask(&drawn::volumes(Some(&name))).await.unwrap_or_default();
    let examples = pages.ask(&drawn::examples(&name)).await;
    show(drawn::type_page(&pages.plan, &name, &volumes, examples.as_deref().map_err(String::as_str)))
}
