//! The rows of a file, one after the other.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::Path;
use std::rc::Rc;

use arrow::array::RecordBatch;
use indicatif::ProgressBar;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde_json::{Map, Value};

use crate::output::cell;
use crate::send::lines::{self, LINE_BYTES_MAX, Line, next_line};

/// Rows of a Parquet file that are decoded at a time.
const PARQUET_ROWS: usize = 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// One JSON object a line.
    Ndjson,
    /// Values separated by commas, with a head (RFC 4180).
    Csv,
    /// The same with tabs.
    Tsv,
    /// Apache Parquet.
    Parquet,
}

/// A row.
#[derive(Debug, PartialEq)]
pub(crate) enum Row {
    /// A line of JSON as it stands there.
    Line(Vec<u8>),
    /// The columns by name; what is empty is left out.
    Fields(Map<String, Value>),
}

/// Rows as they come. The outer error ends the file, the inner one is about one row.
pub(crate) trait Rows: Iterator<Item = io::Result<Result<Row, String>>> {
    /// The names of the columns, where all rows have the same.
    fn columns(&self) -> Option<&[String]>;
}

impl Format {
    /// What a file's name says.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where it says nothing.
    pub(crate) fn of(name: &str) -> io::Result<Self> {
        let name = name.to_ascii_lowercase();
        let plain = [".gz", ".zst", ".zstd"].iter().find_map(|packing| name.strip_suffix(packing)).unwrap_or(&name);
        match plain.rsplit('.').next() {
            Some("ndjson" | "jsonl" | "json") => Ok(Self::Ndjson),
            Some("csv") => Ok(Self::Csv),
            Some("tsv") => Ok(Self::Tsv),
            Some("parquet") if plain.len() == name.len() => Ok(Self::Parquet),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "its name does not say what is in it: give --input ndjson, csv, tsv or parquet",
            )),
        }
    }
}

/// Opens a file. The bar is moved by the bytes read.
///
/// # Errors
///
/// When it cannot be read, or has no head or no schema.
pub(crate) fn open(path: &Path, format: Format, bar: &ProgressBar) -> io::Result<Box<dyn Rows>> {
    let file = File::open(path)?;
    Ok(match format {
        Format::Ndjson => Box::new(Ndjson { lines: lines::unpacked(bar.wrap_read(file))?, is_first: true }),
        Format::Csv => Box::new(Separated::new(lines::unpacked(bar.wrap_read(file))?, b',')?),
        Format::Tsv => Box::new(Separated::new(lines::unpacked(bar.wrap_read(file))?, b'\t')?),
        Format::Parquet => Box::new(Parquet::new(file, bar.clone())?),
    })
}

struct Ndjson {
    lines: Box<dyn BufRead>,
    is_first: bool,
}

impl Rows for Ndjson {
    fn columns(&self) -> Option<&[String]> {
        None
    }
}

impl Iterator for Ndjson {
    type Item = io::Result<Result<Row, String>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut buffer = Vec::new();
        loop {
            match next_line(&mut self.lines, &mut buffer) {
                Err(error) => return Some(Err(error)),
                Ok(Line::End) => return None,
                Ok(Line::TooLong) => return Some(Ok(Err(format!("is longer than {LINE_BYTES_MAX} bytes")))),
                Ok(Line::Whole) => {}
            }
            let mut text = buffer.as_slice();
            if std::mem::take(&mut self.is_first) {
                text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
            }
            let text = text.trim_ascii();
            if !text.is_empty() {
                return Some(Ok(Ok(Row::Line(text.to_vec()))));
            }
        }
    }
}

/// Rows of separated values. A quote that is never closed would make one row of the rest of the file: what is read for one row is bounded.
struct Separated {
    reader: csv::Reader<Bounded>,
    columns: Vec<String>,
    room: Rc<Cell<usize>>,
}

/// Reads until there is no room left.
struct Bounded {
    inner: Box<dyn BufRead>,
    room: Rc<Cell<usize>>,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.room.get() == 0 {
            let what = format!("a row is longer than {LINE_BYTES_MAX} bytes; is a quote not closed?");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let most = buffer.len().min(self.room.get());
        let read = self.inner.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.room.set(self.room.get() - read);
        Ok(read)
    }
}

impl Separated {
    fn new(inner: Box<dyn BufRead>, delimiter: u8) -> io::Result<Self> {
        let room = Rc::new(Cell::new(LINE_BYTES_MAX));
        let bounded = Bounded { inner, room: Rc::clone(&room) };
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(bounded);
        let head = reader.headers().map_err(io::Error::from)?;
        let columns: Vec<String> = head.iter().map(|name| name.trim().trim_start_matches('\u{feff}').to_owned()).collect();
        if columns.iter().all(String::is_empty) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it has no head with the names of the columns"));
        }
        Ok(Self { reader, columns, room })
    }
}

impl Rows for Separated {
    fn columns(&self) -> Option<&[String]> {
        Some(&self.columns)
    }
}

impl Iterator for Separated {
    type Item = io::Result<Result<Row, String>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.room.set(LINE_BYTES_MAX);
        let mut record = csv::ByteRecord::new();
        match self.reader.read_byte_record(&mut record) {
            Err(error) => return Some(Err(error.into())),
            Ok(false) => return None,
            Ok(true) => {}
        }
        if record.len() != self.columns.len() {
            return Some(Ok(Err(format!("has {} values, the head has {} columns", record.len(), self.columns.len()))));
        }
        let Ok(record) = csv::StringRecord::from_byte_record(record) else { return Some(Ok(Err("is no UTF-8".to_owned()))) };
        let fields = self.columns.iter().zip(&record).filter(|(_, value)| !value.is_empty());
        Some(Ok(Ok(Row::Fields(fields.map(|(name, value)| (name.clone(), Value::from(value))).collect()))))
    }
}

