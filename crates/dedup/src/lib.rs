//! The index of identities: which events are already in Silver, exactly and with no time window.
//!
//! It answers [`Index::probe`] for batches of identities and takes in what was committed through [`Index::insert`]. It is derived state in a local
//! folder: whatever it holds can be read again from Silver, so damage is detected and answered with a rebuild ([`Index::rebuild`]), never repaired by
//! guessing. A filter alone never decides that an identity is known: what passes a filter is read exactly.
//!
//! Recent identities are in memory; older ones in immutable sorted runs, each identity in exactly one place. Runs of a size are merged a little with
//! every insert, so that no call waits for a long merge, and a probe leaves out the runs that have nothing of its shard.
//!
//! It knows nothing of Delta, events or time: no async, no clock, no network. Which Silver version it has seen is a number that the caller hands
//! in and reads back ([`Index::applied`]).

mod block;
mod cache;
mod codec;
mod cursor;
mod error;
mod files;
mod filter;
mod footer;
mod index;
mod key;
mod limits;
mod manifest;
mod memtable;
mod merge;
pub mod metrics;
mod rebuild;
mod run;
mod segment;
mod shard;
mod writer;

pub use error::{Error, ErrorKind};
pub use index::{Index, Stats};
pub use limits::{Limits, Options};
pub use rebuild::Rebuild;
pub use shard::{Shard, shard_of};

/// One identity and what Silver holds for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The 128-bit digest of the identity. Two entries with the same digest are the same identity.
    pub digest: [u8; 16],
    /// The shard of the identity, from [`shard_of`]. The same digest always comes with the same shard.
    pub shard: Shard,
    /// A hash of the content of the row that Silver holds.
    pub content: u64,
}
