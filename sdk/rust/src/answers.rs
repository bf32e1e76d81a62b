//! What an answer of the gate means for each event of a request, and how long to wait for the next attempt. Pure: docs/sdk-contract.md, "What an answer means".

use std::time::Duration;

use serde_json::{Map, Value};

use crate::stats::Reason;

const PAUSE_BASE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(60);
const RETRY_AFTER_MAX_SECONDS: u64 = 300;

/// Of one answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Meaning {
    /// The request is too large: it is sent in halves.
    Split,
    /// In the order of the request.
    Each {
        fates: Vec<Fate>,
        /// Seconds that the gate asked for.
        retry_after: Option<u64>,
    },
}

/// Of one event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fate {
    Delivered,
    /// The gate refused it by name.
    Rejected(Reason),
    Again,
}

/// Of the answer to a request of so many events.
pub(crate) fn meaning(sent: usize, status: u16, body: &[u8], retry_after: Option<&str>) -> Meaning {
    let document: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let each = |fates, retry_after| Meaning::Each { fates, retry_after };
    let code = document.get("code").and_then(Value::as_str);
    match (status, code) {
        (200, _) if document.get("success") == Some(&Value::Bool(true)) => each(named(&document, sent, &Fate::Delivered), None),
        (413, _) => Meaning::Split,
        (400 | 401 | 403 | 404 | 422, Some(code)) if code != "incomplete_body" => {
            let by_name = named(&document, sent, &Fate::Again);
            if by_name.iter().any(|fate| *fate != Fate::Again) {
                return each(by_name, None);
            }
            let all = Reason { code: code.to_owned().into(), message: text(document.get("message")).to_owned().into() };
            each(vec![Fate::Rejected(all); sent], None)
        }
        (429 | 503, _) => each(vec![Fate::Again; sent], retry_after.and_then(seconds)),
        _ => each(vec![Fate::Again; sent], None),
    }
}

/// Before an attempt, 0 being the first one; `random` is in [0, 1).
pub(crate) fn pause(attempt: u32, retry_after: Option<u64>, random: f64) -> Duration {
    let Some(before) = attempt.checked_sub(1) else {
        return Duration::ZERO;
    };
    // Beyond 2^10 half a second the cap holds anyway.
    let jitter = PAUSE_MAX.min(PAUSE_BASE * 2_u32.pow(before.min(10))).mul_f64(random.clamp(0.0, 1.0));
    jitter + Duration::from_secs(retry_after.map_or(0, |seconds| seconds.clamp(1, RETRY_AFTER_MAX_SECONDS)))
}

/// The fate of those that are refused by name, and for all others this one.
fn named(document: &Map<String, Value>, sent: usize, other: &Fate) -> Vec<Fate> {
    let mut fates = vec![other.clone(); sent];
    for notice in document.get("rejected").and_then(Value::as_array).into_iter().flatten() {
        let place = notice.get("index").and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok());
        if let Some(fate) = place.and_then(|place| fates.get_mut(place)) {
            let message = format!("{} {}", text(notice.get("field")), text(notice.get("message"))).trim().to_owned();
            *fate = Fate::Rejected(Reason { code: text(notice.get("code")).to_owned().into(), message: message.into() });
        }
    }
    fates
}

fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

fn seconds(value: &str) -> Option<u64> {
    let digits = value.trim();
    // `parse` would also take a sign.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(RETRY_AFTER_MAX_SECONDS))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::vectors::cases;

    #[test]
    fn answers() {
        for case in cases("answers.json") {
            let sent = case["sent"].as_u64().unwrap() as usize;
            let body = case["body"].as_str().map_or_else(|| case["body"].to_string(), str::to_owned);
            let told = meaning(sent, case["status"].as_u64().unwrap() as u16, body.as_bytes(), None);
            let fate = match told {
                // Of one event there is nothing to be cut in half.
                Meaning::Split if sent == 1 => json!([{"dropped": "too_large"}]),
                Meaning::Split => json!("split"),
                Meaning::Each { fates, .. } => fates
                    .iter()
                    .map(|fate| match fate {
                        Fate::Delivered => json!("delivered"),
                        Fate::Again => json!("again"),
                        Fate::Rejected(why) => json!({"rejected": why.code}),
                    })
                    .collect(),
            };
            assert_eq!(fate, case["fate"], "{}", case["what"]);
        }
    }

    #[test]
    fn backoff() {
        for case in cases("backoff.json") {
            let attempt = case["attempt"].as_u64().unwrap() as u32;
            let waits = pause(attempt, case["retry_after"].as_u64(), case["random"].as_f64().unwrap());
            assert!((waits.as_secs_f64() - case["seconds"].as_f64().unwrap()).abs() < 1e-9, "{case}: {waits:?}");
        }
    }

    #[test]
    fn retry_after_is_heeded_with_429_and_503_only() {
        let check = |status, header, expect| {
            let told = meaning(1, status, b"", header);
            assert_eq!(told, Meaning::Each { fates: vec![Fate::Again], retry_after: expect }, "{status} {header:?}");
        };
        check(429, Some("7"), Some(7));
        check(503, Some(" 7 "), Some(7));
        check(503, Some("99999999999999999999999"), Some(300));
        check(500, Some("7"), None);
        for header in [None, Some("soon"), Some("Wed, 21 Oct 2026 07:28:00 GMT"), Some("-1"), Some("+1"), Some("²"), Some("")] {
            check(429, header, None);
        }
    }

    #[test]
    fn a_body_that_is_nested_without_an_end_is_no_answer() {
        let deep = "[".repeat(100_000);
        assert_eq!(meaning(1, 200, deep.as_bytes(), None), Meaning::Each { fates: vec![Fate::Again], retry_after: None });
    }
}
