//! What queries count and measure.

use std::time::Duration;

use ::metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const STATEMENTS: &str = "tidegate_query_statements_total";
const STATEMENT_SECONDS: &str = "tidegate_query_statement_seconds";
const CONNECTIONS: &str = "tidegate_postgres_connections";

/// Describes the metrics of this crate to the recorder that is installed.
pub fn describe() {
    describe_counter!(
        STATEMENTS,
        Unit::Count,
        "Statements by outcome: `ok`, `cancelled`, the kind of what was wrong with it, or `error` when rows had been sent already"
    );
    describe_histogram!(STATEMENT_SECONDS, Unit::Seconds, "From a statement's turn to its last row");
    describe_gauge!(CONNECTIONS, Unit::Count, "Connections of the Postgres port");
}

pub(crate) fn answered(outcome: &'static str) {
    counter!(STATEMENTS, "outcome" => outcome).increment(1);
}

pub(crate) fn took(duration: Duration) {
    histogram!(STATEMENT_SECONDS).record(duration);
}

pub(crate) fn connected() {
    gauge!(CONNECTIONS).increment(1.0);
}

pub(crate) fn disconnected() {
    gauge!(CONNECTIONS).decrement(1.0);
}
