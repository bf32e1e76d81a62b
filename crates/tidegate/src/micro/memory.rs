//! What was sent, in memory and within a bound.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use contract::wire::{self, Envelope};
use contract::{Event, Receipt, Timestamp, Verdict, json};
use journal::{Error, Record, Sink};
use serde_json::{Map, Value, json};

/// A journal that nobody reads but tests.
#[derive(Debug)]
pub(super) struct Memory {
    events_max: usize,
    json: json::Limits,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    good: Vec<Value>,
    bad: Vec<Value>,
    /// The identities of the good ones.
    known: HashSet<[u8; 16]>,
    /// Copies of good ones: they would not come into Silver again.
    duplicates: u64,
}

impl Kept {
    fn total(&self) -> u64 {
        self.good.len() as u64 + self.bad.len() as u64 + self.duplicates
    }
}

#[async_trait::async_trait]
impl Sink for Memory {
    async fn put(&self, records: Vec<Record>) -> Result<(), Error> {
        let mut kept = self.kept();
        if kept.good.len() + kept.bad.len() + records.len() > self.events_max {
            return Err(Error::Full(format!("{} events are kept at most; POST /micro/reset makes room", self.events_max)));
        }
        for record in records {
            self.keep(&mut kept, &record);
        }
        Ok(())
    }
}

impl Memory {
    pub(super) fn new(events_max: usize, json: json::Limits) -> Self {
        Self { events_max, json, kept: Mutex::default() }
    }

    pub(super) fn counts(&self) -> Value {
        let kept = self.kept();
        json!({ "total": kept.total(), "good": kept.good.len(), "bad": kept.bad.len(), "duplicates": kept.duplicates })
    }

    pub(super) fn good(&self) -> Value {
        self.kept().good.clone().into()
    }

    pub(super) fn bad(&self) -> Value {
        self.kept().bad.clone().into()
    }

    pub(super) fn reset(&self) {
        *self.kept() = Kept::default();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, kept: &mut Kept, record: &Record) {
        let receipt = match Receipt::from_bytes(&record.header) {
            Ok(receipt) => receipt,
            Err(error) => {
                tracing::error!(%error, "a receipt cannot be read; please report it");
                return;
            }
        };
        let mut told = facts(&receipt);
        let event = match receipt.verdict {
            Verdict::Accepted | Verdict::Flagged => self.decoded(&receipt, &record.value),
            Verdict::Quarantined | Verdict::Refused => None,
        };
        match event {
            Some(_) if !kept.known.insert(record.key) => kept.duplicates += 1,
            Some(event) => {
                told.insert("event".to_owned(), native(&receipt, &event));
                kept.good.push(told.into());
            }
            None => {
                told.insert("payload".to_owned(), payload(&record.value));
                kept.bad.push(told.into());
            }
        }
    }

    fn decoded<'a>(&self, receipt: &'a Receipt, value: &'a [u8]) -> Option<Event<'a>> {
        let envelope = Envelope::parse(receipt.envelope.as_deref(), &self.json).ok()?;
        wire::decode_in(receipt.format, value, &envelope, &self.json).ok()
    }
}

/// What the gate noted about an event.
fn facts(receipt: &Receipt) -> Map<String, Value> {
    let mut facts = Map::new();
    facts.insert("event_id".to_owned(), receipt.event_id.as_str().into());
    facts.insert("received_at".to_owned(), receipt.received_at.to_rfc3339().into());
    facts.insert("wire_format".to_owned(), receipt.format.as_str().into());
    facts.insert("verdict".to_owned(), receipt.verdict.as_str().into());
    facts.insert("violations".to_owned(), json!(receipt.violations));
    facts
}

/// The event in the native shape, whatever wire format it came in.
fn native(receipt: &Receipt, event: &Event<'_>) -> Value {
    let time = |time: Option<Timestamp>| time.map(Timestamp::to_rfc3339);
    let fields = json!({
        "event_id": receipt.event_id.as_str(), "event_type": event.event_type, "event_time": time(event.client_time), "sent_at": time(event.sent_at),
        "user_id": event.user_id, "anonymous_id": event.anonymous_id, "session_id": event.session_id, "name": event.name,
        "properties": event.properties, "context": event.context,
    });
    match fields {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<String, Value>>().into(),
        other => other,
    }
}

/// As JSON where it is some, else as text.
fn payload(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned().into())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn record(key: u8, verdict: &str, payload: &'static str) -> Record {
        let header = format!(
            r#"{{"source":"micro","event_id":"e{key}","received_at":0,"format":"native","verdict":"{verdict}","plan_version":"1"}}"#
        );
        Record { key: [key; 16], header: header.into(), value: Bytes::from_static(payload.as_bytes()) }
    }

    async fn check(memory: &Memory, records: Vec<Record>, expect: (bool, u64, usize, usize, u64)) {
        let outcome = memory.put(records).await;
        let counts = memory.counts();
        let found = |name: &str| counts[name].as_u64().unwrap();
        let kept = (found("total"), memory.good().as_array().unwrap().len(), memory.bad().as_array().unwrap().len(), found("duplicates"));
        assert_eq!((outcome.is_ok(), kept.0, kept.1, kept.2, kept.3), expect);
    }

    #[tokio::test]
    async fn events_are_kept_once_and_within_the_bound() {
        let memory = Memory::new(3, json::Limits::default());
        let event = r#"{"event_id":"e1","event_type":"t","event_time":"2026-11-23T10:00:00Z","user_id":7}"#;
        check(&memory, vec![record(1, "accepted", event)], (true, 1, 1, 0, 0)).await;
        check(&memory, vec![record(1, "accepted", event), record(2, "flagged", event)], (true, 3, 2, 0, 1)).await;
        check(&memory, vec![record(3, "refused", "{no json")], (true, 4, 2, 1, 1)).await;
        check(&memory, vec![record(4, "accepted", event)], (false, 4, 2, 1, 1)).await;
        let good = memory.good();
        assert_eq!(
            good[0]["event"],
            json!({ "event_id": "e1", "event_type": "t", "event_time": "2026-11-23T10:00:00.000000Z", "user_id": "7", "properties": {}, "context": {} })
        );
        assert_eq!(good[1]["verdict"], "flagged");
        assert_eq!(memory.bad()[0]["payload"], "{no json");
        memory.reset();
        check(&memory, vec![record(1, "quarantined", event)], (true, 1, 0, 1, 0)).await;
        assert_eq!(memory.bad()[0]["payload"]["user_id"], 7);
    }
}
