use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use lake::{Commit, ErrorKind, Lake, Options, TableSpec};

use crate::common::*;

on_every_store! {
    what_is_written_is_read_to_the_byte,
    progress_is_committed_with_the_rows_and_alone,
    versions_that_are_not_there_are_missing,
    a_table_grows_and_old_files_read_as_null,
    what_does_not_fit_is_refused_and_nothing_is_written,
    partitions_are_replaced_as_a_whole,
    partition_values_may_be_any_text,
}

async fn what_is_written_is_read_to_the_byte(place: Place) {
    let lake = place.lake().await;
    let mut table = lake.table(&spec()).await.unwrap();
    assert_eq!((table.version(), table.name()), (0, "bronze.events"));

    let given = rows(0, &[MONDAY, MONDAY + 1, MONDAY, MONDAY + 1, MONDAY]);
    let made = table.append(vec![given.clone()], progress(&[("a", 5)])).await.unwrap();
    assert_eq!((made.version, made.rows, made.files), (1, 5, 2));
    let encoded = spec().encode(std::slice::from_ref(&given), &Options::default()).unwrap();
    assert_eq!((encoded.len(), encoded.iter().map(|file| file.len() as u64).sum::<u64>()), (2, made.bytes));

    let files = table.added(0, 1).await.unwrap();
    assert_eq!(
        files.iter().map(|file| (file.rows, file.partition_values["day"].as_deref())).collect::<Vec<_>>(),
        [(Some(3), Some("2026-11-23")), (Some(2), Some("2026-11-24"))]
    );
    assert_eq!(files.iter().map(|file| file.bytes).sum::<u64>(), made.bytes);
    assert!(files.iter().all(|file| file.info.get("stage").is_some_and(|stage| stage == "test")));

    let read = table.read(&files, None).await.unwrap();
    let read = concat_batches(&schema(), &read).unwrap();
    let expect = arrow::compute::take_record_batch(&given, &arrow::array::UInt32Array::from(vec![0, 2, 4, 1, 3])).unwrap();
    assert_eq!(read, expect);

    let some = table.read(&files, Some(&["day", "n"])).await.unwrap();
    assert_eq!(some[0].schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), ["day", "n"]);
    assert_eq!(numbers(&some), [0, 2, 4, 1, 3]);
    let only = table.read(&files, Some(&["day"])).await.unwrap();
    assert_eq!(only.iter().map(RecordBatch::num_rows).sum::<usize>(), 5);
    assert_eq!(table.read(&files, Some(&["x"])).await.unwrap_err().kind(), ErrorKind::Schema);
}

async fn progress_is_committed_with_the_rows_and_alone(place: Place) {
    let lake = place.lake().await;
    let mut table = lake.table(&spec()).await.unwrap();
    assert_eq!(table.progress("a").await.unwrap(), None);
    table.append(vec![day_rows(0, 3)], progress(&[("a", 3), ("b", 1)])).await.unwrap();
    table.append(vec![], progress(&[("a", 4)])).await.unwrap();
    let nothing = table.append(vec![], Commit::default()).await.unwrap();
    assert_eq!((nothing.version, table.version()), (2, 2), "nothing to say makes no version");

    let mut other = lake.reader("bronze.events").await.unwrap().unwrap();
    assert_eq!(other.progress("a").await.unwrap(), Some(4));
    assert_eq!(other.progress("b").await.unwrap(), Some(1));
    assert_eq!(other.progress("c").await.unwrap(), None);
    let infos = other.infos(0, 2).await.unwrap();
    assert_eq!(
        infos.iter().map(|(version, info)| (*version, info["stage"].as_str())).collect::<Vec<_>>(),
        [(1, Some("test")), (2, Some("test"))]
    );
    assert!(lake.reader("bronze.nothing").await.unwrap().is_none());
}

async fn versions_that_are_not_there_are_missing(place: Place) {
    let table = place.lake().await.table(&spec()).await.unwrap();
    assert!(table.added(0, 0).await.unwrap().is_empty());
    assert_eq!(table.added(0, 1).await.unwrap_err().kind(), ErrorKind::Missing);
    assert_eq!(table.infos(5, 7).await.unwrap_err().kind(), ErrorKind::Missing);
}

