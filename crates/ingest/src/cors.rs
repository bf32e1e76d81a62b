//! Which pages of other origins may send, and what browsers are told of it.

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};

use crate::form::Query;
use crate::gate::Gate;
use crate::keys::Lookup;
use crate::{Error, answer};

/// A day. Browsers cut it to what they allow.
const MAX_AGE_SECONDS: &str = "86400";

/// The headers that clients are known to send.
const HEADERS: [&str; 10] = [
    "authorization",
    "content-type",
    "content-encoding",
    "x-retry-count",
    "anonymousid",
    "sentat",
    "x-write-key",
    "rsa-retry-attempt",
    "x-retry-attempt",
    "retry-attempt",
];
/// Beginnings of names of which browsers' clients send any: RudderStack's and CloudEvents'. CORS knows no wildcard within a name, so they are
/// answered as asked.
const HEADER_PREFIXES: [&str; 2] = ["rsa-", "ce-"];

/// The answer to a browser that asks before it sends.
pub(crate) fn preflight(gate: &Gate, uri: &Uri, headers: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let Some(origin) = headers.get(ORIGIN) else { return response };
    if !may_send(gate, uri, origin) {
        return answer::refusal(&Error::OriginNotAllowed);
    }
    let answered = response.headers_mut();
    answered.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    answered.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_SECONDS));
    let asked = headers.get(ACCESS_CONTROL_REQUEST_HEADERS).map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase());
    if let Ok(allowed) = HeaderValue::from_str(&allowed_headers(asked.as_deref())) {
        answered.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    name_origin(answered, origin.clone());
    response
}

/// Lets the page that sent a request read the answer.
pub(crate) fn expose(gate: &Gate, origin: Option<HeaderValue>, answered: &mut HeaderMap) {
    let Some(origin) = origin else { return };
    if gate.inner.keyring.allows(&String::from_utf8_lossy(origin.as_bytes()), gate.inner.now()) {
        answered.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After"));
        name_origin(answered, origin);
    }
}

/// By the key, where the address has it; else whether any source takes events from there.
fn may_send(gate: &Gate, uri: &Uri, origin: &HeaderValue) -> bool {
    let origin = String::from_utf8_lossy(origin.as_bytes());
    let (query, now) = (Query::of(uri), gate.inner.now());
    match query.first("writeKey").map(|key| gate.inner.keyring.find(key, now)) {
        Some(Lookup::Known(source)) => source.scope.allows_origin(&origin),
        Some(Lookup::Revoked | Lookup::Unknown) | None => gate.inner.keyring.allows(&origin, now),
    }
}

/// The origin itself and not `*`: beacons are sent with credentials, and browsers then take no wildcard. There are none here that could be
/// misused: the gate knows no cookies.
fn name_origin(answered: &mut HeaderMap, origin: HeaderValue) {
    answered.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    answered.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    answered.insert(VARY, HeaderValue::from_static("Origin"));
}

fn allowed_headers(asked: Option<&str>) -> String {
    let asked = asked.unwrap_or_default().split(',').map(str::trim);
    let more = asked.filter(|name| HEADER_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && !HEADERS.contains(name));
    HEADERS.into_iter().chain(more).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_with_known_beginnings_are_allowed_as_asked() {
        let known = HEADERS.join(", ");
        let check = |asked, more: &str| assert_eq!(allowed_headers(asked), format!("{known}{more}"));
        check(None, "");
        check(Some("content-type,x-evil"), "");
        check(Some("rsa-batch-id, ce-id,content-type"), ", rsa-batch-id, ce-id");
    }
}
