//! The HTTP API: authenticate, bound, decode, validate, append, answer.
//!
//! A request goes through [`Gate`] in this order: a place within the bounds, the write key, the body (read and unpacked within bounds), its
//! events one by one against wire format and tracking plan, one append to the journal, the answer. Success is said only after the journal made
//! the events durable. What a known source sent and was refused is appended too, with the reason, before the client is told.
//!
//! No business logic lives here: what an event is and what the plan says of it is decided in `contract`, what becomes of it in later stages.

mod admission;
mod again;
mod answer;
mod body;
mod caller;
pub mod config;
mod cors;
mod credentials;
mod encoding;
mod error;
mod form;
mod gate;
mod health;
mod intake;
mod judge;
pub mod keys;
mod metrics;
mod openapi;
mod pixel;
mod rate;
mod record;
mod route;
mod router;
mod settings;
mod sift;
pub mod signature;

pub use again::{Again, judge_again, judge_ahead};
pub use config::Config;
pub use error::Error;
pub use gate::{Builder, Gate};
pub use keys::{KeyFile, Keyring, WriteKey};
pub use metrics::describe as describe_metrics;
pub use record::record;
pub use router::{health_router, not_found, router};
