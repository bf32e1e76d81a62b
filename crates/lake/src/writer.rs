//! Rows into Parquet files. No I/O: files are built in memory, within the bounds of the options.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use crate::error::Error;
use crate::options::Options;
use crate::partition::Part;
use crate::stats::Stats;

/// Rows of a row group: a reader skips or reads a group as a whole, and the writer holds one in memory.
const GROUP_ROWS_MAX: usize = 128 * 1024;
/// Bytes of a row group.
const GROUP_BYTES_MAX: usize = 32 << 20;

/// A finished Parquet file.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) rows: u64,
    /// Its statistics as the log keeps them.
    pub(crate) stats: String,
}

/// A file, and the values of the partition that its rows are of.
pub(crate) type Placed = (Vec<Option<String>>, Encoded);

/// Writes batches of one schema into as many files as the bounds ask for.
#[derive(Debug)]
pub(crate) struct Encoder {
    schema: SchemaRef,
    stats_columns: Arc<[String]>,
    properties: WriterProperties,
    file_bytes_max: u64,
    file_rows_max: u64,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    writer: ArrowWriter<Vec<u8>>,
    stats: Stats,
}

impl Encoder {
    /// Files of this schema, which has no partition columns.
    pub(crate) fn new(schema: SchemaRef, stats_columns: Arc<[String]>, options: &Options) -> Result<Self, ParquetError> {
        let properties = properties(&schema, options)?;
        Ok(Self {
            schema,
            stats_columns,
            properties,
            file_bytes_max: options.file_bytes_max,
            file_rows_max: options.file_rows_max,
            open: None,
        })
    }

    /// The same, with another size of the files.
    pub(crate) fn with_file_bytes_max(mut self, file_bytes_max: u64) -> Self {
        self.file_bytes_max = file_bytes_max;
        self
    }

    /// Writes the batch and gives back a file once one is full. The rows of a batch may end up in two files.
    pub(crate) fn write(&mut self, batch: &RecordBatch, done: &mut Vec<Encoded>) -> Result<(), ParquetError> {
        let mut offset = 0;
        while offset < batch.num_rows() {
            let file_rows_max = self.file_rows_max;
            let open = self.open()?;
            let room = usize::try_from(file_rows_max.saturating_sub(open.stats.rows())).unwrap_or(usize::MAX).max(1);
            let slice = batch.slice(offset, room.min(batch.num_rows() - offset));
            open.writer.write(&slice)?;
            open.stats.add(&slice);
            offset += slice.num_rows();
            let bytes = open.writer.bytes_written() + open.writer.in_progress_size();
            if open.stats.rows() >= file_rows_max || bytes as u64 >= self.file_bytes_max {
                done.extend(self.finish()?);
            }
        }
        Ok(())
    }

    /// The file begun, if there is one.
    pub(crate) fn finish(&mut self) -> Result<Option<Encoded>, ParquetError> {
        let Some(Open { mut writer, stats }) = self.open.take() else { return Ok(None) };
        writer.finish()?;
        let bytes = std::mem::take(writer.inner_mut());
        Ok(Some(Encoded { bytes, rows: stats.rows(), stats: stats.to_json() }))
    }

    fn open(&mut self) -> Result<&mut Open, ParquetError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                // The Arrow schema in the footer would be the largest part of a small file, and says nothing that Parquet's own does not.
                let options = ArrowWriterOptions::new().with_properties(self.properties.clone()).with_skip_arrow_metadata(true);
                let writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&self.schema), options)?;
                Open { writer, stats: Stats::new(&self.schema, &self.stats_columns) }
            }
        };
        Ok(self.open.insert(open))
    }
}

