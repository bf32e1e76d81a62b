//! What the program tells about itself: logs, metrics, traces, and the one clock it reads.
//!
//! Every crate emits through `tracing` and `metrics`; only the binary installs what takes it in, with this crate. Nothing here decides anything.

pub mod clock;
mod error;
pub mod logging;
pub mod metrics;
pub mod traces;

pub use error::{Error, ErrorKind};
