//! The rows of a query, printed as they come.

use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt as _;

use super::{Format, cell, stdout};

/// Why rows could not be printed.
pub(crate) enum Failure {
    /// The query's fault.
    Query(DataFusionError),
    /// The printing's.
    Print(anyhow::Error),
}

impl From<DataFusionError> for Failure {
    fn from(error: DataFusionError) -> Self {
        Self::Query(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Print(error.into())
    }
}

impl From<Failure> for anyhow::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Query(error) => error.into(),
            Failure::Print(error) => error,
        }
    }
}

/// Prints all rows that come.
pub(crate) async fn print(mut batches: SendableRecordBatchStream, format: Format) -> Result<(), Failure> {
    let columns = batches.schema().fields().iter().map(|field| field.name().clone()).collect();
    // Only once there is something to print, so that a query that fails prints nothing else.
    let mut next = batches.next().await.transpose()?;
    let mut rows = stdout(format, columns)?;
    'all: while let Some(batch) = next {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| cell::json(column.as_ref(), row));
            let cells = cells.collect::<Result<Vec<_>, _>>().map_err(|error| Failure::Print(error.into()))?;
            if !rows.write(cells)? {
                break 'all;
            }
        }
        next = batches.next().await.transpose()?;
    }
    rows.finish()?;
    Ok(())
}
