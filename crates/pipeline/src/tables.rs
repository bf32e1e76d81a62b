//! The tables of the lake, and the names under which the stages keep their progress in them.

use lake::TableSpec;
use medallion::{gold, schema};

/// Every event the gate took, as it came.
pub const BRONZE: &str = "bronze.events";
/// One row an event.
pub const SILVER: &str = "silver.events";
/// One row an exposure.
pub const EXPOSURES: &str = "silver.exposures";
/// What could not be accepted or understood, with the reason.
pub const DEAD_LETTERS: &str = "dead_letters";
/// Counts and digests by stage, source and hour.
pub const LEDGER: &str = "ledger";

/// The progress of a stage that reads the table `name`: the version up to which it has read.
pub(crate) fn progress_in(name: &str) -> String {
    format!("tidegate:{name}")
}

/// The progress of Silver in a bucket of identities: the version of Bronze up to which it has decided about them.
pub(crate) fn progress_in_bucket(bucket: u32) -> String {
    format!("tidegate:{BRONZE}:{bucket}")
}

/// The newest generation of the journal that Bronze took records of.
pub(crate) const GENERATION: &str = "tidegate:journal";

/// The progress of the stage that reads a partition of the journal: the offset from which it has still to read.
pub(crate) fn progress_in_journal(generation: u32, partition: u32) -> String {
    format!("tidegate:journal:{generation}:{partition}")
}

pub(crate) fn bronze() -> TableSpec {
    TableSpec::new(BRONZE, schema::bronze(), &["ingest_date"]).with_stats_columns(&[
        "source",
        "event_id",
        "received_at",
        "journal_generation",
        "journal_partition",
        "journal_offset",
    ])
}

pub(crate) fn silver() -> TableSpec {
    TableSpec::new(SILVER, schema::silver_events(), &["event_date"]).with_stats_columns(&[
        "source",
        "event_id",
        "event_type",
        "event_time",
        "received_at",
        "user_id",
        "anonymous_id",
    ])
}

pub(crate) fn exposures() -> TableSpec {
    TableSpec::new(EXPOSURES, schema::silver_exposures(), &["event_date"]).with_stats_columns(&[
        "source",
        "event_id",
        "event_time",
        "experiment_id",
        "variation_id",
        "subject_id",
    ])
}

pub(crate) fn dead_letters() -> TableSpec {
    TableSpec::new(DEAD_LETTERS, schema::dead_letters(), &["ingest_date"]).with_stats_columns(&[
        "source",
        "event_id",
        "received_at",
        "stage",
        "code",
    ])
}

pub(crate) fn ledger() -> TableSpec {
    TableSpec::new(LEDGER, schema::ledger(), &[])
}

pub(crate) fn gold(model: &gold::Model) -> TableSpec {
    TableSpec::new(model.name, model.schema(), &[model.partition_by])
}
