//! What can go wrong in a stage, and what is to be done.

use datafusion::error::DataFusionError;

/// What the caller is to do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A store or a disk failed, or another worker was faster. Wait, ask the tables for the progress, go on from there.
    Retry,
    /// A setting cannot be used. Change it.
    Setting,
    /// Damaged data, or a fault of this program: a person has to look.
    Fatal,
}

/// An error of a stage.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lake's.
    #[error(transparent)]
    Lake(#[from] lake::Error),
    /// The journal's.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The index's.
    #[error(transparent)]
    Index(#[from] dedup::Error),
    /// The transform's: a whole batch, never one event.
    #[error(transparent)]
    Medallion(#[from] medallion::Error),
    /// A query over the lake's tables failed.
    #[error("the query for {purpose} failed: {source}")]
    Query {
        /// What it was for.
        purpose: String,
        /// What DataFusion says.
        source: Box<DataFusionError>,
    },
    /// One partition of a model of Gold needs more memory than a query may have.
    #[error(
        "the model {model} cannot be made: {partition} alone needs more memory than a query may have; give lake.query_memory_bytes_max more"
    )]
    Memory {
        /// Its table.
        model: String,
        /// The partition.
        partition: String,
        /// What DataFusion says.
        source: Box<DataFusionError>,
    },
    /// A model of Gold gives what it may not.
    #[error("the model {model} cannot be made: {what}")]
    Model {
        /// Its table.
        model: String,
        /// What is wrong with what it gives.
        what: String,
    },
    /// A row of the dead letters that cannot be read.
    #[error("row {row} of a batch of dead_letters cannot be read: its column {column} is not what Tidegate writes")]
    DeadLetter {
        /// The column.
        column: &'static str,
        /// The row.
        row: usize,
    },
    /// What a commit says of itself cannot be read.
    #[error("version {version} of {table} says of itself what cannot be read: {what}")]
    Info {
        /// The table.
        table: String,
        /// The version.
        version: i64,
        /// What is wrong with it.
        what: String,
    },
    /// The journal begins after the place where the lake stands: what lies between is lost.
    #[error(
        "the journal's partition {partition} begins at offset {start}, but Bronze has it only up to {progress}: records are missing; restore the journal, or \
         begin a new generation to go on without them. Where both were restored, the copy of the lake is older than that of the journal: take a copy of the lake that was made \
         after it"
    )]
    Gap {
        /// The partition.
        partition: u32,
        /// Where the journal begins.
        start: u64,
        /// Where Bronze stands.
        progress: u64,
    },
    /// The journal ends before the place where the lake stands: it is not the one that this lake was fed from.
    #[error(
        "the journal's partition {partition} ends at offset {end}, but Bronze has it up to {progress} already: this is not the journal that the lake was fed \
         from; restore it, or give the new one a greater generation"
    )]
    Foreign {
        /// The partition.
        partition: u32,
        /// Where the journal ends.
        end: u64,
        /// Where Bronze stands.
        progress: u64,
    },
    /// The journal is a copy of one that the lake was not fed from.
    #[error(
        "the journal is a copy, and what its partition {partition} has at offset {offset} is not what the lake has taken from there (generation {generation}): it is not a copy of \
         the journal that this lake was fed from; restore the two that belong together, or give this journal a lake of its own"
    )]
    Unrelated {
        /// The generation of the journal that was copied.
        generation: u32,
        /// The partition.
        partition: u32,
        /// The first offset at which they differ.
        offset: u64,
    },
    /// The lake has records of a newer generation of the journal.
    #[error(
        "the lake has taken records of the journal's generation {newest}, this journal is generation {generation}: what is left in it would come out of order;          bring it over with `tidegate journal copy`, or set the generation of the journal that is in use now"
    )]
    Overtaken {
        /// The newest that the lake has records of.
        newest: u32,
        /// This journal's.
        generation: u32,
    },
    /// A table has no longer all versions that others have read of it.
    #[error(
        "the log of {table} ends at version {newest}, and {reader} has read it up to version {through}: its newest files are gone; bring them back into its folder `_delta_log`, or put a copy of the whole lake \
         in place; nothing was changed"
    )]
    Lost {
        /// The table.
        table: String,
        /// Its newest version.
        newest: i64,
        /// Who has read more.
        reader: String,
        /// Up to which version.
        through: i64,
    },
    /// A table that was there a moment ago is not found: the store shows what it has late.
    #[error("the table {0} is not found, and was there a moment ago: the store shows late what it has")]
    Unlisted(String),
    /// The lake has no such table yet.
    #[error(
        "the lake at {location} has no table {table}: nothing has been written to it yet, or this is another folder; start `tidegate serve` on it first"
    )]
    NoTable {
        /// Where the lake is.
        location: String,
        /// The table.
        table: String,
    },
    /// A setting cannot be used.
    #[error("{0}")]
    Setting(String),
    /// A thread of this program panicked.
    #[error("the stage {0} panicked; please report it with the log")]
    Panicked(&'static str),
}

impl Error {
    /// What the caller is to do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Lake(error) => match error.kind() {
                lake::ErrorKind::Retry | lake::ErrorKind::Conflict | lake::ErrorKind::Fenced | lake::ErrorKind::Missing => ErrorKind::Retry,
                lake::ErrorKind::Schema | lake::ErrorKind::Fatal => ErrorKind::Fatal,
            },
            Self::Journal(error) => match error.kind() {
                journal::ErrorKind::Full | journal::ErrorKind::Unavailable => ErrorKind::Retry,
                journal::ErrorKind::TooLarge | journal::ErrorKind::Trimmed | journal::ErrorKind::Corrupt | journal::ErrorKind::Closed => {
                    ErrorKind::Fatal
                }
            },
            Self::Index(error) => match error.kind() {
                dedup::ErrorKind::Unavailable => ErrorKind::Retry,
                dedup::ErrorKind::Misconfigured => ErrorKind::Setting,
                dedup::ErrorKind::Locked | dedup::ErrorKind::Corrupt => ErrorKind::Fatal,
            },
            Self::Query { .. } | Self::Memory { .. } | Self::Model { .. } | Self::Unlisted(_) => ErrorKind::Retry,
            Self::Setting(_) | Self::NoTable { .. } | Self::Overtaken { .. } => ErrorKind::Setting,
            Self::Medallion(_)
            | Self::DeadLetter { .. }
            | Self::Info { .. }
            | Self::Gap { .. }
            | Self::Foreign { .. }
            | Self::Unrelated { .. }
            | Self::Lost { .. }
            | Self::Panicked(_) => ErrorKind::Fatal,
        }
    }

    /// For `map_err` on queries.
    pub(crate) fn query(purpose: &str) -> impl FnOnce(DataFusionError) -> Self {
        move |source| Self::Query { purpose: purpose.to_owned(), source: Box::new(source) }
    }
}
