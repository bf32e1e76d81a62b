//! What Silver has decided about, and what it has not come to.
//!
//! Silver goes on by buckets of identities, each with its own version of Bronze. Up to the least of them everything is decided; what versions after that added is told
//! row by row, by the row's bucket and its place in the journal.

use std::collections::BTreeMap;

use lake::Table;
use medallion::frontier::{BUCKETS, bucket_of};

use crate::bronze::Taken;
use crate::error::Error;
use crate::tables;

/// How far Silver has come.
#[derive(Debug, Default)]
pub(crate) struct Frontier {
    /// The version of Bronze that each bucket has come to.
    through: Vec<i64>,
    /// What the versions of Bronze after the least of these took from the journal.
    beyond: BTreeMap<i64, Taken>,
}

impl Frontier {
    /// As Silver says at the version of its handle.
    pub(crate) async fn of(silver: &mut Table) -> Result<Self, Error> {
        let mut through = Vec::with_capacity(BUCKETS as usize);
        for bucket in 0..BUCKETS {
            through.push(silver.progress(&tables::progress_in_bucket(bucket)).await?.unwrap_or(-1));
        }
        Ok(Self { through, beyond: BTreeMap::new() })
    }

    /// What both have decided about.
    pub(crate) fn common(&self, other: &Self) -> Self {
        let through = self.through.iter().zip(&other.through).map(|(one, other)| *one.min(other)).collect();
        Self { through, beyond: BTreeMap::new() }
    }

    /// Learns which places of the journal lie beyond it.
    pub(crate) async fn look_beyond(&mut self, bronze: &Table) -> Result<(), Error> {
        let infos = bronze.infos(self.whole(), bronze.version()).await?;
        self.beyond = infos.into_iter().filter_map(|(version, info)| Some((version, Taken::read(&info)?))).collect();
        Ok(())
    }

    /// The version of Bronze up to which everything is decided.
    pub(crate) fn whole(&self) -> i64 {
        self.through.iter().copied().min().unwrap_or(-1)
    }

    /// The newest version of Bronze that anything was decided in.
    pub(crate) fn furthest(&self) -> i64 {
        self.through.iter().copied().max().unwrap_or(-1)
    }

    /// Whether what a version of Bronze holds of this identity is decided.
    pub(crate) fn has(&self, digest: &[u8; 16], version: i64) -> bool {
        self.through.get(bucket_of(digest) as usize).is_some_and(|through| version <= *through)
    }

    /// Whether what Bronze has of this identity from this place of the journal is decided.
    pub(crate) fn has_place(&self, digest: &[u8; 16], (generation, partition, offset): (u32, u32, u64)) -> bool {
        let holds = |taken: &Taken| taken.generation == generation && taken.from.get(&partition).is_some_and(|from| *from <= offset);
        self.beyond.iter().filter(|(_, taken)| holds(taken)).all(|(version, _)| self.has(digest, *version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(bucket: u8) -> [u8; 16] {
        let mut digest = [0; 16];
        digest[0] = bucket;
        digest
    }

    #[test]
    fn each_bucket_is_decided_up_to_its_own_version() {
        let mut through = vec![9; BUCKETS as usize];
        through[3] = 5;
        let taken = |from: u64| Taken { generation: 1, partitions: 4, from: BTreeMap::from([(3, from)]) };
        let frontier = Frontier { through, beyond: BTreeMap::from([(6, taken(100)), (8, taken(200))]) };
        assert_eq!(frontier.whole(), 5);
        let check = |bucket: u8, version: i64, expect: bool| assert_eq!(frontier.has(&digest(bucket), version), expect);
        check(3, 5, true);
        check(3, 6, false);
        check(7, 9, true);
        check(7, 10, false);
        let place = |bucket: u8, at: (u32, u32, u64), expect: bool| assert_eq!(frontier.has_place(&digest(bucket), at), expect, "{at:?}");
        place(3, (1, 3, 99), true);
        place(3, (1, 3, 100), false);
        place(3, (1, 3, 250), false);
        place(3, (1, 2, 250), true);
        place(3, (0, 3, 250), true);
        place(7, (1, 3, 250), true);
    }
}
