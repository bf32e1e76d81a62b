//! One connection to the server that is measured, over which one request follows the other.
//!
//! The connection is worked by the task that waits for its answer, so that a request costs no change of tasks. Over TLS it is the client that `tidegate send` has.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use tokio::net::TcpStream;

use crate::misuse::Misuse;
use crate::send::Trust;

/// How long to wait where the server does not say, and the longest that what it says is followed.
const WAIT: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(5);
/// The most bytes that are kept of an answer that is no success.
const TEXT_BYTES_MAX: usize = 1_024;

/// Where requests go.
#[derive(Debug)]
pub(super) struct Address {
    /// As it is shown.
    pub(super) url: Url,
    headers: HeaderMap,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Plain { addresses: Vec<SocketAddr>, uri: Uri },
    Tls(Trust),
}

impl Address {
    /// Finds out where that is, once.
    ///
    /// # Errors
    ///
    /// An address that is none, or that nothing is known of.
    pub(super) fn find(url: &str, path: &str, key: &str, trust: Trust) -> anyhow::Result<Self> {
        let text = format!("{}{path}", url.trim_end_matches('/'));
        let url = text
            .parse::<Url>()
            .map_err(|error| Misuse(format!("{text} (--url and --path) is no address: {error}; give one such as http://127.0.0.1:8099")))?;
        let host = url.host_str().ok_or_else(|| Misuse(format!("{url} (--url) names no host")))?;
        let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let basic = format!("Basic {}", STANDARD.encode(format!("{key}:")));
        let headers = HeaderMap::from_iter([
            (HOST, HeaderValue::from_str(&authority)?),
            (AUTHORIZATION, HeaderValue::from_str(&basic)?),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ]);
        let way = match url.scheme() {
            "http" => {
                let addresses = url.socket_addrs(|| None).with_context(|| format!("{url} cannot be found"))?;
                let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
                Way::Plain { addresses, uri: format!("{}{query}", url.path()).parse()? }
            }
            "https" => Way::Tls(trust),
            other => {
                return Err(Misuse(format!("{other} (--url) is not known: give an address that begins with http:// or https://")).into());
            }
        };
        Ok(Self { url, headers, way })
    }
}

/// What the server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Success.
    Taken,
    /// The same again, after this time.
    Wait(Duration),
    /// Anything else, as it is to be told.
    Refused(String),
}

impl Answer {
    fn of(status: u16, retry_after: Option<&HeaderValue>, text: &[u8]) -> Self {
        match status {
            200..=299 => Self::Taken,
            429 | 503 => {
                let asked = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok()).map(Duration::from_secs);
                Self::Wait(asked.map_or(WAIT, |asked| asked.clamp(WAIT, WAIT_MAX)))
            }
            _ => Self::Refused(format!("{status}: {}", String::from_utf8_lossy(text).trim())),
        }
    }
}

/// A connection, made when it is needed.
#[derive(Debug)]
pub(super) struct Wire<'a> {
    address: &'a Address,
    open: Option<Open>,
    tls: Option<reqwest::Client>,
    /// How often the server ended it.
    pub(super) reconnects: u64,
}

impl<'a> Wire<'a> {
    pub(super) fn to(address: &'a Address) -> Self {
        Self { address, open: None, tls: None, reconnects: 0 }
    }

    /// Sends a body and waits for the answer. A connection that the server ended while nobody used it is made anew.
    ///
    /// # Errors
    ///
    /// When there is no connection, or no answer to be had over it.
    pub(super) async fn post(&mut self, body: Bytes) -> anyhow::Result<Answer> {
        let address = self.address;
        let failed = || format!("{} cannot be reached; is the server running?", address.url);
        match &address.way {
            Way::Plain { addresses, uri } => self.post_plain(addresses, uri, body).await.with_context(failed),
            Way::Tls(trust) => self.post_tls(trust, body).await.with_context(failed),
        }
    }

