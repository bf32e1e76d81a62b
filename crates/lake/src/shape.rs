//! What a table looks like, as its log says.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use deltalake::kernel::Metadata;
use deltalake::table::state::DeltaTableState;

use crate::error::Error;
use crate::schema;

/// The property that names the columns with statistics.
pub(crate) const STATS_COLUMNS: &str = "delta.dataSkippingStatsColumns";
/// The property that says of which version of our own formats a table is. A table without it is of version 1.
const FORMAT: &str = "tidegate.format";
/// The newest such version that this program reads and writes.
const FORMAT_KNOWN: u32 = 1;
/// Versions between checkpoints when the table does not say.
const CHECKPOINT_INTERVAL: u64 = 50;

/// What a table looks like.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// All columns.
    pub(crate) schema: SchemaRef,
    /// The columns that are in the files.
    pub(crate) data_schema: SchemaRef,
    pub(crate) partition_by: Vec<String>,
    pub(crate) stats_columns: Arc<[String]>,
    pub(crate) checkpoint_interval: u64,
}

impl Shape {
    pub(crate) fn of(name: &str, state: &DeltaTableState) -> Result<Self, Error> {
        let protocol = state.protocol();
        if protocol.min_reader_version() > 1 || protocol.min_writer_version() > 2 {
            return Err(Error::schema(
                name,
                format!(
                    "another engine gave it table features (protocol {}/{}) that this program does not write: take them off it, or query it only",
                    protocol.min_reader_version(),
                    protocol.min_writer_version()
                ),
            ));
        }
        let metadata = state.metadata();
        check_format(name, metadata)?;
        let schema = Arc::new(schema::from_delta(name, state.schema().as_ref())?);
        let partition_by = metadata.partition_columns().to_vec();
        let property = |key: &str| metadata.configuration().get(key);
        let stats_columns: Vec<String> =
            property(STATS_COLUMNS).map(|columns| columns.split(',').map(|column| column.trim().to_owned()).collect()).unwrap_or_default();
        Ok(Self {
            data_schema: in_files(&schema, &partition_by),
            schema,
            partition_by,
            stats_columns: stats_columns.into(),
            checkpoint_interval: state.table_config().checkpoint_interval.map_or(CHECKPOINT_INTERVAL, |interval| interval.get()),
        })
    }
}

/// The columns that are in the files of a table.
pub(crate) fn in_files(schema: &Schema, partition_by: &[String]) -> SchemaRef {
    let fields = schema.fields().iter().filter(|field| !partition_by.contains(field.name())).cloned();
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Refuses a table that a newer version of this program has made something else of: to write to it would spoil it, and to read it would give what is not there.
pub(crate) fn check_format(name: &str, metadata: &Metadata) -> Result<(), Error> {
    let Some(text) = metadata.configuration().get(FORMAT) else { return Ok(()) };
    match text.parse::<u32>() {
        Ok(found) if found <= FORMAT_KNOWN => Ok(()),
        _ => Err(Error::schema(
            name,
            format!(
                "its property {FORMAT} says that it is of version {text}, this program knows it up to version {FORMAT_KNOWN}: a newer Tidegate wrote it; start that one again, nothing here was changed"
            ),
        )),
    }
}
