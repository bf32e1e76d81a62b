//! What a table is to look like.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};

use crate::error::Error;
use crate::options::Options;
use crate::{partition, shape, writer};

/// What a table is to look like. [`crate::Lake::table`] makes it so.
#[derive(Debug, Clone)]
pub struct TableSpec {
    /// `bronze.events` lies in the folder `bronze/events`, `ledger` in `ledger`. Lower case letters, digits and underscores, at most one dot.
    pub name: String,
    /// All columns, those it is partitioned by among them. Timestamps are microseconds in UTC.
    pub schema: SchemaRef,
    /// The columns that choose the folder of a row: text, date, integer or boolean.
    pub partition_by: Vec<String>,
    /// The columns that get minimum, maximum and null count in the log. Empty: the first 32 that are not binary.
    pub stats_columns: Vec<String>,
    /// Versions between checkpoints, where it differs from [`crate::Options::checkpoint_interval`].
    pub checkpoint_interval: Option<u64>,
}

impl TableSpec {
    /// A table with the default statistics and checkpoints.
    pub fn new(name: impl Into<String>, schema: SchemaRef, partition_by: &[&str]) -> Self {
        Self {
            name: name.into(),
            schema,
            partition_by: partition_by.iter().map(|column| (*column).to_owned()).collect(),
            stats_columns: Vec::new(),
            checkpoint_interval: None,
        }
    }

    /// The same, with statistics on these columns only.
    #[must_use]
    pub fn with_stats_columns(mut self, columns: &[&str]) -> Self {
        self.stats_columns = columns.iter().map(|column| (*column).to_owned()).collect();
        self
    }

    /// The same, with a checkpoint every so many versions.
    #[must_use]
    pub fn with_checkpoint_interval(mut self, versions: u64) -> Self {
        self.checkpoint_interval = Some(versions);
        self
    }

    /// The Parquet files that [`crate::Table::append`] would put these rows into, as their bytes. Nothing is stored: it is for measuring what encoding takes and comes to.
    ///
    /// # Errors
    /// `Schema` when the rows do not fit.
    pub fn encode(&self, batches: &[RecordBatch], options: &Options) -> Result<Vec<Vec<u8>>, Error> {
        let parts = partition::divide(&self.name, &self.schema, &self.partition_by, batches)?;
        let schema = shape::in_files(&self.schema, &self.partition_by);
        let encoded = writer::encode(&self.name, parts, &schema, &self.stats_columns.clone().into(), options)?;
        Ok(encoded.into_iter().map(|(_, file)| file.bytes).collect())
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        folder(&self.name)?;
        for column in self.partition_by.iter().chain(&self.stats_columns) {
            self.schema.field_with_name(column).map_err(|_| Error::schema(&self.name, format!("it has no column {column}")))?;
        }
        for column in &self.partition_by {
            let data_type = self.schema.field_with_name(column).map(|field| field.data_type()).ok();
            if !data_type.is_some_and(partitions_by) {
                return Err(Error::schema(
                    &self.name,
                    format!("it cannot be partitioned by {column}: use a text, date, integer or boolean column"),
                ));
            }
        }
        if self.schema.fields().len() <= self.partition_by.len() {
            return Err(Error::schema(&self.name, "it needs a column that it is not partitioned by"));
        }
        Ok(())
    }
}

fn partitions_by(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::Date32 | DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Boolean
    )
}

/// The folder of a table below the lake's root, without a slash at either end.
pub(crate) fn folder(name: &str) -> Result<String, Error> {
    let part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_lowercase())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let parts: Vec<&str> = name.split('.').collect();
    if parts.len() > 2 || !parts.iter().all(|name| part(name)) {
        return Err(Error::Setting(format!(
            "`{name}` cannot name a table: use lower case letters, digits and underscores, and at most one dot"
        )));
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::folder;

    #[test]
    fn names_become_folders() {
        let check = |name: &str, expect: Option<&str>| assert_eq!(folder(name).ok().as_deref(), expect, "{name}");
        check("ledger", Some("ledger"));
        check("bronze.events", Some("bronze/events"));
        check("gold.activity_by_day2", Some("gold/activity_by_day2"));
        for bad in ["", ".", "a.", ".a", "a.b.c", "A", "a/b", "../a", "_a", "a b", "1a", "é"] {
            check(bad, None);
        }
    }
}
