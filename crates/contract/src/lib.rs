//! What an event is: identifiers, times, the wire formats that become one event, and the tracking plan it is checked against.
//!
//! Everything here is a pure function of its arguments. There is no I/O, no clock, no randomness and no Arrow in this crate, so the gate, the
//! stream processors and other languages' bindings all decide the same thing about the same bytes.

pub mod erasure;
pub mod event;
pub mod id;
pub mod json;
pub mod mask;
pub mod plan;
pub mod receipt;
pub mod time;
pub mod trace;
pub mod violation;
pub mod wire;

pub use erasure::{Erased, Person};
pub use event::Event;
pub use id::{EventId, Identity, Position, SourceName};
pub use plan::Plan;
pub use receipt::{RECEIPT_VERSION, Receipt, Verdict, WireFormat};
pub use time::Timestamp;
pub use violation::Violation;
