//! Paths and methods.

use std::time::Instant;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{ALLOW, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{MethodRouter, get, on, post};

use crate::body::Incoming;
use crate::gate::Gate;
use crate::keys::Lookup;
use crate::route::{PIXELS, POSTS, Route};
use crate::settings::{self, Place};
use crate::{Error, answer, cors, health, intake, metrics, openapi, pixel};

/// The routes of the ingestion API. They know no path but their own: give the whole program's router [`not_found`] as its fallback. Serve it with
/// `into_make_service_with_connect_info::<SocketAddr>()`, else no client's address is known.
pub fn router(gate: Gate) -> Router {
    let mut router = Router::new();
    for (path, route) in POSTS {
        let receive = post(move |State(gate), request| receive(gate, route, request));
        router = with_slash(router, path, receive, "POST");
    }
    for (path, route) in PIXELS {
        let receive = get(move |State(gate), request| receive(gate, route, request));
        router = with_slash(router, path, receive, "GET");
    }
    router = with_slash(router, "/v1/m", post(client_metrics), "POST");
    router = with_slash(router, "/v1/projects/{key}/settings", get(project_settings), "GET");
    router = with_slash(router, "/openapi.json", get(|| async { openapi::document() }), "GET");
    router.with_state(gate)
}

/// `/healthz` and `/readyz` for a program that is a gate and nothing else.
pub fn health_router(gate: Gate) -> Router {
    let live = get(|| async { health::live() });
    let ready = get(|State(gate): State<Gate>| async move { health::ready(&gate) });
    Router::new().route("/healthz", live).route("/readyz", ready).with_state(gate)
}

/// The answer to a path or method that is not served.
pub async fn not_found() -> Response {
    answer::refusal(&Error::NotFound)
}

fn with_slash(router: Router<Gate>, path: &str, methods: MethodRouter<Gate>, allowed: &'static str) -> Router<Gate> {
    // Not 405: no client is known that retries it, but 404 is known to be final for all of them.
    let other_method = move || async move {
        let mut response = answer::refusal(&Error::NotFound);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        response
    };
    let preflight = on(axum::routing::MethodFilter::OPTIONS, preflight);
    let methods = methods.merge(preflight).fallback(other_method);
    router.route(path, methods.clone()).route(&format!("{path}/"), methods)
}

async fn receive(gate: Gate, route: Route, request: Request) -> Response {
    let started = Instant::now();
    let is_pixel = matches!(route, Route::PixelData(_) | Route::PixelQuery(_));
    if is_pixel && request.method() == Method::HEAD {
        // Asked by those who look whether a link works; it is no event.
        return pixel::instead_of(answer::dropped(), None);
    }
    let (parts, body) = request.into_parts();
    let origin = parts.headers.get(ORIGIN).cloned();
    let mut incoming = Incoming::new(body, &parts.headers);
    let outcome = intake::take(&gate, route, parts, &mut incoming).await;
    if let Err(error) = &outcome {
        metrics::turned_away(error);
        incoming.drain(&gate.inner.config).await;
    }
    let mut response = answer::outcome(&outcome);
    if is_pixel {
        response = pixel::instead_of(response, answer::code(&outcome));
    }
    cors::expose(&gate, origin, response.headers_mut());
    metrics::answered(route.name(), response.status(), started.elapsed());
    metrics::in_flight(gate.in_flight(), gate.inner.memory.used());
    response
}

/// What clients report of themselves is of no use here, but they send it again if it is refused.
async fn client_metrics(State(gate): State<Gate>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    Incoming::new(body, &parts.headers).drain(&gate.inner.config).await;
    metrics::client_metrics();
    let mut response = answer::dropped();
    cors::expose(&gate, parts.headers.get(ORIGIN).cloned(), response.headers_mut());
    response
}

async fn preflight(State(gate): State<Gate>, uri: Uri, headers: HeaderMap) -> Response {
    cors::preflight(&gate, &uri, &headers)
}

async fn project_settings(State(gate): State<Gate>, key: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Response {
    // A key that is not even text is no one's.
    let key = key.map(|Path(key)| key).unwrap_or_default();
    let place = Place::of(&headers, &gate.inner.config, gate.inner.over_tls);
    let mut response = match (gate.inner.keyring.find(&key, gate.inner.now()), place) {
        (Lookup::Known(_), Some(place)) => answer::value(StatusCode::OK, &settings::document(&key, &place)),
        (Lookup::Known(_), None) => answer::refusal(&Error::NoHost),
        (Lookup::Revoked, _) => answer::refusal(&Error::RevokedKey),
        (Lookup::Unknown, _) => answer::refusal(&Error::UnknownKey),
    };
    cors::expose(&gate, headers.get(ORIGIN).cloned(), response.headers_mut());
    response
}
