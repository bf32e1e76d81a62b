//! Experiments and their results.

use std::sync::Arc;

use ::console::{experiment, pages as drawn};
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use experiments::definition::Experiment;
use experiments::report::Report;
use pipeline::gold::experiments::read;
use serde::Deserialize;

use super::{Asking, HTML, JSON, Pages, Refused, show, shown};

/// A result as one file has its style in itself.
const FILE_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'");

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    format: Option<String>,
}

pub(super) async fn index(State(pages): Asking) -> Result<Response, Refused> {
    let defined = match pages.settings.pipeline.experiments() {
        Ok(defined) => defined,
        Err(error) => return Ok(show(drawn::experiments::index(&[], Some(&error.to_string())))),
    };
    let mut reports = Vec::new();
    for defined in &defined {
        reports.push(pages.report(defined).await?);
    }
    Ok(show(drawn::experiments::index(&reports, None)))
}

pub(super) async fn result(State(pages): Asking, Path(name): Path<String>, Query(asked): Query<Asked>) -> Result<Response, Refused> {
    let defined = pages.settings.pipeline.experiments().map_err(Refused::unavailable)?;
    let Some(found) = defined.iter().find(|found| found.definition.key == name) else {
        return Err(Refused(StatusCode::NOT_FOUND, "There is no such experiment.".to_owned()));
    };
    let report = pages.report(found).await?;
    match asked.format.as_deref() {
        None => Ok(show(drawn::experiments::page(&report))),
        Some("html") => {
            let mut response = shown(HTML, experiment::page(&report));
            response.headers_mut().insert(CONTENT_SECURITY_POLICY, FILE_POLICY);
            Ok(response)
        }
        Some("json") => Ok(shown(JSON, serde_json::to_string(&report).map_err(Refused::unavailable)?)),
        Some(_) => Err(Refused(StatusCode::BAD_REQUEST, "The format is html or json.".to_owned())),
    }
}

impl Pages {
    async fn report(self: &Arc<Self>, defined: &Experiment) -> Result<Report, Refused> {
        let gold = read(self.lake().await?, &self.settings.pipeline, defined).await.map_err(Refused::unavailable)?;
        Ok(Report::of(defined, &gold))
    }
}
