//! Rows that come in time and in turn.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{Error, ErrorKind, metrics};

type Waiting = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

/// The time that a statement has.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    deadline: Instant,
    too_slow: Error,
}

impl Limit {
    /// Until then; after it, this is the error.
    pub(crate) fn new(deadline: Instant, too_slow: Error) -> Self {
        Self { deadline, too_slow }
    }

    /// The same, with no more time than this.
    pub(crate) fn within(self, limit: Option<Duration>) -> Self {
        let Some(sooner) = limit.and_then(|limit| Instant::now().checked_add(limit)).filter(|at| *at < self.deadline) else { return self };
        Self { deadline: sooner, too_slow: Error::new(ErrorKind::Timeout, "the statement took longer than its statement_timeout") }
    }

    /// Awaits what begins the answer.
    pub(crate) async fn keep<T, E: From<Error>>(&self, answer: impl Future<Output = Result<T, E>> + Send) -> Result<T, E> {
        tokio::time::timeout_at(self.deadline, answer).await.unwrap_or_else(|_| Err(self.too_slow.clone().into()))
    }
}

/// A place among the statements that are being answered, waited for when the first row is asked for.
enum Place {
    Waiting(Waiting),
    /// Since when, and what holds it: until the last row, and no longer than until the deadline. A client that has fetched some rows and sleeps keeps no others waiting.
    Held(Instant, #[expect(dead_code, reason = "ends with the statement")] AbortOnDrop),
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Place {
    /// Waits for it; it is held until the deadline at the latest.
    fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Waiting(waiting) = self {
            // The semaphore is never closed.
            if let Some(permit) = std::task::ready!(waiting.as_mut().poll(cx)) {
                let holding = tokio::spawn(async move {
                    sleep_until(deadline).await;
                    drop(permit);
                });
                *self = Self::Held(Instant::now(), AbortOnDrop(holding.abort_handle()));
            }
        }
        Poll::Ready(())
    }
}

/// Items of a statement's answer, the first of which waits for the statement's turn; when the time is up, the rest is an error.
pub(crate) struct Bounded<S> {
    rows: S,
    limit: Limit,
    place: Place,
    timer: Pin<Box<Sleep>>,
    is_over: bool,
}

impl<S> Bounded<S> {
    pub(crate) fn new(rows: S, limit: Limit, turns: Arc<Semaphore>) -> Self {
        let timer = Box::pin(sleep_until(limit.deadline));
        let place = Place::Waiting(Box::pin(async move { turns.acquire_owned().await.ok() }));
        Self { rows, limit, place, timer, is_over: false }
    }

    /// The time is up.
    fn expire(&mut self) -> Error {
        let error = self.limit.too_slow.clone();
        self.end(error.label());
        error
    }

    fn end(&mut self, outcome: &'static str) {
        self.is_over = true;
        metrics::answered(outcome);
        if let Place::Held(since, _) = &self.place {
            metrics::took(since.elapsed());
        }
    }
}

impl<S> Drop for Bounded<S> {
    fn drop(&mut self) {
        if !self.is_over {
            self.end("cancelled");
        }
    }
}

impl<S, T, E> Stream for Bounded<S>
where
    S: Stream<Item = Result<T, E>> + Unpin,
    E: From<Error>,
{
    type Item = Result<T, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        // Asked each time: rows that are always ready would never come to wait for the timer.
        if Instant::now() >= this.limit.deadline {
            return Poll::Ready(Some(Err(E::from(this.expire()))));
        }
        let next = match this.place.poll(this.limit.deadline, cx) {
            Poll::Ready(()) => Pin::new(&mut this.rows).poll_next(cx),
            Poll::Pending => Poll::Pending,
        };
        match next {
            Poll::Ready(Some(Ok(row))) => Poll::Ready(Some(Ok(row))),
            Poll::Ready(Some(Err(error))) => {
                this.end("error");
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                this.end("ok");
                Poll::Ready(None)
            }
            Poll::Pending => {
                std::task::ready!(this.timer.as_mut().poll(cx));
                Poll::Ready(Some(Err(E::from(this.expire()))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use futures::stream;

    use super::*;

    fn limit(time: Duration) -> Limit {
        Limit::new(Instant::now() + time, Error::new(ErrorKind::Timeout, "too slow"))
    }

    fn kinds(items: Vec<Result<u32, Error>>) -> (usize, Option<ErrorKind>) {
        let last = items.last().and_then(|item| item.as_ref().err().map(Error::kind));
        (items.len(), last)
    }

    #[tokio::test]
    async fn rows_end_when_the_time_is_up() {
        let slow = || {
            let next = |row| async move {
                tokio::time::sleep(Duration::from_millis(30)).await;
                Ok(row)
            };
            stream::iter(0..).then(next).boxed()
        };
        let turns = || Arc::new(Semaphore::new(1));
        let (rows, error) = kinds(Bounded::new(slow(), limit(Duration::from_millis(200)), turns()).collect().await);
        assert!(rows <= 7 && error == Some(ErrorKind::Timeout), "{rows} {error:?}");
        assert_eq!(kinds(Bounded::new(slow().take(2), limit(Duration::from_secs(60)), turns()).collect().await), (2, None));
        // What is always ready is looked at too.
        let late = limit(Duration::ZERO);
        let ready = stream::iter((0..).map(Ok::<u32, Error>));
        let (rows, error) = kinds(Bounded::new(ready, late, turns()).collect().await);
        assert_eq!((rows, error), (1, Some(ErrorKind::Timeout)));
    }

    #[tokio::test]
    async fn a_place_is_given_back_at_the_end_or_when_the_time_is_up() {
        let turns = Arc::new(Semaphore::new(1));
        let rows = || stream::iter((0..10).map(Ok::<u32, Error>));
        let mut sleeping = Bounded::new(rows(), limit(Duration::from_millis(500)), Arc::clone(&turns));
        assert!(sleeping.next().await.is_some());
        // One that comes now has no place until the other's time is up.
        assert_eq!(
            kinds(Bounded::new(rows(), limit(Duration::from_millis(100)), Arc::clone(&turns)).collect().await),
            (1, Some(ErrorKind::Timeout))
        );
        assert_eq!(kinds(Bounded::new(rows(), limit(Duration::from_secs(60)), Arc::clone(&turns)).collect().await), (10, None));
        assert_eq!(kinds(Bounded::new(rows(), limit(Duration::from_secs(60)), Arc::clone(&turns)).collect().await), (10, None));
        drop(sleeping);
        tokio::task::yield_now().await;
        assert_eq!(turns.available_permits(), 1);
    }
}
