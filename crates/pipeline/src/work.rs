//! Which part of the work this process has, where several share a journal.
//!
//! The partitions of the journal are what is divided: whoever reads a partition takes its records to Bronze, decides about the buckets of identities that
//! lie in it, and the one that has the first partition does what one process does for all: Gold, the ledger, the upkeep. It is no more than a division: two
//! processes may have the same part for a moment, and the progress in the tables tells whose commit holds.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use journal::{Journal, Share};
use medallion::frontier::BUCKETS;
use medallion::tables::Engine;
use tokio::sync::watch;

/// Whether a partition, of so many, can hold records of a bucket: both are remainders of one number.
pub(crate) fn may_meet(bucket: u32, partition: u32, partitions: u32) -> bool {
    let common = greatest_common_divisor(BUCKETS, partitions.max(1));
    bucket % common == partition % common
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// The part of the work that this process has, as it changes.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    share: watch::Receiver<Share>,
    partitions: u32,
    is_shared: bool,
    /// Whether another engine owns the stream, as this process last read it.
    is_waiting: Arc<AtomicBool>,
}

impl Work {
    /// Asks for a part of what this journal brings.
    pub(crate) fn of(journal: &dyn Journal) -> Self {
        Self { share: journal.share(), partitions: journal.partitions(), is_shared: journal.is_shared(), is_waiting: Arc::default() }
    }

    /// All of it, for good.
    pub(crate) fn whole() -> Self {
        let (_, share) = watch::channel(Share::new(BTreeSet::from([0])));
        Self { share, partitions: 1, is_shared: false, is_waiting: Arc::default() }
    }

    /// The partitions it has now.
    pub(crate) fn partitions(&self) -> Share {
        Share::clone(&self.share.borrow())
    }

    /// The buckets it has now. Where the number of partitions divides [`BUCKETS`] they are those of its own partitions, and what it reads from Bronze is what
    /// it wrote there.
    pub(crate) fn buckets(&self) -> BTreeSet<u32> {
        let share = self.share.borrow();
        (0..BUCKETS).filter(|bucket| share.contains(&(bucket % self.partitions.max(1)))).collect()
    }

    /// Whether it does what one process does for all.
    pub(crate) fn leads(&self) -> bool {
        self.share.borrow().contains(&0)
    }

    /// Whether it makes what one process makes for all of Silver: it leads, and no other engine does it.
    pub(crate) fn makes(&self) -> bool {
        self.leads() && !self.is_waiting.load(Ordering::Relaxed)
    }

    /// Notes who owns the stream.
    pub(crate) fn note_owner(&self, owner: Engine) {
        let is_waiting = owner != Engine::Workers;
        let waited = self.is_waiting.swap(is_waiting, Ordering::Relaxed);
        if is_waiting && !waited {
            tracing::info!(
                owner = owner.as_str(),
                "another engine owns the stream: this worker waits until it is handed back (`tidegate engine workers`)"
            );
        } else if waited && !is_waiting {
            tracing::info!("the stream is the workers' again");
        }
    }

    /// Whether other processes may have parts of the work.
    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Waits until the part may have become another one; for ever where it cannot.
    pub(crate) async fn changes(&mut self) {
        if self.share.changed().await.is_err() {
            pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use journal::partition_of;
    use medallion::frontier::bucket_of;

    use super::*;

    fn work(share: &[u32], partitions: u32) -> Work {
        let (_, share) = watch::channel(Arc::new(share.iter().copied().collect()));
        Work { share, partitions, is_shared: true, is_waiting: Arc::default() }
    }

    #[test]
    fn every_bucket_has_one_owner_however_many_partitions_there_are() {
        for partitions in 1..=40 {
            for workers in 1..=partitions.min(5) {
                let share_of = |worker: u32| (0..partitions).filter(|p| p % workers == worker).collect::<Vec<_>>();
                let mut owned: Vec<u32> = (0..workers).flat_map(|worker| work(&share_of(worker), partitions).buckets()).collect();
                owned.sort_unstable();
                assert_eq!(owned, (0..BUCKETS).collect::<Vec<_>>(), "{partitions} partitions, {workers} workers");
                let leaders = (0..workers).filter(|worker| work(&share_of(*worker), partitions).leads()).count();
                assert_eq!(leaders, 1);
            }
        }
    }

    #[test]
    fn a_bucket_meets_the_partitions_its_identities_are_in() {
        for partitions in [1, 2, 3, 4, 6, 16, 24, 32] {
            for number in 0..1_000_u64 {
                let mut digest = [0; 16];
                digest[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
                assert!(may_meet(bucket_of(&digest), partition_of(&digest, partitions), partitions));
            }
        }
        let met = |bucket, partitions| (0..partitions).filter(|partition| may_meet(bucket, *partition, partitions)).collect::<Vec<_>>();
        assert_eq!((met(5, 4), met(5, 3), met(5, 32)), (vec![1], vec![0, 1, 2], vec![5, 21]));
    }
}
