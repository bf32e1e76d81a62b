//! What the stages count and measure.

use std::time::Duration;

use ::metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use lake::Committed;

const BRONZE_RECORDS: &str = "tidegate_bronze_records_total";
const BRONZE_ROWS: &str = "tidegate_bronze_rows_total";
const BRONZE_BYTES: &str = "tidegate_bronze_read_bytes_total";
const LAG_RECORDS: &str = "tidegate_bronze_lag_records";
const SILVER_READ: &str = "tidegate_silver_read_rows_total";
const SILVER_ROWS: &str = "tidegate_silver_rows_total";
const SILVER_STEP_SECONDS: &str = "tidegate_silver_step_seconds";
const GOLD_REFRESH_SECONDS: &str = "tidegate_gold_refresh_seconds";
const FAILURES: &str = "tidegate_stage_failures_total";
const FENCED: &str = "tidegate_stage_fenced_total";

/// Describes the metrics of this crate to the recorder that is installed.
pub fn describe() {
    describe_counter!(BRONZE_RECORDS, Unit::Count, "Records read from the journal and committed, refused ones included");
    describe_counter!(BRONZE_ROWS, Unit::Count, "Rows added to Bronze");
    describe_counter!(BRONZE_BYTES, Unit::Bytes, "Bytes read from the journal and committed");
    describe_gauge!(LAG_RECORDS, Unit::Count, "Records in the journal's partitions that this process reads, that Bronze does not have yet");
    describe_counter!(SILVER_READ, Unit::Count, "Rows of Bronze that Silver has decided about");
    describe_counter!(SILVER_ROWS, Unit::Count, "What became of them: `silver`, `duplicate`, `dead_letter`, and facts such as `late`");
    describe_histogram!(SILVER_STEP_SECONDS, Unit::Seconds, "From reading new rows of Bronze to Silver's commit");
    describe_histogram!(GOLD_REFRESH_SECONDS, Unit::Seconds, "One model of Gold brought up to Silver, by model");
    describe_counter!(FAILURES, Unit::Count, "Steps that failed, by stage");
    describe_counter!(
        FENCED,
        Unit::Count,
        "Of these, commits refused because another process had made the progress they claimed, by stage"
    );
}

pub(crate) fn bronze(commit: &Committed, records: u64, bytes: u64) {
    counter!(BRONZE_RECORDS).increment(records);
    counter!(BRONZE_ROWS).increment(commit.rows);
    counter!(BRONZE_BYTES).increment(bytes);
}

pub(crate) fn lag(records: u64) {
    gauge!(LAG_RECORDS).set(records as f64);
}

pub(crate) fn silver(read: u64, took: Duration) {
    counter!(SILVER_READ).increment(read);
    histogram!(SILVER_STEP_SECONDS).record(took);
}

pub(crate) fn outcome(measure: &str, rows: u64) {
    counter!(SILVER_ROWS, "outcome" => measure.to_owned()).increment(rows);
}

pub(crate) fn gold(model: &str, took: Duration) {
    histogram!(GOLD_REFRESH_SECONDS, "model" => model.to_owned()).record(took);
}

pub(crate) fn failed(stage: &'static str) {
    counter!(FAILURES, "stage" => stage).increment(1);
}

pub(crate) fn fenced(stage: &'static str) {
    counter!(FENCED, "stage" => stage).increment(1);
}
