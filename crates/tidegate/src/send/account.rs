//! What became of every line that was read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use super::batches::{Batch, Place};
use super::deliver::{Notice, Outcome};
use super::progress::Progress;

/// So many refused events are shown; the rest is counted.
pub(crate) const PROBLEMS_SHOWN_MAX: u64 = 10;

/// What became of every line that was read: `read` is the sum of `accepted`, `refused` and `undelivered`.
#[derive(Debug, Default)]
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
    /// Where the refused ones are written, all of them.
    rejects: Option<Rejects>,
    shown: u64,
}

/// One refused event, as it is shown.
#[derive(Debug)]
pub(super) struct Problem {
    place: Option<Place>,
    field: String,
    message: String,
    /// The event, as it was to be sent.
    event: Option<Vec<u8>>,
}

impl Problem {
    pub(super) fn of(place: Place, field: &str, message: &str) -> Self {
        Self { place: Some(place), field: field.to_owned(), message: message.to_owned(), event: None }
    }
}

impl Account {
    /// An account that writes the refused ones down.
    pub(crate) fn with_rejects(rejects: Option<Rejects>) -> Self {
        Self { rejects, ..Self::default() }
    }

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

    /// Writes what is left of the refused ones.
    pub(super) fn finish(&mut self) {
        if let Some(Err(error)) = self.rejects.as_mut().map(Rejects::finish) {
            self.stop(format!("the refused events cannot be written: {error}"));
        }
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
    pub(super) fn enter(&mut self, (batch, outcome): (Batch, Outcome), progress: &Progress) {
        let events = batch.events.len() as u64;
        self.read += events;
        match outcome {
            Outcome::Judged(answer) => {
                self.accepted += events.saturating_sub(answer.rejected.len() as u64);
                for notice in &answer.quarantined {
                    count(&mut self.quarantined, &notice.code);
                }
                for notice in &answer.flagged {
                    count(&mut self.flagged, &notice.code);
                }
                for Notice { index, code, field, message } in answer.rejected {
                    let (place, event) = batch.events.get(index).cloned().unzip();
                    self.refused_one(&code, Problem { place, field, message, event }, progress);
                }
            }
            Outcome::Refused { code, message } => {
                for (place, event) in batch.events {
                    let problem = Problem { place: Some(place), field: String::new(), message: message.clone(), event: Some(event) };
                    self.refused_one(&code, problem, progress);
                }
            }
            Outcome::Forbidden(reason) => {
                self.undelivered += events;
                self.stop(reason);
            }
            Outcome::GivenUp(reason) => {
                self.undelivered += events;
                let from = batch.events.first().map_or_else(String::new, |(place, _)| format!(" from {place} on"));
                self.stop(format!("a batch{from} was given up: {reason}"));
            }
        }
    }

    fn refused_one(&mut self, code: &str, problem: Problem, progress: &Progress) {
        count(&mut self.refused, code);
        if let Some(Err(error)) = self.rejects.as_mut().map(|rejects| rejects.write(code, &problem)) {
            self.stop(format!("the refused events cannot be written: {error}"));
        }
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

/// A file with a line of JSON for each refused event: where it stands, what is wrong with it, and the event.
#[derive(Debug)]
pub(crate) struct Rejects {
    file: BufWriter<File>,
}

impl Rejects {
    /// Adds to the file: what an earlier run refused is not sent again, and would not be told again.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: BufWriter::new(File::options().append(true).create(true).open(path)?) })
    }

    fn write(&mut self, code: &str, problem: &Problem) -> io::Result<()> {
        let Problem { place, field, message, event } = problem;
        let (file, row) = place.as_ref().map(|place| (place.file.as_ref(), place.line)).unzip();
        let event = event.as_deref().map(String::from_utf8_lossy);
        let line = serde_json::json!({ "file": file, "row": row, "code": code, "field": field, "message": message, "event": event });
        writeln!(self.file, "{line}")
    }

    fn finish(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn count(counts: &mut BTreeMap<String, u64>, code: &str) {
    *counts.entry(code.to_owned()).or_default() += 1;
}
