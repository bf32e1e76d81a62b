//! Whether the gate lives and whether it is of use.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::gate::Gate;
use crate::{Error, answer};

/// The process answers.
pub(crate) fn live() -> Response {
    answer::value(StatusCode::OK, &json!({"status": "ok"}))
}

/// Requests have a chance. Balancers take another status than 200 for a no, and 503 is the one they know.
pub(crate) fn ready(gate: &Gate) -> Response {
    match gate.ready() {
        Ok(()) => answer::value(StatusCode::OK, &json!({"status": "ready"})),
        Err(error) => unready(&error),
    }
}

fn unready(error: &Error) -> Response {
    answer::value(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "not_ready", "code": error.code(), "message": error.to_string()}))
}
