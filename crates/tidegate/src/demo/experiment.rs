//! The A/B test in the demo's traffic, and the truth about it that the result is held against.

use super::random::Random;

/// The experiment's id.
pub(crate) const ID: &str = "checkout-button";
/// How long after the first exposure a purchase counts: a day, in microseconds.
pub(crate) const WINDOW_MICROS: i64 = 24 * 3_600 * 1_000_000;

/// Into how many parts a hash divides subjects.
const BUCKETS: u32 = 10_000;

/// What a subject sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Variation {
    Control,
    Treatment,
}

impl Variation {
    pub(crate) const ALL: [Self; 2] = [Self::Control, Self::Treatment];

    /// The id as it stands in events.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Treatment => "treatment",
        }
    }

    /// How many of a million subjects buy within the window, in truth.
    pub(crate) fn buyers_per_million(self) -> u64 {
        match self {
            Self::Control => 300_000,
            Self::Treatment => 400_000,
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Control => Self::Treatment,
            Self::Treatment => Self::Control,
        }
    }

    /// The variation of a subject: half and half by hash.
    pub(crate) fn of(subject: &str) -> Self {
        if bucket(ID, subject) < BUCKETS / 2 { Self::Control } else { Self::Treatment }
    }
}

/// Whether a subject is one of those who buy once they have seen the variation. It is settled by seed and visitor, so that exposure adds no luck of its own.
pub(crate) fn is_buyer(seed: u64, visitor: u64, variation: Variation) -> bool {
    const OUTCOME: u64 = 0x0B17;
    Random::stream(seed, &[OUTCOME, visitor]).chance(variation.buyers_per_million())
}

/// The bucket of a value by GrowthBook's second hashing version (FNV-1a of FNV-1a), so that any client which assigns like that sees the same.
fn bucket(seed: &str, value: &str) -> u32 {
    let inner = fnv1a(seed.bytes().chain(value.bytes()));
    fnv1a(inner.to_string().bytes()) % BUCKETS
}

/// FNV-1a in 32 bits.
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u32 {
    bytes.fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        for (text, hash) in [("", 0x811C_9DC5), ("a", 0xE40C_292C), ("foobar", 0xBF9C_F968)] {
            assert_eq!(fnv1a(text.bytes()), hash, "{text}");
        }
    }

    #[test]
    fn the_buckets_are_growthbooks() {
        // From the cases that GrowthBook's libraries share: seed, value, place between 0 and 1 in ten thousandths.
        for (seed, value, place) in [("seed", "a", 505), ("seed", "b", 2_696), ("foo", "ab", 2_575), ("foo", "def", 2_019)] {
            assert_eq!(bucket(seed, value), place, "{seed} {value}");
        }
    }

    #[test]
    fn halves_are_halves_and_the_truth_is_what_is_stated() {
        let mut subjects = [0_u32; 2];
        let mut buyers = [0_u32; 2];
        for visitor in 0..20_000 {
            let variation = Variation::of(&format!("subject-{visitor}"));
            subjects[variation as usize] += 1;
            buyers[variation as usize] += u32::from(is_buyer(7, visitor, variation));
        }
        assert!(subjects.iter().all(|count| (9_800..10_200).contains(count)), "{subjects:?}");
        let rate = |variation: Variation| f64::from(buyers[variation as usize]) / f64::from(subjects[variation as usize]);
        assert!((rate(Variation::Control) - 0.30).abs() < 0.015 && (rate(Variation::Treatment) - 0.40).abs() < 0.015);
    }
}
