//! Places in the journal, summed up.
//!
//! The places of the rows of a table in one partition of the journal have no gap. Whether any is missing is told by three numbers: how many there are, their sum, and the sum of their
//! squares, each modulo 2^64. What retention takes out adds its own to the books, as measures such as `places_sum:1:0` of generation 1 and partition 0, so that the books still tell
//! that nothing else is missing.

use std::collections::BTreeMap;

use contract::Timestamp;

use super::Counts;
use crate::digest::Digest;

const COUNT: &str = "places";
const SUM: &str = "places_sum";
const SQUARES: &str = "places_squares";

/// A partition of the journal: its generation and its number.
pub type Partition = (i32, i32);

/// Places of a partition, summed up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// How many.
    pub count: u64,
    /// Their sum, modulo 2^64.
    pub sum: u64,
    /// The sum of their squares, modulo 2^64.
    pub squares: u64,
}

impl Sums {
    /// Adds the place with this offset.
    pub fn add(&mut self, offset: u64) {
        self.merge(Self { count: 1, sum: offset, squares: offset.wrapping_mul(offset) });
    }

    /// Adds other places.
    pub fn merge(&mut self, other: Self) {
        self.count = self.count.wrapping_add(other.count);
        self.sum = self.sum.wrapping_add(other.sum);
        self.squares = self.squares.wrapping_add(other.squares);
    }

    /// Of all offsets from one up to `until`, without that, as [`Sums::whole`].
    pub fn between(from: u64, until: u64) -> Self {
        let (all, before) = (Self::whole(until), Self::whole(from.min(until)));
        Self {
            count: all.count.wrapping_sub(before.count),
            sum: all.sum.wrapping_sub(before.sum),
            squares: all.squares.wrapping_sub(before.squares),
        }
    }

    /// Of all offsets from 0 up to `until`, without it, which must be below 2^42.
    pub fn whole(until: u64) -> Self {
        let n = u128::from(until);
        let sum = n * n.saturating_sub(1) / 2;
        // n(n-1)(2n-1)/6; the products stay within 128 bits for n below 2^42.
        let squares = n * n.saturating_sub(1) * (2 * n).saturating_sub(1) / 6;
        Self { count: until, sum: sum as u64, squares: squares as u64 }
    }
}

impl Counts {
    /// Adds places of rows that were taken out; `day` is the start of the day they were received.
    pub fn add_places(&mut self, source: &str, day: Timestamp, (generation, partition): Partition, sums: Sums) {
        for (name, number) in [(COUNT, sums.count), (SUM, sums.sum), (SQUARES, sums.squares)] {
            self.add(source, day, format!("{name}:{generation}:{partition}"), number.cast_signed(), &Digest::default());
        }
    }

    /// The places of rows that were taken out, over all sources and days.
    pub fn places(&self) -> BTreeMap<Partition, Sums> {
        let mut places: BTreeMap<Partition, Sums> = BTreeMap::new();
        for line in self.iter() {
            let Some((name, partition)) = parsed(line.measure) else { continue };
            let number = line.tally.count.cast_unsigned();
            let sums = match name {
                COUNT => Sums { count: number, ..Sums::default() },
                SUM => Sums { sum: number, ..Sums::default() },
                _ => Sums { squares: number, ..Sums::default() },
            };
            places.entry(partition).or_default().merge(sums);
        }
        places
    }
}

/// Whether a measure is one of these.
pub fn is_place(measure: &str) -> bool {
    parsed(measure).is_some()
}

fn parsed(measure: &str) -> Option<(&str, Partition)> {
    let mut parts = measure.split(':');
    let name = parts.next().filter(|name| [COUNT, SUM, SQUARES].contains(name))?;
    let partition = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some((name, partition))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(offsets: impl IntoIterator<Item = u64>) -> Sums {
        let mut sums = Sums::default();
        offsets.into_iter().for_each(|offset| sums.add(offset));
        sums
    }

    #[test]
    fn a_whole_range_has_the_sums_of_the_formula() {
        for until in [0, 1, 2, 3, 100, 100_000] {
            assert_eq!(sums(0..until), Sums::whole(until), "{until}");
        }
    }

    #[test]
    fn a_range_that_begins_later_has_the_sums_of_its_own() {
        for (from, until) in [(0, 0), (0, 3), (3, 3), (3, 4), (40, 100_000)] {
            assert_eq!(sums(from..until), Sums::between(from, until), "{from} to {until}");
        }
        assert_eq!(Sums::between(5, 3), Sums::default());
    }

    #[test]
    fn a_loss_and_a_copy_do_not_cancel() {
        // The sum alone would not tell 1 and 5 from 2 and 4.
        assert_ne!(sums([0, 2, 2, 3, 4, 4]), Sums::whole(6));
        assert_ne!(sums([0, 1, 2, 2]), Sums::whole(4));
    }

    #[test]
    fn what_is_there_and_what_was_taken_out_are_the_whole() {
        let day = Timestamp(0);
        for taken in [0..0_u64, 0..1, 0..100, 40..60, 99..100] {
            let (mut there, mut out) = (Sums::default(), Counts::default());
            for offset in 0..100 {
                if taken.contains(&offset) {
                    let mut sums = Sums::default();
                    sums.add(offset);
                    out.add_places(if offset % 2 == 0 { "web" } else { "app" }, day, (1, 3), sums);
                } else {
                    there.add(offset);
                }
            }
            let back = Counts::from_json(&out.to_json()).unwrap();
            there.merge(back.places().get(&(1, 3)).copied().unwrap_or_default());
            assert_eq!(there, Sums::whole(100), "{taken:?}");
        }
    }

    #[test]
    fn sums_go_round() {
        let mut sums = Sums { count: 1, sum: u64::MAX, squares: u64::MAX - 3 };
        sums.add(3);
        assert_eq!(sums, Sums { count: 2, sum: 2, squares: 5 });
        let mut counts = Counts::default();
        let half = Sums { count: 1, sum: 1 << 63, squares: 1 << 63 };
        counts.add_places("web", Timestamp(0), (1, 0), half);
        counts.add_places("web", Timestamp(0), (1, 0), half);
        assert_eq!(counts.places()[&(1, 0)], Sums { count: 2, sum: 0, squares: 0 });
    }

    #[test]
    fn other_measures_are_no_places() {
        for (measure, expect) in [
            ("places:1:0", true),
            ("places_sum:2:15", true),
            ("places_squares:1", false),
            ("silver", false),
            ("places:1:0:1", false),
            ("places:a:0", false),
        ] {
            assert_eq!(is_place(measure), expect, "{measure}");
        }
    }
}
