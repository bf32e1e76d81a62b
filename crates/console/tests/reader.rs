//! Statements over a real lake.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use console::{Config, Error, ErrorKind, Reader};
use contract::Plan;
use futures::TryStreamExt as _;
use lake::{Commit, Lake, Options, TableSpec};
use tempfile::TempDir;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, false), Field::new("n", DataType::Int64, false)]))
}

async fn lake(folder: &TempDir, options: Options) -> Lake {
    Lake::open(folder.path().to_str().unwrap(), options).await.unwrap()
}

async fn add(lake: &Lake, name: &str, numbers: std::ops::Range<i64>) {
    let ids: ArrayRef = Arc::new(numbers.clone().map(|n| Some(format!("id-{n:08}"))).collect::<StringArray>());
    let rows = RecordBatch::try_new(schema(), vec![ids, Arc::new(Int64Array::from_iter_values(numbers))]).unwrap();
    let mut table = lake.table(&TableSpec::new(name, schema(), &[])).await.unwrap();
    table.append(vec![rows], Commit::default()).await.unwrap();
}

async fn ask(reader: &Reader, sql: &str) -> Result<Vec<RecordBatch>, Error> {
    reader.ask(sql).await?.try_collect().await.map_err(|error| reader.explain(&error))
}

async fn count(reader: &Reader, sql: &str) -> usize {
    ask(reader, sql).await.unwrap().iter().map(RecordBatch::num_rows).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_statement_sees_the_tables_as_they_are() {
    let folder = TempDir::new().unwrap();
    let lake = lake(&folder, Options::default()).await;
    let reader = Reader::new(lake.clone(), Arc::new(Plan::built_in()), Config::default()).unwrap();
    assert_eq!(count(&reader, "SELECT 1").await, 1, "also a lake without tables can be asked");
    let error = ask(&reader, "SELECT * FROM silver.events").await.unwrap_err();
    assert_eq!((error.kind(), error.hint().unwrap().contains("no tables yet")), (ErrorKind::NoTable, true));

    add(&lake, "gold.days", 0..10).await;
    assert_eq!(count(&reader, "SELECT * FROM gold.days").await, 10);
    add(&lake, "gold.days", 10..15).await;
    add(&lake, "ledger", 0..3).await;
    add(&lake, "silver_v2.events", 0..2).await;
    assert_eq!(count(&reader, "SELECT * FROM gold.days a JOIN gold.days b ON a.id = b.id").await, 15);
    assert_eq!(count(&reader, "SELECT * FROM ledger UNION ALL SELECT * FROM silver_v2.events").await, 5);
    assert_eq!(reader.tables().await.unwrap(), ["gold.days", "ledger", "silver_v2.events"]);
    assert_eq!(reader.columns().await.unwrap(), ["id", "n"]);
    lake.remove("gold.days").await.unwrap();
    assert_eq!(ask(&reader, "SELECT * FROM gold.days").await.unwrap_err().kind(), ErrorKind::NoTable);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_a_kind_and_say_what_to_do() {
    let folder = TempDir::new().unwrap();
    let little = lake(&folder, Options { query_memory_bytes_max: 1 << 20, query_spill_bytes_max: 1, ..Options::default() }).await;
    add(&little, "ledger", 0..200_000).await;
    let reader = Reader::new(little, Arc::new(Plan::built_in()), Config::default()).unwrap();
    let config = Config { timeout: Duration::from_secs(1), ..Config::default() };
    let hasty = Reader::new(lake(&folder, Options::default()).await, Arc::new(Plan::built_in()), config).unwrap();
    for (sql, kind, code, says) in [
        ("SELEC 1", ErrorKind::Syntax, "42601", "Expected: an SQL statement"),
        ("SELECT 'a", ErrorKind::Syntax, "42601", "Unterminated"),
        ("SELECT * FROM ledgr", ErrorKind::NoTable, "42P01", "there are ledger"),
        ("SELECT m FROM ledger", ErrorKind::NoColumn, "42703", "Valid fields are"),
        ("SELECT fo(1)", ErrorKind::NoFunction, "42883", "fo"),
        ("SELECT n / 0 FROM ledger", ErrorKind::Invalid, "22000", "Divide by zero"),
        ("SELECT CAST('x' AS BIGINT)", ErrorKind::Invalid, "22000", "'x'"),
        ("INSERT INTO ledger VALUES ('a', 1)", ErrorKind::NotReading, "25006", "only reads"),
        ("CREATE TABLE a AS SELECT 1", ErrorKind::NotReading, "25006", "only reads"),
        ("COPY ledger TO 'x.csv'", ErrorKind::NotReading, "25006", "only reads"),
        ("SET datafusion.execution.batch_size = 1", ErrorKind::NotReading, "25006", "only reads"),
        ("SELECT count(*) FROM (SELECT DISTINCT id, n FROM ledger)", ErrorKind::Memory, "53200", "query_memory_bytes_max"),
        ("SELECT count(*) FROM generate_series(1, 1000000000000) AS t(a) WHERE a % 3 = 1", ErrorKind::Timeout, "57014", "query.timeout"),
    ] {
        let reader = if kind == ErrorKind::Timeout { &hasty } else { &reader };
        let error = ask(reader, sql).await.map(|_| sql).unwrap_err();
        assert_eq!((error.kind(), error.sqlstate()), (kind, code), "{sql}: {error}");
        assert!(error.to_string().contains(says), "{sql}: {error}");
        assert!(!error.to_string().contains('\n'), "{sql}: {error}");
    }
    assert_eq!(count(&reader, "SELECT * FROM ledger LIMIT 5").await, 5, "and the next one is answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_run_at_a_time_than_may() {
    let folder = TempDir::new().unwrap();
    let lake = lake(&folder, Options::default()).await;
    add(&lake, "ledger", 0..20_000).await;
    let config = Config { timeout: Duration::from_millis(1_500), concurrency_max: 1 };
    let reader = Reader::new(lake, Arc::new(Plan::built_in()), config).unwrap();
    let mut first = reader.ask("SELECT * FROM ledger").await.unwrap();
    assert!(first.try_next().await.unwrap().is_some());
    // The first has the only place, and its reader has gone for a walk: until its time is up.
    let second = tokio::time::timeout(Duration::from_millis(200), count(&reader, "SELECT 1")).await;
    assert!(second.is_err(), "it should wait");
    assert_eq!(count(&reader, "SELECT 1").await, 1);
    assert_eq!(reader.explain(&first.try_collect::<Vec<_>>().await.unwrap_err()).kind(), ErrorKind::Timeout);
}
