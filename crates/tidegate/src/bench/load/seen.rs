//! What connections saw, as sums, and what a run of them comes to.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::bench::report::{self, Report};

/// What was seen.
#[derive(Debug)]
pub(in super::super) struct Seen {
    /// How long answers took, in microseconds.
    pub(in super::super) answers: Histogram<u64>,
    /// Requests and events that were answered with success in the time that is measured.
    pub(super) requests: u64,
    pub(super) events: u64,
    pub(super) waits: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    /// Whether anything was answered with success so far.
    pub(super) is_proven: bool,
    pub(super) reconnects: u64,
    /// Requests that had no answer when nobody waited any longer; so long as that, they are among the answers.
    pub(super) unanswered: u64,
}

impl Seen {
    /// Nothing so far.
    pub(super) fn new() -> anyhow::Result<Self> {
        let answers = report::times()?;
        Ok(Self { answers, requests: 0, events: 0, waits: 0, errors: 0, first_error: None, is_proven: false, reconnects: 0, unanswered: 0 })
    }

    /// Takes in what another connection saw.
    ///
    /// # Errors
    ///
    /// When the times cannot be added.
    pub(super) fn add(&mut self, other: Self) -> anyhow::Result<()> {
        self.answers.add(&other.answers)?;
        self.requests += other.requests;
        self.events += other.events;
        self.waits += other.waits;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.reconnects += other.reconnects;
        self.unanswered += other.unanswered;
        Ok(())
    }

    /// Counts how long an answer took.
    pub(super) fn note(&mut self, took: Duration) {
        self.answers.saturating_record(took.as_micros().try_into().unwrap_or(u64::MAX));
    }
}

/// What a run saw, and what it cost.
#[derive(Debug)]
pub(in super::super) struct Measured {
    pub(in super::super) seen: Seen,
    pub(super) seconds: f64,
    pub(super) generator_cpu_seconds: Option<f64>,
    /// Of the processes that were named, if there are some.
    pub(super) cpu_seconds: Option<f64>,
    pub(super) rss_peak_bytes: Option<u64>,
}

impl Measured {
    /// Adds its figures.
    pub(in super::super) fn tell(&self, report: &mut Report) {
        let Self { seen, seconds, generator_cpu_seconds, cpu_seconds, rss_peak_bytes } = self;
        report.set("events_per_second", seen.events as f64 / seconds);
        report.set("requests_per_second", seen.requests as f64 / seconds);
        report.set_times("answer", &seen.answers);
        for (name, count) in
            [("waits", seen.waits), ("errors", seen.errors), ("unanswered_requests", seen.unanswered), ("reconnects", seen.reconnects)]
        {
            report.set(name, count as f64);
        }
        report.set("generator_cpu_seconds", generator_cpu_seconds.unwrap_or(f64::NAN));
        if let Some(cpu_seconds) = cpu_seconds {
            report.set("measured_cpu_seconds", *cpu_seconds);
            report.set("events_per_cpu_second", seen.events as f64 / cpu_seconds);
        }
        if let Some(bytes) = rss_peak_bytes {
            report.set("measured_rss_peak_bytes", *bytes as f64);
        }
    }

    /// The first thing that went wrong, if something did.
    pub(in super::super) fn error(&self) -> Option<&str> {
        self.seen.first_error.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_connections_saw_adds_up() {
        let mut all = Seen::new().unwrap();
        for took in [5, 7] {
            let mut one = Seen::new().unwrap();
            one.note(Duration::from_millis(took));
            (one.requests, one.events, one.waits, one.first_error) = (1, 10, 2, Some(took.to_string()));
            all.add(one).unwrap();
        }
        assert_eq!((all.answers.len(), all.requests, all.events, all.waits), (2, 2, 20, 4));
        assert_eq!(all.first_error.as_deref(), Some("5"));
    }
}
