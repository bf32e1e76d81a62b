//! The description of the API for programs.

use axum::http::StatusCode;
use axum::response::Response;

use crate::answer;

/// OpenAPI 3.1. A test holds it to the routes and the codes of the program.
const DOCUMENT: &str = include_str!("openapi/openapi.json");

pub(crate) fn document() -> Response {
    answer::with_type(StatusCode::OK, "application/json", DOCUMENT)
}

#[cfg(test)]
mod tests;
