//! The gate over real connections, in front of a real journal.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod bad_input;
mod browsers;
mod clients;
mod cloudevents;
mod lifecycle;
mod measure;
mod personal;
mod pressure;
mod scopes;
mod signed;
mod support;