    async fn post_plain(&mut self, addresses: &[SocketAddr], uri: &Uri, body: Bytes) -> anyhow::Result<Answer> {
        loop {
            // Taken, not borrowed: where this is given up on the way, the connection is not to be used again.
            let (open, is_new) = match self.open.take() {
                Some(open) => (open, false),
                None => (Open::to(addresses).await?, true),
            };
            let mut request = Request::new(Full::new(body.clone()));
            *request.method_mut() = Method::POST;
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = self.address.headers.clone();
            let (outcome, open) = open.exchange(request).await;
            self.open = open;
            match outcome {
                Ok(answer) => return Ok(answer),
                Err(error) if is_new => return Err(error.into()),
                Err(_) => {
                    self.open = None;
                    self.reconnects += 1;
                }
            }
        }
    }

    async fn post_tls(&mut self, trust: &Trust, body: Bytes) -> anyhow::Result<Answer> {
        let client = match self.tls.take() {
            Some(client) => client,
            None => trust.client().pool_max_idle_per_host(1).build()?,
        };
        let sent = client.post(self.address.url.clone()).headers(self.address.headers.clone()).body(body).send().await;
        self.tls = Some(client);
        let response = sent?;
        let (status, wait) = (response.status().as_u16(), response.headers().get(RETRY_AFTER).cloned());
        let text = response.bytes().await?;
        Ok(Answer::of(status, wait.as_ref(), text.get(..TEXT_BYTES_MAX).unwrap_or(&text)))
    }
}

/// A connection that is open.
#[derive(Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    connection: http1::Connection<TokioIo<TcpStream>, Full<Bytes>>,
}

impl Open {
    async fn to(addresses: &[SocketAddr]) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(addresses).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, connection })
    }

    /// Sends a request and reads the answer to its end. The connection is given back where it can be used again.
    async fn exchange(self, request: Request<Full<Bytes>>) -> (hyper::Result<Answer>, Option<Self>) {
        let Self { mut sender, mut connection } = self;
        let outcome = {
            let mut exchange = pin!(async {
                sender.ready().await?;
                read(sender.send_request(request).await?).await
            });
            let answered = tokio::select! {
                biased;
                answered = &mut exchange => Some(answered),
                _ended = &mut connection => None,
            };
            match answered {
                Some(answered) => answered,
                None => {
                    // What it had for us, it has handed over; what it did not take on is told so when it goes.
                    drop(connection);
                    return (exchange.await, None);
                }
            }
        };
        (outcome, Some(Self { sender, connection }))
    }
}

async fn read(response: Response<Incoming>) -> hyper::Result<Answer> {
    let (head, mut body) = response.into_parts();
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        if let Some(data) = frame.data_ref().filter(|_| !head.status.is_success()) {
            text.extend(data.iter().take(TEXT_BYTES_MAX - text.len()));
        }
    }
    Ok(Answer::of(head.status.as_u16(), head.headers.get(RETRY_AFTER), &text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let check = |status, retry_after: Option<&'static str>, expect: Answer| {
            let header = retry_after.map(HeaderValue::from_static);
            assert_eq!(Answer::of(status, header.as_ref(), b"{}\n"), expect, "{status} {retry_after:?}");
        };
        check(200, None, Answer::Taken);
        check(202, None, Answer::Taken);
        check(429, None, Answer::Wait(WAIT));
        check(429, Some("2"), Answer::Wait(Duration::from_secs(2)));
        check(503, Some("86400"), Answer::Wait(WAIT_MAX));
        check(503, Some("Wed, 21 Oct 2015 07:28:00 GMT"), Answer::Wait(WAIT));
        check(401, Some("2"), Answer::Refused("401: {}".to_owned()));
        check(500, None, Answer::Refused("500: {}".to_owned()));
    }

    #[test]
    fn an_address_is_found_or_refused() {
        let find = |url: &str, path: &str| Address::find(url, path, "tg_k", Trust::default());
        let found = find("http://127.0.0.1:8099/", "/v1/events?x=1").unwrap();
        assert_eq!((found.url.as_str(), found.headers[HOST].to_str().unwrap()), ("http://127.0.0.1:8099/v1/events?x=1", "127.0.0.1:8099"));
        assert!(matches!(found.way, Way::Plain { ref uri, .. } if uri == "/v1/events?x=1"));
        assert!(matches!(find("https://127.0.0.1", "/").unwrap().way, Way::Tls(_)));
        for (url, path) in [("127.0.0.1:8099", "/v1/events"), ("ftp://127.0.0.1", "/"), ("", "/")] {
            assert!(find(url, path).unwrap_err().is::<Misuse>(), "{url}");
        }
    }
}
