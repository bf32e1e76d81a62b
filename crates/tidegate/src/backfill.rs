//! Historic rows of files through the gate: rows ([`rows`]) into events ([`mapping`]), with ids that are the same each time ([`id`]), delivered as `send` delivers.
//!
//! Nothing goes past the gate: a row of a file becomes an event as any other, judged by the same plan, durable in the same journal. It is received now and happened when it says. Repeating it adds
//! nothing, because the ids are made of what the files hold; how far a file was brought is noted too ([`state`]), so that a second run need not send it again.

use std::path::PathBuf;

use tokio::sync::mpsc::Sender;

pub(crate) mod files;
pub(crate) mod id;
pub(crate) mod mapping;
pub(crate) mod rows;
pub(crate) mod state;

use files::Source;
use id::{Content, Ids};
use indicatif::ProgressBar;
use mapping::Mapping;
use rows::{Format, Row};
use state::Tracker;

use crate::send::line::{self, Shape};
use crate::send::{BATCH_BYTES_MAX, Batch, Found, Place};

/// The code of a row that is no event.
const INVALID_ROW: &str = "invalid_row";

/// What is read, and how.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) sources: Vec<Source>,
    /// `None`: as each file's name says.
    pub(crate) format: Option<Format>,
    pub(crate) mapping: Mapping,
    pub(crate) ids: Ids,
    /// Events in one request at most.
    pub(crate) batch: usize,
    /// Rows that are read at most, of all files together.
    pub(crate) limit: u64,
    /// Where objects are put while they are read.
    pub(crate) scratch: PathBuf,
    pub(crate) bytes: ProgressBar,
    pub(crate) tracker: Tracker,
}

/// Why a file is read no further.
enum End {
    /// It cannot be read.
    Unreadable(String, std::io::Error),
    /// Nobody wants what is found any more.
    Unwanted,
}

/// A batch that is being filled, and where it ends.
struct Filling {
    number: u64,
    shape: Shape,
    events: Vec<(Place, Vec<u8>)>,
    bytes: usize,
}

impl Reader {
    /// Hands over what is found until everything is read or nobody wants it any more.
    pub(crate) fn run(mut self, found: &Sender<Found>) {
        let mut filling = Filling { number: 0, shape: Shape::Native, events: Vec::new(), bytes: 0 };
        for source in std::mem::take(&mut self.sources) {
            let name = source.name().to_owned();
            match self.file(source, &mut filling, found) {
                Ok(()) => {}
                Err(End::Unwanted) => return,
                Err(End::Unreadable(what, problem)) => {
                    // Nothing is to be done for someone who has gone.
                    drop(found.blocking_send(Found::Unreadable { name: format!("{name}{what}"), problem }));
                    return;
                }
            }
        }
    }

    fn file(&mut self, source: Source, filling: &mut Filling, found: &Sender<Found>) -> Result<(), End> {
        let unreadable = |error| End::Unreadable(String::new(), error);
        let format = match self.format {
            Some(format) => format,
            None => Format::of(source.name()).map_err(unreadable)?,
        };
        let local = source.fetch(&self.scratch).map_err(unreadable)?;
        let content = Content::of(local.path(), format).map_err(unreadable)?;
        let file = self.tracker.begin(&source, &content).map_err(unreadable)?;
        let done = self.tracker.done(file);
        let mut rows = rows::open(local.path(), format, &self.bytes).map_err(unreadable)?;
        if let Some(columns) = rows.columns() {
            self.mapping.check(columns).map_err(|problem| unreadable(std::io::Error::new(std::io::ErrorKind::InvalidInput, problem)))?;
        }
        let name: std::sync::Arc<str> = source.name().into();
        let mut number = 0;
        while self.limit > 0 {
            let Some(row) = rows.next() else { break };
            let row = row.map_err(|error| End::Unreadable(format!(", row {}", number + 1), error));
            let row = match row {
                Ok(row) => row,
                Err(end) => {
                    // What came before the damage is whole.
                    self.hand_over(filling, file, number, found)?;
                    return Err(end);
                }
            };
            number += 1;
            if number <= done {
                continue;
            }
            self.limit -= 1;
            let place = Place { file: std::sync::Arc::clone(&name), line: number };
            match row.and_then(|row| self.event(row, &content, number)) {
                Err(problem) => give(found, Found::NoEvent { place, code: INVALID_ROW, problem })?,
                Ok((shape, event)) => {
                    if shape != filling.shape {
                        self.hand_over(filling, file, number - 1, found)?;
                        filling.shape = shape;
                    }
                    filling.bytes += event.len();
                    filling.events.push((place, event));
                }
            }
            if filling.events.len() >= self.batch || filling.bytes >= BATCH_BYTES_MAX {
                self.hand_over(filling, file, number, found)?;
            }
        }
        self.hand_over(filling, file, number, found)
    }

    /// The event of a row, with its id.
    fn event(&self, row: Row, content: &Content, number: u64) -> Result<(Shape, Vec<u8>), String> {
        match row {
            Row::Line(text) if self.mapping.is_none() => {
                let event = line::read(&text)?;
                let shape = event.shape();
                Ok((shape, event.with_id(shape, || self.ids.of(content, number, &text)).into_owned()))
            }
            Row::Line(text) => {
                let fields = serde_json::from_slice(&text).map_err(|error| format!("is no JSON object: {error}"))?;
                Ok((Shape::Native, self.mapping.event(fields, |row| self.ids.of(content, number, row))?))
            }
            Row::Fields(fields) => Ok((Shape::Native, self.mapping.event(fields, |row| self.ids.of(content, number, row))?)),
        }
    }

    fn hand_over(&mut self, filling: &mut Filling, file: usize, through: u64, found: &Sender<Found>) -> Result<(), End> {
        if filling.events.is_empty() {
            return Ok(());
        }
        self.tracker.sent(filling.number, file, through);
        let events = std::mem::take(&mut filling.events);
        give(found, Found::Batch(Batch { number: filling.number, shape: filling.shape, events }))?;
        filling.number += 1;
        filling.bytes = 0;
        Ok(())
    }
}

fn give(found: &Sender<Found>, find: Found) -> Result<(), End> {
    found.blocking_send(find).map_err(|_| End::Unwanted)
}
