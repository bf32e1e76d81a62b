use super::*;

fn read(lines: &[&str]) -> Result<Entry, Error> {
    parse("t", 3, &Bytes::from(lines.join("\n")))
}

const INFO: &str =
    r#"{"commitInfo":{"timestamp":1,"operation":"WRITE","userMetadata":"{\"tidegate\":{\"stage\":\"bronze\",\"commit_id\":\"x\"}}"}}"#;

#[test]
fn a_version_is_read_into_what_matters() {
    let entry = read(&[
        INFO,
        r#"{"add":{"path":"d=a%20b/1.parquet","partitionValues":{"d":"a b"},"size":10,"modificationTime":1,"dataChange":true,"stats":"{\"numRecords\":3}"}}"#,
        r#"{"add":{"path":"2.parquet","partitionValues":{"d":null},"size":20,"modificationTime":1,"dataChange":false}}"#,
        r#"{"remove":{"path":"0.parquet","dataChange":true}}"#,
        r#"{"remove":{"path":"d=a/1.parquet","dataChange":true,"partitionValues":{"d":"a"},"extendedFileMetadata":true}}"#,
        r#"{"remove":{"path":"joined.parquet","dataChange":false}}"#,
        r#"{"txn":{"appId":"a","version":5}}"#,
    ])
    .unwrap();
    assert_eq!(entry.commit_id(), Some("x"));
    assert_eq!(entry.progress, [("a".to_owned(), 5)]);
    assert_eq!(entry.removes, ["0.parquet", "d=a/1.parquet", "joined.parquet"]);
    let gone = |path: &str, values: Option<&str>| Removed {
        path: path.to_owned(),
        partition_values: values.map(|value| [("d".to_owned(), Some(value.to_owned()))].into()),
    };
    let changes = entry.clone().into_changes();
    assert_eq!(changes.removed, [gone("0.parquet", None), gone("d=a/1.parquet", Some("a"))], "joining files removes no rows");
    assert_eq!(changes.added.len(), 1);
    assert!(!entry.reshapes);
    let added = entry.into_added();
    assert_eq!(added.len(), 1, "a file that changes no data adds no rows");
    assert_eq!((added[0].path.as_str(), added[0].rows, added[0].bytes, added[0].version), ("d=a b/1.parquet", Some(3), 10, 3));
    assert_eq!(added[0].partition_values, [("d".to_owned(), Some("a b".to_owned()))].into());
    assert_eq!(added[0].info.get("stage"), Some(&Value::from("bronze")));
}

#[test]
fn commits_of_others_have_nothing_of_ours() {
    let entry = read(&[
        r#"{"commitInfo":{"operation":"WRITE","userMetadata":"loaded by hand"}}"#,
        r#"{"add":{"path":"1","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}"#,
    ]);
    let entry = entry.unwrap();
    assert_eq!((entry.commit_id(), entry.info.len()), (None, 0));
    assert_eq!(entry.into_added()[0].rows, None);
    assert!(read(&[r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#]).unwrap().reshapes);
}

#[test]
fn damage_is_named() {
    for lines in [&[][..], &[INFO, r#"{"add":{"path":"#][..], &["\0\0\0\0"][..]] {
        let error = read(lines).unwrap_err();
        assert!(matches!(&error, Error::Damaged { place, .. } if place == "version 3 of t"), "{error}");
    }
}

#[test]
fn the_latest_instant_is_in_the_statistics() {
    let check = |stats: &str, expect: Option<i64>| assert_eq!(newest(stats, "at"), expect, "{stats}");
    check(r#"{"numRecords":3,"maxValues":{"at":"2026-11-23T10:00:00.123Z","n":7}}"#, Some(1_795_428_000_123_000));
    check(r#"{"maxValues":{"at":"1969-12-31T23:59:59.999Z"}}"#, Some(-1_000));
    check(r#"{"maxValues":{"n":7}}"#, None);
    check(r#"{"maxValues":{"at":7}}"#, None);
    check("{", None);
}
