//! The filter of a segment: it tells most identities that are not in there, and never denies one that is.

use xorf::{BinaryFuse16, Descriptor, Filter as _};

use crate::codec::Reader;

/// A binary fuse filter of 16 bits: one in 65,536 strangers passes. Without one, all do.
#[derive(Debug)]
pub(crate) struct Filter(Option<BinaryFuse16>);

impl Filter {
    /// The filter of these hashes, which it puts in order.
    pub(crate) fn build(hashes: &mut Vec<u64>) -> Self {
        hashes.sort_unstable();
        hashes.dedup();
        // Construction may fail, with hashes chosen for it; a filter that denied what it holds would be a wrong answer, so that is looked at, too.
        let built = BinaryFuse16::try_from_iterator(hashes.iter().copied()).ok();
        Self(built.filter(|filter| hashes.iter().all(|hash| filter.contains(hash))))
    }

    /// Whether the hash may be in there.
    pub(crate) fn may_hold(&self, hash: u64) -> bool {
        self.0.as_ref().is_none_or(|filter| filter.contains(&hash))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |filter| size_of_val::<[u16]>(&filter.fingerprints))
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let Some(BinaryFuse16 { descriptor, fingerprints }) = &self.0 else { return };
        let Descriptor { seed, segment_length, segment_length_mask, segment_count_length } = descriptor;
        out.extend_from_slice(&seed.to_le_bytes());
        for number in [segment_length, segment_length_mask, segment_count_length] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend(fingerprints.iter().flat_map(|fingerprint| fingerprint.to_le_bytes()));
    }

    /// `None` where this is no filter, or one that would look beyond its own end.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self(None));
        }
        let mut reader = Reader(bytes);
        let descriptor = Descriptor {
            seed: reader.u64()?,
            segment_length: reader.u32()?,
            segment_length_mask: reader.u32()?,
            segment_count_length: reader.u32()?,
        };
        let (pairs, rest) = reader.0.as_chunks::<2>();
        let fingerprints: Box<[u16]> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
        let Descriptor { segment_length, segment_length_mask, segment_count_length, .. } = descriptor;
        let is_sound = segment_length.is_power_of_two() && segment_length_mask == segment_length - 1;
        // A key is looked for in three stretches that follow on one another, anywhere in the second and the third; the first is the last one that a key may begin in.
        let stretches = u64::from(segment_count_length.saturating_sub(1)) / u64::from(segment_length.max(1)) + 3;
        let fits = is_sound && stretches * u64::from(segment_length) <= fingerprints.len() as u64;
        (fits && rest.is_empty()).then_some(Self(Some(BinaryFuse16 { descriptor, fingerprints })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mut hashes: Vec<u64>) {
        let given = hashes.clone();
        let built = Filter::build(&mut hashes);
        let mut bytes = Vec::new();
        built.encode(&mut bytes);
        let filter = Filter::decode(&bytes).unwrap();
        assert_eq!(filter.bytes(), built.bytes());
        assert!(given.iter().all(|hash| filter.may_hold(*hash)));
        let strangers = (0..20_000u64).filter(|number| filter.may_hold(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 1)).count();
        assert!(strangers < 20 || filter.bytes() == 0, "{strangers} strangers pass the filter of {}", given.len());
    }

    #[test]
    fn what_is_held_passes_and_little_else() {
        for size in [1, 2, 3, 4, 5, 10, 100, 1_000, 20_000] {
            check((0..size).map(|number: u64| number.wrapping_mul(0xd134_2543_de82_ef95)).collect());
        }
        check(vec![7; 5]);
        check((0..100).collect());
    }

    #[test]
    fn a_filter_that_reaches_beyond_its_end_is_refused() {
        let mut bytes = Vec::new();
        Filter::build(&mut (0..1_000).collect()).encode(&mut bytes);
        assert!(Filter::decode(&bytes[..bytes.len() - 2_000]).is_none());
        assert!(Filter::decode(&bytes[..bytes.len() - 1]).is_none());
        assert!(Filter::decode(&bytes[..10]).is_none());
    }

    #[test]
    fn a_filter_has_all_three_stretches_of_each_key() {
        for (begins, fingerprints, is_sound) in [(0, 8, false), (0, 12, true), (4, 12, true), (5, 13, false), (5, 16, true)] {
            let mut bytes = vec![0; 8];
            bytes.extend([4, 3, begins].into_iter().flat_map(u32::to_le_bytes));
            bytes.extend(vec![0; fingerprints * 2]);
            let filter = Filter::decode(&bytes);
            assert_eq!(filter.is_some(), is_sound, "{begins} of {fingerprints}");
            // None of them looks beyond the end.
            let held = filter.map(|filter| (0..10_000).filter(|hash| filter.may_hold(*hash)).count());
            assert!(held.is_none_or(|held| held < 100), "{held:?}");
        }
    }
}
