//! Why a request as a whole is not taken, and what the client is told.

use axum::http::StatusCode;
use contract::Violation;

/// Why a request as a whole is not taken. Single events that are refused while others are taken are no error.
///
/// What clients do with a status decides which one is used: they send again after 429 and 5xx, never after 400, 401, 403, 404 and 413. So
/// whatever would fail again is among the latter, whatever may pass later is a 429, and 503 is for a gate that is going away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No write key anywhere in the request.
    #[error("the request has no write key")]
    MissingKey,
    /// An `Authorization` header that cannot be read.
    #[error("the Authorization header cannot be read")]
    InvalidCredentials,
    /// A write key that no source has.
    #[error("no source has this write key")]
    UnknownKey,
    /// A write key that was revoked.
    #[error("this write key has been revoked")]
    RevokedKey,
    /// No signature, with a key that asks for one.
    #[error("the request is not signed, and this write key asks for that")]
    MissingSignature,
    /// A signature of another body, or by another secret.
    #[error("the signature is not one of this body by this key's secret")]
    InvalidSignature,
    /// A signature that is right, and of another time.
    #[error("the request was signed more than five minutes from now")]
    StaleSignature,
    /// Two different write keys in one request.
    #[error("the request has two different write keys")]
    ConflictingKeys,
    /// A page of an origin that the source does not allow.
    #[error("the source does not take events from this origin")]
    OriginNotAllowed,
    /// No such path, or not with this method.
    #[error("nothing is served here for this method and path")]
    NotFound,
    /// A request for settings that does not say under which name it reached the gate.
    #[error("the request has no usable Host header")]
    NoHost,
    /// A body over the bound, as sent or unpacked.
    #[error("the body is larger than {bytes_max} bytes")]
    BodyTooLarge {
        /// The bound.
        bytes_max: usize,
    },
    /// A body that grows too much when unpacked.
    #[error("the body grows more than {ratio_max} times when it is unpacked")]
    ExpandsTooMuch {
        /// The bound.
        ratio_max: usize,
    },
    /// A request whose events and envelope come to too much together.
    #[error("the events with what is stored beside each come to more than {bytes_max} bytes")]
    BatchTooLarge {
        /// The bound.
        bytes_max: usize,
    },
    /// Shared parts of a request over the bound.
    #[error("context, integrations or parameters of the request are larger than {bytes_max} bytes")]
    EnvelopeTooLarge {
        /// The bound.
        bytes_max: usize,
    },
    /// A `Content-Encoding` that is not known, or too many of them.
    #[error("the content encoding {0:?} is not supported")]
    UnsupportedEncoding(String),
    /// A body that is not what its encoding says.
    #[error("the body is not sound {encoding}: {problem}")]
    InvalidEncoding {
        /// The encoding.
        encoding: &'static str,
        /// What the decoder says.
        problem: String,
    },
    /// A CloudEvents format other than JSON.
    #[error("the content type {0:?} is not supported")]
    UnsupportedFormat(String),
    /// A body that cannot be taken apart into events.
    #[error("{}", spoken(.0))]
    Malformed(Violation),
    /// The connection broke within the body.
    #[error("the body ended before it was complete")]
    BodyBroken,
    /// The body arrives too slowly.
    #[error("the body took too long to arrive")]
    BodyTooSlow,
    /// Too many requests in work.
    #[error("too many requests are in work")]
    Busy,
    /// Too many bytes in work.
    #[error("too many bytes are in work")]
    OutOfMemory,
    /// The source is over its rate.
    #[error("the source sends more events than its rate allows")]
    TooFast {
        /// Seconds until it may send again.
        wait_seconds: u32,
    },
    /// The journal has no room.
    #[error("the journal is full")]
    JournalFull,
    /// The journal does not work at present.
    #[error("the journal cannot write")]
    JournalUnavailable,
    /// The journal did not answer in time.
    #[error("the journal took too long")]
    JournalSlow,
    /// A fault of the gate itself.
    #[error("the gate failed on this request")]
    Internal,
    /// The gate is shutting down.
    #[error("the gate is shutting down")]
    Closing,
}

/// A violation as one text: its message follows on the field.
pub(crate) fn spoken(violation: &Violation) -> String {
    if violation.field.is_empty() { violation.message.clone() } else { format!("{} {}", violation.field, violation.message) }
}

/// All that depends on which error it is.
struct Facts<'a> {
    status: StatusCode,
    code: &'a str,
    detail: &'static str,
    retry_after_seconds: Option<u32>,
    kept: bool,
}

impl<'a> Facts<'a> {
    /// The fault lies in the bytes that the source sent: they are kept with the reason, and would be refused again.
    fn refused(status: StatusCode, code: &'a str, detail: &'static str) -> Self {
        Self { status, code, detail, retry_after_seconds: None, kept: true }
    }

    /// The fault tells nothing about the events, such as a wrong key; it would be found again.
    fn turned_away(status: StatusCode, code: &'a str, detail: &'static str) -> Self {
        Self { status, code, detail, retry_after_seconds: None, kept: false }
    }

    /// The same request may be taken later.
    fn wait(seconds: u32, code: &'a str, detail: &'static str) -> Self {
        Self { status: StatusCode::TOO_MANY_REQUESTS, code, detail, retry_after_seconds: Some(seconds), kept: false }
    }
}

