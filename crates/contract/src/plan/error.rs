//! Why a text is no plan.

use std::fmt;

/// Why a text is no plan, and where. Shown as `plan.yaml:12:5: types.conversion.properties.price: … `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{filename}{}: {}{message}", Place(*line_and_column), Inside(path))]
pub struct Error {
    filename: String,
    line_and_column: Option<(u64, u64)>,
    path: String,
    message: String,
}

impl Error {
    pub(super) fn new(filename: &str, line_and_column: Option<(u64, u64)>, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { filename: filename.to_owned(), line_and_column, path: path.into(), message: message.into() }
    }

    /// The line and the column of the problem, or of the event type that it is in, both from 1. `None` where the problem has no place.
    pub fn line_and_column(&self) -> Option<(u64, u64)> {
        self.line_and_column
    }

    /// Where in the plan the problem is, as names joined by dots, such as `types.conversion.properties.price`; empty where the text could not be read.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong and what to do.
    pub fn message(&self) -> &str {
        &self.message
    }
}

struct Place(Option<(u64, u64)>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |(line, column)| write!(f, ":{line}:{column}"))
    }
}

struct Inside<'a>(&'a str);

impl fmt::Display for Inside<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{}: ", self.0) }
    }
}
