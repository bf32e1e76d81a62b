//! What can be wrong with a statement, and what to do about it.

use std::fmt;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// It is not SQL.
    Syntax,
    /// It names a table that is not there.
    NoTable,
    /// It names a column that is not there, or that several tables have.
    NoColumn,
    /// It calls a function that is not there, or not with these arguments.
    NoFunction,
    /// It would do something else than read.
    NotReading,
    /// It cannot be planned, or what it computes cannot be computed.
    Invalid,
    /// It needs more memory or disk than queries may have.
    Memory,
    /// It took longer than a statement may.
    Timeout,
    /// Its answer is larger than may be sent at once.
    TooLarge,
    /// Whoever asked wants no answer any more.
    Cancelled,
    /// The lake cannot be read now.
    Store,
    /// A fault of this program.
    Fault,
}

/// An error of a statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What is wrong, without the hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The code that Postgres has for it (its documentation, appendix A).
    pub fn sqlstate(&self) -> &'static str {
        match self.kind {
            ErrorKind::Syntax => "42601",
            ErrorKind::NoTable => "42P01",
            ErrorKind::NoColumn => "42703",
            ErrorKind::NoFunction => "42883",
            ErrorKind::NotReading => "25006",
            ErrorKind::Invalid => "22000",
            ErrorKind::Memory => "53200",
            ErrorKind::Timeout | ErrorKind::Cancelled => "57014",
            ErrorKind::TooLarge => "54000",
            ErrorKind::Store => "58030",
            ErrorKind::Fault => "XX000",
        }
    }

    /// The name of the kind in metrics.
    pub(crate) fn label(&self) -> &'static str {
        match self.kind {
            ErrorKind::Syntax => "syntax",
            ErrorKind::NoTable => "no_table",
            ErrorKind::NoColumn => "no_column",
            ErrorKind::NoFunction => "no_function",
            ErrorKind::NotReading => "not_reading",
            ErrorKind::Invalid => "invalid",
            ErrorKind::Memory => "memory",
            ErrorKind::Timeout => "timeout",
            ErrorKind::TooLarge => "too_large",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::Store => "store",
            ErrorKind::Fault => "fault",
        }
    }

    pub(crate) fn not_reading(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotReading, what).with_hint("a query only reads: SELECT, WITH, VALUES, SHOW, DESCRIBE and EXPLAIN")
    }

    /// What DataFusion says, with the tables there are at hand.
    pub(crate) fn of(error: &DataFusionError, tables: &[String]) -> Self {
        if let Some(own) = own(error) {
            return own.clone();
        }
        let root = error.find_root();
        let message = without_prefix(one_line(&root.strip_backtrace()));
        let is_spilled_over = message.contains("spilling") && message.contains("exceeded the allowable limit");
        match root {
            _ if is_spilled_over => Self::memory(message),
            DataFusionError::SQL(error, _) => Self::new(ErrorKind::Syntax, syntax(error)),
            DataFusionError::SchemaError(schema, _) => {
                let kind = match schema.as_ref() {
                    SchemaError::FieldNotFound { .. } | SchemaError::AmbiguousReference { .. } => ErrorKind::NoColumn,
                    SchemaError::DuplicateQualifiedField { .. } | SchemaError::DuplicateUnqualifiedField { .. } => ErrorKind::Invalid,
                };
                Self::new(kind, message)
            }
            DataFusionError::Plan(_) => Self::of_plan(message, tables),
            DataFusionError::NotImplemented(_) | DataFusionError::Configuration(_) | DataFusionError::Execution(_) => {
                Self::new(ErrorKind::Invalid, message)
            }
            DataFusionError::ArrowError(..) => Self::new(ErrorKind::Invalid, message),
            DataFusionError::ResourcesExhausted(_) => Self::memory(message),
            DataFusionError::IoError(_) | DataFusionError::ObjectStore(_) | DataFusionError::ParquetError(_) => {
                Self::new(ErrorKind::Store, message)
            }
            DataFusionError::External(_) => Self::new(ErrorKind::Store, message),
            _ => Self::new(ErrorKind::Fault, message).with_hint("please report it with the statement"),
        }
    }

    fn memory(message: String) -> Self {
        let hint = "ask for fewer rows or columns, for fewer days, or give lake.query_memory_bytes_max and lake.query_spill_bytes_max more";
        Self::new(ErrorKind::Memory, message).with_hint(hint)
    }

    /// DataFusion has but one kind of error for most of what planning finds.
    fn of_plan(message: String, tables: &[String]) -> Self {
        if message.contains("DDL not supported") || message.contains("DML not supported") || message.contains("Statement not supported") {
            return Self::not_reading(message);
        }
        if message.contains("Invalid function") || message.contains("No function matches") {
            return Self::new(ErrorKind::NoFunction, message);
        }
        if message.contains("table '") && message.contains("not found") {
            let hint = if tables.is_empty() {
                "the lake has no tables yet: `tidegate serve` makes them when it starts; is this the right --data or --lake?".to_owned()
            } else {
                format!("there are {}", tables.join(", "))
            };
            return Self::new(ErrorKind::NoTable, message).with_hint(hint);
        }
        Self::new(ErrorKind::Invalid, message)
    }
}

impl From<lake::Error> for Error {
    fn from(error: lake::Error) -> Self {
        Self::new(ErrorKind::Store, error.to_string())
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

/// The error of ours that went through DataFusion.
fn own(error: &DataFusionError) -> Option<&Error> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(own) = error.downcast_ref::<Error>() {
            return Some(own);
        }
        next = match error.downcast_ref::<DataFusionError>() {
            Some(DataFusionError::External(inner)) => Some(inner.as_ref()),
            _ => error.source(),
        };
    }
    None
}

/// What the parser says, without its own name.
pub(crate) fn syntax(error: &ParserError) -> String {
    match error {
        ParserError::TokenizerError(what) | ParserError::ParserError(what) => what.clone(),
        ParserError::RecursionLimitExceeded => "the statement is nested too deeply".to_owned(),
    }
}

/// DataFusion begins with the stage that found it, which helps nobody.
fn without_prefix(message: String) -> String {
    let prefixes = [
        "Error during planning: ",
        "Schema error: ",
        "Execution error: ",
        "Arrow error: ",
        "This feature is not implemented: ",
        "Io error: ",
    ];
    prefixes.iter().find_map(|prefix| message.strip_prefix(prefix)).map(str::to_owned).unwrap_or(message)
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}