impl Error {
    fn facts(&self) -> Facts<'_> {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
        const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
        const LARGE: StatusCode = StatusCode::PAYLOAD_TOO_LARGE;
        const AGAIN: &str = "send the request again after the time in Retry-After";
        const UNCONFIRMED: &str = "nothing was confirmed; send the request again after the time in Retry-After";
        const FEWER: &str = "send fewer events in one request";
        match self {
            Self::MissingKey => Facts::turned_away(
                UNAUTHORIZED,
                "missing_key",
                "send it as the user name of basic authentication, as `writeKey` in the body, or as `?writeKey=`",
            ),
            Self::InvalidCredentials => Facts::turned_away(
                UNAUTHORIZED,
                "invalid_credentials",
                "send `Basic` with the base64 of the key and a colon, or `Bearer` with the key",
            ),
            Self::UnknownKey => Facts::turned_away(
                UNAUTHORIZED,
                "unknown_key",
                "check the key; `tidegate source list` shows the sources, `tidegate source add` makes a key",
            ),
            Self::RevokedKey => Facts::turned_away(FORBIDDEN, "revoked_key", "use the key that replaced it"),
            Self::MissingSignature => Facts::turned_away(
                UNAUTHORIZED,
                "missing_signature",
                "send X-Tidegate-Signature: t=SECONDS,v1=HEX, the HMAC-SHA-256 of \"SECONDS.BODY\" with the secret that came with the key",
            ),
            Self::InvalidSignature => Facts::turned_away(
                UNAUTHORIZED,
                "invalid_signature",
                "sign the body as it is sent, packed if it is packed, with the secret that came with this key",
            ),
            // The events are sound, and the client's clock is not: what it has is taken once that is set right.
            Self::StaleSignature => Facts {
                status: StatusCode::SERVICE_UNAVAILABLE,
                ..Facts::wait(60, "stale_signature", "set the clock of the machine that signs, and sign the request anew")
            },
            Self::OriginNotAllowed => Facts::turned_away(FORBIDDEN, "origin_not_allowed", "add the page's origin to those of the source"),
            Self::ConflictingKeys => Facts::turned_away(BAD, "conflicting_keys", "send one key, or the same key everywhere"),
            Self::NotFound => Facts::turned_away(StatusCode::NOT_FOUND, "not_found", "/openapi.json lists what is served"),
            Self::NoHost => Facts::turned_away(BAD, "missing_host", "send the Host header, or set ingest.public_url"),
            Self::BodyBroken => Facts::turned_away(BAD, "incomplete_body", "send the request again"),
            Self::BodyTooLarge { .. } | Self::ExpandsTooMuch { .. } => Facts::refused(LARGE, "body_too_large", FEWER),
            Self::BatchTooLarge { .. } => Facts::refused(LARGE, "batch_too_large", FEWER),
            Self::EnvelopeTooLarge { .. } => {
                Facts::refused(LARGE, "envelope_too_large", "send less in what is shared by all events of the request")
            }
            Self::UnsupportedEncoding(_) => {
                Facts::refused(BAD, "unsupported_encoding", "use gzip, deflate, br or zstd, at most two of them")
            }
            Self::InvalidEncoding { .. } => {
                Facts::refused(BAD, "invalid_encoding", "send the body whole and with the encoding that the header names")
            }
            Self::UnsupportedFormat(_) => Facts::refused(
                BAD,
                "unsupported_format",
                "send CloudEvents as application/cloudevents+json or application/cloudevents-batch+json",
            ),
            Self::Malformed(violation) => Facts::refused(BAD, &violation.code, "nothing of this request was taken"),
            Self::BodyTooSlow => Facts::wait(1, "body_too_slow", AGAIN),
            Self::Busy | Self::OutOfMemory => Facts::wait(1, "busy", AGAIN),
            Self::TooFast { wait_seconds } => Facts::wait(*wait_seconds, "rate_limited", AGAIN),
            Self::JournalFull => Facts::wait(10, "journal_full", UNCONFIRMED),
            Self::JournalUnavailable => Facts::wait(10, "journal_unavailable", UNCONFIRMED),
            Self::JournalSlow => Facts::wait(10, "journal_slow", UNCONFIRMED),
            Self::Internal => Facts::wait(60, "internal", UNCONFIRMED),
            Self::Closing => {
                let again = "send the request again; it will reach another instance, or this one restarted";
                Facts { status: StatusCode::SERVICE_UNAVAILABLE, ..Facts::wait(5, "closing", again) }
            }
        }
    }

    /// The status that the client is answered with.
    pub fn status(&self) -> StatusCode {
        self.facts().status
    }

    /// A stable word for programs.
    pub fn code(&self) -> &str {
        self.facts().code
    }

    /// What the people who run the client can do.
    pub fn detail(&self) -> &'static str {
        self.facts().detail
    }

    /// After how many seconds the client may send again, 1 to 300; `None` where it would be refused again.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.facts().retry_after_seconds.map(|seconds| seconds.clamp(1, 300))
    }

    /// What is written beside a refused body, for the refusals that are kept: those whose fault lies in the bytes that a known source sent.
    pub fn refusal(&self) -> Option<Violation> {
        let facts = self.facts();
        facts.kept.then(|| match self {
            Self::Malformed(violation) => violation.clone(),
            other => Violation::new(facts.code, "", format!("{other}; {}", facts.detail)),
        })
    }
}

impl From<&journal::Error> for Error {
    fn from(error: &journal::Error) -> Self {
        match error {
            journal::Error::Full(_) => Self::JournalFull,
            journal::Error::TooLarge { limit, .. } => Self::BatchTooLarge { bytes_max: *limit },
            journal::Error::Closed => Self::Closing,
            journal::Error::Unavailable { .. }
            | journal::Error::Corrupt { .. }
            | journal::Error::Damaged { .. }
            | journal::Error::Newer { .. }
            | journal::Error::Trimmed { .. } => Self::JournalUnavailable,
        }
    }
}
