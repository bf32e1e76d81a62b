//! How fast each source may send, or a key that has a rate of its own.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use contract::SourceName;

use crate::Error;
use crate::keys::{KeyDigest, Source};

/// Buckets kept before those of idle sources are let go. Only sources that are known have one.
const BUCKETS_KEPT: usize = 1_024;

/// A token bucket for each source, and one for each key whose scope has a rate. A request is let in while there is a token, and then pays for all of its events, even if that leaves a debt: so
/// a batch larger than the burst is slowed down, never refused for good.
#[derive(Debug)]
pub(crate) struct Rates {
    /// Of a source.
    pace: Pace,
    buckets: Mutex<HashMap<Whose, Bucket>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Whose {
    Source(SourceName),
    Key(KeyDigest),
}

/// How a bucket fills.
#[derive(Debug, Clone, Copy)]
struct Pace {
    per_second: f64,
    burst: f64,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
    pace: Pace,
}

impl Bucket {
    fn filled(self, now: Instant) -> Self {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.pace.per_second;
        Self { tokens: (self.tokens + gained).min(self.pace.burst), at: now.max(self.at), ..self }
    }
}

impl Rates {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        Self { pace: Pace { per_second: f64::from(per_second), burst: f64::from(burst) }, buckets: Mutex::new(HashMap::new()) }
    }

    /// Lets a request of the source in, for one token.
    pub(crate) fn enter(&self, source: &Source, now: Instant) -> Result<(), Error> {
        self.with(source, now, |bucket| {
            if bucket.tokens >= 1.0 {
                bucket.tokens -= 1.0;
                return Ok(());
            }
            // Casting saturates, and what is too long for a client to wait is cut where it is answered.
            let wait_seconds = ((1.0 - bucket.tokens) / bucket.pace.per_second).ceil() as u32;
            Err(Error::TooFast { wait_seconds })
        })
    }

    /// Pays for the events of a request that was let in; the first is paid for.
    pub(crate) fn pay(&self, source: &Source, events: usize, now: Instant) {
        self.with(source, now, |bucket| bucket.tokens -= events.saturating_sub(1) as f64);
    }

    fn with<T>(&self, source: &Source, now: Instant, act: impl FnOnce(&mut Bucket) -> T) -> T {
        let (whose, pace) = self.of(source);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(&whose) {
            // A scope may have changed since.
            *bucket = Bucket { pace, ..*bucket }.filled(now);
            return act(bucket);
        }
        if buckets.len() >= BUCKETS_KEPT {
            buckets.retain(|_, bucket| bucket.filled(now).tokens < bucket.pace.burst);
        }
        act(buckets.entry(whose).or_insert(Bucket { tokens: pace.burst, at: now, pace }))
    }

    /// Whose bucket a source's request takes from. A rate of a key's own has the burst that the settings' rate has, in proportion.
    fn of(&self, source: &Source) -> (Whose, Pace) {
        match (source.key, source.scope.events_per_second_max) {
            (Some(key), Some(own)) => {
                let per_second = f64::from(own);
                let burst = (per_second * self.pace.burst / self.pace.per_second.max(1.0)).max(1.0);
                (Whose::Key(key), Pace { per_second, burst })
            }
            _ => (Whose::Source(source.name.clone()), self.pace),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::keys::{Scope, WriteKey};

    fn source(name: &str) -> Source {
        Source::of_any_key(name.parse().unwrap())
    }

    #[test]
    fn a_source_gets_its_burst_then_its_rate() {
        let rates = Rates::new(10, 3);
        let web = source("web");
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        for _ in 0..3 {
            assert_eq!(rates.enter(&web, start), Ok(()));
        }
        assert_eq!(rates.enter(&web, start), Err(Error::TooFast { wait_seconds: 1 }));
        assert_eq!(rates.enter(&source("app"), start), Ok(()), "each source has its own");
        assert_eq!(rates.enter(&web, after(50)), Err(Error::TooFast { wait_seconds: 1 }));
        assert_eq!(rates.enter(&web, after(101)), Ok(()));
        // Never more than the burst, however long the pause.
        for _ in 0..3 {
            assert_eq!(rates.enter(&web, after(60_000)), Ok(()));
        }
        assert!(rates.enter(&web, after(60_000)).is_err());
    }

    #[test]
    fn a_large_batch_is_let_in_and_paid_for_later() {
        let rates = Rates::new(10, 3);
        let web = source("web");
        let start = Instant::now();
        assert_eq!(rates.enter(&web, start), Ok(()));
        rates.pay(&web, 101, start);
        // 3 − 101 tokens are there, so 9.9 seconds pass until there is one.
        assert_eq!(rates.enter(&web, start), Err(Error::TooFast { wait_seconds: 10 }));
        assert_eq!(rates.enter(&web, start + Duration::from_secs(10)), Ok(()));
    }

    #[test]
    fn idle_buckets_are_let_go() {
        let rates = Rates::new(10, 3);
        let start = Instant::now();
        for number in 0..BUCKETS_KEPT {
            rates.enter(&source(&format!("s{number}")), start).unwrap();
        }
        rates.enter(&source("one-more"), start + Duration::from_secs(1)).unwrap();
        assert_eq!(rates.buckets.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_key_with_a_rate_of_its_own_takes_from_no_other() {
        let rates = Rates::new(10, 30);
        let key = WriteKey::generate().digest();
        let scope = Scope { events_per_second_max: Some(1), ..Scope::default() };
        let (slow, web) = (Source { key: Some(key), scope, ..source("web") }, source("web"));
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(rates.enter(&slow, start), Ok(()));
        }
        assert_eq!(rates.enter(&slow, start), Err(Error::TooFast { wait_seconds: 1 }));
        assert_eq!(rates.enter(&web, start), Ok(()), "the source's other keys have their own");
        let wider = Source { scope: Scope { events_per_second_max: Some(5), ..Scope::default() }, ..slow };
        assert_eq!(rates.enter(&wider, start + Duration::from_secs(1)), Ok(()), "a change holds at once");
    }
}
