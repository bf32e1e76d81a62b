//! The lake as its users see it, on a folder and on a store that misbehaves.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;
mod faults;
mod histories;
mod maintenance;
mod measure;
mod queries;
mod tables;
mod writers;
