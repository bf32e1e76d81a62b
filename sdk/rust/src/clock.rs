//! What time it is, and what it is called.

use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};

/// Now, by the clock of this machine.
#[expect(clippy::disallowed_methods, reason = "an SDK has no other clock than the application's machine; all of it asks here")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// Microseconds since 1970; negative before.
pub(crate) fn micros(time: SystemTime) -> i64 {
    let part = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    time.duration_since(SystemTime::UNIX_EPOCH).map_or_else(|before| -part(before.duration()), part)
}

/// Microseconds since 1970 as `2026-11-23T10:00:00.123Z`; nothing for a time that no calendar has.
pub(crate) fn time_text(micros: i64) -> Option<String> {
    DateTime::<Utc>::from_timestamp_micros(micros).map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// The end of a wait that began a while ago. A sum of the two might not be a time at all, where the wait is as good as endless.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    began: Instant,
    wait: Duration,
}

impl Deadline {
    /// From now on.
    pub(crate) fn after(wait: Duration) -> Self {
        Self { began: Instant::now(), wait }
    }

    /// What is left of it; zero when it is over.
    pub(crate) fn left(&self) -> Duration {
        self.wait.saturating_sub(self.began.elapsed())
    }

    /// The same, a little later.
    pub(crate) fn and(self, more: Duration) -> Self {
        Self { began: self.began, wait: self.wait.saturating_add(more) }
    }
}
