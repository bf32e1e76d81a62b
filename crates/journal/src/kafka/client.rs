//! How we talk to librdkafka: one configuration that all clients share, and its log, which goes where ours goes.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

use super::config::Config;
use super::error::OpenError;

/// How long a question to the cluster may take.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What every client is told.
pub(super) fn shared(config: &Config) -> Result<ClientConfig, OpenError> {
    let mut shared = ClientConfig::new();
    shared.set_log_level(RDKafkaLogLevel::Info);
    shared.set("client.id", "tidegate").set("bootstrap.servers", config.brokers.join(","));
    shared.set("message.max.bytes", config.message_bytes_max().to_string());
    // A broker that is back is found again within a second or two.
    shared.set("reconnect.backoff.ms", "100").set("reconnect.backoff.max.ms", "1000");
    shared.set("socket.keepalive.enable", "true").set("socket.connection.setup.timeout.ms", "5000");
    // Brokers close what is idle; that is nothing to know of.
    shared.set("log.connection.close", "false");
    for (name, value) in config.security.properties()? {
        shared.set(name, value);
    }
    Ok(shared)
}

/// Puts librdkafka's log into ours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Log;

impl ClientContext for Log {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            // What fails is tried again; where an append or a read fails in the end, its caller is told.
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => {
                tracing::warn!(target: "librdkafka", facility, message, "from librdkafka");
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(target: "librdkafka", facility, message, "from librdkafka");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason, "from librdkafka");
    }
}

impl ConsumerContext for Log {}
