//! Rows on standard output, in the format asked for: what `query`, `audit`, `source list` and the summary of `send` print.
//!
//! Rows are written as they come and none is kept, except for the table, whose columns are as wide as its rows want: it ends after [`TABLE_ROWS_MAX`].

use std::io::{self, BufWriter, IsTerminal as _, Write};

use clap::ValueEnum;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value;

pub(crate) mod batches;
pub(crate) mod cell;
mod csv;
pub(crate) mod picture;
mod table;
#[cfg(test)]
mod tests;

/// The most rows of a table. The other formats have no bound.
pub(crate) const TABLE_ROWS_MAX: usize = 1_000;

/// How rows are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON array of objects.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// CSV with a head (RFC 4180). Null is empty, an empty text is "".
    Csv,
}

/// Rows on their way out.
#[derive(Debug)]
pub(crate) struct Rows<W: Write> {
    out: W,
    format: Format,
    columns: Vec<String>,
    /// The table's rows so far.
    kept: Vec<Vec<Value>>,
    written: usize,
    left_off: bool,
    /// The characters that a line of the table may have.
    width: Option<u16>,
}

/// Rows for standard output.
pub(crate) fn stdout(format: Format, columns: Vec<String>) -> io::Result<Rows<BufWriter<io::StdoutLock<'static>>>> {
    let width = if io::stdout().is_terminal() { table::terminal_width() } else { None };
    Rows::new(BufWriter::new(io::stdout().lock()), format, columns, width)
}

/// Names of columns: as they are for people, and for programs as one word.
pub(crate) fn heads<const N: usize>(format: Format, names: [&str; N]) -> Vec<String> {
    let word = |name: &str| name.replace(", ", "_").replace(' ', "_");
    names.iter().map(|name| if format == Format::Table { (*name).to_owned() } else { word(name) }).collect()
}

/// Writes text to standard output as it is.
pub(crate) fn text(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

impl<W: Write> Rows<W> {
    /// Begins with the columns. Two of the same name are told apart by a number.
    pub(crate) fn new(out: W, format: Format, columns: Vec<String>, width: Option<u16>) -> io::Result<Self> {
        let columns = unique(columns);
        let mut rows = Self { out, format, columns, kept: Vec::new(), written: 0, left_off: false, width };
        match format {
            Format::Csv => csv::head(&mut rows.out, &rows.columns)?,
            Format::Json => rows.out.write_all(b"[")?,
            Format::Table | Format::Ndjson => {}
        }
        Ok(rows)
    }

    /// One row: as many cells as there are columns. Tells whether another one is wanted.
    pub(crate) fn write(&mut self, cells: Vec<Value>) -> io::Result<bool> {
        match self.format {
            Format::Table if self.kept.len() == TABLE_ROWS_MAX => {
                self.left_off = true;
                return Ok(false);
            }
            Format::Table => self.kept.push(cells),
            Format::Csv => csv::row(&mut self.out, &cells)?,
            Format::Json => {
                self.out.write_all(if self.written == 0 { b"\n  " } else { b",\n  " })?;
                self.object(&cells)?;
            }
            Format::Ndjson => {
                self.object(&cells)?;
                self.out.write_all(b"\n")?;
            }
        }
        self.written += 1;
        Ok(true)
    }

    /// Ends. The table is drawn now.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        match self.format {
            Format::Table => {
                let text = table::draw(&self.columns, &self.kept, self.width);
                self.out.write_all(text.as_bytes())?;
                if self.left_off {
                    writeln!(self.out, "the first {TABLE_ROWS_MAX} rows; use --format csv, json or ndjson for all, or LIMIT for fewer")?;
                }
            }
            Format::Json => self.out.write_all(if self.written == 0 { b"]\n" } else { b"\n]\n" })?,
            Format::Ndjson | Format::Csv => {}
        }
        self.out.flush()
    }

    fn object(&mut self, cells: &[Value]) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, &Object { columns: &self.columns, cells }).map_err(io::Error::from)
    }
}

impl Rows<Vec<u8>> {
    /// What was written since it was last asked for.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Ends, and gives the rest.
    pub(crate) fn into_inner(mut self) -> io::Result<Vec<u8>> {
        self.end()?;
        Ok(self.out)
    }
}

/// A row as a JSON object in the order of the columns.
struct Object<'a> {
    columns: &'a [String],
    cells: &'a [Value],
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.columns.len()))?;
        for (column, cell) in self.columns.iter().zip(self.cells) {
            map.serialize_entry(column, cell)?;
        }
        map.end()
    }
}

fn unique(columns: Vec<String>) -> Vec<String> {
    let mut known: Vec<String> = Vec::with_capacity(columns.len());
    for column in columns {
        let mut name = column.clone();
        let mut number = 2;
        while known.contains(&name) {
            name = format!("{column}_{number}");
            number += 1;
        }
        known.push(name);
    }
    known
}
