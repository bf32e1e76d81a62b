//! Lines of files into batches, in a thread of its own: reading blocks.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::PathBuf;
use std::sync::Arc;

use contract::Timestamp;
use indicatif::ProgressBar;
use telemetry::clock::SharedClock;
use tokio::sync::mpsc::Sender;

use super::line::{self, Shape};
use super::lines::{self, LINE_BYTES_MAX, Line, next_line};

/// A batch that has so many bytes is full, however few events it holds. Keeps a body within what a gate takes by default.
pub(crate) const BATCH_BYTES_MAX: usize = 1024 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The code of a line that is no JSON object.
pub(crate) const NO_JSON: &str = "invalid_json";

/// Where events are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl Input {
    /// Its size, where that is known.
    pub(super) fn bytes(&self) -> Option<u64> {
        match self {
            Self::Stdin => None,
            Self::File(path) => std::fs::metadata(path).ok().filter(|file| file.is_file()).map(|file| file.len()),
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Where a line stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: Arc<str>,
    /// From 1.
    pub(crate) line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Events that are sent together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Which one it is of all that are read, from 0. Its parts have it too, where it is divided.
    pub(crate) number: u64,
    pub(crate) shape: Shape,
    pub(crate) events: Vec<(Place, Vec<u8>)>,
}

/// What the reader finds.
#[derive(Debug)]
pub(crate) enum Found {
    Batch(Batch),
    /// A line that is no event.
    NoEvent {
        place: Place,
        code: &'static str,
        problem: String,
    },
    /// The input ends here, though it does not end.
    Unreadable {
        name: String,
        problem: io::Error,
    },
}

/// Reads the inputs one after the other.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) shape: Option<Shape>,
    pub(super) batch: usize,
    pub(super) clock: SharedClock,
    /// Moved by the bytes read.
    pub(super) bytes: ProgressBar,
    pub(super) batches: u64,
}

/// Nobody wants what is found any more.
struct Unwanted;

impl Reader {
    /// Hands over what is found until everything is read or nobody wants it any more.
    pub(super) fn run(mut self, inputs: Vec<Input>, found: &Sender<Found>) {
        for input in inputs {
            let name: Arc<str> = input.to_string().into();
            let opened = self.open(&input);
            let outcome = opened.map(|lines| self.read(lines, &name, found));
            match outcome {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(problem))) | Err(problem) => {
                    // Nothing is to be done for someone who has gone.
                    drop(found.blocking_send(Found::Unreadable { name: name.to_string(), problem }));
                    return;
                }
                Ok(Err(Unwanted)) => return,
            }
        }
    }

    fn open(&self, input: &Input) -> io::Result<Box<dyn BufRead>> {
        let raw: Box<dyn Read> = match input {
            Input::Stdin => Box::new(io::stdin()),
            Input::File(path) => Box::new(File::open(path)?),
        };
        lines::unpacked(self.bytes.wrap_read(raw))
    }

    /// Reads one input to its end; the error that ended it early is returned as a value.
    fn read(&mut self, mut lines: Box<dyn BufRead>, name: &Arc<str>, found: &Sender<Found>) -> Result<Option<io::Error>, Unwanted> {
        let give = |find: Found| found.blocking_send(find).map_err(|_| Unwanted);
        let mut shape = self.shape;
        let mut events = Vec::new();
        let mut bytes = 0;
        let mut buffer = Vec::new();
        let mut number = 0;
        loop {
            let read = next_line(&mut lines, &mut buffer);
            let line = match read {
                Ok(Line::End) => break,
                Err(error) => {
                    // What came before the damage is whole.
                    self.hand_over(shape, &mut events, &give)?;
                    return Ok(Some(error));
                }
                Ok(line) => line,
            };
            number += 1;
            let place = Place { file: Arc::clone(name), line: number };
            if line == Line::TooLong {
                give(Found::NoEvent { place, code: NO_JSON, problem: format!("is longer than {LINE_BYTES_MAX} bytes") })?;
                continue;
            }
            let mut text = buffer.as_slice();
            if number == 1 {
                text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
            }
            let text = text.trim_ascii();
            if text.is_empty() {
                continue;
            }
            match line::read(text) {
                Err(problem) => give(Found::NoEvent { place, code: NO_JSON, problem })?,
                Ok(event) => {
                    let shape = *shape.get_or_insert_with(|| event.shape());
                    let event = event.with_id(shape, || self.new_id()).into_owned();
                    bytes += event.len();
                    events.push((place, event));
                }
            }
            if events.len() >= self.batch || bytes >= BATCH_BYTES_MAX {
                self.hand_over(shape, &mut events, &give)?;
                bytes = 0;
            }
        }
        self.hand_over(shape, &mut events, &give)?;
        Ok(None)
    }

    fn hand_over(
        &mut self,
        shape: Option<Shape>,
        events: &mut Vec<(Place, Vec<u8>)>,
        give: &impl Fn(Found) -> Result<(), Unwanted>,
    ) -> Result<(), Unwanted> {
        match shape {
            Some(shape) if !events.is_empty() => {
                let number = self.batches;
                self.batches += 1;
                give(Found::Batch(Batch { number, shape, events: std::mem::take(events) }))
            }
            _ => Ok(()),
        }
    }

    /// A UUIDv7.
    fn new_id(&self) -> String {
        contract::id::uuid_v7(Timestamp(self.clock.now_micros()), rand::random()).to_string()
    }
}
