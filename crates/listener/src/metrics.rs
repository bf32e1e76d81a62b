//! What the listeners count.

use ::metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

const CONNECTIONS_REFUSED: &str = "tidegate_server_connections_refused_total";
const HANDSHAKES_FAILED: &str = "tidegate_tls_handshakes_failed_total";
const CERTIFICATE_EXPIRES: &str = "tidegate_tls_certificate_expires_timestamp_seconds";
const FILES_UNUSABLE: &str = "tidegate_tls_files_unusable";

/// Describes the metrics to the recorder that is installed.
pub fn describe() {
    describe_counter!(CONNECTIONS_REFUSED, "Connections closed at once because their address had as many as one may have");
    describe_counter!(
        HANDSHAKES_FAILED,
        "Handshakes of TLS that failed, by reason: `plain_text`, `too_slow`, `client_certificate`, `other`"
    );
    describe_gauge!(CERTIFICATE_EXPIRES, Unit::Seconds, "When the certificate expires that new handshakes use, since 1970");
    describe_gauge!(
        FILES_UNUSABLE,
        "1 while the files of server.tls cannot be used and what was served before is served on, otherwise 0; without TLS there is none"
    );
}

pub(crate) fn connection_refused() {
    counter!(CONNECTIONS_REFUSED).increment(1);
}

pub(crate) fn handshake_failed(reason: &'static str) {
    counter!(HANDSHAKES_FAILED, "reason" => reason).increment(1);
}

pub(crate) fn tls_certificate_expires(seconds: i64) {
    gauge!(CERTIFICATE_EXPIRES).set(seconds as f64);
}

pub(crate) fn tls_files_unusable(are: bool) {
    gauge!(FILES_UNUSABLE).set(if are { 1.0 } else { 0.0 });
}
