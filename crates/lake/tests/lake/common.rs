use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Date32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use datafusion::prelude::SessionContext;
use lake::{Commit, Lake, Table, TableSpec};

pub(crate) use crate::place::Place;

/// Tests that hold wherever the lake is: each runs once in a folder, and once in a bucket of a real S3 server.
macro_rules! on_every_store {
    ($($test:ident),+ $(,)?) => {
        mod folder {
            $(#[tokio::test(flavor = "multi_thread")] async fn $test() { super::$test(crate::place::Place::folder()).await })+
        }
        mod bucket {
            $(#[tokio::test(flavor = "multi_thread")] async fn $test() { super::$test(crate::place::Place::bucket()).await })+
        }
    };
}

/// 2026-11-23.
pub(crate) const MONDAY: i32 = 20_780;

pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("n", DataType::Int64, false),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("day", DataType::Date32, false),
        Field::new("payload", DataType::Binary, true),
    ]))
}

pub(crate) fn spec() -> TableSpec {
    TableSpec::new("bronze.events", schema(), &["day"])
}

/// Rows numbered from `first`, one for each of `days`.
pub(crate) fn rows(first: i64, days: &[i32]) -> RecordBatch {
    let numbers: Vec<i64> = (first..).take(days.len()).collect();
    let ids: Vec<String> = numbers.iter().map(|n| format!("event-{n:06}")).collect();
    let times: Vec<i64> = numbers.iter().zip(days).map(|(n, day)| i64::from(*day) * 86_400_000_000 + n * 1_001).collect();
    let payloads: Vec<Option<Vec<u8>>> = numbers.iter().map(|n| (n % 3 != 0).then(|| vec![0, 159, 146, *n as u8])).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(ids)),
        Arc::new(Int64Array::from(numbers)),
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")),
        Arc::new(Date32Array::from(days.to_vec())),
        Arc::new(BinaryArray::from_iter(payloads)),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// So many rows of one day.
pub(crate) fn day_rows(first: i64, count: usize) -> RecordBatch {
    rows(first, &vec![MONDAY; count])
}

pub(crate) fn progress(moves: &[(&str, i64)]) -> Commit {
    let info = serde_json::Map::from_iter([("stage".to_owned(), "test".into())]);
    Commit { progress: moves.iter().map(|(app_id, version)| ((*app_id).to_owned(), *version)).collect(), info, ..Commit::default() }
}

pub(crate) fn numbers(batches: &[RecordBatch]) -> Vec<i64> {
    batches.iter().flat_map(|batch| batch.column_by_name("n").unwrap().as_primitive::<Int64Type>().values().to_vec()).collect()
}

/// All rows ever added to the table, by reading it version by version.
pub(crate) async fn all_added(table: &Table) -> Vec<i64> {
    let files = table.added(-1, table.version()).await.unwrap();
    numbers(&table.read(&files, None).await.unwrap())
}

pub(crate) async fn query(session: &SessionContext, sql: &str) -> Vec<RecordBatch> {
    session.sql(sql).await.unwrap().collect().await.unwrap()
}

/// The number that a query of one row and column gives.
pub(crate) async fn count(session: &SessionContext, sql: &str) -> i64 {
    let batches = query(session, sql).await;
    batches.iter().find(|batch| batch.num_rows() > 0).unwrap().column(0).as_primitive::<Int64Type>().value(0)
}

/// The numbers in the table, as a query sees them now.
pub(crate) async fn visible(lake: &Lake) -> Vec<i64> {
    numbers(&query(&lake.session().await.unwrap(), "select n from bronze.events order by n").await)
}

/// Names of the data files below the table's folder, part of the table or not.
pub(crate) fn data_files(place: &Place) -> Vec<String> {
    fn walk(folder: &std::path::Path, names: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            match entry.file_type().unwrap().is_dir() {
                true if name == "_delta_log" => {}
                true => walk(&entry.path(), names),
                false => names.push(name),
            }
        }
    }
    let mut names = Vec::new();
    walk(&place.files().join("bronze/events"), &mut names);
    names
}

pub(crate) fn nulls(batches: &[RecordBatch], column: &str) -> usize {
    batches.iter().map(|batch| batch.column_by_name(column).unwrap().null_count()).sum()
}
