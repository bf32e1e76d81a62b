//! The console's pages, where the settings name an address for them: for people on this machine, or behind a proxy that knows them.

use std::sync::Arc;

use ::console::experiment;
use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use experiments::definition::Experiment;
use experiments::report::Report;
use lake::Lake;
use pipeline::gold::experiments::read;
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::http::Server;
use crate::settings::{self, Role, Settings};

/// Connections at a time.
const CONNECTIONS_MAX: usize = 64;
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
/// A page needs nothing but itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'";

/// What the pages are made of.
struct Pages {
    settings: Settings,
    /// Opened when it is first asked for: it may not be there before.
    lake: OnceCell<Lake>,
}

/// Why there is no page.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        plain(self.0, &self.1)
    }
}

/// Listens, where the role and the settings say so.
///
/// # Errors
///
/// An address that cannot be listened on.
pub(super) async fn start(settings: &Settings) -> anyhow::Result<Option<Server>> {
    let Some(listen) = settings.console.listen.clone().filter(|_| settings.has(Role::Console)) else { return Ok(None) };
    let own = settings::Server { listen, connections_max: CONNECTIONS_MAX, ..settings.server.clone() };
    let pages = Arc::new(Pages { settings: settings.clone(), lake: OnceCell::new() });
    Ok(Some(Server::bind(&own, router(pages)).await?))
}

/// Resolves when it ends by itself, with why; never where there is none.
pub(super) async fn failed(server: &mut Option<Server>) -> anyhow::Error {
    match server {
        Some(running) => running.failed().await,
        None => std::future::pending().await,
    }
}

fn router(pages: Arc<Pages>) -> Router {
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/experiments") }))
        .route("/experiments", get(index))
        .route("/experiments/{name}", get(result))
        .fallback(|| async { plain(StatusCode::NOT_FOUND, "There is no such page; begin at /experiments.") })
        .with_state(pages)
        .layer(middleware::from_fn(only_for_this_machine))
}

/// A page of another site could be made to come from here by its name (DNS rebinding), and would then be read by that site.
async fn only_for_this_machine(request: Request, next: Next) -> Response {
    if is_this_machine(request.headers()) {
        next.run(request).await
    } else {
        plain(StatusCode::MISDIRECTED_REQUEST, "These pages are asked for by a loopback address, such as http://127.0.0.1.")
    }
}

fn is_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = host.rsplit_once(':').filter(|(_, port)| port.chars().all(|c| c.is_ascii_digit())).map_or(host, |(name, _)| name);
    settings::is_loopback(name)
}

#[derive(Debug, Deserialize)]
struct Asked {
    format: Option<String>,
}

async fn index(State(pages): State<Arc<Pages>>) -> Result<Response, Refused> {
    let mut reports = Vec::new();
    for defined in &pages.defined()? {
        reports.push(pages.report(defined).await?);
    }
    Ok(shown(HTML, experiment::index(&reports)))
}

async fn result(State(pages): State<Arc<Pages>>, Path(name): Path<String>, Query(asked): Query<Asked>) -> Result<Response, Refused> {
    let defined = pages.defined()?;
    let Some(found) = defined.iter().find(|found| found.definition.key == name) else {
        return Err(Refused(StatusCode::NOT_FOUND, "There is no such experiment; /experiments has those there are.".to_owned()));
    };
    let report = pages.report(found).await?;
    match asked.format.as_deref() {
        None | Some("html") => Ok(shown(HTML, experiment::page(&report))),
        Some("json") => match serde_json::to_string(&report) {
            Ok(text) => Ok(shown(JSON, text)),
            Err(error) => Err(Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
        },
        Some(_) => Err(Refused(StatusCode::BAD_REQUEST, "The format is html or json.".to_owned())),
    }
}

impl Pages {
    fn defined(&self) -> Result<Vec<Experiment>, Refused> {
        self.settings.pipeline.experiments().map_err(|error| Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    }

    async fn report(&self, defined: &Experiment) -> Result<Report, Refused> {
        let refused = |what: String| {
            tracing::warn!(error = what, "a page of the console cannot be made");
            Refused(StatusCode::SERVICE_UNAVAILABLE, what)
        };
        let open = || async { Lake::open(&self.settings.lake_location(), self.settings.lake.options.clone()).await };
        let lake = self.lake.get_or_try_init(open).await.map_err(|error| refused(error.to_string()))?;
        let gold = read(lake, &self.settings.pipeline, defined).await.map_err(|error| refused(error.to_string()))?;
        Ok(Report::of(defined, &gold))
    }
}

fn shown(content_type: &'static str, body: String) -> Response {
    let headers =
        [(CONTENT_TYPE, content_type), (CONTENT_SECURITY_POLICY, POLICY), (X_CONTENT_TYPE_OPTIONS, "nosniff"), (CACHE_CONTROL, "no-store")];
    (headers, body).into_response()
}

fn plain(status: StatusCode, what: &str) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8"), (X_CONTENT_TYPE_OPTIONS, "nosniff")], format!("{what}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_for_this_machine() {
        let check = |host: &str, expect: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            assert_eq!(is_this_machine(&headers), expect, "{host}");
        };
        check("127.0.0.1:8100", true);
        check("localhost", true);
        check("[::1]:8100", true);
        check("127.0.0.1.example.org:8100", false);
        check("example.org", false);
        assert!(!is_this_machine(&HeaderMap::new()));
    }
}
