//! The wall clock, read in this one place, so that every stage can be run at another time.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time.
pub trait Clock: Debug + Send + Sync {
    /// Microseconds since 1970-01-01T00:00:00Z.
    fn now_micros(&self) -> i64;
}

/// A clock that many hold.
pub type SharedClock = Arc<dyn Clock>;

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    fn now_micros(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
        }
    }
}

/// The system's clock, wrong by a fixed time: what a machine without a time server has.
#[derive(Debug, Clone, Copy)]
pub struct SkewedClock(i64);

impl SkewedClock {
    /// Wrong by so many microseconds: ahead where they are positive.
    pub fn by(micros: i64) -> Self {
        Self(micros)
    }
}

impl Clock for SkewedClock {
    fn now_micros(&self) -> i64 {
        SystemClock.now_micros().saturating_add(self.0)
    }
}

/// A clock that stands still until it is set.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that stands at this time, in microseconds since 1970.
    pub fn at(micros: i64) -> Self {
        Self(AtomicI64::new(micros))
    }

    /// Sets it, in microseconds since 1970. It never goes back: an earlier time is ignored.
    pub fn advance_to(&self, micros: i64) {
        self.0.fetch_max(micros, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_micros(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_is_in_this_century() {
        let now = SystemClock.now_micros();
        assert!((1_700_000_000_000_000..4_102_444_800_000_000).contains(&now), "{now}");
    }

    #[test]
    fn a_skewed_clock_is_wrong_by_what_it_was_told() {
        let (before, skewed) = (SystemClock.now_micros(), SkewedClock::by(-1_000_000_000).now_micros());
        assert!((0..60_000_000).contains(&(skewed + 1_000_000_000 - before)), "{before} {skewed}");
        assert_eq!(SkewedClock::by(i64::MAX).now_micros(), i64::MAX);
    }

    #[test]
    fn a_manual_clock_never_goes_back() {
        let clock = ManualClock::at(10);
        clock.advance_to(20);
        clock.advance_to(5);
        assert_eq!(clock.now_micros(), 20);
    }
}
