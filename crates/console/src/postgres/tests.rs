//! What may run, and who may come in.

use contract::Timestamp;
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use tempfile::TempDir;

use super::guard::judge;
use super::readers::{ReaderFile, ReaderFileError};
use crate::ErrorKind;

#[test]
fn only_what_reads_may_run() {
    let check = |sql: &str, expect: bool| {
        let statements = PostgresCompatibilityParser::new().parse(sql).unwrap();
        let verdict = judge(&statements[0]);
        assert_eq!(verdict.is_ok(), expect, "{sql}: {verdict:?}");
        if let Err(error) = verdict {
            assert_eq!(error.kind(), ErrorKind::NotReading, "{sql}");
        }
    };
    for sql in [
        "SELECT 1",
        "WITH a AS (SELECT 1) SELECT * FROM a UNION SELECT 2",
        "VALUES (1)",
        "EXPLAIN ANALYZE SELECT 1",
        "SHOW search_path",
        "SET search_path TO silver",
        "SET TIME ZONE 'UTC'",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "DECLARE c CURSOR FOR SELECT 1",
        "FETCH 10 FROM c",
        "CLOSE c",
    ] {
        check(sql, true);
    }
    for sql in [
        "INSERT INTO a VALUES (1)",
        "DELETE FROM a",
        "UPDATE a SET b = 1",
        "MERGE INTO a USING b ON a.c = b.c WHEN MATCHED THEN DELETE",
        "TRUNCATE a",
        "DROP TABLE a",
        "ALTER TABLE a ADD COLUMN b int",
        "CREATE TABLE a (b int)",
        "CREATE VIEW a AS SELECT 1",
        "CREATE FUNCTION f() RETURNS int AS 'x' LANGUAGE sql",
        "COPY a TO '/tmp/x'",
        "COPY (SELECT 1) TO '/tmp/x'",
        "SELECT * INTO a FROM b",
        "WITH gone AS (DELETE FROM a RETURNING *) SELECT * FROM gone",
        "SELECT 1 UNION (SELECT * INTO a FROM b)",
        "EXPLAIN INSERT INTO a VALUES (1)",
        "DECLARE c CURSOR FOR INSERT INTO a VALUES (1)",
        "PREPARE p AS SELECT 1",
        "SET datafusion.execution.batch_size = 1",
        "SET \"datafusion\".\"runtime\".memory_limit = '1G'",
        "LISTEN a",
        "GRANT SELECT ON a TO b",
    ] {
        // What the parser does not take cannot run either.
        if PostgresCompatibilityParser::new().parse(sql).is_ok() {
            check(sql, false);
        }
    }
}

#[test]
fn readers_are_added_found_and_revoked() {
    let folder = TempDir::new().unwrap();
    let file = ReaderFile::at(folder.path().join("below").join("readers.json"));
    assert!(file.list().unwrap().is_empty());
    let made = file.add("grafana", None, Timestamp(0)).unwrap();
    assert_eq!(file.add("a.b-c_1", Some("chosen by hand".to_owned()), Timestamp(0)).unwrap(), "chosen by hand");
    let again = file.add("grafana", None, Timestamp(0)).unwrap();
    assert_ne!(made, again, "another password");
    assert_eq!(file.list().unwrap().iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["a.b-c_1", "grafana"]);
    let text = std::fs::read_to_string(file.path()).unwrap();
    assert!(!text.contains(&again) && !text.contains("chosen by hand"), "{text}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }
    file.revoke("grafana").unwrap();
    assert!(file.find("grafana").unwrap().is_none() && file.find("a.b-c_1").unwrap().is_some());

    for (name, password, expect) in
        [("", None, "name"), ("a b", None, "name"), (&"a".repeat(64), None, "name"), ("a", Some("short"), "password")]
    {
        let refused = file.add(name, password.map(str::to_owned), Timestamp(0)).unwrap_err();
        match expect {
            "name" => assert!(matches!(refused, ReaderFileError::Name(_)), "{name}"),
            _ => assert!(matches!(refused, ReaderFileError::Password), "{name}"),
        }
    }
    assert!(matches!(file.revoke("grafana"), Err(ReaderFileError::NoSuchReader(_))));
    std::fs::write(file.path(), "{").unwrap();
    assert!(matches!(file.list(), Err(ReaderFileError::File(secrets::Error::Damaged { .. }))));
}
