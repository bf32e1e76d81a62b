//! What the tables and their columns mean, beside the [`schema`](crate::schema) that says which there are.
//!
//! It is for people: the reference is made of it. Nothing is decided by it.

use arrow::datatypes::SchemaRef;

use crate::{schema, tables};

/// A table, as the reference tells of it.
#[derive(Debug, Clone)]
pub struct Described {
    /// Its name.
    pub name: &'static str,
    /// What a row of it is.
    pub about: &'static str,
    /// The column that it is divided by, where it is.
    pub partition_by: Option<&'static str>,
    /// Its columns.
    pub schema: SchemaRef,
}

/// All tables that stages write, along the path of the data. Those of Gold are what their models make of them.
pub fn all() -> [Described; 6] {
    let table = |name, about, partition_by, schema| Described { name, about, partition_by, schema };
    [
        table(
            tables::BRONZE,
            "Every event the gate took, as it came: one row for each record of the journal.",
            Some("ingest_date"),
            schema::bronze(),
        ),
        table(tables::SILVER, "One row an event.", Some("event_date"), schema::silver_events()),
        table(
            tables::EXPOSURES,
            "One row an exposure: an event that says which variation a subject was shown.",
            Some("event_date"),
            schema::silver_exposures(),
        ),
        table(
            tables::DEAD_LETTERS,
            "What could not be accepted or understood, with the reason.",
            Some("ingest_date"),
            schema::dead_letters(),
        ),
        table(tables::LEDGER, "What the commits of the other tables counted, to be queried.", None, schema::ledger()),
        table(tables::ERASED, "The ids of persons who were erased, as keyed digests.", None, schema::erased()),
    ]
}

/// What a column of a table means; nothing for a column that there is not.
pub fn meaning(table: &str, column: &str) -> Option<&'static str> {
    let own = OWN.iter().find(|(of, name, _)| *of == table && *name == column).map(|(_, _, meaning)| *meaning);
    own.or_else(|| SHARED.iter().find(|(name, _)| *name == column).map(|(_, meaning)| *meaning))
}

/// Columns that mean the same in every table that has them.
const SHARED: [(&str, &str); 65] = [
    ("source", "the source whose write key came with the request"),
    ("event_id", "the event's id, unique within its source; one that the gate made where the client sent none"),
    ("event_id_generated", "whether the gate made the id: then a copy cannot be told from another event"),
    ("received_at", "when the gate had read the request"),
    ("sent_at", "when the client says that it sent the request"),
    ("ingest_date", "the day of `received_at`"),
    ("wire_format", "the shape of the payload: `native`, `segment` and so on; `erased` where its content was taken out"),
    ("verdict", "what the gate decided under the tracking plan: `accepted`, `flagged` or `quarantined`"),
    ("violations", "what breaks the plan, as JSON: code, field and message of each"),
    ("plan_version", "the version of the tracking plan by which it was judged"),
    ("client_ip", "the address of who sent it, as far as it is kept"),
    ("user_agent", "the header `User-Agent`, or what the context says in its place"),
    ("envelope", "what the request said for all of its events, as JSON"),
    ("client_retries", "how often the client says that it had sent the request before"),
    ("journal_generation", "where in the journal the record was: which journal"),
    ("journal_partition", "which partition of it"),
    ("journal_offset", "which place in that"),
    ("payload", "the bytes of the event, as they came"),
    ("event_type", "its type, such as `page_view`"),
    ("name", "its name, such as that of a screen or of what was tracked"),
    ("event_time", "when it happened: the client's time, corrected where its clock was off"),
    ("event_date", "the day of `event_time`"),
    ("client_time", "when the client says that it happened"),
    ("clock_corrected", "whether `event_time` is another than the client said"),
    ("is_late", "whether it was received later after it happened than `pipeline.allowed_lateness`"),
    ("user_id", "the user, where the client knew one"),
    ("anonymous_id", "the visitor, known or not"),
    ("session_id", "the session, as the client says"),
    ("page_url", "the page's address"),
    ("page_path", "its path"),
    ("page_title", "its title"),
    ("page_referrer", "where the visitor came from"),
    ("campaign_source", "the campaign: its source"),
    ("campaign_medium", "its medium"),
    ("campaign_name", "its name"),
    ("campaign_term", "its term"),
    ("campaign_content", "its content"),
    ("device_type", "what kind of device, told by the user agent"),
    ("os", "its system"),
    ("browser", "its browser"),
    ("is_bot", "whether the user agent is that of a robot"),
    ("locale", "the language, as the client says"),
    ("library", "what sent it, with its version"),
    ("experiment_id", "the experiment, where it is an exposure"),
    ("variation_id", "the variation that was shown"),
    ("properties", "the event's properties, as JSON"),
    ("context", "the event's context, as JSON"),
    ("plan_violations", "what breaks the plan in an event that was flagged, as JSON"),
    ("content_hash", "64 bits that are the same for copies of an event and differ for another one under its id"),
    ("subject_id", "who was shown it: the user, else the visitor"),
    ("subject_type", "which of the two"),
    ("stage", "which part of the path it is about"),
    ("code", "why, for programs; codes do not change"),
    ("field", "the field at fault, as a JSON pointer; empty where it is none"),
    ("message", "why, for people"),
    ("truncated_from", "how many bytes it had, where only its beginning was kept"),
    ("hour", "the hour of receipt"),
    ("measure", "what was counted, such as `accepted`, `silver` or `duplicate`"),
    ("count", "how many; a replay may book a difference, which can be negative"),
    ("table_name", "the table whose commit counted"),
    ("table_version", "the version that this commit made"),
    ("input_version", "the version of the table it was made of"),
    ("erasure", "which erasure, numbered from 1"),
    ("erased_at", "when it was asked for"),
    ("kind", "what the id is of: `user` or `anonymous`"),
];

/// Columns that mean something of their own in a table.
const OWN: [(&str, &str, &str); 5] = [
    (
        tables::DEAD_LETTERS,
        "stage",
        "who kept it out: `gate` (the client was told so), `bronze` (no receipt), `plan` (quarantined) or `silver` (not to be decoded, or another event under the id)",
    ),
    (tables::DEAD_LETTERS, "payload", "the bytes of the event, as they came, or their beginning"),
    (tables::LEDGER, "digest", "a sum of hashes of the identities that were counted, hexadecimal, so that a loss and a copy cannot cancel"),
    (tables::ERASED, "digest", "the keyed digest of the id, hexadecimal"),
    (tables::ERASED, "digest_key", "the key of all these digests, hexadecimal: who has it can test a guess, and read no id"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_described_and_no_other() {
        let columns: Vec<(&str, String)> = all()
            .iter()
            .flat_map(|table| table.schema.fields().iter().map(|field| (table.name, field.name().clone())).collect::<Vec<_>>())
            .collect();
        for (table, column) in &columns {
            assert!(meaning(table, column).is_some_and(|meaning| !meaning.is_empty()), "{table}.{column}");
        }
        let has =
            |table: Option<&str>, name: &str| columns.iter().any(|(of, column)| column == name && table.is_none_or(|table| table == *of));
        let stale: Vec<&str> = SHARED.iter().map(|(name, _)| *name).filter(|name| !has(None, name)).collect();
        assert_eq!(stale, Vec::<&str>::new());
        assert!(OWN.iter().all(|(table, name, _)| has(Some(table), name)));
    }

    #[test]
    fn tables_are_divided_by_a_column_that_they_have() {
        for table in all() {
            assert!(table.partition_by.is_none_or(|column| table.schema.field_with_name(column).is_ok()), "{}", table.name);
        }
    }
}
