//! Instants, how clients write them, and which one counts.

use chrono::{DateTime, Datelike, Timelike};
use serde::{Deserialize, Serialize};

mod parse;
#[cfg(test)]
mod tests;

pub use parse::{Invalid, parse, parse_text};

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// An instant: microseconds since 1970-01-01T00:00:00Z, within the years 0001 to 9999. What lies outside of them is only ever made by code, never
/// parsed, and is shown as the nearest bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800 * SECOND);
    /// 9999-12-31T23:59:59.999999Z.
    pub const MAX: Self = Self(253_402_300_800 * SECOND - 1);

    /// The instant, if it lies within the years 0001 to 9999.
    pub fn from_micros(micros: i64) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0).contains(&micros).then_some(Self(micros))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// As RFC 3339 text in UTC, always with six digits of the second's fraction: `2026-11-23T10:00:00.123000Z`.
    pub fn to_rfc3339(self) -> String {
        let (date, time) = (self.calendar().date_naive(), self.calendar().time());
        let (year, month, day) = (date.year(), date.month(), date.day());
        let (hour, minute, second, micros) = (time.hour(), time.minute(), time.second(), time.nanosecond() / 1_000);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }

    /// The start of the hour it lies in, in UTC.
    #[must_use]
    pub fn hour(self) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(HOUR)))
    }

    /// The day it lies in, in UTC, as days since 1970-01-01 (as Arrow's `Date32` has it).
    pub fn date(self) -> i32 {
        // 2^63 microseconds are 107 million days, so this never saturates.
        i32::try_from(self.0.div_euclid(DAY)).unwrap_or(i32::MAX)
    }

    /// The day it lies in, in UTC, as text: `2026-11-23`.
    pub fn date_text(self) -> String {
        let date = self.calendar().date_naive();
        format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
    }

    fn calendar(self) -> DateTime<chrono::Utc> {
        DateTime::from_timestamp_micros(self.0.clamp(Self::MIN.0, Self::MAX.0)).unwrap_or(DateTime::UNIX_EPOCH)
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

/// The time an event counts as having happened at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTime {
    /// The time.
    pub at: Timestamp,
    /// Whether it is another than the client said.
    pub corrected: bool,
}

/// The time an event counts as having happened at: the client's own.
///
/// Only if the client's clock is off by more than `tolerance_micros` (how far `sent`, by that clock, is from `received`, by ours) is its time shifted by that
/// difference. A smaller difference is mostly the way through the network, and "correcting" it would change the order within a session. The result
/// is never later than `received`; taking it back to that counts as a correction. Without a client's time it is `received`, uncorrected.
pub fn event_time(client: Option<Timestamp>, sent: Option<Timestamp>, received: Timestamp, tolerance_micros: i64) -> EventTime {
    let Some(client) = client else { return EventTime { at: received, corrected: false } };
    let skew = sent.map_or(0, |sent| received.0.saturating_sub(sent.0));
    let skewed = skew.unsigned_abs() > tolerance_micros.unsigned_abs();
    let shifted = if skewed { client.0.saturating_add(skew) } else { client.0 };
    let earliest = Timestamp::MIN.min(received);
    let at = Timestamp(shifted.min(received.0).max(earliest.0));
    EventTime { at, corrected: skewed || at != client }
}
