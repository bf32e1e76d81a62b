//! What a request says of the client that sent it.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;
use contract::mask;
use contract::plan::ClientAddress;

use crate::config::Config;
use crate::form::Query;

/// The longest `User-Agent` that is kept, in bytes.
const USER_AGENT_BYTES_MAX: usize = 512;

/// Under which names clients count how often they have sent a request before.
const RETRY_HEADERS: [&str; 4] = ["x-retry-count", "rsa-retry-attempt", "x-retry-attempt", "retry-attempt"];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Where the request came from; [`kept`] says what may be stored of it.
    pub(crate) address: Option<IpAddr>,
    pub(crate) user_agent: Option<String>,
    pub(crate) retries: Option<u32>,
}

impl Caller {
    pub(crate) fn of(headers: &HeaderMap, query: &Query, peer: Option<IpAddr>, config: &Config) -> Self {
        let address = forwarded(headers, "x-forwarded-for", config.trusted_proxies).and_then(|text| parse_address(&text)).or(peer);
        Self {
            address,
            user_agent: headers
                .get(USER_AGENT)
                .map(|value| cut(&String::from_utf8_lossy(value.as_bytes())))
                .filter(|text| !text.is_empty()),
            retries: retries(headers, query),
        }
    }
}

/// What the outermost trusted proxy wrote into a header that each proxy appends to. Whatever stands before that is the client's own claim.
/// `None` when fewer proxies than trusted have written.
pub(crate) fn forwarded(headers: &HeaderMap, name: &str, trusted_proxies: u8) -> Option<String> {
    let back = usize::from(trusted_proxies).checked_sub(1)?;
    let values: Vec<&str> =
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).collect();
    values.iter().rev().nth(back).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// An address, maybe with a port.
fn parse_address(text: &str) -> Option<IpAddr> {
    let socket = || text.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
    text.parse().ok().or_else(socket)
}

/// What is stored of an address.
pub(crate) fn kept(address: IpAddr, policy: ClientAddress) -> Option<IpAddr> {
    match policy {
        ClientAddress::Drop => None,
        ClientAddress::Keep => Some(address.to_canonical()),
        ClientAddress::Truncate => Some(mask::network(address)),
    }
}

fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(USER_AGENT_BYTES_MAX);
    text.get(..end).unwrap_or_default().to_owned()
}

fn retries(headers: &HeaderMap, query: &Query) -> Option<u32> {
    let in_headers = RETRY_HEADERS.iter().filter_map(|name| headers.get(*name)?.to_str().ok());
    in_headers.chain(query.first("retry_count")).filter_map(|text| text.trim().parse().ok()).max()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())).collect()
    }

    fn check_address(forwarded_for: &[(&'static str, &str)], trusted_proxies: u8, policy: ClientAddress, expect: Option<&str>) {
        let config = Config { trusted_proxies, ..Config::default() };
        let caller = Caller::of(&headers(forwarded_for), &Query::default(), Some("203.0.113.9".parse().unwrap()), &config);
        let stored = caller.address.and_then(|address| kept(address, policy)).map(|address| address.to_string());
        assert_eq!(stored.as_deref(), expect, "{forwarded_for:?} {trusted_proxies} {policy:?}");
    }

    #[test]
    fn the_address_is_the_peer_unless_a_trusted_proxy_says_otherwise() {
        use ClientAddress::{Drop, Keep, Truncate};
        let chain = [("x-forwarded-for", "6.6.6.6, 198.51.100.7, 10.0.0.1")];
        check_address(&[], 0, Keep, Some("203.0.113.9"));
        check_address(&chain, 0, Keep, Some("203.0.113.9"));
        check_address(&chain, 1, Keep, Some("10.0.0.1"));
        check_address(&chain, 2, Keep, Some("198.51.100.7"));
        check_address(&chain, 9, Keep, Some("203.0.113.9"));
        check_address(&[("x-forwarded-for", "198.51.100.7:4711")], 1, Keep, Some("198.51.100.7"));
        check_address(&[("x-forwarded-for", "[2001:db8:1:2:3::4]:4711")], 1, Truncate, Some("2001:db8:1::"));
        check_address(&[("x-forwarded-for", "unknown")], 1, Keep, Some("203.0.113.9"));
        check_address(&[("x-forwarded-for", "::ffff:198.51.100.7")], 1, Truncate, Some("198.51.100.0"));
        check_address(&chain, 2, Drop, None);
    }

    #[test]
    fn the_user_agent_is_cut_between_characters() {
        let long = format!("{}é", "x".repeat(USER_AGENT_BYTES_MAX - 1));
        let caller = Caller::of(&headers(&[("user-agent", &long)]), &Query::default(), None, &Config::default());
        assert_eq!(caller.user_agent, Some("x".repeat(USER_AGENT_BYTES_MAX - 1)));
    }

    #[test]
    fn retry_counters_of_all_clients_are_read() {
        let check = |pairs: &[(&'static str, &str)], query: &str, expect| {
            assert_eq!(retries(&headers(pairs), &Query::of(&format!("/?{query}").parse().unwrap())), expect, "{pairs:?} {query}");
        };
        check(&[], "", None);
        check(&[("x-retry-count", "3")], "", Some(3));
        check(&[("rsa-retry-attempt", "2")], "", Some(2));
        check(&[], "retry_count=4", Some(4));
        check(&[("x-retry-count", "many")], "", None);
        check(&[("x-retry-count", "1"), ("rsa-retry-attempt", "5")], "", Some(5));
    }
}
