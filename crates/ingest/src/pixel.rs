//! The picture that pixels are answered with.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;

/// One transparent point.
const GIF: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\x21\xf9\x04\x01\x00\x00\x00\x00\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";

/// Puts the picture in place of the answer's body: a page that shows a pixel shows whatever comes. The status stays, for it must not say that
/// an event was taken that was not, and the code of that is told in a header.
pub(crate) fn instead_of(mut answer: Response, code: Option<&str>) -> Response {
    *answer.body_mut() = Body::from(GIF);
    let headers = answer.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("image/gif"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(code) = code.and_then(|code| HeaderValue::from_str(code).ok()) {
        headers.insert(HeaderName::from_static("x-tidegate-code"), code);
    }
    answer
}
