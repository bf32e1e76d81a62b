//! The durable, ordered log between the gate and the lake.
//!
//! One trait states the law; each implementation stands beside it and runs the one conformance suite in [`conformance`]. The journal knows no
//! event fields: a record is a key, a header and a value, all of them bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

pub mod conformance;
mod copy;
pub mod embedded;
mod error;
pub mod kafka;
pub mod metrics;
mod origin;
pub mod spool;

pub use copy::{Copied, copy};
pub use error::{Error, ErrorKind};

/// What is appended: bytes with a key that chooses the partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Chooses the partition: records of the same key are in the same partition, in the order they were appended.
    pub key: [u8; 16],
    /// What the writer says about the value.
    pub header: Bytes,
    /// The value, as it came.
    pub value: Bytes,
}

/// A record as it stands in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The partition it is in.
    pub partition: u32,
    /// Its offset there.
    pub offset: u64,
    /// What was appended.
    pub record: Record,
}

/// Offsets by partition.
pub type Offsets = BTreeMap<u32, u64>;

/// An earlier generation of a journal that was copied, of which the copy still had records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ancestor {
    /// Its number.
    pub generation: u32,
    /// Where it ends, by partition: records before these offsets that are not an earlier ancestor's have their positions of this generation, here and in the journal that was copied.
    pub end: Offsets,
}

/// The partitions that this process is to read now. Others may be read by other processes at the same time.
pub type Share = Arc<BTreeSet<u32>>;

/// How much one [`Journal::read`] may return.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimit {
    /// At most so many records.
    pub records_max: usize,
    /// Stops after the record with which the sum of header and value bytes reaches this; always returns one record if there is one.
    pub bytes_max: usize,
}

/// Where records are made durable: all that a gate needs of a journal.
#[async_trait::async_trait]
pub trait Sink: Send + Sync + Debug {
    /// Returns when every record given is durable. After an `Err` any, all or none of them may be.
    async fn put(&self, records: Vec<Record>) -> Result<(), Error>;
}

#[async_trait::async_trait]
impl<J: Journal> Sink for J {
    async fn put(&self, records: Vec<Record>) -> Result<(), Error> {
        self.append(records).await.map(drop)
    }
}

/// The law of every journal:
///
/// 1. When `append` returns `Ok`, every record given is durable: it survives a kill of the process and, as far as the medium allows, a loss of power. It
///    is all or nothing for a caller that was told `Ok`; after an `Err` or a crash, any, all or none of the records may be there.
/// 2. Within a partition, records are read in the order of their offsets, and an offset, once readable, means the same record for ever.
///    Offsets only grow; they may have gaps only where an implementation says so.
/// 3. Only durable records are readable.
/// 4. What is damaged is an error that names the place; damage is never returned as a record and never skipped.
/// 5. `trim` removes only from the front, and only what lies before the offsets given.
/// 6. Memory and disk are bounded: an `append` over a bound is [`ErrorKind::Full`] and leaves nothing behind.
#[async_trait::async_trait]
pub trait Journal: Sink {
    /// Which making of the journal this is. It grows when offsets begin anew or the number of partitions changes, so that
    /// (generation, partition, offset) never means two things.
    fn generation(&self) -> u32;

    /// The generations before this one of which there are still records, oldest first. Offsets go on from one to the next, so that a consumer of the journal that was copied goes on
    /// where it was. What an ancestor's records were is known here up to its end only: the original may have gone on.
    fn ancestors(&self) -> &[Ancestor] {
        &[]
    }

    /// How many partitions there are, numbered from 0.
    fn partitions(&self) -> u32;

    /// Makes the records durable and tells, in the order given, the partition and offset each one got.
    async fn append(&self, records: Vec<Record>) -> Result<Vec<(u32, u64)>, Error>;

    /// Reads durable records of the partitions named, from the given offsets on, ordered by offset within each partition. Returns an empty list when
    /// there is nothing there yet; [`ErrorKind::Trimmed`] when an offset named lies before what is still there.
    async fn read(&self, from: &Offsets, limit: ReadLimit) -> Result<Vec<Stored>, Error>;

    /// Waits until one of the partitions named holds a durable record at or after its offset. May wake early. Safe to drop.
    async fn wait(&self, from: &Offsets);

    /// Which partitions this process is to read, now and whenever that changes. It divides the work and guards nothing: for a moment two processes may
    /// both believe to have a partition, and only the commit of what they read tells whose it is.
    fn share(&self) -> watch::Receiver<Share> {
        watch::channel(Arc::new((0..self.partitions()).collect())).1
    }

    /// Whether other processes may read this journal at the same time.
    fn is_shared(&self) -> bool {
        false
    }

    /// The first offset still there, by partition.
    async fn start(&self) -> Result<Offsets, Error>;

    /// One past the last durable offset, by partition.
    async fn end(&self) -> Result<Offsets, Error>;

    /// Lets go of records that lie before the given offsets. May keep more than it must.
    async fn trim(&self, before: &Offsets) -> Result<(), Error>;

    /// Keeps what is appended from now on apart from what is there, and tells where that ends, by partition: so that all of it can be let go of.
    async fn seal(&self) -> Result<Offsets, Error>;

    /// As `trim`, for data that must go now: when it returns, what was sealed and lies before these offsets as a whole cannot be read any more. Partitions that are not named keep what
    /// they have.
    async fn forget(&self, before: &Offsets) -> Result<(), Error>;
}

/// The partition of a key: its first 8 bytes, little endian, modulo the number of partitions. Keys are digests, so this spreads evenly.
pub fn partition_of(key: &[u8; 16], partitions: u32) -> u32 {
    let [a, b, c, d, e, f, g, h, ..] = *key;
    (u64::from_le_bytes([a, b, c, d, e, f, g, h]) % u64::from(partitions.max(1))) as u32
}
