//! The rows of an answer on their way to a client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use datafusion_postgres::pgwire;
use futures::channel::oneshot;
use futures::future::{BoxFuture, FutureExt as _};
use futures::{Stream, StreamExt as _};
use pgwire::api::ConnectionHandle;
use pgwire::api::results::{QueryResponse, Response, SendableRowStream};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::data::DataRow;

use super::connection::told;
use crate::bounded::Limit;
use crate::{Error, ErrorKind, Reader};

/// Puts the bounds around the rows of a response; other responses have none.
pub(super) fn bound(
    reader: &Reader,
    response: Response,
    limit: Limit,
    handle: Option<Arc<ConnectionHandle>>,
    bytes_max: Option<u64>,
) -> Response {
    let Response::Query(mut query) = response else { return response };
    let (schema, tag) = (query.row_schema(), query.command_tag().to_owned());
    let rows = std::mem::replace(query.data_rows(), futures::stream::empty().boxed());
    let rows = reader.bound(Cancellable { rows, watch: Watch::new(handle), bytes: 0, bytes_max }, limit);
    let mut bounded = QueryResponse::new(schema, rows);
    bounded.set_command_tag(&tag);
    Response::Query(bounded)
}

impl From<Error> for PgWireError {
    fn from(error: Error) -> Self {
        told(&error)
    }
}

/// Rows until the client says on another connection that it wants no more.
struct Cancellable {
    rows: SendableRowStream,
    watch: Watch,
    bytes: u64,
    bytes_max: Option<u64>,
}

/// Whether a request to cancel has come. The handle gives out one receiver a time: the last one to ask has it.
enum Watch {
    Asking(BoxFuture<'static, oneshot::Receiver<()>>),
    Watching(oneshot::Receiver<()>),
    Nobody,
}

impl Watch {
    fn new(handle: Option<Arc<ConnectionHandle>>) -> Self {
        #[expect(clippy::async_yields_async, reason = "the receiver is awaited while rows come")]
        handle.map_or(Self::Nobody, |handle| Self::Asking(async move { handle.start_query().await }.boxed()))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self {
                Self::Asking(asking) => *self = Self::Watching(std::task::ready!(asking.as_mut().poll(cx))),
                Self::Watching(receiver) => match std::task::ready!(receiver.poll_unpin(cx)) {
                    Ok(()) => return Poll::Ready(()),
                    // The next statement of the connection is the one that can be cancelled now.
                    Err(oneshot::Canceled) => *self = Self::Nobody,
                },
                Self::Nobody => return Poll::Pending,
            }
        }
    }
}

impl Stream for Cancellable {
    type Item = PgWireResult<DataRow>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.watch.poll(cx).is_ready() {
            let error = Error::new(ErrorKind::Cancelled, "the statement was cancelled by the client");
            return Poll::Ready(Some(Err(error.into())));
        }
        let row = std::task::ready!(this.rows.poll_next_unpin(cx));
        if let (Some(Ok(row)), Some(bytes_max)) = (&row, this.bytes_max) {
            this.bytes += row.data.len() as u64;
            if this.bytes > bytes_max {
                let error = Error::new(
                    ErrorKind::TooLarge,
                    format!("the answer has more than {bytes_max} bytes, the most that is put together at once"),
                );
                return Poll::Ready(Some(Err(error
                    .with_hint("ask for fewer rows, use a cursor or a fetch size, or give postgres.answer_bytes_max more")
                    .into())));
            }
        }
        Poll::Ready(row)
    }
}
