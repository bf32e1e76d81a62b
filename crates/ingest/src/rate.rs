//! How fast each source may send.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use contract::SourceName;

use crate::Error;

/// Buckets kept before those of idle sources are let go. Only sources that are known have one.
const BUCKETS_KEPT: usize = 1_024;

/// A token bucket for each source. A request is let in while there is a token, and then pays for all of its events, even if that leaves a debt: so
/// a batch larger than the burst is slowed down, never refused for good.
#[derive(Debug)]
pub(crate) struct Rates {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<SourceName, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Rates {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second: f64::from(per_second), burst: f64::from(burst), buckets: Mutex::new(HashMap::new()) }
    }

    /// Lets a request of the source in, for one token.
    pub(crate) fn enter(&self, source: &SourceName, now: Instant) -> Result<(), Error> {
        self.with(source, now, |bucket| {
            if bucket.tokens >= 1.0 {
                bucket.tokens -= 1.0;
                return Ok(());
            }
            // Casting saturates, and what is too long for a client to wait is cut where it is answered.
            let wait_seconds = ((1.0 - bucket.tokens) / self.per_second).ceil() as u32;
            Err(Error::TooFast { wait_seconds })
        })
    }

    /// Pays for the events of a request that was let in; the first is paid for.
    pub(crate) fn pay(&self, source: &SourceName, events: usize, now: Instant) {
        self.with(source, now, |bucket| bucket.tokens -= events.saturating_sub(1) as f64);
    }

    fn with<T>(&self, source: &SourceName, now: Instant, act: impl FnOnce(&mut Bucket) -> T) -> T {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(source) {
            *bucket = self.filled(*bucket, now);
            return act(bucket);
        }
        if buckets.len() >= BUCKETS_KEPT {
            buckets.retain(|_, bucket| self.filled(*bucket, now).tokens < self.burst);
        }
        let fresh = Bucket { tokens: self.burst, at: now };
        act(buckets.entry(source.clone()).or_insert(fresh))
    }

    fn filled(&self, bucket: Bucket, now: Instant) -> Bucket {
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * self.per_second;
        Bucket { tokens: (bucket.tokens + gained).min(self.burst), at: now.max(bucket.at) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_source_gets_its_burst_then_its_rate() {
        let rates = Rates::new(10, 3);
        let web: SourceName = "web".parse().unwrap();
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        for _ in 0..3 {
            assert_eq!(rates.enter(&web, start), Ok(()));
        }
        assert_eq!(rates.enter(&web, start), Err(Error::TooFast { wait_seconds: 1 }));
        assert_eq!(rates.enter(&"app".parse().unwrap(), start), Ok(()), "each source has its own");
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
        let web: SourceName = "web".parse().unwrap();
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
            rates.enter(&format!("s{number}").parse().unwrap(), start).unwrap();
        }
        rates.enter(&"one-more".parse().unwrap(), start + Duration::from_secs(1)).unwrap();
        assert_eq!(rates.buckets.lock().unwrap().len(), 1);
    }
}
