//! The bounds of the gate.

use std::path::PathBuf;
use std::time::Duration;

use contract::json;
use contract::plan::ClientAddress;
use serde::{Deserialize, Serialize};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The settings of the gate. Every default is at least as generous as Segment's limits (32 KB an event, 500 KB and 2,500 events a batch).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The largest body in bytes, both as it is sent and after decompression.
    pub body_bytes_max: usize,
    /// How many times larger than what was sent a body may become by decompression, once it is over 1 MiB.
    pub expansion_ratio_max: usize,
    /// The largest event in bytes; a larger one is refused by itself.
    pub event_bytes_max: usize,
    /// The most events in one request.
    pub events_max: usize,
    /// The largest context, integrations and other parts that a request has for all of its events, in bytes together. They are stored with each
    /// event.
    pub envelope_bytes_max: usize,
    /// The most bytes that one request may become in the journal: its events and the gate's note on each.
    pub append_bytes_max: usize,
    /// How many bytes of a refused event or body are kept.
    pub refused_payload_bytes_max: usize,
    /// Bounds on the JSON of one event.
    pub json: json::Limits,
    /// Requests that may be in work at once; more are told to wait.
    pub requests_max: usize,
    /// Large or packed bodies that are taken apart at once; others wait for their turn, within `requests_max`. It bounds threads and decoders'
    /// windows.
    pub sifting_max: usize,
    /// Bytes of bodies and records that may be in memory at once, over all requests; a request that finds no room is told to wait.
    pub in_flight_bytes_max: usize,
    /// Events per second that a source may send in the long run. A request without any event costs as much as one.
    pub events_per_second_max: u32,
    /// Events that a source may send at once after a pause.
    pub events_burst_max: u32,
    /// How long the body of a request may take to arrive.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// How long nothing at all may arrive of a body.
    #[serde(with = "humantime_serde")]
    pub body_idle_timeout: Duration,
    /// Bytes of a refused request's body that are read and thrown away so that the client sees the answer.
    pub drain_bytes_max: usize,
    /// How long that may take.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
    /// How long a client waits for the journal before it is told to send again. The append itself goes on.
    #[serde(with = "humantime_serde")]
    pub append_timeout: Duration,
    /// How many proxies stand in front of the gate. The client's address, scheme and host are then taken from the `X-Forwarded-*` headers those
    /// proxies write; with 0 the headers are not trusted.
    pub trusted_proxies: u8,
    /// What is kept of the client's address, for sources of which the tracking plan does not say it.
    pub client_address: ClientAddress,
    /// The address under which clients reach the gate, such as `https://events.example.com`, where it cannot be told from the request.
    pub public_url: Option<String>,
    /// The file with the key of the hashes that stand for personal data, 64 hexadecimal digits; without it one is made in the data folder. All gates must have the same, so that a person has one hash.
    pub pii_key_file: Option<PathBuf>,
    /// The file with the key that the secrets of signed write keys are made of, in the same form and for all gates too; without it one is made in the data folder.
    pub signing_key_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            body_bytes_max: 4 * MIB,
            expansion_ratio_max: 250,
            event_bytes_max: 256 * KIB,
            events_max: 5_000,
            envelope_bytes_max: 32 * KIB,
            append_bytes_max: 16 * MIB,
            refused_payload_bytes_max: 8 * KIB,
            json: json::Limits::default(),
            requests_max: 1_024,
            sifting_max: 2 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            in_flight_bytes_max: 128 * MIB,
            events_per_second_max: 200_000,
            events_burst_max: 400_000,
            body_timeout: Duration::from_secs(60),
            body_idle_timeout: Duration::from_secs(15),
            drain_bytes_max: 16 * MIB,
            drain_timeout: Duration::from_secs(5),
            append_timeout: Duration::from_secs(30),
            trusted_proxies: 0,
            client_address: ClientAddress::default(),
            public_url: None,
            pii_key_file: None,
            signing_key_file: None,
        }
    }
}

