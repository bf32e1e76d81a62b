//! The line that shows how a run goes, on standard error: a live one on a terminal, else one now and then.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::commands::say;

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Between two changes of the live line.
const CHANGE_EVERY: Duration = Duration::from_millis(200);

/// The line.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    began: Instant,
    shown: Option<Instant>,
    sent_when_shown: u64,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(CHANGE_EVERY);
            bar
        });
        Self { bar, began: Instant::now(), shown: None, sent_when_shown: 0 }
    }

    /// Shows how it goes, if it is time to. `what` says what is being done.
    pub(crate) fn show(&mut self, what: &str, sent: u64, accepted: u64, stages: &pipeline::Progress) {
        let now = Instant::now();
        let since = now.duration_since(self.shown.unwrap_or(self.began));
        let every = if self.bar.is_some() { CHANGE_EVERY } else { LINE_EVERY };
        if since < every {
            return;
        }
        let per_second = sent.saturating_sub(self.sent_when_shown) as f64 / since.as_secs_f64();
        let line = line(what, sent, accepted, per_second, stages);
        match &self.bar {
            Some(bar) => bar.set_message(line),
            None => say(&line),
        }
        (self.shown, self.sent_when_shown) = (Some(now), sent);
    }

    /// Takes the live line away.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// How long it has been shown.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

fn line(what: &str, sent: u64, accepted: u64, per_second: f64, stages: &pipeline::Progress) -> String {
    let lag = stages.lag_records.max(sent.saturating_sub(stages.records));
    let errors = stages.errors.iter().map(|(stage, error)| format!("; {stage}: {error}")).collect::<String>();
    format!(
        "{what}: sent {sent} ({per_second:.0}/s), accepted {accepted}, Bronze {}, Silver {}, duplicates {}, dead letters {}, late {}, lag {lag}{errors}",
        stages.bronze, stages.silver, stages.duplicates, stages.dead_letters, stages.late
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_of_every_stage_and_of_what_is_wrong() {
        let mut stages =
            pipeline::Progress { records: 90, bronze: 80, silver: 70, duplicates: 5, dead_letters: 4, late: 3, ..Default::default() };
        let plain = line("live", 100, 98, 12.4, &stages);
        assert_eq!(plain, "live: sent 100 (12/s), accepted 98, Bronze 80, Silver 70, duplicates 5, dead letters 4, late 3, lag 10");
        stages.errors.insert("silver", "the disk is full".to_owned());
        assert!(line("live", 100, 98, 12.4, &stages).ends_with("lag 10; silver: the disk is full"));
    }
}
