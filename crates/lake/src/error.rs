//! What can go wrong with the lake, and what the caller is to do.

use deltalake::DeltaTableError;
use deltalake::ObjectStoreError;

/// What the caller is to do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The store failed, or nobody can tell whether a commit was taken. Wait, refresh the table, ask for the progress again and go on from there.
    Retry,
    /// Another writer changed what this commit was decided on. Refresh the table and decide again.
    Conflict,
    /// Another writer has made the progress that this commit claims. Nothing was written: stop, or ask for the progress again and start from it.
    Fenced,
    /// The rows or the specification do not fit the table. The code or the table has to change.
    Schema,
    /// What was asked for is not there, or no longer.
    Missing,
    /// Damaged data, or a wrong setting. A person has to look; the message says where.
    Fatal,
}

/// An error of the lake.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error("cannot {doing}: {source}")]
    Store {
        /// What was being done.
        doing: String,
        /// What the store said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Every answer to the commit was an error, so it may or may not be in the log.
    #[error("it is not known whether the commit to {table} was taken, refresh the table and ask for its progress: {source}")]
    Unsettled {
        /// The table.
        table: String,
        /// What the store said last.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another writer was faster.
    #[error("another writer changed {table}: {what}")]
    Conflict {
        /// The table.
        table: String,
        /// What it changed.
        what: String,
    },
    /// Another writer has this progress.
    #[error(
        "another writer moved the progress of {app_id} in {table}: it was {} when last asked for, it is {}, {}",
        text(.expected),
        text(.found),
        asked.map_or_else(|| "and the commit relies on it".to_owned(), |asked| format!("the commit would set {asked}"))
    )]
    Fenced {
        /// The table.
        table: String,
        /// Whose progress.
        app_id: String,
        /// What this handle last told its owner.
        expected: Option<i64>,
        /// What the table says.
        found: Option<i64>,
        /// What the commit would have set; `None` where it only relied on it.
        asked: Option<i64>,
    },
    /// Rows or specification do not fit.
    #[error("{table} does not take this: {what}")]
    Schema {
        /// The table.
        table: String,
        /// What does not fit, and what to do.
        what: String,
    },
    /// Not there, or no longer.
    #[error("{0}")]
    Missing(String),
    /// Stored data is damaged.
    #[error("damaged data in {place}: {what}")]
    Damaged {
        /// The table and version or file.
        place: String,
        /// What is wrong there.
        what: String,
    },
    /// A setting is wrong.
    #[error("{0}")]
    Setting(String),
}

impl Error {
    /// What the caller is to do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Store { .. } | Self::Unsettled { .. } => ErrorKind::Retry,
            Self::Conflict { .. } => ErrorKind::Conflict,
            Self::Fenced { .. } => ErrorKind::Fenced,
            Self::Schema { .. } => ErrorKind::Schema,
            Self::Missing(_) => ErrorKind::Missing,
            Self::Damaged { .. } | Self::Setting(_) => ErrorKind::Fatal,
        }
    }

    pub(crate) fn store(doing: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Store { doing: doing.into(), source: source.into() }
    }

    /// What the Delta library said, sorted by what the caller can do about it.
    pub(crate) fn delta(doing: impl Into<String>, source: DeltaTableError) -> Self {
        match source {
            DeltaTableError::ObjectStore { source } => Self::object(doing, source),
            DeltaTableError::InvalidJsonLog { version, line, json_err } => {
                Self::Damaged { place: format!("log version {version} ({line})"), what: json_err.to_string() }
            }
            other => Self::store(doing, other),
        }
    }

    /// What the object store said.
    pub(crate) fn object(doing: impl Into<String>, source: ObjectStoreError) -> Self {
        match source {
            ObjectStoreError::NotFound { path, .. } => Self::Missing(format!("cannot {}: {path} is not there", doing.into())),
            other => Self::store(doing, other),
        }
    }

    pub(crate) fn schema(table: &str, what: impl Into<String>) -> Self {
        Self::Schema { table: table.to_owned(), what: what.into() }
    }
}

fn text(version: &Option<i64>) -> String {
    version.map_or_else(|| "unset".to_owned(), |version| version.to_string())
}
