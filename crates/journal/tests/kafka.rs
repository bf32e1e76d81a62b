//! The journal in Kafka, against a real broker.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

#[path = "kafka/conformance.rs"]
mod conformance;
#[path = "kafka/copy.rs"]
mod copy;
#[path = "kafka/crash.rs"]
mod crash;
#[path = "kafka/members.rs"]
mod members;
#[path = "kafka/reading.rs"]
mod reading;
#[path = "kafka/secure.rs"]
mod secure;
#[path = "kafka/spool.rs"]
mod spool;
#[path = "kafka/support.rs"]
mod support;
#[path = "kafka/topic.rs"]
mod topic;
