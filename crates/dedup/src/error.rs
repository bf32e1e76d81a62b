//! What can go wrong with the index, and what the caller is to do.

use std::io;
use std::path::{Path, PathBuf};

/// What the caller is to do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Another process has the folder. Stop it, or use another folder.
    Locked,
    /// A setting makes no sense. Change it.
    Misconfigured,
    /// What is stored is damaged. Rebuild the index from Silver.
    Corrupt,
    /// The medium failed (disk full, permissions, hardware). Nothing that was answered is wrong; the same call may be made again.
    Unavailable,
}

/// An error of the index.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the folder.
    #[error("the index in {} is in use by another process; stop that process first", dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// A setting makes no sense.
    #[error("the index's setting {name} must be {must}")]
    Misconfigured {
        /// The setting.
        name: &'static str,
        /// What it must be.
        must: &'static str,
    },
    /// What is stored is damaged.
    #[error("the index file {} is damaged ({what}); rebuild the index from Silver", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The medium failed.
    #[error("the index cannot {doing} {}: {source}", file.display())]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// With which file or folder.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// What the caller is to do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Locked { .. } => ErrorKind::Locked,
            Self::Misconfigured { .. } => ErrorKind::Misconfigured,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Unavailable { .. } => ErrorKind::Unavailable,
        }
    }

    pub(crate) fn corrupt(file: &Path, what: impl Into<String>) -> Self {
        Self::Corrupt { file: file.to_owned(), what: what.into() }
    }

    /// For `map_err` on writes: the medium failed.
    pub(crate) fn unavailable(doing: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Unavailable { doing, file: file.to_owned(), source }
    }

    /// For `map_err` on reads of a file that the manifest promises: one that is gone or too short is damage, anything else is the medium.
    pub(crate) fn unreadable(file: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::NotFound => Self::corrupt(file, "it is missing"),
            io::ErrorKind::UnexpectedEof => Self::corrupt(file, "it is too short"),
            _ => Self::Unavailable { doing: "read", file: file.to_owned(), source },
        }
    }
}
