//! Which shard of the index an identity belongs to: a pure function of the identity, so that two copies can never be looked for in two places.

use serde::{Deserialize, Serialize};

/// How many shards the identities without time order share.
const HASH_BUCKETS: u16 = 64;
/// 2020-01-01 in days since 1970-01-01.
const FIRST_DAY: u64 = 18_262;
/// 2100-01-01 in days since 1970-01-01.
const END_DAY: u64 = 47_482;

const MILLIS_PER_DAY: u64 = 86_400_000;

/// A part of the index. Identities of one shard are stored and looked up together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shard(u16);

impl Shard {
    /// How many shards there are.
    pub const COUNT: u16 = HASH_BUCKETS + (END_DAY - FIRST_DAY) as u16;

    /// The shard's number, below [`Shard::COUNT`].
    pub fn number(self) -> u16 {
        self.0
    }

    /// The shard of that number; `None` where there is none.
    pub fn from_number(number: u16) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number))
    }

    /// The UTC day that the shard stands for, in days since 1970-01-01; `None` for a hash bucket.
    pub fn day(self) -> Option<u64> {
        self.0.checked_sub(HASH_BUCKETS).map(|day| FIRST_DAY + u64::from(day))
    }
}

/// The shard of an identity: the id's own UTC day where it is a UUIDv7 of the years 2020 to 2099 (hyphenated, either case), else one of 64
/// buckets of the digest. A late copy of an event carries the same id, and so comes to the same shard.
pub fn shard_of(event_id: &str, digest: &[u8; 16]) -> Shard {
    match uuid_v7_millis(event_id).map(|millis| millis / MILLIS_PER_DAY) {
        Some(day) if (FIRST_DAY..END_DAY).contains(&day) => Shard(HASH_BUCKETS + (day - FIRST_DAY) as u16),
        // The last byte: runs are ordered by the first ones, journal partitions use the first eight.
        _ => Shard(u16::from(digest[15]) % HASH_BUCKETS),
    }
}

/// The milliseconds since 1970 that a hyphenated UUID of version 7 begins with.
fn uuid_v7_millis(id: &str) -> Option<u64> {
    let text: &[u8; 36] = id.as_bytes().try_into().ok()?;
    let mut millis = 0;
    for (at, &byte) in text.iter().enumerate() {
        match at {
            8 | 13 | 18 | 23 if byte == b'-' => {}
            8 | 13 | 18 | 23 => return None,
            14 if byte != b'7' => return None,
            19 if !matches!(byte, b'8' | b'9' | b'a' | b'b' | b'A' | b'B') => return None,
            _ => {
                let digit = char::from(byte).to_digit(16)?;
                if at < 13 {
                    millis = millis << 4 | u64::from(digit);
                }
            }
        }
    }
    Some(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_ordered_ids_go_to_their_own_day() {
        let check = |id: &str, day: Option<u64>| assert_eq!(shard_of(id, &[0xff; 16]).day(), day, "{id}");
        check("0190a5f0-7c1e-7cc3-98c4-dc0c0c07398f", Some(19_916)); // 2024-07-12
        check("0190A5F0-7C1E-7CC3-B8C4-DC0C0C07398F", Some(19_916));
        check("016f5e66-e800-7000-8000-000000000000", Some(18_262)); // 2020-01-01T00:00:00.000Z
        check("016f5e66-e7ff-7000-8000-000000000000", None); // the millisecond before
        check("03bb2cc3-d7ff-7000-8000-000000000000", Some(47_481)); // 2099-12-31T23:59:59.999Z
        check("03bb2cc3-d800-7000-8000-000000000000", None); // 2100-01-01
        check("ffffffff-ffff-7fff-bfff-ffffffffffff", None);
    }

    #[test]
    fn all_other_ids_go_to_a_bucket_of_the_digest() {
        let check = |id: &str| {
            for last in [0, 1, 63, 64, 255] {
                let mut digest = [7; 16];
                digest[15] = last;
                assert_eq!(shard_of(id, &digest).number(), u16::from(last % 64), "{id:?}");
            }
        };
        check("");
        check("order-17");
        check("0190a5f0-7c1e-4cc3-98c4-dc0c0c07398f"); // version 4
        check("0190a5f0-7c1e-7cc3-c8c4-dc0c0c07398f"); // another variant
        check("0190a5f0+7c1e-7cc3-98c4-dc0c0c07398f");
        check("0190a5g0-7c1e-7cc3-98c4-dc0c0c07398f");
        check("0190a5f07c1e7cc398c4dc0c0c07398f");
        check("0190a5f0-7c1e-7cc3-98c4-dc0c0c07398é");
        check("{190a5f0-7c1e-7cc3-98c4-dc0c0c07398}");
    }

    #[test]
    fn numbers_name_every_shard_once() {
        assert_eq!(Shard::COUNT, 64 + 29_220);
        assert_eq!(Shard::from_number(Shard::COUNT), None);
        let last = Shard::from_number(Shard::COUNT - 1).unwrap();
        assert_eq!((last.number(), last.day()), (Shard::COUNT - 1, Some(47_481)));
    }
}