/// The files of these rows of a table. `schema` is without the partition columns.
pub(crate) fn encode(
    table: &str,
    parts: Vec<Part>,
    schema: &SchemaRef,
    stats_columns: &Arc<[String]>,
    options: &Options,
) -> Result<Vec<Placed>, Error> {
    let refuse = |error: ParquetError| Error::schema(table, format!("the rows cannot be encoded: {error}"));
    let mut encoded = Vec::new();
    for part in parts {
        let mut encoder = Encoder::new(Arc::clone(schema), Arc::clone(stats_columns), options).map_err(refuse)?;
        let mut files = Vec::new();
        for batch in &part.batches {
            encoder.write(batch, &mut files).map_err(refuse)?;
        }
        files.extend(encoder.finish().map_err(refuse)?);
        encoded.extend(files.into_iter().map(|file| (part.values.clone(), file)));
    }
    Ok(encoded)
}

fn properties(schema: &Schema, options: &Options) -> Result<WriterProperties, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(options.zstd_level)?))
        .set_max_row_group_row_count(Some(GROUP_ROWS_MAX))
        .set_max_row_group_bytes(Some(GROUP_BYTES_MAX))
        .set_created_by(concat!("tidegate ", env!("CARGO_PKG_VERSION")).to_owned());
    for field in schema.fields().iter().filter(|field| matches!(field.data_type(), DataType::Binary)) {
        // Payloads are all different: a dictionary of them is built only to be thrown away.
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(field.name().as_str()), false);
    }
    Ok(properties.build())
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, Int64Array, UInt64Array};
    use arrow::datatypes::Field;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use proptest::prelude::*;

    use super::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false), Field::new("payload", DataType::Binary, true)]))
    }

    fn batch(first: i64, rows: usize) -> RecordBatch {
        let numbers: Vec<i64> = (first..).take(rows).collect();
        let payloads: Vec<Vec<u8>> = numbers.iter().map(|n| n.to_le_bytes().repeat(20)).collect();
        let payloads = BinaryArray::from_iter_values(payloads);
        RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(numbers)), Arc::new(payloads)]).unwrap()
    }

    fn encode(batches: &[RecordBatch], options: &Options) -> Vec<Encoded> {
        let mut encoder = Encoder::new(schema(), Arc::new([]), options).unwrap();
        let mut files = Vec::new();
        for batch in batches {
            encoder.write(batch, &mut files).unwrap();
        }
        files.extend(encoder.finish().unwrap());
        files
    }

    fn numbers(file: &Encoded) -> Vec<i64> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file.bytes.clone())).unwrap().build().unwrap();
        reader.flat_map(|batch| batch.unwrap().column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()).collect()
    }

    proptest! {
        #[test]
        fn rows_keep_their_order_over_files(sizes in prop::collection::vec(0usize..40, 0..12), file_rows_max in 1u64..50) {
            let mut first = 0;
            let batches: Vec<RecordBatch> = sizes.iter().map(|rows| { let batch = batch(first, *rows); first += *rows as i64; batch }).collect();
            let files = encode(&batches, &Options { file_rows_max, ..Options::default() });
            prop_assert!(files.iter().all(|file| (1..=file_rows_max).contains(&file.rows)));
            prop_assert_eq!(files.iter().flat_map(numbers).collect::<Vec<_>>(), (0..first).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_file_ends_at_its_bytes() {
        let batches: Vec<RecordBatch> = (0..50).map(|n| batch(n * 100, 100)).collect();
        let files = encode(&batches, &Options { file_bytes_max: 64 << 10, ..Options::default() });
        assert!(files.len() > 3, "{}", files.len());
        assert!(files.iter().all(|file| file.bytes.len() < 128 << 10));
        assert!(files.iter().all(|file| file.stats.contains(&format!("\"numRecords\":{}", file.rows))));
    }

    #[test]
    fn another_schema_is_refused() {
        let other = RecordBatch::try_from_iter([("n", Arc::new(UInt64Array::from(vec![1])) as _)]).unwrap();
        let mut encoder = Encoder::new(schema(), Arc::new([]), &Options::default()).unwrap();
        assert!(encoder.write(&other, &mut Vec::new()).is_err());
    }
}
