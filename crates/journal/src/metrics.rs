//! What the journal counts and measures.

use std::time::Duration;

use ::metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::ErrorKind;

const APPEND_SECONDS: &str = "tidegate_journal_append_duration_seconds";
const SYNC_SECONDS: &str = "tidegate_journal_sync_duration_seconds";
const GROUP_RECORDS: &str = "tidegate_journal_group_records";
const RECORDS: &str = "tidegate_journal_appended_records_total";
const BYTES: &str = "tidegate_journal_written_bytes_total";
const DISK_BYTES: &str = "tidegate_journal_disk_bytes";
const REFUSED: &str = "tidegate_journal_refused_total";
const TORN_BYTES: &str = "tidegate_journal_torn_bytes_total";
const DELIVERY_ERRORS: &str = "tidegate_journal_delivery_errors_total";
const REBALANCES: &str = "tidegate_journal_rebalances_total";
const SHARE_PARTITIONS: &str = "tidegate_journal_share_partitions";

/// Describes the metrics of this crate to the recorder that is installed.
pub fn describe() {
    crate::spool::metrics::describe();
    describe_histogram!(APPEND_SECONDS, Unit::Seconds, "From the append to its durable answer");
    describe_histogram!(SYNC_SECONDS, Unit::Seconds, "The disk making one group of appends durable");
    describe_histogram!(GROUP_RECORDS, Unit::Count, "Records made durable together");
    describe_counter!(RECORDS, Unit::Count, "Records made durable");
    describe_counter!(BYTES, Unit::Bytes, "Bytes made durable, with the framing");
    describe_gauge!(DISK_BYTES, Unit::Bytes, "Bytes of all segment files");
    describe_counter!(
        REFUSED,
        Unit::Count,
        "Refusals by reason: `queue_full`, or for a whole group of appends `full`, `unavailable`, `corrupt`"
    );
    describe_counter!(TORN_BYTES, Unit::Bytes, "Bytes of unfinished writes cut off the end when the journal was opened");
    describe_counter!(
        DELIVERY_ERRORS,
        Unit::Count,
        "Messages that Kafka did not take by reason: `timeout`, `too_large`, `queue_full`, `too_few_replicas`, `not_allowed`, `no_topic`, `given_up`, `fatal`, \
         `other`"
    );
    describe_counter!(REBALANCES, Unit::Count, "Times that the partitions were divided anew among the processes that read Kafka");
    describe_gauge!(SHARE_PARTITIONS, Unit::Count, "Partitions of Kafka that this process is to read");
}

pub(crate) fn appended(elapsed: Duration) {
    histogram!(APPEND_SECONDS).record(elapsed);
}

pub(crate) fn synced(elapsed: Duration) {
    histogram!(SYNC_SECONDS).record(elapsed);
}

pub(crate) fn group(records: usize, bytes: usize) {
    histogram!(GROUP_RECORDS).record(records as f64);
    counter!(RECORDS).increment(records as u64);
    counter!(BYTES).increment(bytes as u64);
}

pub(crate) fn delivered(records: usize, bytes: usize) {
    counter!(RECORDS).increment(records as u64);
    counter!(BYTES).increment(bytes as u64);
}

pub(crate) fn delivery_failed(reason: &'static str) {
    counter!(DELIVERY_ERRORS, "reason" => reason).increment(1);
}

pub(crate) fn rebalanced(partitions: usize) {
    counter!(REBALANCES).increment(1);
    gauge!(SHARE_PARTITIONS).set(partitions as f64);
}

pub(crate) fn disk_bytes(bytes: u64) {
    gauge!(DISK_BYTES).set(bytes as f64);
}

pub(crate) fn torn_bytes(bytes: u64) {
    counter!(TORN_BYTES).increment(bytes);
}

pub(crate) fn queue_full() {
    counter!(REFUSED, "reason" => "queue_full").increment(1);
}

pub(crate) fn refused(kind: ErrorKind) {
    let reason = match kind {
        ErrorKind::Full => "full",
        ErrorKind::TooLarge => "too_large",
        ErrorKind::Trimmed => "trimmed",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Closed => "closed",
    };
    counter!(REFUSED, "reason" => reason).increment(1);
}
