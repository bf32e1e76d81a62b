//! The columns of the tables, those they are partitioned by included.
//!
//! Instants are microseconds in UTC, texts are UTF-8, and there is no floating point number and no unsigned one: every engine that reads Delta has these
//! types. Columns may be added at the end, as nullable; none is renamed or given another meaning.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

const TEXT: DataType = DataType::Utf8;
const FLAG: DataType = DataType::Boolean;
const DATE: DataType = DataType::Date32;

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn schema(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

/// A column that is always there.
fn some(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

/// A column that may be null.
fn maybe(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn journal() -> [Field; 3] {
    [some("journal_generation", DataType::Int32), some("journal_partition", DataType::Int32), some("journal_offset", DataType::Int64)]
}

static BRONZE: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields = vec![
        some("source", TEXT),
        some("event_id", TEXT),
        some("event_id_generated", FLAG),
        some("received_at", instant()),
        maybe("sent_at", instant()),
        some("ingest_date", DATE),
        some("wire_format", TEXT),
        some("verdict", TEXT),
        maybe("violations", TEXT),
        some("plan_version", TEXT),
        maybe("client_ip", TEXT),
        maybe("user_agent", TEXT),
        maybe("envelope", TEXT),
        maybe("client_retries", DataType::Int64),
    ];
    fields.extend(journal());
    fields.push(some("payload", DataType::Binary));
    schema(fields)
});

static SILVER_EVENTS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields = vec![
        some("source", TEXT),
        some("event_id", TEXT),
        some("event_type", TEXT),
        maybe("name", TEXT),
        some("event_time", instant()),
        some("event_date", DATE),
        maybe("client_time", instant()),
        maybe("sent_at", instant()),
        some("received_at", instant()),
        some("clock_corrected", FLAG),
        some("is_late", FLAG),
    ];
    let nullable_texts = [
        "user_id",
        "anonymous_id",
        "session_id",
        "page_url",
        "page_path",
        "page_title",
        "page_referrer",
        "campaign_source",
        "campaign_medium",
        "campaign_name",
        "campaign_term",
        "campaign_content",
        "device_type",
        "os",
        "browser",
    ];
    fields.extend(nullable_texts.map(|name| maybe(name, TEXT)));
    fields.push(some("is_bot", FLAG));
    fields.extend(["user_agent", "client_ip", "locale", "library", "experiment_id", "variation_id"].map(|name| maybe(name, TEXT)));
    fields.extend(["properties", "context", "plan_version"].map(|name| some(name, TEXT)));
    fields.extend([maybe("plan_violations", TEXT), some("content_hash", DataType::Int64)]);
    fields.extend(journal());
    schema(fields)
});

static SILVER_EXPOSURES: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields = vec![
        some("source", TEXT),
        some("event_id", TEXT),
        some("event_time", instant()),
        some("event_date", DATE),
        some("received_at", instant()),
        some("is_late", FLAG),
    ];
    let texts = ["experiment_id", "variation_id", "subject_id", "subject_type", "user_id", "anonymous_id"];
    fields.extend(texts.map(|name| maybe(name, TEXT)));
    fields.push(some("is_bot", FLAG));
    fields.extend(journal());
    schema(fields)
});

static DEAD_LETTERS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields = vec![
        some("source", TEXT),
        some("event_id", TEXT),
        some("event_id_generated", FLAG),
        some("received_at", instant()),
        maybe("sent_at", instant()),
        some("ingest_date", DATE),
    ];
    fields.extend(["stage", "code", "field", "message"].map(|name| some(name, TEXT)));
    fields.extend([maybe("violations", TEXT), some("plan_version", TEXT), some("wire_format", TEXT)]);
    fields.extend(["client_ip", "user_agent", "envelope"].map(|name| maybe(name, TEXT)));
    fields.extend([some("payload", DataType::Binary), maybe("truncated_from", DataType::Int64)]);
    fields.extend(journal());
    schema(fields)
});

static LEDGER: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(vec![
        some("stage", TEXT),
        some("source", TEXT),
        some("hour", instant()),
        some("measure", TEXT),
        some("count", DataType::Int64),
        some("table_name", TEXT),
        some("table_version", DataType::Int64),
        maybe("digest", TEXT),
        maybe("input_version", DataType::Int64),
    ])
});

static ERASED: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(vec![
        some("erasure", DataType::Int64),
        some("erased_at", instant()),
        some("kind", TEXT),
        some("digest", TEXT),
        some("digest_key", TEXT),
    ])
});

/// What every table but the ledger has.
static IDENTITY: LazyLock<SchemaRef> = LazyLock::new(|| schema(vec![some("source", TEXT), some("event_id", TEXT)]));

static COUNTED: LazyLock<SchemaRef> =
    LazyLock::new(|| schema(vec![some("source", TEXT), some("event_id", TEXT), some("received_at", instant())]));

/// The columns of an identity, and no others.
pub(crate) fn identity() -> SchemaRef {
    Arc::clone(&IDENTITY)
}

/// The columns that rows are counted by, and no others.
pub(crate) fn counted() -> SchemaRef {
    Arc::clone(&COUNTED)
}

/// `bronze.events`: every event the gate took, as it came. By `ingest_date`.
pub fn bronze() -> SchemaRef {
    Arc::clone(&BRONZE)
}

/// `silver.events`: one row an event. By `event_date`.
pub fn silver_events() -> SchemaRef {
    Arc::clone(&SILVER_EVENTS)
}

/// `silver.exposures`: one row an event of the type `feature_exposure`. By `event_date`.
pub fn silver_exposures() -> SchemaRef {
    Arc::clone(&SILVER_EXPOSURES)
}

/// `dead_letters`: what could not be accepted or understood, with the reason. By `ingest_date`.
pub fn dead_letters() -> SchemaRef {
    Arc::clone(&DEAD_LETTERS)
}

/// `erased`: the ids of erased persons, as keyed digests: which erasure, when, whether of a `user` or `anonymous`, the digest and the key of all digests (both hexadecimal).
pub fn erased() -> SchemaRef {
    Arc::clone(&ERASED)
}

/// `ledger`: counts and digests by stage, source, hour and measure.
pub fn ledger() -> SchemaRef {
    Arc::clone(&LEDGER)
}
