//! Statements of people.

use std::io;

use ::console::Reader;
use ::console::pages::explore::{Outcome, ROWS_MAX, page as drawn};
use arrow::datatypes::SchemaRef;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_DISPOSITION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use datafusion::execution::SendableRecordBatchStream;
use futures::{StreamExt as _, TryStreamExt as _};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde::Deserialize;

use super::{Asking, JSON, Refused, is_own, rows, show, shown};
use crate::output::{Format, Rows, cell};

/// Rows of a group of a Parquet file: what is held until it is written.
const GROUP_ROWS: usize = 65_536;
/// What a statement can be made of, beside the names of what is there.
const KEYWORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "HAVING",
    "LIMIT",
    "JOIN",
    "LEFT JOIN",
    "ON",
    "USING",
    "AS",
    "AND",
    "OR",
    "NOT",
    "IN",
    "IS NULL",
    "IS NOT NULL",
    "BETWEEN",
    "LIKE",
    "ILIKE",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "WITH",
    "UNION ALL",
    "DISTINCT",
    "COUNT(*)",
    "DESC",
    "ASC",
    "OVER",
    "PARTITION BY",
    "INTERVAL",
    "CAST",
    "EXPLAIN",
    "DESCRIBE",
    "SHOW TABLES",
    "FILTER",
];

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    sql: String,
}

pub(super) async fn page(State(pages): Asking, Query(Asked { sql }): Query<Asked>, headers: HeaderMap) -> Result<Response, Refused> {
    let reader = pages.reader().await?;
    let tables = reader.tables().await.map_err(Refused::unavailable)?;
    let outcome = if sql.trim().is_empty() {
        Outcome::None
    } else if is_own(&headers) {
        match rows::collect(reader, &sql, ROWS_MAX).await {
            Ok(answer) => Outcome::Answered(answer),
            Err(error) => Outcome::Refused(error.to_string()),
        }
    } else {
        Outcome::NotRun
    };
    Ok(show(drawn(&sql, &tables, &outcome)))
}

/// What a statement can be completed with.
pub(super) async fn words(State(pages): Asking) -> Result<Response, Refused> {
    let reader = pages.reader().await?;
    let unavailable = Refused::unavailable;
    let (tables, columns) = (reader.tables().await.map_err(unavailable)?, reader.columns().await.map_err(unavailable)?);
    let keywords = KEYWORDS.iter().map(|word| (*word).to_owned());
    let words: Vec<String> = tables.into_iter().chain(columns).chain(keywords).chain(reader.functions()).collect();
    Ok(shown(JSON, serde_json::Value::from(words).to_string()))
}

/// All rows of a statement, as a file.
pub(super) async fn file(
    State(pages): Asking,
    Path(file): Path<String>,
    Query(Asked { sql }): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    if !is_own(&headers) {
        return Err(Refused(StatusCode::FORBIDDEN, "A link from elsewhere does not run a statement.".to_owned()));
    }
    let (content_type, kind) = match file.as_str() {
        "rows.csv" => ("text/csv; charset=utf-8", Kind::Text(Format::Csv)),
        "rows.json" => (JSON, Kind::Text(Format::Json)),
        "rows.parquet" => ("application/vnd.apache.parquet", Kind::Parquet),
        _ => return Err(Refused(StatusCode::NOT_FOUND, "There are rows.csv, rows.json and rows.parquet.".to_owned())),
    };
    let reader = pages.reader().await?.clone();
    let mut batches = reader.ask(&sql).await.map_err(|error| Refused(StatusCode::BAD_REQUEST, error.to_string()))?;
    let schema = batches.schema();
    // The first rows before the answer begins: what fails with them is still an answer of its own.
    let first = batches.next().await.transpose();
    let first = first.map_err(|error| Refused(StatusCode::BAD_REQUEST, reader.explain(&error).to_string()))?;
    let file = File::new(kind, &schema).map_err(Refused::unavailable)?;
    let rest = futures::stream::iter(first.map(Ok)).chain(batches);
    let rows = Box::pin(datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(schema, rest));
    let mut response = shown(content_type, Body::from_stream(bytes(reader, file, rows)));
    response.headers_mut().insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    Ok(response)
}

/// The file, piece by piece. An error cuts the answer off, so that nobody takes it for whole.
fn bytes(reader: Reader, file: File, batches: SendableRecordBatchStream) -> impl futures::Stream<Item = io::Result<Bytes>> + Send {
    let pieces = futures::stream::try_unfold((Some(file), batches), move |(file, mut batches)| {
        let reader = reader.clone();
        async move {
            let Some(mut file) = file else { return Ok(None) };
            let told = |what: String| {
                tracing::warn!(error = what, "a download of the console is cut off");
                io::Error::other(what)
            };
            match batches.next().await {
                Some(Ok(batch)) => {
                    let piece = file.write(&batch).map_err(|error| told(error.to_string()))?;
                    Ok(Some((piece, (Some(file), batches))))
                }
                Some(Err(error)) => Err(told(reader.explain(&error).to_string())),
                None => Ok(Some((file.finish().map_err(|error| told(error.to_string()))?, (None, batches)))),
            }
        }
    });
    pieces.try_filter(|piece| std::future::ready(!piece.is_empty())).map_ok(Bytes::from)
}

enum Kind {
    Text(Format),
    Parquet,
}

/// A file in the making, in pieces.
enum File {
    Text(Rows<Vec<u8>>),
    Parquet(Box<ArrowWriter<Vec<u8>>>),
}

impl File {
    fn new(kind: Kind, schema: &SchemaRef) -> anyhow::Result<Self> {
        Ok(match kind {
            Kind::Text(format) => {
                let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
                Self::Text(Rows::new(Vec::new(), format, columns, None)?)
            }
            Kind::Parquet => {
                let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default()));
                let properties = properties.set_max_row_group_row_count(Some(GROUP_ROWS)).build();
                Self::Parquet(Box::new(ArrowWriter::try_new(Vec::new(), SchemaRef::clone(schema), Some(properties))?))
            }
        })
    }

    fn write(&mut self, batch: &arrow::array::RecordBatch) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Text(rows) => {
                for row in 0..batch.num_rows() {
                    let cells = batch.columns().iter().map(|column| cell::json(column.as_ref(), row)).collect::<Result<Vec<_>, _>>()?;
                    rows.write(cells)?;
                }
                Ok(rows.take())
            }
            Self::Parquet(writer) => {
                writer.write(batch)?;
                Ok(std::mem::take(writer.inner_mut()))
            }
        }
    }

    fn finish(self) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Text(rows) => Ok(rows.into_inner()?),
            Self::Parquet(writer) => Ok(writer.into_inner()?),
        }
    }
}
