//! Reads the bodies of requests, within bounds on size and time.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use crate::Error;
use crate::admission::Share;
use crate::config::Config;

/// The body of a request, as much of it as is still to come.
pub(crate) struct Incoming {
    stream: BodyDataStream,
    state: State,
    /// The length that the client has stated.
    stated_bytes: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was read, and the client waits to be asked for the body.
    Unasked,
    Open,
    /// All was read, or nothing more will come.
    Over,
}

/// Why there is no body.
#[derive(Debug)]
pub(crate) struct Unread {
    pub(crate) error: Error,
    /// The first bytes, of a body that is too large.
    pub(crate) prefix: Bytes,
    /// The length of all of it, as far as it is known.
    pub(crate) bytes: u64,
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self { error, prefix: Bytes::new(), bytes: 0 }
    }
}

impl Incoming {
    pub(crate) fn new(body: Body, headers: &HeaderMap) -> Self {
        let waits = headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let stated_bytes = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Self { stream: body.into_data_stream(), state: if waits { State::Unasked } else { State::Open }, stated_bytes }
    }

    /// All of the body.
    pub(crate) async fn read(&mut self, config: &Config, share: &mut Share) -> Result<Bytes, Unread> {
        let bytes_max = config.body_bytes_max;
        let stated_too_large = self.stated_bytes.is_some_and(|stated| stated > bytes_max as u64);
        if stated_too_large && self.state == State::Unasked {
            let error = Error::BodyTooLarge { bytes_max };
            return Err(Unread { bytes: self.stated_bytes.unwrap_or_default(), ..error.into() });
        }
        let deadline = Instant::now() + config.body_timeout;
        let mut body = Collected::default();
        while let Some(chunk) = self.next(deadline, config.body_idle_timeout).await? {
            if body.bytes() + chunk.len() > bytes_max {
                return Err(self.too_large(body, chunk, config).await);
            }
            share.grow(chunk.len())?;
            body.push(chunk);
        }
        Ok(body.into_bytes())
    }

    /// Reads what a client still sends of a request that is refused and throws it away, within bounds: many clients look for the answer only
    /// after they have sent everything, and see a reset connection if it was closed before.
    pub(crate) async fn drain(&mut self, config: &Config) {
        self.count_to_end(0, config).await;
    }

    async fn too_large(&mut self, body: Collected, chunk: Bytes, config: &Config) -> Unread {
        let mut prefix = BytesMut::from(body.into_bytes().as_ref());
        prefix.extend_from_slice(&chunk);
        let seen = prefix.len();
        prefix.truncate(config.refused_payload_bytes_max);
        // A copy, so that the rest is let go.
        let prefix = Bytes::copy_from_slice(&prefix);
        let counted = self.count_to_end(seen as u64, config).await;
        let error = Error::BodyTooLarge { bytes_max: config.body_bytes_max };
        Unread { error, prefix, bytes: counted.max(self.stated_bytes.unwrap_or_default()) }
    }

    async fn count_to_end(&mut self, seen: u64, config: &Config) -> u64 {
        let deadline = Instant::now() + config.drain_timeout;
        let mut bytes = seen;
        while self.state == State::Open && bytes.saturating_sub(seen) < config.drain_bytes_max as u64 {
            match self.next(deadline, config.drain_timeout).await {
                Ok(Some(chunk)) => bytes += chunk.len() as u64,
                Ok(None) | Err(_) => break,
            }
        }
        bytes
    }

    async fn next(&mut self, deadline: Instant, idle: Duration) -> Result<Option<Bytes>, Error> {
        if self.state == State::Over {
            return Ok(None);
        }
        self.state = State::Open;
        let next = timeout_at(deadline.min(Instant::now() + idle), self.stream.next()).await;
        match next {
            Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
            Ok(None) => {
                self.state = State::Over;
                Ok(None)
            }
            Ok(Some(Err(_))) => {
                self.state = State::Over;
                Err(Error::BodyBroken)
            }
            Err(_) => {
                self.state = State::Over;
                Err(Error::BodyTooSlow)
            }
        }
    }
}

/// The pieces of a body. Most bodies come in one piece, which is then not copied.
#[derive(Default)]
struct Collected {
    first: Bytes,
    all: BytesMut,
}

impl Collected {
    fn bytes(&self) -> usize {
        self.first.len().max(self.all.len())
    }

    fn push(&mut self, chunk: Bytes) {
        if self.bytes() == 0 {
            self.first = chunk;
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&chunk);
    }

    fn into_bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}
