//! The order in which identities are stored: by shard, then by digest.

use crate::Shard;

/// An identity as the runs order it. Two halves instead of one `u128`, which would have to be aligned and so take half as much again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) shard: Shard,
    high: u64,
    low: u64,
}

impl Key {
    pub(crate) fn new(shard: Shard, digest: [u8; 16]) -> Self {
        let rank = u128::from_be_bytes(digest);
        Self { shard, high: (rank >> 64) as u64, low: rank as u64 }
    }

    pub(crate) fn digest(self) -> [u8; 16] {
        (u128::from(self.high) << 64 | u128::from(self.low)).to_be_bytes()
    }

    /// What stands for the key in a filter. Two keys may share it; then the filter lets both pass.
    pub(crate) fn hash(self) -> u64 {
        self.high ^ self.low.rotate_left(32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_as_shard_and_digest_do() {
        let key = |shard, first, last| {
            let mut digest = [0; 16];
            (digest[0], digest[15]) = (first, last);
            Key::new(Shard::from_number(shard).unwrap(), digest)
        };
        let ordered = [key(0, 0, 1), key(0, 0, 2), key(0, 1, 0), key(0, 255, 255), key(1, 0, 0), key(256, 0, 0)];
        assert!(ordered.is_sorted_by(|left, right| left < right));
        assert_eq!(ordered[3].digest()[15], 255);
        assert_eq!(size_of::<Key>(), 24);
    }
}
