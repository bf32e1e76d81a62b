//! From Bronze to Silver: pure functions over Arrow record batches.
//!
//! Silver is a function of the set of Bronze rows, and this crate is that function. The live worker, a rebuild and other engines (it is also compiled
//! for them) all call it, so nothing in it may hang on when, where or in which order it runs: there is no clock, no randomness, no I/O, no async and no
//! state that outlives a call. It knows Arrow and the contract, and neither the journal nor the lake.
//!
//! The way of a batch: [`bronze::batch`] makes Bronze rows of what the gate took, [`dead_letters::refused`] keeps what it refused. [`silver::refine`]
//! reads Bronze rows into candidates for Silver, [`silver::choose`] picks the one winner among the copies of an event. [`ledger`] counts what went
//! where; [`erasure`] takes a person's events
//! out of rows that keep them as they came; [`digest`] sums up a set of rows so that two engines can compare theirs; [`gold`] holds the SQL of the aggregates. Under which names
//! engines keep their places in the tables is in [`tables`], what Silver has to decide about next in [`frontier`], what columns mean in [`described`].

pub mod bronze;
mod columns;
pub mod dead_letters;
pub mod described;
pub mod digest;
pub mod erasure;
mod error;
pub mod frontier;
pub mod functions;
pub mod gold;
pub mod ledger;
pub mod schema;
pub mod silver;
pub mod tables;
#[cfg(test)]
mod testing;

pub use bronze::Arrival;
pub use error::{Error, ErrorKind};
