//! The console's pages, where the settings name an address for them: for people on this machine, or behind a proxy that knows them.
//!
//! What they look like is in `console`; here is where their facts come from, and who may see them ([`access`]). What changes something is a form of an admin.

use std::future::Future;
use std::sync::Arc;

use ::console::pages::Page;
use ::console::{Error, Reader, pages as drawn};
use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use contract::{Plan, Timestamp};
use lake::Lake;
use listener::Server;
use listener::tls::Tls;
use pipeline::Status;
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinSet;

use super::medium::Reading;
use crate::settings::{Role, Settings};

mod access;
mod dead_letters;
mod events;
mod experiments;
mod explore;
mod interest;
mod jobs;
mod overview;
mod plan;
mod rows;
mod sources;
mod stream;
mod trace;

/// Connections at a time. Each page that keeps itself up to date has one.
const CONNECTIONS_MAX: usize = 256;
/// The largest form.
const FORM_BYTES_MAX: usize = 64 * 1024;
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
/// A page needs what comes from here, and nothing else; nobody may frame it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
);
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What the pages are made of.
struct Pages {
    settings: Settings,
    plan: Arc<Plan>,
    /// How the stages of this process are doing; nothing where it has none.
    status: Option<Status>,
    /// Opened when it is first asked for: it may not be there before.
    lake: OnceCell<Lake>,
    reader: OnceCell<Reader>,
    overview: overview::Hub,
    events: events::Hub,
    jobs: jobs::Hub,
    access: access::Access,
    /// Becomes true when the pages are to end.
    closing: watch::Sender<bool>,
}

/// Why there is no page.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let title = if self.0 == StatusCode::NOT_FOUND { "Not found" } else { "This cannot be shown" };
        (self.0, show(drawn::refusal(title, &self.1))).into_response()
    }
}

impl Refused {
    /// Something that passes, or that a person has to mend.
    fn unavailable(error: impl std::fmt::Display) -> Self {
        let what = error.to_string();
        tracing::warn!(error = what, "a page of the console cannot be made");
        Self(StatusCode::SERVICE_UNAVAILABLE, what)
    }
}

/// The pages, served.
#[derive(Debug)]
pub(super) struct Console {
    server: Server,
    closing: watch::Sender<bool>,
    feeds: JoinSet<()>,
}

/// What the process has that pages show.
pub(super) struct Shown {
    /// The journal, for the events as they come.
    pub(super) reading: Option<Reading>,
    /// How the stages are doing, where this process has some.
    pub(super) status: Option<Status>,
    pub(super) plan: Arc<Plan>,
    /// What connections shake hands with, where they do.
    pub(super) tls: Option<Tls>,
}

impl Console {
    /// Listens, where the role and the settings say so.
    ///
    /// # Errors
    ///
    /// An address that cannot be listened on; a secret that cannot be read.
    pub(super) async fn start(settings: &Settings, shown: Shown) -> anyhow::Result<Option<Self>> {
        let Some(listen) = settings.console.listen.clone().filter(|_| settings.has(Role::Console)) else { return Ok(None) };
        let own = listener::Options { listen, connections_max: CONNECTIONS_MAX, ..settings.server.listener() };
        let Shown { reading, status, plan, tls } = shown;
        let (closing, closed) = watch::channel(false);
        let pages = Arc::new(Pages {
            settings: settings.clone(),
            plan,
            status,
            lake: OnceCell::new(),
            reader: OnceCell::new(),
            overview: overview::Hub::default(),
            events: events::Hub::new(settings.ingest.json.clone(), reading.is_some()),
            jobs: jobs::Hub::default(),
            access: access::Access::new(settings)?,
            closing: closing.clone(),
        });
        let server = Server::bind(&own, tls, router(Arc::clone(&pages))).await?;
        let mut feeds = JoinSet::new();
        feeds.spawn(until(closed.clone(), overview::feed(Arc::clone(&pages))));
        if let Some(reading) = reading {
            feeds.spawn(until(closed, events::feed(pages, reading)));
        }
        Ok(Some(Self { server, closing, feeds }))
    }

    /// Where it listens.
    pub(super) fn address(&self) -> std::net::SocketAddr {
        self.server.address()
    }

    /// Lets go of the journal and ends the pages that keep themselves up to date; others are still answered.
    pub(super) async fn release(&mut self) {
        self.closing.send_replace(true);
        while self.feeds.join_next().await.is_some() {}
    }

    pub(super) async fn close(mut self) -> anyhow::Result<()> {
        self.release().await;
        self.server.close().await.context("the console's listener failed")
    }

    /// Resolves when it ends by itself, with why; never where there is none.
    pub(super) async fn failed(console: &mut Option<Self>) -> anyhow::Error {
        match console {
            Some(running) => running.server.failed().await.into(),
            None => std::future::pending().await,
        }
    }
}

async fn until(mut closed: watch::Receiver<bool>, work: impl Future<Output = ()> + Send) {
    tokio::select! {
        _ = closed.wait_for(|closed| *closed) => {}
        () = work => {}
    }
}

