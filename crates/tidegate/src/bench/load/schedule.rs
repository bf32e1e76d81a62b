//! When requests are due, at a rate of their own. Pure.

use std::time::Duration;

/// When requests are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Schedule {
    /// Events a second.
    pub(super) rate: u64,
    /// Events in each request.
    pub(super) batch: u64,
}

impl Schedule {
    /// When a request is due after the beginning.
    pub(super) fn due(self, number: u64) -> Duration {
        let nanos = u128::from(number) * u128::from(self.batch) * 1_000_000_000 / u128::from(self.rate.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many requests are due before so long after the beginning has passed.
    pub(super) fn count_before(self, passed: Duration) -> u64 {
        let events = passed.as_nanos() * u128::from(self.rate);
        u64::try_from(events.div_ceil(u128::from(self.batch.max(1)) * 1_000_000_000)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_even_times() {
        let schedule = Schedule { rate: 1_000, batch: 10 };
        assert_eq!([0, 1, 250].map(|number| schedule.due(number)), [0, 10, 2_500].map(Duration::from_millis));
        let third = Schedule { rate: 3, batch: 1 };
        assert_eq!([1, 2, 3].map(|number| third.due(number).as_nanos()), [333_333_333, 666_666_666, 1_000_000_000]);
        let fast = Schedule { rate: 100_000_000, batch: 1 };
        assert_eq!(fast.due(u64::from(u32::MAX)), Duration::from_nanos(42_949_672_950));
    }

    #[test]
    fn all_that_is_due_before_a_time_is_counted() {
        for schedule in [Schedule { rate: 1_000, batch: 10 }, Schedule { rate: 3, batch: 1 }, Schedule { rate: 7, batch: 100 }] {
            assert_eq!(schedule.count_before(Duration::ZERO), 0);
            for millis in [1, 9, 10, 11, 333, 334, 1_000, 60_000] {
                let passed = Duration::from_millis(millis);
                let count = schedule.count_before(passed);
                assert!(count > 0 && schedule.due(count - 1) < passed, "{schedule:?} {millis}");
                assert!(schedule.due(count) >= passed, "{schedule:?} {millis}");
            }
        }
    }
}
