//! How much may be in work at once: requests, and bytes of bodies and records.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Error;

/// A number of bytes that all requests share.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    max: usize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max })
    }

    /// A share of nothing yet, to be grown.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), bytes: 0 }
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// What one request has of a [`Budget`]; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    /// Takes so many bytes more, before they are put into memory.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let max = self.budget.max;
        let room = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= max);
        self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).map_err(|_| Error::OutOfMemory)?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_come_to_more_than_the_budget() {
        let budget = Budget::new(10);
        let (mut first, mut second) = (budget.share(), budget.share());
        assert_eq!(first.grow(6), Ok(()));
        assert_eq!(second.grow(5), Err(Error::OutOfMemory));
        assert_eq!(second.grow(4), Ok(()));
        assert_eq!(second.grow(usize::MAX), Err(Error::OutOfMemory));
        drop(first);
        assert_eq!(budget.used(), 4);
        assert_eq!(second.grow(6), Ok(()));
        drop(second);
        assert_eq!(budget.used(), 0);
    }
}
