//! What can go wrong with a whole batch. What is wrong with one event is never an error here: it is a dead letter.

use arrow::error::ArrowError;

/// What the caller is to do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The rows are not those of the table they should come from. A person has to look; the message names the column.
    Schema,
    /// Too much at once. Give the same rows in smaller batches.
    TooLarge,
    /// A fault of the calling code.
    Misuse,
}

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A column is missing, of another type, or has nulls where it may not.
    #[error("column {column:?} is not as {table} has it: {problem}")]
    Column {
        /// The table whose schema the batch should have.
        table: &'static str,
        /// The column.
        column: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The texts and payloads of one batch exceed what one Arrow array may hold.
    #[error("a batch of {bytes} bytes is over the limit of {limit} bytes: give fewer rows at a time")]
    TooLarge {
        /// Bytes of payloads and envelopes.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// A place in the journal that the tables have no number for.
    #[error("the journal position {0} does not fit the columns of Bronze")]
    Position(contract::Position),
    /// A newer version of this program wrote a record of the journal.
    #[error(
        "the journal's record {position} has a receipt of version {found}, this program knows it up to version {}: a newer Tidegate wrote it; start that one, the record waits in the journal",
        contract::RECEIPT_VERSION
    )]
    NewerReceipt {
        /// Its place.
        position: contract::Position,
        /// The version of its receipt.
        found: u32,
    },
    /// [`crate::silver::choose`] was given another number of answers than it has candidates.
    #[error("{answers} answers for {candidates} candidates: ask the index for each key, in order")]
    Answers {
        /// How many candidates there are.
        candidates: usize,
        /// How many answers were given.
        answers: usize,
    },
    /// Arrow refused what this crate made.
    #[error("arrow refuses a batch: {0}")]
    Arrow(#[source] ArrowError),
    /// Counts in a commit that cannot be read.
    #[error("not the counts of a commit: {0}")]
    Counts(String),
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::OffsetOverflowError(bytes) => Self::TooLarge { bytes, limit: crate::columns::BYTES_MAX },
            other => Self::Arrow(other),
        }
    }
}

impl Error {
    /// What the caller is to do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Column { .. } | Self::Counts(_) | Self::NewerReceipt { .. } => ErrorKind::Schema,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Position(_) | Self::Answers { .. } | Self::Arrow(_) => ErrorKind::Misuse,
        }
    }
}
