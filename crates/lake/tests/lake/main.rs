//! The lake as its users see it: in a folder, on a real S3 server, and on stores that misbehave.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[macro_use]
mod common;
mod faults;
mod histories;
mod maintenance;
mod measure;
mod place;
mod queries;
mod s3;
mod s3_faults;
mod tables;
mod writers;
