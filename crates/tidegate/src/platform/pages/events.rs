//! Events as they come, read from the journal while somebody looks.

use std::sync::Arc;
use std::time::Duration;

use ::console::live::{Asked, EVENTS_MAX, Mark, Tail};
use ::console::pages::events as drawn;
use axum::extract::{Path, Query, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::response::sse::Event;
use contract::json;
use futures::StreamExt as _;
use journal::{ErrorKind, Journal, Offsets, ReadLimit};
use serde::Deserialize;

use super::interest::Interest;
use super::{Asking, HTML, Pages, Refused, show, shown, stream};
use crate::platform::medium::Reading;

/// How long it goes on after the last one has gone.
const LINGER: Duration = Duration::from_secs(60);
/// Events from before somebody looked, over all partitions.
const BEFORE_MAX: u64 = 200;
/// How long a page waits for these.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// Between two parts of a stream.
const PART_EVERY: Duration = Duration::from_millis(250);
const READ_LIMIT: ReadLimit = ReadLimit { records_max: 5_000, bytes_max: 8 << 20 };
const RETRY_PAUSE: Duration = Duration::from_secs(1);
const LAST_EVENT_ID: &str = "last-event-id";

/// The newest events, and who looks.
#[derive(Debug)]
pub(super) struct Hub {
    tail: Tail,
    interest: Interest,
    /// Whether this process can read the journal.
    is_fed: bool,
}

impl Hub {
    pub(super) fn new(json: json::Limits, is_fed: bool) -> Self {
        // Another process has another one: a mark that is kept in an address means nothing there.
        Self { tail: Tail::new(u64::from(rand::random::<u32>()), json), interest: Interest::default(), is_fed }
    }
}

pub(super) async fn page(State(pages): Asking, Query(asked): Query<Asked>, RawQuery(query): RawQuery) -> Result<Response, Refused> {
    let hub = &pages.events;
    if !hub.is_fed {
        let what = "The journal is a folder that another process has: its console shows the events as they come.";
        return Err(Refused(StatusCode::NOT_FOUND, what.to_owned()));
    }
    let _look = hub.interest.look();
    let mut newest = hub.tail.watch();
    // What came just before is there in a moment.
    drop(tokio::time::timeout(FIRST_WAIT, newest.wait_for(|newest| newest.number > 0)).await);
    let slice = hub.tail.slice(None, &asked.filter(), drawn::ROWS_MAX);
    Ok(show(drawn::page(&asked, &query.unwrap_or_default(), &slice)))
}

#[derive(Debug, Deserialize)]
pub(super) struct After {
    after: Option<String>,
}

pub(super) async fn stream(
    State(pages): Asking,
    Query(asked): Query<Asked>,
    Query(after): Query<After>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    // A browser that connects again says what it has.
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
    let after = last.or(after.after).and_then(|mark| mark.parse::<Mark>().ok());
    let (filter, closing) = (asked.filter(), pages.closing.clone());
    let state = (Arc::clone(&pages), pages.events.interest.look(), pages.events.tail.watch(), after);
    let parts = futures::stream::unfold(state, move |(pages, look, mut newest, mut after)| {
        let filter = filter.clone();
        async move {
            loop {
                let slice = pages.events.tail.slice(after, &filter, drawn::ROWS_MAX);
                after = Some(slice.mark);
                let events = parts(&slice);
                if !events.is_empty() {
                    return Some((futures::stream::iter(events), (pages, look, newest, after)));
                }
                newest.changed().await.ok()?;
                tokio::time::sleep(PART_EVERY).await;
                newest.mark_unchanged();
            }
        }
    });
    Ok(stream::answer(parts.flatten().boxed(), &closing))
}

/// What of a slice is sent.
fn parts(slice: &::console::live::Slice) -> Vec<Event> {
    let mut events = Vec::new();
    if slice.is_anew {
        events.push(stream::event("anew", "1"));
    }
    if let Some(note) = drawn::left_out(slice) {
        events.push(stream::event("note", &note));
    }
    if !slice.events.is_empty() {
        events.push(stream::event("rows", &drawn::rows(slice).into_string()));
    }
    events.into_iter().map(|event| event.id(slice.mark.to_string())).collect()
}

#[derive(Debug, Deserialize)]
pub(super) struct Part {
    part: Option<u8>,
}

pub(super) async fn one(State(pages): Asking, Path(mark): Path<String>, Query(part): Query<Part>) -> Response {
    let found = mark.parse::<Mark>().ok().and_then(|mark| pages.events.tail.get(mark));
    match (found, part.part) {
        (Some(seen), Some(_)) => shown(HTML, drawn::detail(&seen, false).into_string()),
        (Some(seen), None) => show(drawn::detail_page(&seen)),
        (None, _) => {
            let mut response = show(drawn::gone_page(&mark));
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

/// Reads the journal as long as somebody looks.
pub(super) async fn feed(pages: Arc<Pages>, reading: Reading) {
    let hub = &pages.events;
    let mut opened: Option<Arc<dyn Journal>> = None;
    loop {
        hub.interest.some().await;
        let followed = async {
            loop {
                match &opened {
                    Some(journal) => {
                        let why = follow(&**journal, &hub.tail).await;
                        tracing::warn!(error = %why, "the journal cannot be followed for the console, it is tried again");
                    }
                    None => match reading.journal().await {
                        Ok(journal) => {
                            opened = Some(journal);
                            continue;
                        }
                        Err(error) => tracing::warn!(%error, "the journal cannot be opened for the console, it is tried again"),
                    },
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        };
        tokio::select! {
            () = hub.interest.none_for(LINGER) => {}
            () = followed => {}
        }
        // What comes while nobody looks is not read, so what follows would not follow on this.
        hub.tail.clear();
    }
}

/// Follows the journal from a little before its end on. Ends with what hinders it.
async fn follow(journal: &dyn Journal, tail: &Tail) -> journal::Error {
    let mut from = match begin(journal).await {
        Ok(from) => from,
        Err(error) => return error,
    };
    loop {
        match journal.read(&from, READ_LIMIT).await {
            Ok(stored) if stored.is_empty() => journal.wait(&from).await,
            Ok(stored) => {
                for found in &stored {
                    from.insert(found.partition, found.offset + 1);
                }
                tail.extend(stored.iter().map(|found| (&found.record.header[..], &found.record.value[..])));
            }
            Err(error) if error.kind() == ErrorKind::Trimmed => {
                tail.clear();
                from = match begin(journal).await {
                    Ok(from) => from,
                    Err(error) => return error,
                };
            }
            Err(error) => return error,
        }
    }
}

async fn begin(journal: &dyn Journal) -> Result<Offsets, journal::Error> {
    let (start, end) = (journal.start().await?, journal.end().await?);
    let before = BEFORE_MAX / u64::from(journal.partitions()).max(1);
    let from =
        |(partition, end): (u32, u64)| (partition, end.saturating_sub(before).max(start.get(&partition).copied().unwrap_or_default()));
    Ok(end.into_iter().map(from).collect())
}

const _: () = assert!(EVENTS_MAX > READ_LIMIT.records_max, "a single read would push out what it brought");
