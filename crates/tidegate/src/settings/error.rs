//! Why the settings cannot be used.

use std::path::PathBuf;

use super::layers::Origin;

/// Why the settings cannot be used. Each text says what to change, and where.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file cannot be read.
    #[error("cannot read the settings file {file}: {source}", file = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{file} cannot be understood: {problem}", file = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its place.
        problem: String,
    },
    /// A key that there is not.
    #[error("there is no setting {key} (in {origin}){suggestion}; `tidegate config` lists all settings")]
    UnknownKey {
        /// The key.
        key: String,
        /// Where it was found.
        origin: Origin,
        /// The nearest there is, as the end of the sentence; empty where none is near.
        suggestion: String,
    },
    /// A section where a value is meant, or the other way round.
    #[error("{key} (in {origin}) must be {must}")]
    Shape {
        /// The key.
        key: String,
        /// Where it was found.
        origin: Origin,
        /// What it must be.
        must: &'static str,
    },
    /// A value that its setting cannot take.
    #[error("{key} (in {origin}) cannot be used: {problem}")]
    Value {
        /// The key.
        key: String,
        /// Where the value was found.
        origin: Origin,
        /// What is wrong with it.
        problem: String,
    },
    /// Settings that contradict each other.
    #[error("the settings of [{section}] cannot be used: {problem}")]
    Contradiction {
        /// The section.
        section: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A path that is no text.
    #[error("the path given by {flag} is not UTF-8; use another")]
    NotText {
        /// The flag.
        flag: &'static str,
    },
    /// The program's own defaults cannot be read.
    #[error("the default settings cannot be read: {0}; please report it")]
    Defaults(serde_json::Error),
}
