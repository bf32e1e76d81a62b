//! Whether a topic is fit to be the journal, decided from what is known of it.

use super::super::config::{Config, RECORD_OVERHEAD_BYTES};

const DAY_MILLISECONDS: i64 = 24 * 3600 * 1000;

/// What is known of a topic. What could not be read is left out.
#[derive(Debug, Default, Clone)]
pub(super) struct Facts {
    pub(super) cleanup_policy: Option<String>,
    pub(super) message_bytes_max: Option<usize>,
    /// Negative when records are kept for ever.
    pub(super) retention_milliseconds: Option<i64>,
    /// How many brokers must have a record before it is answered.
    pub(super) replicas_min: Option<u32>,
    /// How many brokers are to have each record.
    pub(super) replicas: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may be the journal; with what a person should think about.
    Fit(Vec<String>),
    /// It would lose or refuse events.
    Refused(String),
}

pub(super) fn judge(facts: &Facts, config: &Config) -> Verdict {
    if facts.cleanup_policy.as_ref().is_some_and(|policy| policy.contains("compact")) {
        return Verdict::Refused("its cleanup.policy is compact, which deletes events: set it to delete".into());
    }
    let needed = config.message_bytes_max();
    if let Some(bytes_max) = facts.message_bytes_max.filter(|bytes_max| *bytes_max < needed) {
        let largest = bytes_max.saturating_sub(RECORD_OVERHEAD_BYTES);
        return Verdict::Refused(format!(
            "its max.message.bytes is {bytes_max}, records need {needed}: set max.message.bytes to {needed}, or journal.kafka.record_bytes_max to {largest}"
        ));
    }
    let mut concerns = Vec::new();
    if let Some(retention) = facts.retention_milliseconds.filter(|retention| (0..DAY_MILLISECONDS).contains(retention)) {
        concerns.push(format!("retention.ms is {retention}, less than a day: what the lake has not taken up by then is lost"));
    }
    if facts.replicas <= 1 {
        concerns.push("it has one replica: what is on a broker's disk is lost with the disk".into());
    }
    if facts.replicas >= 3 && facts.replicas_min.is_some_and(|least| least < 2) {
        concerns.push("min.insync.replicas is 1: what only one broker had is lost with it; set it to 2".into());
    }
    Verdict::Fit(concerns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Facts), expect: &Verdict) {
        let mut facts = Facts {
            cleanup_policy: Some("delete".into()),
            message_bytes_max: Some(10_000),
            retention_milliseconds: Some(DAY_MILLISECONDS),
            replicas_min: Some(2),
            replicas: 3,
        };
        change(&mut facts);
        let verdict = judge(&facts, &Config { record_bytes_max: 10_000 - RECORD_OVERHEAD_BYTES, ..Config::default() });
        match (&verdict, expect) {
            (Verdict::Refused(what), Verdict::Refused(part)) => assert!(what.contains(part.as_str()), "{what}"),
            (Verdict::Fit(concerns), Verdict::Fit(parts)) => {
                assert_eq!(concerns.len(), parts.len(), "{concerns:?}");
                assert!(concerns.iter().zip(parts).all(|(concern, part)| concern.contains(part.as_str())), "{concerns:?}");
            }
            _ => panic!("{verdict:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn what_would_lose_events_is_refused_and_what_could_is_said() {
        let refused = |part: &str| Verdict::Refused(part.into());
        let fit = |parts: &[&str]| Verdict::Fit(parts.iter().map(|part| (*part).to_owned()).collect());
        check(|_| (), &fit(&[]));
        check(|f| *f = Facts { replicas: 3, ..Facts::default() }, &fit(&[]));
        check(|f| f.cleanup_policy = Some("compact".into()), &refused("cleanup.policy"));
        check(|f| f.cleanup_policy = Some("compact,delete".into()), &refused("cleanup.policy"));
        check(|f| f.message_bytes_max = Some(9_999), &refused("set max.message.bytes to 10000, or journal.kafka.record_bytes_max to 5903"));
        check(|f| f.retention_milliseconds = Some(-1), &fit(&[]));
        check(|f| f.retention_milliseconds = Some(DAY_MILLISECONDS - 1), &fit(&["less than a day"]));
        check(|f| f.replicas = 1, &fit(&["one replica"]));
        check(|f| f.replicas_min = Some(1), &fit(&["min.insync.replicas is 1"]));
        check(|f| (f.replicas, f.replicas_min) = (2, Some(1)), &fit(&[]));
    }
}
