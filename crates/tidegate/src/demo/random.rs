//! Numbers that look random and are the same on every machine and in every version, for the demo's figures must not change with a library.
//!
//! The generator is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014). Everything drawn from it is whole numbers:
//! logarithms differ in their last digit from one system to the next. Never for secrets.

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// A stream of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// The stream of this name under this seed. Streams of different names have nothing to do with one another, so that one can be drawn from without the others.
    pub(crate) fn stream(seed: u64, name: &[u64]) -> Self {
        let mixed = name.iter().fold(mix(seed ^ GOLDEN), |state, part| mix(state.wrapping_add(GOLDEN) ^ part.wrapping_mul(GOLDEN)));
        Self { state: mixed }
    }

    /// 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// A number from 0 to `bound − 1`; 0 for a bound of 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // The high half of a product: at most bound × 2⁻⁶⁴ off an even spread.
        let product = u128::from(self.bits()) * u128::from(bound);
        (product >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = high.abs_diff(low).saturating_add(1);
        low.saturating_add_unsigned(self.below(width))
    }

    /// True this often in a million times.
    pub(crate) fn chance(&mut self, per_million: u64) -> bool {
        self.below(1_000_000) < per_million
    }

    /// One of these, each as likely as the other.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let at = self.below(from.len() as u64) as usize;
        &from[at]
    }

    /// One of these, as likely as its weight says.
    pub(crate) fn weighted<'a, T>(&mut self, from: &'a [(u64, T)]) -> &'a T {
        let total = from.iter().map(|(weight, _)| weight).sum();
        let mut left = self.below(total);
        for (weight, item) in from {
            if left < *weight {
                return item;
            }
            left -= weight;
        }
        &from[0].1
    }

    /// Ten bytes, as many as an event id has of chance.
    pub(crate) fn ten_bytes(&mut self) -> [u8; 10] {
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&self.bits().to_be_bytes());
        bytes[8..].copy_from_slice(&self.bits().to_be_bytes()[..2]);
        bytes
    }
}

fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_splitmix64() {
        // The published reference implementation's first numbers from the state 1234567.
        let mut random = Random { state: 1_234_567 };
        assert_eq!(
            [random.bits(), random.bits(), random.bits()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn stays_within_its_bounds_and_spreads_evenly() {
        let mut random = Random::stream(1, &[2, 3]);
        let mut seen = [0; 7];
        for _ in 0..70_000 {
            let number = random.between(-3, 3);
            seen[usize::try_from(number + 3).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| (9_500..10_500).contains(count)), "{seen:?}");
        let hits = (0..100_000).filter(|_| random.chance(20_000)).count();
        assert!((1_800..2_200).contains(&hits), "{hits}");
        let weighted = (0..10_000).filter(|_| *random.weighted(&[(1, 'a'), (3, 'b')]) == 'b').count();
        assert!((7_200..7_800).contains(&weighted), "{weighted}");
        assert_eq!((random.below(0), random.between(5, 5)), (0, 5));
    }

    #[test]
    fn streams_differ_by_seed_and_by_name() {
        let first = |seed, name: &[u64]| Random::stream(seed, name).bits();
        let all = [first(1, &[]), first(2, &[]), first(1, &[0]), first(1, &[1]), first(1, &[0, 0]), first(1, &[0, 1]), first(1, &[1, 0])];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
