//! All paths of the process: the gate's, and those for whoever watches over it.

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ingest::Gate;
use pipeline::Status;
use serde_json::{Value, json};
use telemetry::metrics::PrometheusHandle;

const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn router(gate: Option<Gate>, status: Status, metrics: PrometheusHandle) -> Router {
    let paths = gate.clone().map_or_else(Router::new, ingest::router);
    paths
        .route("/healthz", get(|| async { answer(StatusCode::OK, json!({ "status": "ok" })) }))
        .route("/readyz", get(move || async move { ready(gate.as_ref(), &status) }))
        .route("/metrics", get(move || async move { ([(CONTENT_TYPE, PROMETHEUS_TEXT)], metrics.render()) }))
        .fallback(ingest::not_found)
}

/// Where there is a gate, it alone decides: the journal takes events safely while a stage waits for its store, and a balancer that turned away would lose them at
/// the clients. What hinders the stages is told beside it. Without a gate the stages decide.
fn ready(gate: Option<&Gate>, status: &Status) -> Response {
    let hindered = status.get().errors;
    match gate.map(Gate::ready) {
        Some(Err(error)) => {
            let body = json!({ "status": "not_ready", "code": error.code(), "message": error.to_string(), "stages": hindered });
            answer(StatusCode::SERVICE_UNAVAILABLE, body)
        }
        None if !hindered.is_empty() => {
            let body = json!({ "status": "not_ready", "code": "stage_failed", "message": "a stage cannot go on", "stages": hindered });
            answer(StatusCode::SERVICE_UNAVAILABLE, body)
        }
        Some(Ok(())) if !hindered.is_empty() => answer(StatusCode::OK, json!({ "status": "degraded", "stages": hindered })),
        Some(Ok(())) | None => answer(StatusCode::OK, json!({ "status": "ready" })),
    }
}

fn answer(status: StatusCode, body: Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
