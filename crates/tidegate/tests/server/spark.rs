//! The Spark job beside the workers: the same tables, taken over from one another, on one lake.
//!
//! They need Spark, and run with `cargo xtask test spark`.

mod commits;
mod conformance;
mod events;
pub(crate) mod harness;
mod take_over;
