//! Data files into rows of the table's schema.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use deltalake::ObjectStoreError;
use deltalake::logstore::ObjectStoreRef;
use deltalake::logstore::object_store::path::Path;
use deltalake::logstore::object_store::{GetResult, ObjectStoreExt as _};
use futures::future::{BoxFuture, FutureExt as _, TryFutureExt as _};
use futures::stream::{BoxStream, StreamExt as _};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use tokio::sync::mpsc;

use crate::error::Error;
use crate::partition::{self, row_count};

/// Batches decoded ahead of the one that reads them.
const BATCHES_AHEAD: usize = 2;
/// Files up to this size are fetched as a whole.
const WHOLE_BYTES_MAX: u64 = 1 << 20;
/// Bytes at the end of a larger one that are fetched first: most footers are shorter.
const FOOTER_BYTES: usize = 64 << 10;

/// A file to read.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) bytes: u64,
    /// The values of the partition columns.
    pub(crate) values: Vec<(String, Option<String>)>,
}

/// How to read it.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    /// Rooted at the table's folder.
    pub(crate) store: ObjectStoreRef,
    /// The columns wanted, with the types of the table.
    pub(crate) schema: SchemaRef,
    pub(crate) batch_rows: usize,
}

impl Reader {
    /// The rows of the files, file after file, in the order they were written.
    ///
    /// Decoding works the processor for milliseconds at a time, so it is done on a thread of its own and not among the tasks that answer
    /// clients; it stays a few batches ahead at most, and ends when the stream is dropped.
    pub(crate) fn stream(self, files: Vec<Source>) -> BoxStream<'static, Result<RecordBatch, Error>> {
        let (send, receive) = mpsc::channel(BATCHES_AHEAD);
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                for file in &files {
                    if let Err(error) = self.read(file, &send).await {
                        // Nobody to tell: the reader has gone.
                        drop(send.send(Err(error)).await);
                        return;
                    }
                    if send.is_closed() {
                        return;
                    }
                }
            });
        });
        futures::stream::unfold(receive, |mut receive| async { Some((receive.recv().await?, receive)) }).boxed()
    }

    async fn read(&self, file: &Source, send: &mpsc::Sender<Result<RecordBatch, Error>>) -> Result<(), Error> {
        let failed = |error| failed(&file.path, error);
        let object = Object::open(Arc::clone(&self.store), file).await.map_err(failed)?;
        let builder = ParquetRecordBatchStreamBuilder::new(object).await.map_err(failed)?;
        let wanted: Vec<usize> = (0..)
            .zip(builder.schema().fields())
            .filter(|(_, field)| self.schema.field_with_name(field.name()).is_ok())
            .map(|(n, _)| n)
            .collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
        let mut batches = builder.with_projection(mask).with_batch_size(self.batch_rows).build().map_err(failed)?;
        while let Some(batch) = batches.next().await {
            let batch = complete(&batch.map_err(failed)?, &self.schema, &file.values)
                .map_err(|error| Error::Damaged { place: file.path.clone(), what: error.to_string() })?;
            if send.send(Ok(batch)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// A file in the store, for the Parquet reader.
#[derive(Debug)]
struct Object {
    store: ObjectStoreRef,
    path: Path,
    size: u64,
    /// All of it, if it is small: one request in place of one for the footer and more for the columns.
    whole: Option<Bytes>,
}

impl Object {
    async fn open(store: ObjectStoreRef, file: &Source) -> Result<Self, ParquetError> {
        let path = location(&file.path);
        if file.bytes > WHOLE_BYTES_MAX {
            return Ok(Self { store, path, size: file.bytes, whole: None });
        }
        let whole = store.get(&path).and_then(GetResult::bytes).await.map_err(external)?;
        Ok(Self { store, path, size: whole.len() as u64, whole: Some(whole) })
    }

    fn slice(whole: &Bytes, range: &Range<u64>) -> Result<Bytes, ParquetError> {
        let (start, end) = (usize::try_from(range.start)?, usize::try_from(range.end)?);
        if start > end || end > whole.len() {
            return Err(ParquetError::EOF(format!("bytes {start} to {end} of {}", whole.len())));
        }
        Ok(whole.slice(start..end))
    }
}

impl AsyncFileReader for Object {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        match &self.whole {
            Some(whole) => std::future::ready(Self::slice(whole, &range)).boxed(),
            None => async move { self.store.get_range(&self.path, range).await.map_err(external) }.boxed(),
        }
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        match &self.whole {
            Some(whole) => std::future::ready(ranges.iter().map(|range| Self::slice(whole, range)).collect()).boxed(),
            None => async move { self.store.get_ranges(&self.path, &ranges).await.map_err(external) }.boxed(),
        }
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let size = self.size;
            let options = options.map(|options| options.metadata_options().clone());
            let reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(FOOTER_BYTES)).with_metadata_options(options);
            Ok(Arc::new(reader.load_and_finish(self, size).await?))
        }
        .boxed()
    }
}

fn external(error: ObjectStoreError) -> ParquetError {
    ParquetError::External(error.into())
}

fn failed(path: &str, error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<ObjectStoreError>() {
            Ok(error) => Error::object(format!("read {path}"), *error),
            Err(source) => Error::store(format!("read {path}"), source),
        },
        other => Error::Damaged { place: path.to_owned(), what: other.to_string() },
    }
}

/// Where a file lies. A path in the log may hold characters that an object's name writes in another way.
pub(crate) fn location(path: &str) -> Path {
    Path::parse(path).unwrap_or_else(|_| Path::from(path))
}

/// The rows of a file with all columns wanted: partition values from the log, nulls where the file is older than the column.
fn complete(batch: &RecordBatch, schema: &SchemaRef, values: &[(String, Option<String>)]) -> Result<RecordBatch, ArrowError> {
    let rows = batch.num_rows();
    let columns = schema.fields().iter().map(|field| {
        if let Some((_, value)) = values.iter().find(|(name, _)| name == field.name()) {
            return partition::column(value.as_deref(), field.data_type(), rows);
        }
        match batch.column_by_name(field.name()) {
            Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
            // Another engine may have written the same values in a wider or older type.
            Some(column) => cast_with_options(column, field.data_type(), &CastOptions { safe: false, ..CastOptions::default() }),
            None => Ok(arrow::array::new_null_array(field.data_type(), rows)),
        }
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &row_count(rows))
}

/// The columns named, in that order, or all.
pub(crate) fn select(table: &str, schema: &SchemaRef, columns: Option<&[&str]>) -> Result<SchemaRef, Error> {
    let Some(columns) = columns else { return Ok(Arc::clone(schema)) };
    let field = |name: &&str| schema.field_with_name(name).cloned().map_err(|_| Error::schema(table, format!("it has no column {name}")));
    Ok(Arc::new(Schema::new(columns.iter().map(field).collect::<Result<Vec<_>, _>>()?)))
}
