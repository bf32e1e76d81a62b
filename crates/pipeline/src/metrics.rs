//! What the stages count and measure.

use std::time::Duration;

use ::metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use experiments::report::{Check, State};
use lake::Committed;

use crate::anomaly::{Kind, Unusual};
use crate::audit::Line;
use crate::glance::Standing;

const BRONZE_RECORDS: &str = "tidegate_bronze_records_total";
const BRONZE_ROWS: &str = "tidegate_bronze_rows_total";
const BRONZE_BYTES: &str = "tidegate_bronze_read_bytes_total";
const LAG_RECORDS: &str = "tidegate_bronze_lag_records";
const SILVER_READ: &str = "tidegate_silver_read_rows_total";
const SILVER_ROWS: &str = "tidegate_silver_rows_total";
const SILVER_STEP_SECONDS: &str = "tidegate_silver_step_seconds";
const QUERYABLE_SECONDS: &str = "tidegate_silver_queryable_seconds";
const GOLD_REFRESH_SECONDS: &str = "tidegate_gold_refresh_seconds";
const FAILURES: &str = "tidegate_stage_failures_total";
const FENCED: &str = "tidegate_stage_fenced_total";
const LEDGER_EVENTS: &str = "tidegate_ledger_events";
const LEDGER_FINDINGS: &str = "tidegate_ledger_findings";
const TABLE_ROWS: &str = "tidegate_table_rows";
const TABLE_FILES: &str = "tidegate_table_files";
const TABLE_BYTES: &str = "tidegate_table_bytes";
const TABLE_VERSION: &str = "tidegate_table_version";
const SILVER_RECEIVED: &str = "tidegate_silver_received_timestamp_seconds";
const WATERMARK: &str = "tidegate_watermark_timestamp_seconds";
const ANOMALIES: &str = "tidegate_anomalies";
const EXPERIMENT_CHECK: &str = "tidegate_experiment_checks";
const SAMPLE_RATIO: &str = "tidegate_experiment_sample_ratio_mismatch";
/// How a check of an experiment can come out.
const CHECK_STATES: [&str; 3] = ["passed", "warning", "failed"];

/// Describes the metrics of this crate to the recorder that is installed.
pub fn describe() {
    describe_counter!(BRONZE_RECORDS, Unit::Count, "Records read from the journal and committed, refused ones included");
    describe_counter!(BRONZE_ROWS, Unit::Count, "Rows added to Bronze");
    describe_counter!(BRONZE_BYTES, Unit::Bytes, "Bytes read from the journal and committed");
    describe_gauge!(
        LAG_RECORDS,
        Unit::Count,
        "Records of the journal that Bronze does not have yet, by partition, of those that this process reads"
    );
    describe_counter!(SILVER_READ, Unit::Count, "Rows of Bronze that Silver has decided about");
    describe_counter!(
        SILVER_ROWS,
        Unit::Count,
        "What became of them, by outcome: `silver`, `duplicate`, `dead_letter`, and facts such as `late`"
    );
    describe_histogram!(SILVER_STEP_SECONDS, Unit::Seconds, "From reading new rows of Bronze to Silver's commit");
    describe_histogram!(
        QUERYABLE_SECONDS,
        Unit::Seconds,
        "From the gate's receipt of an event to the commit that lets it be queried in Silver: the oldest event of each commit"
    );
    describe_histogram!(GOLD_REFRESH_SECONDS, Unit::Seconds, "One model of Gold brought up to Silver, by model");
    describe_counter!(FAILURES, Unit::Count, "Steps that failed, by stage");
    describe_counter!(
        FENCED,
        Unit::Count,
        "Of these, commits refused because another process had made the progress they claimed, by stage"
    );
    describe_gauge!(
        LEDGER_EVENTS,
        Unit::Count,
        "Events as the tables' commits count them, by measure: `received`, `accepted`, `refused`, `silver`, `duplicate`, `dead_letter`, `erased`, `pending`, `late`"
    );
    describe_gauge!(
        LEDGER_FINDINGS,
        Unit::Count,
        "What does not agree between the tables and what their commits say; 0: the books balance"
    );
    describe_gauge!(TABLE_ROWS, Unit::Count, "Rows, by table");
    describe_gauge!(TABLE_FILES, Unit::Count, "Data files, by table");
    describe_gauge!(TABLE_BYTES, Unit::Bytes, "Size of the data files, by table");
    describe_gauge!(TABLE_VERSION, Unit::Count, "Version, by table");
    describe_gauge!(SILVER_RECEIVED, Unit::Seconds, "The newest time of receipt in Silver, since 1970");
    describe_gauge!(
        WATERMARK,
        Unit::Seconds,
        "Up to which event time nothing but what is late will come: that less pipeline.allowed_lateness"
    );
    describe_gauge!(
        ANOMALIES,
        Unit::Count,
        "What is unusual in the last whole window of pipeline.anomaly_window, by kind: `silent`, `burst`, `drop` for sources, `volume` and `shape` for event types"
    );
    describe_gauge!(
        EXPERIMENT_CHECK,
        Unit::Count,
        "Checks of an experiment's result, by experiment and state: `passed`, `warning`, `failed`; above 0 for `failed`: the result cannot be trusted"
    );
    describe_gauge!(
        SAMPLE_RATIO,
        Unit::Count,
        "1 where subjects are not divided as they should be (sample ratio mismatch), otherwise 0, by experiment"
    );
}

