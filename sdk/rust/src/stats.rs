//! The counts of a client, and what it tells of each event.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The one that the call told.
    pub event_id: String,
    /// Its end.
    pub outcome: Outcome,
}

/// How an event ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The gate has it, and answers for it.
    Delivered,
    /// The gate refused it, with a code of its own.
    Rejected(Reason),
    /// The client gave it up: `invalid`, `too_large`, `queue_full`, `closed` or `opted_out`.
    Dropped(Reason),
}

/// Why an event was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// For programs.
    pub code: Cow<'static, str>,
    /// For people.
    pub message: Cow<'static, str>,
}

/// Of one process since the client was made. `tracked == delivered + rejected + dropped + pending`, whenever it is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls while the client was switched on.
    pub tracked: u64,
    /// Events that the gate has.
    pub delivered: u64,
    /// Events that the gate refused by name.
    pub rejected: u64,
    /// Events that the client gave up.
    pub dropped: u64,
    /// In memory, on its way, or in the spool; of this process.
    pub pending: u64,
    /// By reason.
    pub dropped_by: BTreeMap<String, u64>,
    /// By code.
    pub rejected_by: BTreeMap<String, u64>,
    /// Calls while it was switched off.
    pub suppressed: u64,
    /// Requests that were sent again.
    pub retries: u64,
    /// Events of earlier processes, found in the spool and answered.
    pub recovered: u64,
    /// Lines of the spool that a process was killed in the middle of.
    pub torn: u64,
    /// Times that the spool could not be written.
    pub spool_errors: u64,
}

impl Stats {
    pub(crate) fn count_dropped(&mut self, code: &str, events: u64) {
        self.dropped += events;
        count(&mut self.dropped_by, code, events);
    }

    pub(crate) fn count_rejected(&mut self, code: &str) {
        self.rejected += 1;
        count(&mut self.rejected_by, code, 1);
    }

    /// With what is left to do.
    pub(crate) fn snapshot(&self) -> Self {
        Self { pending: self.tracked - self.delivered - self.rejected - self.dropped, ..self.clone() }
    }
}

fn count(by: &mut BTreeMap<String, u64>, code: &str, events: u64) {
    match by.get_mut(code) {
        Some(number) => *number += events,
        None => drop(by.insert(code.to_owned(), events)),
    }
}
