//! What the gate counts. Labels are bounded: sources are those of the key file, codes and routes are words of this program and of the tracking
//! plan's checks.

use std::time::Duration;

use ::metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use axum::http::StatusCode;
use contract::{SourceName, Verdict};

use crate::Error;
use crate::answer::Report;

/// Says what each metric means. Call it once, after the recorder is installed.
pub fn describe() {
    describe_counter!("tidegate_ingest_requests_total", "Requests answered, by route and status");
    describe_counter!("tidegate_ingest_turned_away_total", "Requests not taken as a whole, by code");
    describe_counter!(
        "tidegate_ingest_received_total",
        "Events received and written to the journal, by source; a body that could not be taken apart counts as one"
    );
    describe_counter!("tidegate_ingest_accepted_total", "Events accepted, by source and verdict");
    describe_counter!("tidegate_ingest_refused_total", "Events refused and kept as dead letters, by source and code");
    describe_counter!(
        "tidegate_ingest_kept_out_total",
        "Events accepted of which only that they came is kept, by source and reason (erased, no_consent)"
    );
    describe_counter!("tidegate_ingest_retried_requests_total", "Requests that the client says it had sent before");
    describe_counter!("tidegate_ingest_client_metrics_total", "Reports of clients about themselves, thrown away");
    describe_counter!("tidegate_ingest_keys_unreadable_total", "Failed attempts to read the file of write keys");
    describe_histogram!("tidegate_ingest_request_seconds", Unit::Seconds, "Time from the head of a request to its answer, by route");
    describe_histogram!("tidegate_ingest_append_seconds", Unit::Seconds, "Time the journal took to make a request's records durable");
    describe_histogram!("tidegate_ingest_append_records", "Records appended together");
    describe_histogram!("tidegate_ingest_body_bytes", Unit::Bytes, "Size of bodies as sent");
    describe_gauge!("tidegate_ingest_in_flight_requests", "Requests in work");
    describe_gauge!("tidegate_ingest_in_flight_bytes", Unit::Bytes, "Memory of bodies and records in work");
}

pub(crate) fn body_bytes(bytes: usize) {
    histogram!("tidegate_ingest_body_bytes").record(bytes as f64);
}

pub(crate) fn appended(took: Duration, records: usize) {
    histogram!("tidegate_ingest_append_seconds").record(took.as_secs_f64());
    histogram!("tidegate_ingest_append_records").record(records as f64);
}

pub(crate) fn answered(route: &'static str, status: StatusCode, took: Duration) {
    counter!("tidegate_ingest_requests_total", "route" => route, "status" => status.as_u16().to_string()).increment(1);
    histogram!("tidegate_ingest_request_seconds", "route" => route).record(took.as_secs_f64());
}

pub(crate) fn retried() {
    counter!("tidegate_ingest_retried_requests_total").increment(1);
}

pub(crate) fn client_metrics() {
    counter!("tidegate_ingest_client_metrics_total").increment(1);
}

pub(crate) fn in_flight(requests: usize, bytes: usize) {
    gauge!("tidegate_ingest_in_flight_requests").set(requests as f64);
    gauge!("tidegate_ingest_in_flight_bytes").set(bytes as f64);
}

pub(crate) fn turned_away(error: &Error) {
    counter!("tidegate_ingest_turned_away_total", "code" => error.code().to_owned()).increment(1);
}

/// The events of a request that the journal has.
pub(crate) fn events(source: &SourceName, answer: &Result<Report, Error>) {
    let source = source.as_str();
    let refused = |code: &str, count| {
        counter!("tidegate_ingest_refused_total", "source" => source.to_owned(), "code" => code.to_owned()).increment(count);
    };
    let received = match answer {
        Ok(report) => {
            let (quarantined, flagged) = (report.quarantined.len(), report.flagged.len());
            let accepted = report.accepted - quarantined - flagged;
            for (verdict, count) in [(Verdict::Accepted, accepted), (Verdict::Quarantined, quarantined), (Verdict::Flagged, flagged)] {
                if count > 0 {
                    counter!("tidegate_ingest_accepted_total", "source" => source.to_owned(), "verdict" => verdict.as_str())
                        .increment(count as u64);
                }
            }
            for (why, count) in &report.kept_out {
                counter!("tidegate_ingest_kept_out_total", "source" => source.to_owned(), "reason" => why.as_str()).increment(*count);
            }
            for notice in &report.rejected {
                refused(notice.code(), 1);
            }
            report.accepted + report.rejected.len()
        }
        Err(error) if error.refusal().is_some() => {
            refused(error.code(), 1);
            1
        }
        Err(_) => 0,
    };
    counter!("tidegate_ingest_received_total", "source" => source.to_owned()).increment(received as u64);
}