/// Settings that contradict each other. The text says which and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

impl Config {
    /// Refuses settings under which some request that is within every bound could never be taken.
    ///
    /// # Errors
    ///
    /// The first contradiction.
    pub fn check(&self) -> Result<(), Invalid> {
        let bounds = [
            ("body_bytes_max", self.body_bytes_max),
            ("expansion_ratio_max", self.expansion_ratio_max),
            ("event_bytes_max", self.event_bytes_max),
            ("events_max", self.events_max),
            ("requests_max", self.requests_max),
            ("sifting_max", self.sifting_max),
            ("events_per_second_max", self.events_per_second_max as usize),
            ("events_burst_max", self.events_burst_max as usize),
        ];
        if let Some((name, _)) = bounds.into_iter().find(|(_, bound)| *bound == 0) {
            return Err(Invalid(format!("{name} is 0, then nothing could ever be taken; set it to at least 1")));
        }
        let permits_max = tokio::sync::Semaphore::MAX_PERMITS;
        if self.requests_max.max(self.sifting_max) > permits_max {
            return Err(Invalid(format!("requests_max and sifting_max are to be at most {permits_max}")));
        }
        // As it was sent, unpacked once, unpacked twice, and as records: all four can be in memory together.
        let largest = self.body_bytes_max.saturating_mul(3).saturating_add(self.append_bytes_max);
        if self.in_flight_bytes_max < largest {
            let message = format!(
                "in_flight_bytes_max is {}, it must be at least three times body_bytes_max and append_bytes_max together: {largest}",
                self.in_flight_bytes_max
            );
            return Err(Invalid(message));
        }
        if let Some(url) = self.public_url.as_deref().filter(|url| public_parts(url).is_none()) {
            return Err(Invalid(format!("public_url is {url:?}, it must be such as https://events.example.com")));
        }
        if self.append_bytes_max < self.body_bytes_max {
            return Err(Invalid(format!(
                "append_bytes_max is {}, it must be at least body_bytes_max: {}",
                self.append_bytes_max, self.body_bytes_max
            )));
        }
        Ok(())
    }
}

/// Scheme and the rest of a public address, without a slash at the end.
pub(crate) fn public_parts(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let rest = rest.trim_end_matches('/');
    let sound = matches!(scheme, "http" | "https")
        && !rest.is_empty()
        && rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\"\\".contains(&byte));
    sound.then_some((scheme, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Config), expect: Option<&str>) {
        let mut config = Config::default();
        change(&mut config);
        match (config.check(), expect) {
            (Ok(()), None) => {}
            (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{error}"),
            (outcome, _) => panic!("{outcome:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn contradictions_are_refused() {
        check(|_| (), None);
        check(|c| c.events_max = 0, Some("events_max is 0"));
        check(|c| c.events_burst_max = 0, Some("events_burst_max is 0"));
        check(|c| c.in_flight_bytes_max = c.body_bytes_max, Some("in_flight_bytes_max"));
        check(|c| c.append_bytes_max = c.body_bytes_max - 1, Some("append_bytes_max"));
        check(|c| c.requests_max = usize::MAX, Some("requests_max"));
        check(|c| c.public_url = Some("https://events.example.com/in/".to_owned()), None);
        check(|c| c.public_url = Some("events.example.com".to_owned()), Some("public_url"));
    }

    #[test]
    fn settings_are_read_with_units_and_unknown_ones_are_refused() {
        let read: Config = serde_json::from_str(r#"{"body_timeout":"2m","client_address":"truncate","json":{"depth_max":8}}"#).unwrap();
        assert_eq!((read.body_timeout, read.client_address, read.json.depth_max), (Duration::from_secs(120), ClientAddress::Truncate, 8));
        assert!(serde_json::from_str::<Config>(r#"{"body_byte_max":1}"#).is_err());
        let text = serde_json::to_string(&Config::default()).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), Config::default());
    }
}
