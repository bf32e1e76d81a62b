//! The models of Gold: each a query in plain SQL, with what it says of itself in the comment above it.
//!
//! ```sql
//! -- What happened each day, by source and event type.
//! --
//! -- grain: a day, source and event type
//! -- keys: event_date, source, event_type
//! -- reads: silver.events
//! SELECT event_date, source, event_type, count(*) AS events
//! FROM silver.events
//! GROUP BY event_date, source, event_type
//! ```
//!
//! A model's table is partitioned by one column, its first key unless `partition` names another, and is made anew by whole partitions. What a partition hangs on is said by
//! `reads`, a line for each table: the same partition of that table, or, where the column is a date, some days `before` and `after` it. The query is asked with no more in view
//! than the partitions to make need, and only those are taken of its answer; so it must give a partition the same rows whatever else is in view. The partitions that are being made
//! are in the table `partitions`, for a query that would else go through all days there are to make one of them. It is written in what DataFusion and Spark both run.
//!
//! Funnels and retention are declared and not written: [`Declared`] makes their SQL.

use std::time::Duration;

mod declared;
pub mod experiment;
mod header;
mod models;
pub mod reach;
#[cfg(test)]
mod tests;

pub use declared::{Condition, Declared, Funnel, Retention, Step};
pub use models::built_in;

/// The schema of the models' tables.
pub const SCHEMA: &str = "gold";

/// One table of Gold and the query that makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The table's name, such as `gold.activity_by_day`.
    pub name: String,
    /// What it is for, in words.
    pub about: String,
    /// What one row stands for.
    pub grain: String,
    /// The columns that no two rows have the same values of. Nulls are equal here.
    pub keys: Vec<String>,
    /// The column that the table is partitioned by.
    pub partition_by: String,
    /// The tables it reads, and how much of them a partition hangs on.
    pub reads: Vec<Input>,
    /// How often it is made anew at most while events come; zero is as often as anything changes.
    pub every: Duration,
    /// The query.
    pub sql: String,
}

/// A table that a model reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its name.
    pub table: String,
    /// Which partitions of it one of the model hangs on.
    pub span: Span,
}

/// Which partitions of a table one of the model hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// All of them.
    Whole,
    /// The same one, and, where the column is a date, those of so many days before and after it; `None`: of all days there are.
    Days {
        /// Days before it.
        before: Option<u32>,
        /// Days after it.
        after: Option<u32>,
    },
}

impl Span {
    /// The same partition, and no other.
    pub const SAME: Self = Self::Days { before: Some(0), after: Some(0) };
}

/// What is wrong with a model's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ModelError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub what: String,
}

impl Model {
    /// Reads the model of the table `gold.{name}` from its text.
    ///
    /// # Errors
    /// The first thing that is wrong with it, with its line. The SQL itself is judged by whoever runs it.
    pub fn parse(name: &str, text: &str) -> Result<Self, ModelError> {
        header::parse(name, text)
    }

    /// A number that changes when what the model makes may change: its query, what it reads, its keys or its partitions.
    pub fn definition(&self) -> u64 {
        let Self { keys, partition_by, reads, sql, .. } = self;
        let hash = blake3::hash(format!("{keys:?}\n{partition_by}\n{reads:?}\n{sql}").as_bytes());
        hash.as_bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}
