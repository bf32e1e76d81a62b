//! The client as an application has it: beside a gate that answers as a test wants, and before the platform itself.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod calls;
mod codegen;
mod delivery;
mod experiments;
mod gate;
mod helpers;
mod plan;
mod queue;
mod spool;
mod testing;
