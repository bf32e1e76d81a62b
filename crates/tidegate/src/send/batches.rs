//! Lines of files into batches, in a thread of its own: reading blocks.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;

use contract::Timestamp;
use flate2::read::MultiGzDecoder;
use indicatif::ProgressBar;
use telemetry::clock::SharedClock;
use tokio::sync::mpsc::Sender;

use super::line::{self, Shape};

/// The longest line in bytes: the largest body that a gate takes by default.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A batch that has so many bytes is full, however few events it holds. Keeps a body within what a gate takes by default.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
const READ_BUFFER_BYTES: usize = 256 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Where events are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
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
    pub(super) file: Arc<str>,
    /// From 1.
    pub(super) line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Events that are sent together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(super) shape: Shape,
    pub(super) events: Vec<(Place, Vec<u8>)>,
}

/// What the reader finds.
#[derive(Debug)]
pub(super) enum Found {
    Batch(Batch),
    /// A line that is no event.
    NoEvent {
        place: Place,
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
}

/// Nobody wants what is found any more.
struct Unwanted;

impl Reader {
    /// Hands over what is found until everything is read or nobody wants it any more.
    pub(super) fn run(&self, inputs: Vec<Input>, found: &Sender<Found>) {
        for input in inputs {
            let name: Arc<str> = input.to_string().into();
            let outcome = self.open(&input).map(|lines| self.read(lines, &name, found));
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
        let mut raw = BufReader::with_capacity(READ_BUFFER_BYTES, self.bytes.wrap_read(raw));
        let is_gzip = raw.fill_buf()?.starts_with(&GZIP_MAGIC);
        if is_gzip {
            let unpacked = MultiGzDecoder::new(raw);
            return Ok(Box::new(BufReader::with_capacity(READ_BUFFER_BYTES, unpacked)));
        }
        Ok(Box::new(raw))
    }

    /// Reads one input to its end; the error that ended it early is returned as a value.
    fn read(&self, mut lines: Box<dyn BufRead>, name: &Arc<str>, found: &Sender<Found>) -> Result<Option<io::Error>, Unwanted> {
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
                give(Found::NoEvent { place, problem: format!("is longer than {LINE_BYTES_MAX} bytes") })?;
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
                Err(problem) => give(Found::NoEvent { place, problem })?,
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
        &self,
        shape: Option<Shape>,
        events: &mut Vec<(Place, Vec<u8>)>,
        give: &impl Fn(Found) -> Result<(), Unwanted>,
    ) -> Result<(), Unwanted> {
        match shape {
            Some(shape) if !events.is_empty() => give(Found::Batch(Batch { shape, events: std::mem::take(events) })),
            _ => Ok(()),
        }
    }

    /// A UUIDv7.
    fn new_id(&self) -> String {
        contract::id::uuid_v7(Timestamp(self.clock.now_micros()), rand::random()).to_string()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    Whole,
    /// It was read over, the buffer holds its start.
    TooLong,
    End,
}

/// The next line, within [`LINE_BYTES_MAX`].
fn next_line(lines: &mut impl BufRead, buffer: &mut Vec<u8>) -> io::Result<Line> {
    buffer.clear();
    let bound = LINE_BYTES_MAX as u64 + 1;
    if lines.by_ref().take(bound).read_until(b'\n', buffer)? == 0 {
        return Ok(Line::End);
    }
    if buffer.len() <= LINE_BYTES_MAX || buffer.ends_with(b"\n") {
        return Ok(Line::Whole);
    }
    skip_line(lines)?;
    Ok(Line::TooLong)
}

fn skip_line(lines: &mut impl BufRead) -> io::Result<()> {
    loop {
        let available = lines.fill_buf()?;
        let end = available.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(available.len(), |end| end + 1);
        let is_over = end.is_some() || available.is_empty();
        lines.consume(used);
        if is_over {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_a_long_one_spoils_only_itself() {
        let mut input = b"a\n".to_vec();
        input.extend(std::iter::repeat_n(b'x', LINE_BYTES_MAX + 10));
        input.extend(b"\nb");
        let mut lines = BufReader::with_capacity(1000, input.as_slice());
        let mut buffer = Vec::new();
        let mut next = || (next_line(&mut lines, &mut buffer).unwrap(), buffer.len());
        assert_eq!(next(), (Line::Whole, 2));
        assert_eq!(next(), (Line::TooLong, LINE_BYTES_MAX + 1));
        assert_eq!(next(), (Line::Whole, 1));
        assert_eq!(next(), (Line::End, 0));
    }
}
