//! What is sent to a page that keeps itself up to date.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::{Stream, StreamExt as _};
use tokio::sync::watch;

/// A line without meaning, so that a connection that is gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// An event of the stream with HTML or text.
pub(super) fn event(name: &str, data: &str) -> Event {
    // Lines of a stream end with either; HTML takes the reference for the other.
    Event::default().event(name).data(data.replace('\r', "&#13;"))
}

/// The answer that never ends, but with the console.
pub(super) fn answer(events: impl Stream<Item = Event> + Send + 'static, closing: &watch::Sender<bool>) -> Response {
    let mut closed = closing.subscribe();
    let ended = async move { drop(closed.wait_for(|closed| *closed).await) };
    let events = events.map(Ok::<_, Infallible>).take_until(ended);
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}
