//! The progress of a rebuild of Silver.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pipeline::replay::{Phase, Progress};

const REDRAW: Duration = Duration::from_millis(200);

/// The progress on a terminal: what it is at, how much of it is done, and how long it may still take.
pub(crate) struct Bar {
    bar: ProgressBar,
    phase: Mutex<Option<Phase>>,
}

impl Bar {
    /// Nothing is shown where standard error is no terminal.
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::new(1_000_000);
        bar.set_draw_target(if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {wide_bar} {percent} % {eta}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(REDRAW);
        Self { bar, phase: Mutex::new(None) }
    }

    pub(crate) fn show(&self, progress: Progress) {
        let bar = &self.bar;
        let mut phase = self.phase.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *phase != Some(progress.phase) {
            *phase = Some(progress.phase);
            // The estimate is of this phase.
            bar.reset();
            bar.set_message(words(progress.phase));
        }
        bar.set_position(u64::from(progress.done_millionths));
    }

    /// What it draws.
    pub(crate) fn bar(&self) -> &ProgressBar {
        &self.bar
    }

    /// Takes it off the screen.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn words(phase: Phase) -> &'static str {
    match phase {
        Phase::Comparing => "looking for copies of events",
        Phase::Deciding => "making Silver",
        Phase::Choosing => "choosing among copies",
        Phase::Joining => "joining files",
        Phase::CatchingUp => "catching up with Bronze",
        Phase::Gold => "making Gold",
        Phase::CuttingOver => "taking the place of the live tables",
    }
}