pub(crate) fn bronze(commit: &Committed, records: u64, bytes: u64) {
    counter!(BRONZE_RECORDS).increment(records);
    counter!(BRONZE_ROWS).increment(commit.rows);
    counter!(BRONZE_BYTES).increment(bytes);
}

pub(crate) fn lag(partition: u32, records: u64) {
    gauge!(LAG_RECORDS, "partition" => partition.to_string()).set(records as f64);
}

pub(crate) fn silver(read: u64, took: Duration) {
    counter!(SILVER_READ).increment(read);
    histogram!(SILVER_STEP_SECONDS).record(took);
}

pub(crate) fn queryable(micros: i64) {
    histogram!(QUERYABLE_SECONDS).record(Duration::from_micros(u64::try_from(micros).unwrap_or_default()));
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

/// How the lake stands; unknown, as NaN, where it is another process that tells.
pub(crate) fn standing(standing: &Standing, allowed_lateness: Duration) {
    for (measure, count) in measures(&standing.total) {
        gauge!(LEDGER_EVENTS, "measure" => measure).set(count as f64);
    }
    gauge!(LEDGER_FINDINGS).set(standing.findings.len() as f64);
    for table in &standing.tables {
        for (name, value) in [(TABLE_ROWS, table.rows), (TABLE_FILES, table.files), (TABLE_BYTES, table.bytes)] {
            gauge!(name, "table" => table.name.clone()).set(value as f64);
        }
        gauge!(TABLE_VERSION, "table" => table.name.clone()).set(table.version as f64);
    }
    if let Some(received) = standing.received.map(|micros| micros as f64 / 1e6) {
        gauge!(SILVER_RECEIVED).set(received);
        gauge!(WATERMARK).set(received - allowed_lateness.as_secs_f64());
    }
}

/// Nothing is known of how the lake stands.
pub(crate) fn unknown(tables: &[String]) {
    for (measure, _) in measures(&Line::default()) {
        gauge!(LEDGER_EVENTS, "measure" => measure).set(f64::NAN);
    }
    for name in [LEDGER_FINDINGS, SILVER_RECEIVED, WATERMARK] {
        gauge!(name).set(f64::NAN);
    }
    for table in tables {
        for name in [TABLE_ROWS, TABLE_FILES, TABLE_BYTES, TABLE_VERSION] {
            gauge!(name, "table" => table.clone()).set(f64::NAN);
        }
    }
}

/// What is unusual; unknown, as NaN, where it is another process that tells.
pub(crate) fn anomalies(found: Option<&[Unusual]>) {
    for kind in Kind::ALL {
        let count = found.map_or(f64::NAN, |found| found.iter().filter(|unusual| unusual.kind == kind).count() as f64);
        gauge!(ANOMALIES, "kind" => kind.as_str()).set(count);
    }
}

/// The checks of an experiment, by how they came out.
pub(crate) fn experiment(key: &str, checks: &[Check]) {
    for state in CHECK_STATES {
        let count = checks.iter().filter(|check| check.state.to_string() == state).count();
        gauge!(EXPERIMENT_CHECK, "experiment" => key.to_owned(), "state" => state).set(count as f64);
    }
    let is_mismatch = checks.iter().any(|check| check.check.starts_with("sample ratio") && check.state == State::Failed);
    gauge!(SAMPLE_RATIO, "experiment" => key.to_owned()).set(f64::from(u8::from(is_mismatch)));
}

/// Nothing is known of an experiment.
pub(crate) fn experiment_unknown(key: &str) {
    for state in CHECK_STATES {
        gauge!(EXPERIMENT_CHECK, "experiment" => key.to_owned(), "state" => state).set(f64::NAN);
    }
    gauge!(SAMPLE_RATIO, "experiment" => key.to_owned()).set(f64::NAN);
}

fn measures(line: &Line) -> [(&'static str, u64); 9] {
    [
        ("received", line.received),
        ("accepted", line.accepted),
        ("refused", line.refused),
        ("silver", line.silver),
        ("duplicate", line.duplicates),
        ("dead_letter", line.dead_letters),
        ("erased", line.erased),
        ("pending", line.pending),
        ("late", line.late),
    ]
}
