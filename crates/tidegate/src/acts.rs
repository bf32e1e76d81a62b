//! Administrative acts are told to the audit log of the data folder before they are done; one that fails is told to have failed.

use std::fmt::Display;

use audit_log::{Act, AuditLog, Head};
use contract::Timestamp;
use serde_json::{Map, Value, json};
use telemetry::clock::{Clock as _, SystemClock};

use crate::jobs;
use crate::settings::Settings;

/// What is told of an act that failed; which it was is said by the number of its entry.
const FAILED: &str = "failed";
/// Characters of why an act failed that are kept.
const WHY_CHARS_MAX: usize = 1_000;

/// An act that has been told, and is to be done now.
#[derive(Debug)]
#[must_use]
pub(crate) struct Told {
    log: AuditLog,
    by: String,
    act: &'static str,
    on: String,
    number: u64,
}

/// Tells of an act: who does it (`None`: whoever runs this program), what, to whom, and more about it. No secret, and nothing by which a person is known, belongs there.
///
/// # Errors
///
/// When the log cannot be added to. Then the act is not to be done.
pub(crate) fn tell(settings: &Settings, by: Option<&str>, act: &'static str, on: &str, detail: Value) -> anyhow::Result<Told> {
    let by = by.map_or_else(whoever, str::to_owned);
    let log = settings.audit_log();
    let head = add(&log, &by, act, on, object(detail))?;
    Ok(Told { log, by, act, on: on.to_owned(), number: head.number })
}

impl Told {
    /// Tells that it failed, where it did. What became of the act is what is returned.
    ///
    /// # Errors
    ///
    /// Why it failed.
    pub(crate) fn done<T, E: Display>(self, outcome: Result<T, E>) -> Result<T, E> {
        if let Err(error) = &outcome {
            let why: String = format!("{error:#}").chars().take(WHY_CHARS_MAX).collect();
            let detail = object(json!({"entry": self.number, "why": why}));
            if let Err(error) = add(&self.log, &self.by, FAILED, &self.on, detail) {
                tracing::error!(%error, act = self.act, "that an act failed cannot be told to the audit log");
            }
        }
        outcome
    }
}

fn add(log: &AuditLog, by: &str, act: &str, on: &str, detail: Map<String, Value>) -> Result<Head, audit_log::Error> {
    let told = Act { by: by.to_owned(), act: act.to_owned(), on: on.to_owned(), detail };
    let head = log.add(told, Timestamp(SystemClock.now_micros()))?;
    // The newest digest leaves the machine with the log: what is cut off the file later is missed by it.
    tracing::info!(by, act, on, entry = head.number, digest = head.digest, "an administrative act");
    Ok(head)
}

fn object(detail: Value) -> Map<String, Value> {
    match detail {
        Value::Object(map) => map,
        Value::Null => Map::new(),
        other => Map::from_iter([("detail".to_owned(), other)]),
    }
}

/// The console's user for whom this process acts, else the system's user it runs as.
fn whoever() -> String {
    let named = |variable: &str| std::env::var(variable).ok().filter(|name| !name.is_empty());
    let user = || {
        let uid = rustix::process::getuid().as_raw();
        let name = named("SUDO_USER").or_else(|| named("USER")).or_else(|| named("LOGNAME"));
        name.map_or_else(|| format!("uid {uid}"), |name| format!("{name} (uid {uid})"))
    };
    named(jobs::BY_VARIABLE).unwrap_or_else(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_is_told_before_it_is_done_and_again_where_it_fails() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { data: folder.path().to_owned(), ..Settings::default() };
        let told = tell(&settings, Some("anna"), "source.add", "web", json!({"rate": 5})).unwrap();
        told.done(Ok::<_, String>(())).unwrap();
        let told = tell(&settings, None, "source.revoke", "web", Value::Null).unwrap();
        assert_eq!(told.done(Err::<(), _>("no such source")), Err("no such source"));
        let mut entries = Vec::new();
        let verified = settings.audit_log().verify(None, |entry, _| entries.push(entry.act.clone())).unwrap();
        assert!(verified.is_sound());
        let acts: Vec<&str> = entries.iter().map(|act| act.act.as_str()).collect();
        assert_eq!(acts, ["source.add", "source.revoke", "failed"]);
        assert_eq!((entries[0].by.as_str(), &entries[0].detail["rate"]), ("anna", &json!(5)));
        assert!(entries[1].by.contains("uid "), "{}", entries[1].by);
        assert_eq!(entries[2].detail["entry"], 2);
        assert!(entries[2].detail["why"].as_str().unwrap().contains("no such source"));
    }
}
