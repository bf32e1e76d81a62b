//! The SQL of Gold: one file a model, over Silver.
//!
//! The SQL is for DataFusion and kept plain. Each model is partitioned by one column, and a partition hangs on nothing but the rows of the table read that
//! have its value; so where something changed, whole partitions are made anew and the others stay. `{partitions}` in the SQL is the place for the condition
//! that says which.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

const HOLE: &str = "{partitions}";

/// One table of Gold.
#[derive(Debug)]
pub struct Model {
    /// The table's name.
    pub name: &'static str,
    /// A `SELECT` of the table's columns in their order, with `{partitions}` for a condition on [`Model::partition_by`].
    pub sql: &'static str,
    /// The column that the table is partitioned by. The table read has it too.
    pub partition_by: &'static str,
    /// The table read.
    pub reads: &'static str,
    columns: fn() -> Vec<Field>,
}

impl Model {
    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new((self.columns)()))
    }

    /// The SQL for the partitions that `condition` holds for, such as `event_date = DATE '2026-11-23'`; `TRUE` makes all.
    pub fn sql_where(&self, condition: &str) -> String {
        self.sql.replace(HOLE, condition)
    }
}

/// All models.
pub fn models() -> &'static [Model] {
    &MODELS
}

static MODELS: [Model; 3] = [
    Model {
        name: "gold.activity_by_minute",
        sql: include_str!("../gold/activity_by_minute.sql"),
        partition_by: "event_date",
        reads: "silver.events",
        columns: activity_by_minute,
    },
    Model {
        name: "gold.activity_by_day",
        sql: include_str!("../gold/activity_by_day.sql"),
        partition_by: "event_date",
        reads: "silver.events",
        columns: activity_by_day,
    },
    Model {
        name: "gold.experiment_subjects",
        sql: include_str!("../gold/experiment_subjects.sql"),
        partition_by: "experiment_id",
        reads: "silver.exposures",
        columns: experiment_subjects,
    },
];

fn activity_by_minute() -> Vec<Field> {
    let mut fields = vec![some("event_date", DataType::Date32), some("minute", instant()), some("source", TEXT), some("event_type", TEXT)];
    fields.extend(["events", "users", "bots", "late"].map(number));
    fields
}

fn activity_by_day() -> Vec<Field> {
    let mut fields = vec![some("event_date", DataType::Date32), some("source", TEXT), some("event_type", TEXT)];
    fields.extend(["events", "users", "sessions", "bots", "late"].map(number));
    fields
}

fn experiment_subjects() -> Vec<Field> {
    let mut fields: Vec<Field> = ["experiment_id", "subject_type", "subject_id", "variation_id"].map(|name| some(name, TEXT)).into();
    fields.extend([some("first_exposure_at", instant()), number("exposures"), number("variations")]);
    fields.extend(["contaminated", "is_bot"].map(|name| some(name, DataType::Boolean)));
    fields
}

const TEXT: DataType = DataType::Utf8;

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(crate::columns::UTC.into()))
}

fn some(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

fn number(name: &str) -> Field {
    some(name, DataType::Int64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_whole() {
        for model in models() {
            assert_eq!(model.sql.matches(HOLE).count(), 1, "{}", model.name);
            assert!(model.sql.contains(&format!("FROM {}", model.reads)), "{}", model.name);
            assert!(model.schema().field_with_name(model.partition_by).is_ok(), "{}", model.name);
            assert!(!model.sql_where("TRUE").contains('{'), "{}", model.name);
            let read = if model.reads == "silver.events" { crate::schema::silver_events() } else { crate::schema::silver_exposures() };
            assert!(read.field_with_name(model.partition_by).is_ok(), "{}", model.name);
        }
    }

    #[test]
    fn columns_stand_in_the_order_of_the_sql() {
        for model in models() {
            let mut rest = model.sql.split_once("SELECT").unwrap().1.split_once("\nFROM").unwrap().0.lines();
            for field in model.schema().fields() {
                let line = rest.by_ref().map(|line| line.trim().trim_end_matches(',')).find(|line| !line.is_empty()).unwrap();
                let name = line.rsplit_once(" AS ").map_or(line, |(_, name)| name);
                assert_eq!(name, field.name(), "{}", model.name);
            }
            assert_eq!(rest.filter(|line| !line.trim().is_empty()).count(), 0, "{}", model.name);
        }
    }
}