fn router(pages: Arc<Pages>) -> Router {
    Router::new()
        .route("/", get(overview::page))
        .route(drawn::overview::STREAM_PATH, get(overview::stream))
        .route("/events", get(events::page))
        .route(drawn::events::STREAM_PATH, get(events::stream))
        .route("/events/{mark}", get(events::one))
        .route("/explore", get(explore::page))
        .route(drawn::explore::WORDS_PATH, get(explore::words))
        .route("/explore/{file}", get(explore::file))
        .route("/plan", get(plan::page))
        .route("/plan/type", get(plan::one))
        .route("/dead-letters", get(dead_letters::page))
        .route(drawn::dead_letters::RECOVER_PATH, post(dead_letters::recover))
        .route("/trace", get(trace::page))
        .route("/experiments", get(experiments::index))
        .route("/experiments/{name}", get(experiments::result))
        .route("/sources", get(sources::page))
        .route(drawn::sources::ADD_PATH, post(sources::add))
        .route(drawn::sources::REVOKE_PATH, post(sources::revoke))
        .route(drawn::sources::ROTATE_PATH, post(sources::rotate))
        .route("/jobs", get(jobs::page))
        .route(drawn::jobs::STREAM_PATH, get(jobs::stream))
        .route(drawn::jobs::REPLAY_PATH, post(jobs::replay))
        .route(drawn::access::SIGN_IN_PATH, get(access::page).post(access::sign_in))
        .route(drawn::access::SIGN_OUT_PATH, post(access::sign_out))
        .route(drawn::access::PROVIDER_PATH, get(access::to_provider))
        .route(drawn::access::RETURN_PATH, get(access::from_provider))
        .route(drawn::STYLE_PATH, get(|| async { shown("text/css; charset=utf-8", drawn::style()) }))
        .route(drawn::SCRIPT_PATH, get(|| async { shown("text/javascript; charset=utf-8", drawn::SCRIPT.to_owned()) }))
        .fallback(|| async { Refused(StatusCode::NOT_FOUND, "There is no such page; begin at the overview.".to_owned()) })
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&pages), access::admit))
        .layer(middleware::from_fn_with_state(Arc::clone(&pages), only_by_its_name))
        .with_state(pages)
}

/// A page of another site could be made to come from here by its name (DNS rebinding), and would then be read by that site.
async fn only_by_its_name(State(pages): Asking, request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(|host| pages.access.is_host(host)) {
        let what = "These pages are asked for by a loopback address, such as 127.0.0.1, or by console.public_url.\n";
        let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
        return (StatusCode::MISDIRECTED_REQUEST, headers, what).into_response();
    }
    next.run(request).await
}

/// Whether a person, a program or one of these pages asks, and not a page of somebody else: what costs something is not done for that one (W3C Fetch Metadata).
fn is_own(headers: &HeaderMap) -> bool {
    headers.get(FETCH_SITE).is_none_or(|site| site == "same-origin" || site == "none")
}

impl Pages {
    async fn lake(&self) -> Result<&Lake, Refused> {
        let open = || async { Lake::open(&self.settings.lake_location(), self.settings.lake.options.clone()).await };
        self.lake.get_or_try_init(open).await.map_err(Refused::unavailable)
    }

    async fn reader(&self) -> Result<&Reader, Refused> {
        let lake = self.lake().await?.clone();
        let open = || async { Reader::new(lake, Arc::clone(&self.plan), self.settings.query.clone()) };
        self.reader.get_or_try_init(open).await.map_err(Refused::unavailable)
    }

    /// The rows of a statement of ours, or why there are none, for the page to say so.
    async fn ask(&self, sql: &str) -> Result<Vec<Vec<serde_json::Value>>, String> {
        let reader = self.reader().await.map_err(|Refused(_, why)| why)?;
        rows::collect(reader, sql, rows::OWN_MAX).await.map(|answer| answer.rows).map_err(|error: Error| error.to_string())
    }
}

type Asking = State<Arc<Pages>>;

/// The answer with a page, which is drawn where it is known who asks: [`access::admit`].
fn show(page: Page) -> Response {
    let mut response = Response::default();
    response.extensions_mut().insert(page);
    response
}

fn shown(content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Addresses hold statements and ids.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// An instant for people, to the second.
fn second(at: Timestamp) -> String {
    let text = at.to_rfc3339();
    format!("{} UTC", text.get(..19).unwrap_or(&text).replace('T', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_others_cost_nothing() {
        let check = |site: Option<&'static str>, expect: bool| {
            let mut headers = HeaderMap::new();
            if let Some(site) = site {
                headers.insert(FETCH_SITE, HeaderValue::from_static(site));
            }
            assert_eq!(is_own(&headers), expect, "{site:?}");
        };
        check(None, true);
        check(Some("none"), true);
        check(Some("same-origin"), true);
        check(Some("same-site"), false);
        check(Some("cross-site"), false);
    }
}