async fn a_table_grows_and_old_files_read_as_null(place: Place) {
    let lake = place.lake().await;
    let mut old = lake.table(&spec()).await.unwrap();
    old.append(vec![day_rows(0, 2)], Commit::default()).await.unwrap();

    let mut fields = schema().fields().to_vec();
    fields.insert(1, Arc::new(Field::new("locale", DataType::Utf8, true)));
    let grown = TableSpec { schema: Arc::new(Schema::new(fields)), ..spec() };
    let mut new = lake.table(&grown).await.unwrap();
    assert_eq!(new.schema().fields().len(), 6);
    let batch = day_rows(2, 2);
    let mut columns: Vec<(String, ArrayRef)> =
        batch.schema().fields().iter().zip(batch.columns()).map(|(field, column)| (field.name().clone(), Arc::clone(column))).collect();
    columns.push(("locale".to_owned(), Arc::new(StringArray::from(vec!["de", "en"]))));
    new.append(vec![RecordBatch::try_from_iter(columns).unwrap()], Commit::default()).await.unwrap();

    // The writer that does not know the column is told once, and goes on without it.
    let refused = old.append(vec![day_rows(4, 1)], Commit::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    old.append(vec![day_rows(4, 1)], Commit::default()).await.unwrap();
    assert_eq!(lake.table(&spec()).await.unwrap().schema().fields().len(), 6, "older software leaves the column alone");

    new.refresh().await.unwrap();
    let read = new.read(&new.added(0, new.version()).await.unwrap(), None).await.unwrap();
    assert_eq!((numbers(&read), nulls(&read, "locale")), (vec![0, 1, 2, 3, 4], 3));
    let session = lake.session().await.unwrap();
    assert_eq!(count(&session, "select count(*) from bronze.events where locale is null").await, 3);
}

async fn what_does_not_fit_is_refused_and_nothing_is_written(place: Place) {
    let lake = place.lake().await;
    let mut table = lake.table(&spec()).await.unwrap();
    let wrong = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
    assert_eq!(table.append(vec![wrong], Commit::default()).await.unwrap_err().kind(), ErrorKind::Schema);
    assert_eq!((table.version(), data_files(&place).len()), (0, 0));

    let check = async |spec: TableSpec| assert_eq!(lake.table(&spec).await.unwrap_err().kind(), ErrorKind::Schema);
    check(TableSpec::new("bronze.events", schema(), &[])).await;
    check(TableSpec::new("bronze.events", Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)])), &[])).await;
    check(TableSpec::new("bronze.other", schema(), &["payload"])).await;
    check(TableSpec::new("bronze.other", schema(), &["missing"])).await;
    assert!(lake.table(&TableSpec::new("../events", schema(), &[])).await.is_err());
    assert_eq!(lake.tables().await.unwrap(), ["bronze.events"]);
}

async fn partitions_are_replaced_as_a_whole(place: Place) {
    let lake = place.lake().await;
    let mut table = lake.table(&spec()).await.unwrap();
    table.append(vec![rows(0, &[MONDAY, MONDAY + 1])], Commit::default()).await.unwrap();
    table.append(vec![rows(2, &[MONDAY, MONDAY + 2])], Commit::default()).await.unwrap();
    let before = lake.session().await.unwrap();

    let days = ["2026-11-23".to_owned(), "2026-11-24".to_owned()];
    let made = table.replace("day", &days, vec![rows(100, &[MONDAY])], progress(&[("gold", 1)])).await.unwrap();
    assert_eq!((made.version, made.rows), (3, 1));
    assert_eq!(visible(&lake).await, [3, 100]);
    assert_eq!(count(&before, "select count(*) from bronze.events").await, 4, "who was reading reads on");

    let outside = table.replace("day", &days, vec![rows(0, &[MONDAY + 9])], Commit::default()).await.unwrap_err();
    assert_eq!(outside.kind(), ErrorKind::Schema);
    for values in [["23.11.2026".to_owned()], [String::new()]] {
        assert_eq!(table.replace("day", &values, vec![], Commit::default()).await.unwrap_err().kind(), ErrorKind::Schema);
    }
    assert_eq!(table.replace("n", &[], vec![], Commit::default()).await.unwrap_err().kind(), ErrorKind::Schema);

    table.replace_all(vec![rows(200, &[MONDAY + 5])], Commit::default()).await.unwrap();
    assert_eq!(visible(&lake).await, [200]);
}

