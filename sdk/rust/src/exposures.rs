//! Which exposures have been logged: once a session.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

/// Of a subject whose session is not known.
const SESSION: Duration = Duration::from_secs(30 * 60);
/// Beyond, the one that was looked at longest ago is forgotten, and would be logged again: the platform counts the first one only.
const REMEMBERED_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// Experiment, variation, subject, session.
type Exposure = [String; 4];

/// May be asked from any thread.
#[derive(Debug)]
pub(crate) struct Exposures(Mutex<LruCache<Exposure, Instant>>);

impl Exposures {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED_MAX)))
    }

    /// Whether it is the first one of its session, which is empty where it is not known; from now on it has been.
    pub(crate) fn is_first(&self, experiment: &str, variation: &str, subject: &str, session: &str, now: Instant) -> bool {
        let exposure = [experiment, variation, subject, session].map(str::to_owned);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.put(exposure, now);
        before.is_none_or(|before| session.is_empty() && now.saturating_duration_since(before) >= SESSION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_a_session() {
        let (exposures, now) = (Exposures::new(), Instant::now());
        let minutes = |minutes: u64| now + Duration::from_secs(minutes * 60);
        assert!(exposures.is_first("e", "a", "u1", "s1", now) && !exposures.is_first("e", "a", "u1", "s1", minutes(600)));
        assert!(exposures.is_first("e", "a", "u1", "s2", now) && exposures.is_first("e", "a", "u2", "s1", now));
        assert!(exposures.is_first("e", "b", "u1", "s1", now) && exposures.is_first("f", "a", "u1", "s1", now));
        // Without a session it is half an hour, prolonged by each look.
        assert!(exposures.is_first("e", "a", "u1", "", now));
        assert!(!exposures.is_first("e", "a", "u1", "", minutes(29)) && !exposures.is_first("e", "a", "u1", "", minutes(58)));
        assert!(exposures.is_first("e", "a", "u1", "", minutes(88)));
    }

    #[test]
    fn the_one_looked_at_longest_ago_is_forgotten() {
        let (exposures, now) = (Exposures::new(), Instant::now());
        for number in 0..=REMEMBERED_MAX.get() {
            assert!(exposures.is_first("e", "a", &number.to_string(), "s", now));
        }
        assert!(!exposures.is_first("e", "a", "1", "s", now) && exposures.is_first("e", "a", "0", "s", now));
    }
}
