//! What became of every line that was read.

use std::collections::BTreeMap;

use super::batches::{Batch, Place};
use super::deliver::{Delivery, Notice};
use super::progress::Progress;

/// So many refused events are shown; the rest is counted.
pub(crate) const PROBLEMS_SHOWN_MAX: u64 = 10;

/// What became of every line that was read: `read` is the sum of `accepted`, `refused` and `undelivered`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Lines that are not blank.
    pub(crate) read: u64,
    /// Events that the gate took, quarantined and flagged ones included.
    pub(crate) accepted: u64,
    /// Of those, the ones kept as dead letters, by code.
    pub(crate) quarantined: BTreeMap<String, u64>,
    /// Of those, the ones marked, by code.
    pub(crate) flagged: BTreeMap<String, u64>,
    /// Lines that were not taken and would not be if sent again, by code.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Events that nobody has said yes or no to; the gate may have some of them.
    pub(crate) undelivered: u64,
    /// Why not everything was read.
    pub(crate) stopped: Option<String>,
    shown: u64,
}

/// One refused event, as it is shown.
#[derive(Debug)]
pub(super) struct Problem {
    place: Option<Place>,
    field: String,
    message: String,
}

impl Problem {
    pub(super) fn of(place: Place, field: &str, message: &str) -> Self {
        Self { place: Some(place), field: field.to_owned(), message: message.to_owned() }
    }
}

impl Account {
    /// Whether every line was taken.
    pub(crate) fn is_clean(&self) -> bool {
        self.refused.is_empty() && self.undelivered == 0 && self.stopped.is_none()
    }

    /// Rows of outcome, code and number of events.
    pub(crate) fn rows(&self) -> Vec<(&'static str, &str, u64)> {
        fn by_code<'a>(outcome: &'static str, counts: &'a BTreeMap<String, u64>) -> impl Iterator<Item = (&'static str, &'a str, u64)> {
            counts.iter().map(move |(code, count)| (outcome, code.as_str(), *count))
        }
        let mut rows = vec![("read", "", self.read), ("accepted", "", self.accepted)];
        rows.extend(by_code("of these quarantined", &self.quarantined));
        rows.extend(by_code("of these flagged", &self.flagged));
        rows.extend(by_code("refused", &self.refused));
        if self.undelivered > 0 {
            rows.push(("not delivered", "", self.undelivered));
        }
        rows
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Notes why no more is read; the first reason stays.
    pub(super) fn stop(&mut self, reason: String) {
        self.stopped.get_or_insert(reason);
    }

    /// A line that was not taken.
    pub(super) fn refuse(&mut self, code: &str, problem: Problem, progress: &Progress) {
        self.read += 1;
        self.refused_one(code, problem, progress);
    }

    /// A piece that was sent, and what became of it.
    pub(super) fn enter(&mut self, (batch, delivery): (Batch, Delivery), progress: &Progress) {
        let events = batch.events.len() as u64;
        self.read += events;
        match delivery {
            Delivery::Judged(answer) => {
                self.accepted += events.saturating_sub(answer.rejected.len() as u64);
                for notice in &answer.quarantined {
                    count(&mut self.quarantined, &notice.code);
                }
                for notice in &answer.flagged {
                    count(&mut self.flagged, &notice.code);
                }
                for Notice { index, code, field, message } in answer.rejected {
                    let place = batch.events.get(index).map(|(place, _)| place.clone());
                    self.refused_one(&code, Problem { place, field, message }, progress);
                }
            }
            Delivery::Refused { code, message } => {
                for (place, _) in batch.events {
                    self.refused_one(&code, Problem { place: Some(place), field: String::new(), message: message.clone() }, progress);
                }
            }
            Delivery::Forbidden(reason) => {
                self.undelivered += events;
                self.stop(reason);
            }
            Delivery::GivenUp(reason) => {
                self.undelivered += events;
                let from = batch.events.first().map_or_else(String::new, |(place, _)| format!(" from {place} on"));
                self.stop(format!("a batch{from} was given up: {reason}"));
            }
        }
    }

    fn refused_one(&mut self, code: &str, problem: Problem, progress: &Progress) {
        count(&mut self.refused, code);
        self.shown += 1;
        if self.shown > PROBLEMS_SHOWN_MAX {
            return;
        }
        let place = problem.place.map_or_else(String::new, |place| format!("{place}: "));
        let field = if problem.field.is_empty() { String::new() } else { format!(" {}", problem.field) };
        progress.say(&format!("{place}refused ({code}):{field} {}", problem.message));
        if self.shown == PROBLEMS_SHOWN_MAX {
            progress.say("further ones are only counted");
        }
    }
}

fn count(counts: &mut BTreeMap<String, u64>, code: &str) {
    *counts.entry(code.to_owned()).or_default() += 1;
}