async fn partition_values_may_be_any_text(place: Place) {
    let lake = place.lake().await;
    let schema = Arc::new(Schema::new(vec![Field::new("kind", DataType::Utf8, true), Field::new("n", DataType::Int64, false)]));
    let mut table = lake.table(&TableSpec::new("kinds", Arc::clone(&schema), &["kind"])).await.unwrap();
    let kinds = vec![Some("a b"), Some("../x/%41?#"), Some("ü=1"), None, Some("plain"), Some("__HIVE")];
    let numbers_in: Vec<i64> = (0..kinds.len() as i64).collect();
    let batch = RecordBatch::try_new(schema, vec![Arc::new(StringArray::from(kinds)), Arc::new(Int64Array::from(numbers_in))]).unwrap();
    table.append(vec![batch.clone()], Commit::default()).await.unwrap();

    let read = table.read(&table.added(0, 1).await.unwrap(), None).await.unwrap();
    let session = lake.session().await.unwrap();
    for batches in [read, query(&session, "select kind, n from kinds").await] {
        let sorted = concat_batches(&batch.schema(), &batches).unwrap();
        let order = arrow::compute::sort_to_indices(sorted.column(1), None, None).unwrap();
        assert_eq!(arrow::compute::take_record_batch(&sorted, &order).unwrap(), batch);
    }
    table.replace("kind", &["../x/%41?#".to_owned()], vec![], Commit::default()).await.unwrap();
    assert_eq!(count(&lake.session().await.unwrap(), "select count(*) from kinds").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let location = folder.path().to_str().unwrap();
    for options in [Options { zstd_level: 40, ..Options::default() }, Options { file_rows_max: 0, ..Options::default() }] {
        assert_eq!(Lake::open(location, options).await.unwrap_err().kind(), ErrorKind::Fatal);
    }
    let error = Lake::open("gopher://x/y", Options::default()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Fatal && error.to_string().contains("cannot hold the lake"), "{error}");
    let options: Options = serde_json::from_str(r#"{"log_retention":"3 days","zstd_level":1}"#).unwrap();
    assert_eq!(options.log_retention.as_secs(), 3 * 86_400);
    assert!(serde_json::from_str::<Options>(r#"{"zstd":1}"#).is_err());
}

#[tokio::test]
async fn a_table_of_a_newer_version_is_neither_read_nor_written() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::open(folder.path().to_str().unwrap(), Options::default()).await.unwrap();
    let mut table = lake.table(&spec()).await.unwrap();
    let log = folder.path().join("bronze/events/_delta_log");
    let created = std::fs::read_to_string(log.join("00000000000000000000.json")).unwrap();
    let metadata = created.lines().find(|line| line.starts_with(r#"{"metaData""#)).unwrap();
    let newer = metadata.replacen(r#""configuration":{"#, r#""configuration":{"tidegate.format":"2","#, 1);
    assert_ne!(newer, metadata);
    std::fs::write(log.join("00000000000000000001.json"), format!("{newer}\n")).unwrap();
    let (opened, read) = (lake.table(&spec()).await.unwrap_err(), lake.reader("bronze.events").await.unwrap_err());
    let (queried, refreshed) = (lake.provider("bronze.events").await.err().unwrap(), table.refresh().await.unwrap_err());
    for error in [opened, read, queried, refreshed] {
        assert_eq!(error.kind(), ErrorKind::Schema, "{error}");
        assert!(error.to_string().contains("is of version 2, this program knows it up to version 1"), "{error}");
    }
    assert_eq!(std::fs::read_dir(&log).unwrap().count(), 2, "nothing was changed");
}
