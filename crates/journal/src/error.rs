//! What can go wrong with a journal, and what the caller is to do.

use std::path::PathBuf;

/// What the caller is to do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A bound is reached (disk, queue). Tell the client to wait, and try again later.
    Full,
    /// The records can never be taken: too large.
    TooLarge,
    /// The offset asked for has been trimmed.
    Trimmed,
    /// Stored data is damaged, or of a newer version of this program. A person has to look; the message names the place.
    Corrupt,
    /// The medium failed. The journal takes nothing more until it has recovered.
    Unavailable,
    /// The journal is shutting down.
    Closed,
}

/// An error of a journal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A bound is reached.
    #[error("the journal is full: {0}")]
    Full(String),
    /// A record is over the bound.
    #[error("a record of {bytes} bytes is over the journal's limit of {limit} bytes")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// The offset is gone.
    #[error("partition {partition} begins at offset {start}, offset {asked} has been trimmed")]
    Trimmed {
        /// The partition.
        partition: u32,
        /// The offset asked for.
        asked: u64,
        /// The first that is there.
        start: u64,
    },
    /// Stored data is damaged.
    #[error("damaged data in {file} at byte {at}: {what}", file = file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// The byte in the file.
        at: u64,
        /// What is wrong there.
        what: String,
    },
    /// A file of a newer version of this program. It is left as it is.
    #[error(
        "{file} is of version {found} of its format, this program knows it up to version {known}: a newer Tidegate wrote it; start that one again, nothing here was changed",
        file = file.display()
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// Stored data is damaged, in a journal whose files are somebody else's.
    #[error("damaged data in {place}: {what}")]
    Damaged {
        /// Topic, partition and offset, as far as is known.
        place: String,
        /// What is wrong there.
        what: String,
    },
    /// The medium failed.
    #[error("the journal cannot {doing}: {source}")]
    Unavailable {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Shutting down.
    #[error("the journal is closed")]
    Closed,
}

impl Error {
    /// What the caller is to do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Full(_) => ErrorKind::Full,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Trimmed { .. } => ErrorKind::Trimmed,
            Self::Corrupt { .. } | Self::Damaged { .. } | Self::Newer { .. } => ErrorKind::Corrupt,
            Self::Unavailable { .. } => ErrorKind::Unavailable,
            Self::Closed => ErrorKind::Closed,
        }
    }
}
