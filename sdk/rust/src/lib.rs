//! Sends events to Tidegate.
//!
//! ```no_run
//! # fn main() -> Result<(), tidegate_sdk::ConfigError> {
//! use tidegate_sdk::{Client, Event};
//!
//! let client = Client::builder("WRITE_KEY").url("https://events.example.com").build()?;
//! client.track(Event::new("signup").user_id("u1").property("tier", "free"));
//! # Ok(())
//! # }
//! ```
//!
//! Every event that was given to a client is delivered, or counted under a reason, never neither: [`Stats`] tells at any moment.

mod answers;
mod client;
mod clock;
mod config;
mod engine;
mod event;
mod experiments;
mod exposures;
mod finite;
#[cfg(feature = "openfeature")]
pub mod openfeature;
mod scope;
mod sender;
mod spool;
mod state;
mod stats;
#[cfg(feature = "testing")]
pub mod testing;
mod transport;
#[cfg(test)]
mod vectors;
mod writer;

pub use client::{Client, ClientBuilder};
pub use config::{ConfigError, WhenFull};
pub use event::Event;
pub use experiments::{Experiment, Subject};
pub use scope::Scope;
/// What the code that `tidegate plan codegen --lang rust` writes is made with.
#[doc(hidden)]
pub use serde;
#[doc(hidden)]
pub use serde_json;
pub use stats::{Delivery, Outcome, Reason, Stats};
