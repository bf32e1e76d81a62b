//! Appends on their way to the writer, within bounds.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::locked;
use crate::{Error, Record, metrics};

/// The partition and offset of each record of an append, or why it failed.
pub(super) type Answer = Result<Vec<(u32, u64)>, Error>;

/// One append.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) records: Vec<Record>,
    /// The most bytes the records take in the file.
    pub(super) bytes: usize,
    /// The segment ends with it.
    pub(super) seals: bool,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// The company an append gets: so many others, or this much time without them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Company {
    pub(super) appends: usize,
    pub(super) patience: Duration,
}

#[derive(Debug, Default)]
struct Waiting {
    requests: VecDeque<Request>,
    bytes: usize,
    is_closed: bool,
    /// The writer is woken when so many wait.
    enough: usize,
}

/// What waits to be written.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    bytes_max: usize,
    appends_max: usize,
}

impl Queue {
    pub(super) fn new(bytes_max: usize, appends_max: usize) -> Self {
        Self { waiting: Mutex::default(), changed: Condvar::new(), bytes_max, appends_max }
    }

    /// Puts an append behind those that wait, unless a bound is reached.
    pub(super) fn push(&self, request: Request) -> Result<(), Error> {
        let mut waiting = locked(&self.waiting);
        if waiting.is_closed {
            return Err(Error::Closed);
        }
        let bytes = waiting.bytes.saturating_add(request.bytes);
        if bytes > self.bytes_max || waiting.requests.len() >= self.appends_max {
            metrics::queue_full();
            let (appends, bytes) = (waiting.requests.len(), waiting.bytes);
            return Err(Error::Full(format!("{appends} appends of {bytes} bytes wait to be written, try again in a moment")));
        }
        waiting.bytes = bytes;
        waiting.requests.push_back(request);
        let is_enough = waiting.requests.len() >= waiting.enough;
        drop(waiting);
        if is_enough {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Waits for appends, a little for company, and takes as many as fit into so many bytes, at least one. `None` when there are none and there will be none.
    pub(super) fn take(&self, bytes_max: usize, company: Company) -> Option<Vec<Request>> {
        let mut waiting = locked(&self.waiting);
        waiting.enough = company.appends;
        let is_alone = |waiting: &mut Waiting| waiting.requests.len() < company.appends && !waiting.is_closed;
        let (mut waiting, _) = self.changed.wait_timeout_while(waiting, company.patience, is_alone).unwrap_or_else(PoisonError::into_inner);
        waiting.enough = 1;
        let is_idle = |waiting: &mut Waiting| waiting.requests.is_empty() && !waiting.is_closed;
        let mut waiting = self.changed.wait_while(waiting, is_idle).unwrap_or_else(PoisonError::into_inner);
        let mut bytes = 0;
        let fits = waiting.requests.iter().take_while(|request| {
            bytes += request.bytes;
            bytes <= bytes_max
        });
        let count = fits.count().max(1).min(waiting.requests.len());
        let group: Vec<Request> = waiting.requests.drain(..count).collect();
        waiting.bytes -= group.iter().map(|request| request.bytes).sum::<usize>();
        (!group.is_empty()).then_some(group)
    }

    /// Takes nothing more; what waits can still be taken.
    pub(super) fn close(&self) {
        locked(&self.waiting).is_closed = true;
        self.changed.notify_all();
    }

    /// Lets go of what waits: its callers are told that the journal is closed.
    pub(super) fn abandon(&self) {
        self.close();
        let mut waiting = locked(&self.waiting);
        waiting.requests.clear();
        waiting.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn request(bytes: usize) -> Request {
        Request { records: Vec::new(), bytes, seals: false, answer: oneshot::channel().0 }
    }

    fn sizes(group: Option<Vec<Request>>) -> Vec<usize> {
        group.unwrap_or_default().iter().map(|request| request.bytes).collect()
    }

    #[test]
    fn both_bounds_refuse() {
        let queue = Queue::new(10, 3);
        queue.push(request(4)).unwrap();
        queue.push(request(6)).unwrap();
        assert_eq!(queue.push(request(1)).unwrap_err().kind(), ErrorKind::Full);
        assert_eq!(sizes(queue.take(100, Company::default())), [4, 6]);
        for _ in 0..3 {
            queue.push(request(1)).unwrap();
        }
        assert_eq!(queue.push(request(1)).unwrap_err().kind(), ErrorKind::Full);
    }

    #[test]
    fn groups_are_bounded_but_never_empty() {
        let queue = Queue::new(100, 10);
        for bytes in [9, 3, 3, 3, 1] {
            queue.push(request(bytes)).unwrap();
        }
        assert_eq!(sizes(queue.take(6, Company::default())), [9]);
        assert_eq!(sizes(queue.take(6, Company::default())), [3, 3]);
        assert_eq!(sizes(queue.take(6, Company::default())), [3, 1]);
    }

    #[test]
    fn company_is_waited_for_but_not_needed() {
        let queue = Queue::new(100, 10);
        queue.push(request(1)).unwrap();
        assert_eq!(sizes(queue.take(6, Company { appends: 3, patience: Duration::from_millis(5) })), [1]);
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| queue.take(6, Company { appends: 2, patience: Duration::from_secs(60) }));
            queue.push(request(1)).unwrap();
            queue.push(request(2)).unwrap();
            assert_eq!(sizes(taken.join().unwrap()), [1, 2]);
        });
    }

    #[test]
    fn a_closed_queue_gives_what_it_has() {
        let queue = Queue::new(100, 10);
        queue.push(request(1)).unwrap();
        queue.close();
        assert_eq!(queue.push(request(1)).unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(sizes(queue.take(6, Company::default())), [1]);
        assert!(queue.take(6, Company::default()).is_none());
    }
}
