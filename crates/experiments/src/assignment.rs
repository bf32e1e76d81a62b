//! Which variation a subject sees. The hashing is GrowthBook's (<https://docs.growthbook.io/lib/build-your-own>), so that subjects of an experiment that runs there stay where they are.

use std::ops::{Range, RangeInclusive};

/// What weights may be together.
const TOGETHER: RangeInclusive<f64> = 0.99..=1.01;

/// What a subject's id is hashed with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HashVersion {
    /// In thousandths. Experiments that have one seed are correlated: it is there for those that run already.
    One,
    /// In ten thousandths.
    #[default]
    Two,
}

/// A number in [0, 1), the same for the same seed and value wherever it is asked for.
pub fn hash(seed: &str, value: &str, version: HashVersion) -> f64 {
    match version {
        HashVersion::One => f64::from(fnv32a(value.encode_utf16().chain(seed.encode_utf16())) % 1_000) / 1_000.0,
        HashVersion::Two => {
            let first = fnv32a(seed.encode_utf16().chain(value.encode_utf16()));
            f64::from(fnv32a(first.to_string().encode_utf16()) % 10_000) / 10_000.0
        }
    }
}

/// A part of all subjects that several experiments divide among them: a subject is in one of them at most.
#[derive(Debug, Clone, PartialEq)]
pub struct Namespace {
    /// Of the namespace.
    pub id: String,
    /// The part of it, within [0, 1).
    pub range: Range<f64>,
}

impl Namespace {
    /// Whether a subject is in this part.
    pub fn contains(&self, subject: &str) -> bool {
        self.range.contains(&hash(&format!("__{}", self.id), subject, HashVersion::One))
    }
}

/// Where each variation is in [0, 1): it begins where the weights before it end, and is as wide as its weight times the coverage, so that raising the coverage moves nobody. Without weights they
/// are equal. As in GrowthBook, weights that are not one for each variation, are negative, or not 1 together, count as none, and the coverage is at most 1.
pub fn ranges(variations: usize, weights: Option<&[f64]>, coverage: f64) -> Vec<Range<f64>> {
    let are_shares = |weights: &&[f64]| {
        weights.len() == variations && weights.iter().all(|weight| *weight >= 0.0) && TOGETHER.contains(&weights.iter().sum())
    };
    let weights = weights.filter(are_shares);
    let coverage = coverage.clamp(0.0, 1.0);
    let mut start = 0.0;
    let range = |place: usize| {
        let weight = weights.and_then(|weights| weights.get(place)).copied().unwrap_or(1.0 / variations as f64);
        let range = start..start + coverage * weight;
        start += weight;
        range
    };
    (0..variations).map(range).collect()
}

/// The variation that has this number; nothing for one that is in none.
pub fn choose(number: f64, ranges: &[Range<f64>]) -> Option<usize> {
    ranges.iter().position(|range| range.contains(&number))
}

/// FNV-1a of 32 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>), over UTF-16 code units as JavaScript has them.
fn fnv32a(units: impl Iterator<Item = u16>) -> u32 {
    units.fold(0x811C_9DC5, |hash, unit| (hash ^ u32::from(unit)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published by GrowthBook for its own SDKs.
    #[test]
    fn hashes() {
        let check =
            |seed: &str, value: &str, version: HashVersion, expect: f64| assert_eq!(hash(seed, value, version), expect, "{seed} {value}");
        check("", "a", HashVersion::One, 0.22);
        check("b", "a", HashVersion::One, 0.946);
        check("", "___)((*\":&", HashVersion::One, 0.563);
        check("seed", "a", HashVersion::Two, 0.0505);
        check("89123klj", "8952klfjas09ujkasdf", HashVersion::Two, 0.124);
        // Units, not characters or bytes.
        check("wave", "🌊", HashVersion::Two, 0.4611);
    }

    #[test]
    fn ranges_begin_where_the_weights_before_end() {
        assert_eq!(ranges(2, None, 1.0), [0.0..0.5, 0.5..1.0]);
        assert_eq!(ranges(2, None, 0.5), [0.0..0.25, 0.5..0.75]);
        assert_eq!(ranges(2, Some(&[0.4, 0.6]), 5.0), [0.0..0.4, 0.4..1.0]);
        assert_eq!(ranges(2, Some(&[0.4, 0.6]), -0.2), [0.0..0.0, 0.4..0.4]);
        // No shares.
        assert_eq!(ranges(2, Some(&[0.4, 0.1]), 1.0), ranges(2, None, 1.0));
        assert_eq!(ranges(2, Some(&[1.0]), 1.0), ranges(2, None, 1.0));
        assert_eq!(ranges(2, Some(&[1.2, -0.2]), 1.0), ranges(2, None, 1.0));
        assert_eq!(ranges(2, Some(&[f64::NAN, 1.0]), 1.0), ranges(2, None, 1.0));
        assert_eq!(ranges(0, None, 1.0), []);
    }

    #[test]
    fn a_number_is_in_one_variation_or_in_none() {
        let half = ranges(2, None, 0.5);
        let check = |number: f64, expect: Option<usize>| assert_eq!(choose(number, &half), expect, "{number}");
        check(0.0, Some(0));
        check(0.2499, Some(0));
        check(0.25, None);
        check(0.5, Some(1));
        check(0.75, None);
    }

    /// As the package `growthbook` 4.0 for Python has them.
    #[test]
    fn namespaces() {
        let check = |subject: &str, range: Range<f64>, expect: bool| {
            assert_eq!(Namespace { id: "namespace1".to_owned(), range }.contains(subject), expect, "{subject}");
        };
        check("1", 0.0..0.4, false);
        check("1", 0.4..1.0, true);
        check("4", 0.0..0.4, false);
        check("4", 0.4..1.0, true);
    }
}
