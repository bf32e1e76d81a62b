//! One request to the gate, over a connection that is kept.

use std::io::{self, Write as _};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use ureq::http::{HeaderValue, Uri};
use ureq::tls::{RootCerts, TlsConfig};

use crate::ConfigError;
use crate::clock;
use crate::event::push_whole;
use crate::state::Queued;

const COMPRESS_FROM_BYTES: usize = 1024;
/// A refusal of 5,000 events by name is far below.
const ANSWER_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) retry_after: Option<String>,
}

/// To one gate, with one write key. A proxy is used as the environment says: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`.
#[derive(Debug)]
pub(crate) struct Transport {
    agent: ureq::Agent,
    url: String,
    authorization: HeaderValue,
    signing_secret: Option<String>,
}

impl Transport {
    pub(crate) fn new(url: &str, write_key: &str, signing_secret: Option<String>, timeout: Duration) -> Result<Self, ConfigError> {
        let parts: Uri = url.parse().map_err(|_| ConfigError::Url(url.to_owned()))?;
        let is_http = matches!(parts.scheme_str(), Some("http" | "https"));
        if !is_http || parts.host().is_none_or(str::is_empty) || parts.query().is_some() {
            return Err(ConfigError::Url(url.to_owned()));
        }
        let mut authorization = HeaderValue::from_str(&format!("Bearer {write_key}")).map_err(|_| ConfigError::WriteKey)?;
        if write_key.is_empty() {
            return Err(ConfigError::WriteKey);
        }
        if signing_secret.as_deref() == Some("") {
            return Err(ConfigError::SigningSecret);
        }
        authorization.set_sensitive(true);
        let config = ureq::Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .user_agent("tidegate-rust")
            .accept_encoding("")
            // What a redirect says is no answer of a gate's.
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_resolve(Some(timeout))
            .timeout_connect(Some(timeout))
            .timeout_per_read(Some(timeout))
            .timeout_per_write(Some(timeout))
            .build();
        let url = format!("{}/v1/events", url.trim_end_matches('/'));
        Ok(Self { agent: config.new_agent(), url, authorization, signing_secret })
    }

    /// Sends a JSON array of these.
    ///
    /// # Errors
    ///
    /// No connection, a reset, a timeout, or an answer that is not HTTP: whether the gate took the events is not known.
    pub(crate) fn post(&self, events: &[Queued], sent_at: &str, attempt: u32) -> Result<Answer, ureq::Error> {
        let mut body = vec![b'['];
        for (place, event) in events.iter().enumerate() {
            if place > 0 {
                body.push(b',');
            }
            push_whole(&mut body, &event.payload, sent_at);
        }
        body.push(b']');
        let mut request = self.agent.post(&self.url).header("Authorization", &self.authorization).content_type("application/json");
        request = request.header("X-Retry-Count", attempt.to_string());
        if body.len() > COMPRESS_FROM_BYTES {
            body = compressed(&body)?;
            request = request.header("Content-Encoding", "gzip");
        }
        if let Some(secret) = &self.signing_secret {
            let seconds = clock::micros(clock::now()).div_euclid(1_000_000);
            request = request.header("X-Tidegate-Signature", signature(secret, &body, seconds));
        }
        let mut response = request.send(&body)?;
        let retry_after = response.headers().get("Retry-After").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(Answer { status, body, retry_after })
    }
}

/// Of a body as it is sent: HMAC-SHA-256 of the time, a full stop and the body.
fn signature(secret: &str, body: &[u8], seconds: i64) -> String {
    let seconds = seconds.to_string();
    // A secret of any length is a key.
    let signed = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map(|mac| {
        let signed = mac.chain_update(seconds.as_bytes()).chain_update(b".").chain_update(body).finalize();
        signed.into_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    });
    format!("t={seconds},v1={}", signed.unwrap_or_default())
}

/// The fastest level has most of what there is to gain: events are alike.
fn compressed(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_signed_as_the_gate_checks_it() {
        // As `printf '1795428000.[]' | openssl dgst -sha256 -hmac tgs_secret` says.
        let known = "t=1795428000,v1=476c6a06c7e963e58dd19f9ea7be3539013ee642684bd76c7371a63de42451cf";
        assert_eq!(signature("tgs_secret", b"[]", 1_795_428_000), known);
    }
}