struct Parquet {
    batches: ParquetRecordBatchReader,
    columns: Vec<String>,
    batch: Option<RecordBatch>,
    row: usize,
    bar: ProgressBar,
    bytes_per_row: f64,
}

impl Parquet {
    fn new(file: File, bar: ProgressBar) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(io::Error::other)?;
        let columns = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
        let rows = builder.metadata().file_metadata().num_rows().max(1);
        let batches = builder.with_batch_size(PARQUET_ROWS).build().map_err(io::Error::other)?;
        Ok(Self { batches, columns, batch: None, row: 0, bar, bytes_per_row: bytes as f64 / rows as f64 })
    }
}

impl Rows for Parquet {
    fn columns(&self) -> Option<&[String]> {
        Some(&self.columns)
    }
}

impl Iterator for Parquet {
    type Item = io::Result<Result<Row, String>>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.batch.as_ref().is_none_or(|batch| self.row >= batch.num_rows()) {
            match self.batches.next()? {
                Err(error) => return Some(Err(io::Error::other(error))),
                Ok(batch) => {
                    self.bar.inc((batch.num_rows() as f64 * self.bytes_per_row) as u64);
                    (self.batch, self.row) = (Some(batch), 0);
                }
            }
        }
        let batch = self.batch.as_ref()?;
        let row = self.row;
        self.row += 1;
        let value = |(name, column): (&String, &arrow::array::ArrayRef)| match cell::json(column.as_ref(), row) {
            Ok(Value::Null) => Ok(None),
            Ok(value) => Ok(Some((name.clone(), value))),
            Err(error) => Err(format!("{name}: {error}")),
        };
        let fields: Result<Vec<Option<(String, Value)>>, String> = self.columns.iter().zip(batch.columns()).map(value).collect();
        Some(Ok(fields.map(|fields| Row::Fields(fields.into_iter().flatten().collect()))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray, TimestampMillisecondArray};
    use parquet::arrow::ArrowWriter;
    use serde_json::json;

    use super::*;

    fn rows(name: &str, content: &[u8]) -> Vec<Result<Row, String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        open(&path, Format::of(name).unwrap(), &ProgressBar::hidden()).unwrap().map(Result::unwrap).collect()
    }

    fn fields(value: Value) -> Result<Row, String> {
        match value {
            Value::Object(fields) => Ok(Row::Fields(fields)),
            _ => panic!("no object"),
        }
    }

    #[test]
    fn separated_values_are_texts_and_a_bad_row_spoils_only_itself() {
        let content = b"\xEF\xBB\xBFa,b c\r\n1,\"x, \"\"y\"\"\nz\"\n2\n,\n3,\xff\n4,d\n";
        let found = rows("x.csv", content);
        assert_eq!(found[0], fields(json!({"a": "1", "b c": "x, \"y\"\nz"})));
        assert_eq!(found[1], Err("has 1 values, the head has 2 columns".to_owned()));
        assert_eq!(found[2], fields(json!({})));
        assert_eq!(found[3], Err("is no UTF-8".to_owned()));
        assert_eq!(found[4], fields(json!({"a": "4", "b c": "d"})));
        assert_eq!(rows("x.tsv", b"a\tb\n1\t2\n"), [fields(json!({"a": "1", "b": "2"}))]);
    }

    #[test]
    fn a_quote_that_is_not_closed_is_told_and_bounded() {
        let mut content = b"a\n\"".to_vec();
        content.extend(std::iter::repeat_n(b'x', 2 * LINE_BYTES_MAX));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        std::fs::write(&path, content).unwrap();
        let mut rows = open(&path, Format::Csv, &ProgressBar::hidden()).unwrap();
        let error = rows.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("is a quote not closed"), "{error}");
    }

    #[test]
    fn parquet_has_its_types_and_lines_are_as_they_stand() {
        let times = TimestampMillisecondArray::from(vec![Some(1_700_000_000_000), None]);
        let columns: [(&str, ArrayRef); 4] = [
            ("n", Arc::new(Int64Array::from(vec![1, 2]))),
            ("x", Arc::new(Float64Array::from(vec![Some(0.5), None]))),
            ("t", Arc::new(StringArray::from(vec!["a", ""]))),
            ("at", Arc::new(times)),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut content = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut content, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let found = rows("x.parquet", &content);
        let Ok(Row::Fields(first)) = &found[0] else { panic!("{found:?}") };
        assert_eq!((&first["n"], &first["x"], &first["t"]), (&json!(1), &json!(0.5), &json!("a")));
        assert!(contract::time::parse(&first["at"].clone().into()).is_ok_and(|time| time.micros() == 1_700_000_000_000_000), "{first:?}");
        assert_eq!(found[1], fields(json!({"n": 2, "t": ""})));
        assert_eq!(rows("x.jsonl", b" {\"a\":1}\n\n[2]\n"), [Ok(Row::Line(b"{\"a\":1}".to_vec())), Ok(Row::Line(b"[2]".to_vec()))]);
        assert!(Format::of("a.parquet.gz").is_err() && Format::of("a.txt").is_err() && Format::of("A.CSV.GZ").unwrap() == Format::Csv);
    }
}
