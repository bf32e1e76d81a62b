//! What the spool counts and measures.

use ::metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

const RECORDS: &str = "tidegate_spool_records";
const BYTES: &str = "tidegate_spool_bytes";
const AWAY: &str = "tidegate_spool_kafka_away";
const SPOOLED: &str = "tidegate_spool_spooled_records_total";
const DRAINED: &str = "tidegate_spool_drained_records_total";

pub(crate) fn describe() {
    describe_gauge!(RECORDS, Unit::Count, "Records in the spool that are not yet in Kafka");
    describe_gauge!(BYTES, Unit::Bytes, "Bytes of all files of the spool");
    describe_gauge!(AWAY, Unit::Count, "1 while Kafka does not take records and they go to the spool, otherwise 0");
    describe_counter!(SPOOLED, Unit::Count, "Records put into the spool because Kafka did not take them");
    describe_counter!(DRAINED, Unit::Count, "Records of the spool that are in Kafka now");
}

pub(super) fn holds(records: u64, bytes: u64) {
    gauge!(RECORDS).set(records as f64);
    gauge!(BYTES).set(bytes as f64);
}

pub(super) fn is_away(is_away: bool) {
    gauge!(AWAY).set(f64::from(u8::from(is_away)));
}

pub(super) fn spooled(records: usize) {
    counter!(SPOOLED).increment(records as u64);
}

pub(super) fn drained(records: usize) {
    counter!(DRAINED).increment(records as u64);
}
