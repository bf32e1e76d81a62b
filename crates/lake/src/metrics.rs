//! What the lake counts. The label `table` is the name of a table; there are as many as tables.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

use crate::compact::Compacted;
use crate::error::ErrorKind;
use crate::table::Committed;

const COMMIT_SECONDS: &str = "tidegate_lake_commit_seconds";
const COMMIT_ROWS: &str = "tidegate_lake_commit_rows_total";
const COMMIT_FILES: &str = "tidegate_lake_commit_files_total";
const COMMIT_BYTES: &str = "tidegate_lake_commit_bytes_total";
const COMMITS_REFUSED: &str = "tidegate_lake_commits_refused_total";
const CHECKPOINT_SECONDS: &str = "tidegate_lake_checkpoint_seconds";
const COMPACTION_SECONDS: &str = "tidegate_lake_compaction_seconds";
const COMPACTION_FILES: &str = "tidegate_lake_compaction_files_total";
const COMPACTION_BYTES: &str = "tidegate_lake_compaction_bytes_total";
const VACUUM_FILES: &str = "tidegate_lake_vacuum_files_total";

/// Describes the metrics to the recorder that is installed.
pub fn describe() {
    describe_histogram!(
        COMMIT_SECONDS,
        Unit::Seconds,
        "Time from finished data files to the commit being durable, conflicts included, by table"
    );
    describe_counter!(COMMIT_ROWS, "Rows committed, by table");
    describe_counter!(COMMIT_FILES, "Data files committed, by table");
    describe_counter!(COMMIT_BYTES, Unit::Bytes, "Bytes of data files committed, by table");
    describe_counter!(COMMITS_REFUSED, "Commits that could not be made, by table and reason: `conflict`, `fenced`, `other`");
    describe_histogram!(
        CHECKPOINT_SECONDS,
        Unit::Seconds,
        "Time to write a checkpoint of a table's log and to delete expired versions, by table"
    );
    describe_histogram!(COMPACTION_SECONDS, Unit::Seconds, "Time of a compaction that joined files, by table");
    describe_counter!(COMPACTION_FILES, "Files that compactions joined, by table");
    describe_counter!(COMPACTION_BYTES, Unit::Bytes, "Bytes that compactions wrote, by table");
    describe_counter!(VACUUM_FILES, "Files deleted that were no part of a table, by table");
}

pub(crate) fn committed(table: &str, commit: &Committed, took: Duration) {
    histogram!(COMMIT_SECONDS, "table" => table.to_owned()).record(took.as_secs_f64());
    counter!(COMMIT_ROWS, "table" => table.to_owned()).increment(commit.rows);
    counter!(COMMIT_FILES, "table" => table.to_owned()).increment(commit.files);
    counter!(COMMIT_BYTES, "table" => table.to_owned()).increment(commit.bytes);
}

pub(crate) fn refused(table: &str, kind: ErrorKind) {
    let reason = match kind {
        ErrorKind::Conflict => "conflict",
        ErrorKind::Fenced => "fenced",
        ErrorKind::Retry | ErrorKind::Schema | ErrorKind::Missing | ErrorKind::Fatal => "other",
    };
    counter!(COMMITS_REFUSED, "table" => table.to_owned(), "reason" => reason).increment(1);
}

pub(crate) fn checkpointed(table: &str, took: Duration) {
    histogram!(CHECKPOINT_SECONDS, "table" => table.to_owned()).record(took.as_secs_f64());
}

pub(crate) fn compacted(table: &str, done: &Compacted, took: Duration) {
    histogram!(COMPACTION_SECONDS, "table" => table.to_owned()).record(took.as_secs_f64());
    counter!(COMPACTION_FILES, "table" => table.to_owned()).increment(done.files_before);
    counter!(COMPACTION_BYTES, "table" => table.to_owned()).increment(done.bytes_after);
}

pub(crate) fn vacuumed(table: &str, files: u64) {
    counter!(VACUUM_FILES, "table" => table.to_owned()).increment(files);
}
