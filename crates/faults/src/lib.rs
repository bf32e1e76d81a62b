//! Processes and connections that fail on request, at the moment somebody wants it: killed, frozen, refused, cut, slowed.
//!
//! `tidegate chaos` plays such faults against a running setup, and the tests against the servers they start. Everything here is of this machine and of this process: what it
//! starts is gone when it is, also where it is killed.

mod freeze;
mod guard;
mod port;
mod process;
mod proxy;

pub use freeze::{freeze, thaw};
pub use guard::Guard;
pub use port::{free as free_port, random};
pub use process::Process;
pub use proxy::{Fault, Proxy};
