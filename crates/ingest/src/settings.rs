//! What analytics.js (version "next") wants to know before it sends anything.

use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use serde_json::{Value, json};

use crate::config::{Config, public_parts};

/// Where clients reach the gate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    protocol: String,
    host: String,
}

impl Place {
    /// As the settings say, else as the client that asks sees it. `None` when neither tells.
    pub(crate) fn of(headers: &HeaderMap, config: &Config, over_tls: bool) -> Option<Self> {
        if let Some((protocol, host)) = config.public_url.as_deref().and_then(public_parts) {
            return Some(Self { protocol: protocol.to_owned(), host: host.to_owned() });
        }
        // The first one that a chain of proxies has passed on is what the client asked for.
        let forwarded = |name: &str| {
            let value = headers.get(name).filter(|_| config.trusted_proxies > 0)?.to_str().ok()?;
            value.split(',').next().map(|first| first.trim().to_owned()).filter(|first| !first.is_empty())
        };
        let asked = || headers.get(HOST).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let host = forwarded("x-forwarded-host").or_else(asked).filter(|host| host.parse::<Authority>().is_ok() && !host.contains('@'))?;
        let protocol = forwarded("x-forwarded-proto").map(|protocol| protocol.to_ascii_lowercase()).filter(|protocol| protocol == "https");
        let own = if over_tls { "https" } else { "http" };
        Some(Self { protocol: protocol.unwrap_or_else(|| own.to_owned()), host })
    }
}

/// The settings with which that client sends everything to this gate.
pub(crate) fn document(key: &str, place: &Place) -> Value {
    json!({
        "integrations": {
            "Segment.io": {"apiKey": key, "apiHost": format!("{}/v1", place.host), "protocol": place.protocol, "versionSettings": {}},
        },
        "plan": {"track": {"__default": {"enabled": true}}},
        "edgeFunction": {},
        "analyticsNextEnabled": true,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": false,
        "remotePlugins": [],
    })
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn check(pairs: &[(&'static str, &'static str)], config: &Config, expect: Option<(&str, &str)>) {
        let headers = pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
        let place = Place::of(&headers, config, false);
        assert_eq!(place.as_ref().map(|place| (place.protocol.as_str(), place.host.as_str())), expect, "{pairs:?}");
    }

    #[test]
    fn the_place_is_as_the_client_sees_it() {
        let direct = Config::default();
        let behind_proxy = Config { trusted_proxies: 1, ..Config::default() };
        let forwarded = [("host", "10.0.0.1:80"), ("x-forwarded-host", "events.example.com, inner"), ("x-forwarded-proto", "HTTPS")];
        check(&[("host", "localhost:8080")], &direct, Some(("http", "localhost:8080")));
        check(&[("host", "[::1]:8080")], &direct, Some(("http", "[::1]:8080")));
        check(&forwarded, &direct, Some(("http", "10.0.0.1:80")));
        check(&forwarded, &behind_proxy, Some(("https", "events.example.com")));
        check(&[("host", "h"), ("x-forwarded-proto", "gopher")], &behind_proxy, Some(("http", "h")));
        check(&[("host", "user@h")], &direct, None);
        check(&[("host", "a b\"")], &direct, None);
        check(&[], &direct, None);
        let public = Config { public_url: Some("https://e.example.com/in/".to_owned()), ..Config::default() };
        check(&forwarded, &public, Some(("https", "e.example.com/in")));
        let over_tls = Place::of(&HeaderMap::from_iter([(HOST, HeaderValue::from_static("h"))]), &direct, true);
        assert_eq!(over_tls, Some(Place { protocol: "https".to_owned(), host: "h".to_owned() }));
    }
}
