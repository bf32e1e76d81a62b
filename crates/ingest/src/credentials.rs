//! Where clients put the write key.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::Error;
use crate::form::Query;

const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// The key that headers and address give: as the user of basic authentication, as a bearer token, as `X-Write-Key`, as `?writeKey=`. `None`
/// when there is none, then it may be in the body.
pub(crate) fn claimed(headers: &HeaderMap, query: &Query) -> Result<Option<String>, Error> {
    let mut key = None;
    for value in headers.get_all(AUTHORIZATION) {
        key = agreed(key, authorization(value.as_bytes())?)?;
    }
    for value in headers.get_all("x-write-key") {
        let text = value.to_str().map_err(|_| Error::UnknownKey)?;
        key = agreed(key, some(text.trim()))?;
    }
    for value in query.all("writeKey") {
        key = agreed(key, some(value))?;
    }
    Ok(key)
}

/// The one key of two that may each be missing.
pub(crate) fn agreed(one: Option<String>, other: Option<String>) -> Result<Option<String>, Error> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => Err(Error::ConflictingKeys),
        (one, other) => Ok(one.or(other)),
    }
}

/// The key of an `Authorization` header. Another scheme than basic and bearer is someone else's business, such as a proxy's.
fn authorization(value: &[u8]) -> Result<Option<String>, Error> {
    let text = std::str::from_utf8(value).map_err(|_| Error::InvalidCredentials)?.trim();
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(some(rest.trim()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(None);
    }
    let bytes = LENIENT.decode(rest.trim()).map_err(|_| Error::InvalidCredentials)?;
    let pair = String::from_utf8(bytes).map_err(|_| Error::InvalidCredentials)?;
    let (user, _) = pair.split_once(':').unwrap_or((&pair, ""));
    Ok(some(user))
}

fn some(key: &str) -> Option<String> {
    Some(key).filter(|key| !key.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn check(headers: &[(&'static str, &str)], query: &str, expect: Result<Option<&str>, Error>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let query = Query::of(&format!("/v1/batch?{query}").parse().unwrap());
        assert_eq!(claimed(&map, &query), expect.map(|key| key.map(str::to_owned)), "{headers:?} {query:?}");
    }

    #[test]
    fn keys_are_found_wherever_clients_put_them() {
        check(&[], "", Ok(None));
        check(&[("authorization", "Basic azE6")], "", Ok(Some("k1")));
        check(&[("authorization", "basic  azE6cGFzcw==")], "", Ok(Some("k1")));
        check(&[("authorization", "Basic azE6cGFzcw")], "", Ok(Some("k1")));
        check(&[("authorization", "Basic azE=")], "", Ok(Some("k1")));
        check(&[("authorization", "Basic Og==")], "", Ok(None));
        check(&[("authorization", "Bearer k1")], "", Ok(Some("k1")));
        check(&[("authorization", "AWS4-HMAC-SHA256 Credential=x")], "", Ok(None));
        check(&[("x-write-key", "k1")], "", Ok(Some("k1")));
        check(&[], "writeKey=k1", Ok(Some("k1")));
        check(&[], "writeKey=", Ok(None));
        check(&[("authorization", "Basic azE6"), ("x-write-key", "k1")], "writeKey=k1", Ok(Some("k1")));
    }

    #[test]
    fn two_keys_must_agree() {
        check(&[("authorization", "Basic azE6")], "writeKey=k2", Err(Error::ConflictingKeys));
        check(&[("authorization", "Basic azE6"), ("authorization", "Bearer k2")], "", Err(Error::ConflictingKeys));
        check(&[], "writeKey=k1&writeKey=k2", Err(Error::ConflictingKeys));
    }

    #[test]
    fn a_broken_header_is_named() {
        check(&[("authorization", "Basic %%%")], "", Err(Error::InvalidCredentials));
        check(&[("authorization", "Basic /////w==")], "", Err(Error::InvalidCredentials));
    }
}
