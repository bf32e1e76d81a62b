//! What clients are told.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use contract::{EventId, Verdict, Violation};
use serde::Serialize;
use serde_json::Value;

use crate::Error;
use crate::error::spoken;
use crate::judge::Why;

/// What became of the events of a request.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Report {
    /// How many were taken, whatever the verdict.
    pub(crate) accepted: usize,
    pub(crate) rejected: Vec<Notice>,
    pub(crate) quarantined: Vec<Notice>,
    pub(crate) flagged: Vec<Notice>,
    /// How many of those that were taken are kept without their content.
    pub(crate) kept_out: BTreeMap<Why, u64>,
}

/// What is wrong with one event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Notice {
    /// Its place in the request, from 0.
    index: usize,
    /// The id it is kept under.
    event_id: EventId,
    #[serde(flatten)]
    violation: Violation,
    /// What else is wrong with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    others: Vec<Violation>,
}

impl Notice {
    pub(crate) fn code(&self) -> &str {
        &self.violation.code
    }
}

impl Report {
    pub(crate) fn note(&mut self, index: usize, event_id: EventId, verdict: Verdict, violations: Vec<Violation>) {
        if verdict != Verdict::Refused {
            self.accepted += 1;
        }
        let mut violations = violations.into_iter();
        let Some(violation) = violations.next() else { return };
        let notice = Notice { index, event_id, violation, others: violations.collect() };
        match verdict {
            Verdict::Accepted => {}
            Verdict::Flagged => self.flagged.push(notice),
            Verdict::Quarantined => self.quarantined.push(notice),
            Verdict::Refused => self.rejected.push(notice),
        }
    }

    /// Whether there were events and none was taken.
    pub(crate) fn all_rejected(&self) -> bool {
        self.accepted == 0 && !self.rejected.is_empty()
    }

    /// The refusal that stands for all of them: that of a single event, or of a batch in which all have the same fault.
    fn same_refusal(&self) -> Option<&Violation> {
        let first = self.rejected.first().map(|notice| &notice.violation);
        first.filter(|first| self.rejected.iter().all(|notice| notice.violation.code == first.code))
    }

    /// The word for programs where none was taken.
    fn refusal_code(&self) -> &str {
        self.same_refusal().map_or("all_rejected", |violation| violation.code.as_str())
    }
}

/// The body of every answer of the gate. Clients that know Segment look at `success`, `code` and `message`.
#[derive(Serialize)]
struct Answer<'a> {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<&'a [Notice]>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    quarantined: &'a [Notice],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    flagged: &'a [Notice],
}

const NOTHING: Answer<'static> =
    Answer { success: false, code: None, message: None, detail: None, accepted: None, rejected: None, quarantined: &[], flagged: &[] };

pub(crate) fn outcome(outcome: &Result<Report, Error>) -> Response {
    match outcome {
        Ok(report) if report.all_rejected() => all_rejected(report),
        Ok(report) => taken(report),
        Err(error) => refusal(error),
    }
}

/// The code that the answer of [`outcome`] has; `None` where events were taken, or there were none.
pub(crate) fn code(outcome: &Result<Report, Error>) -> Option<&str> {
    match outcome {
        Ok(report) if report.all_rejected() => Some(report.refusal_code()),
        Ok(_) => None,
        Err(error) => Some(error.code()),
    }
}

fn taken(report: &Report) -> Response {
    let answer = Answer {
        success: true,
        accepted: Some(report.accepted),
        rejected: Some(&report.rejected),
        quarantined: &report.quarantined,
        flagged: &report.flagged,
        ..NOTHING
    };
    json(StatusCode::OK, &answer)
}

fn all_rejected(report: &Report) -> Response {
    let message = report.same_refusal().map_or_else(|| "every event of the request is refused".to_owned(), spoken);
    let answer = Answer {
        code: Some(report.refusal_code()),
        message: Some(&message),
        detail: Some("`rejected` says of each event what is wrong; sent again unchanged it will be refused again"),
        accepted: Some(0),
        rejected: Some(&report.rejected),
        ..NOTHING
    };
    json(StatusCode::BAD_REQUEST, &answer)
}

/// The answer to a request that is not taken as a whole.
pub(crate) fn refusal(error: &Error) -> Response {
    let message = error.to_string();
    let answer = Answer { code: Some(error.code()), message: Some(&message), detail: Some(error.detail()), ..NOTHING };
    let mut response = json(error.status(), &answer);
    let headers = response.headers_mut();
    if let Some(seconds) = error.retry_after_seconds() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if error.status() == StatusCode::UNAUTHORIZED {
        // Not basic, for which browsers would ask their user.
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"write key\""));
    }
    if matches!(error, Error::Closing | Error::BodyTooSlow) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The answer to what is taken and thrown away.
pub(crate) fn dropped() -> Response {
    json(StatusCode::OK, &Answer { success: true, ..NOTHING })
}

pub(crate) fn value(status: StatusCode, value: &Value) -> Response {
    json(status, value)
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    // Of plain strings and numbers this cannot fail; if it ever did, the status still says what matters.
    let bytes = serde_json::to_vec(body).unwrap_or_else(|_| b"{}".to_vec());
    with_type(status, "application/json", bytes)
}

pub(crate) fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
