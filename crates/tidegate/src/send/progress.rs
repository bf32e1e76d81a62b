//! What a person sees meanwhile, on standard error: a bar where there is a terminal, and lines about single events.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::account::Account;

const REDRAW: Duration = Duration::from_millis(200);
const WITH_TOTAL: &str = "{bar:30} {percent:>3} %  {msg}  {elapsed}, {eta} to go";
const WITHOUT_TOTAL: &str = "{spinner} {msg}  {elapsed}";

/// The bar. Without a terminal nothing is drawn.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar of so many bytes; one without an end where that is not known.
    pub(crate) fn new(total: Option<u64>) -> Self {
        let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
        bar.set_draw_target(if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
        let template = if total.is_some() { WITH_TOTAL } else { WITHOUT_TOTAL };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(REDRAW);
        Self { bar }
    }

    /// The bar, to be moved by the bytes read.
    pub(crate) fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    pub(super) fn show(&self, account: &Account) {
        let seconds = self.bar.elapsed().as_secs_f64().max(0.001);
        let rate = account.accepted as f64 / seconds;
        self.bar.set_message(format!("{} accepted, {rate:.0}/s", account.accepted));
    }

    /// A line above the bar.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| {
            // Nobody is left to be told that nobody is left to be told.
            drop(writeln!(std::io::stderr().lock(), "{line}"));
        });
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
