//! Quantiles, and how sure they are, by bootstrap.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution as _};

use super::arm::Sums;
use super::effect::{Interval, Undetermined, error_of};

/// Resamples that are drawn.
const RESAMPLES: usize = 10_000;

/// How many subjects have which value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values {
    /// Each value with the number of subjects that have it or less, in order of value.
    up_to: Vec<(f64, u64)>,
}

/// What a treatment changes about a quantile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuantileEffect {
    /// Of the control.
    pub control: f64,
    /// Of the treatment.
    pub treatment: f64,
    /// Of the treatment less that of the control.
    pub interval: Interval,
}

impl Values {
    /// Of values with the number of subjects that have each; a value may come more than once.
    pub fn of(values: impl IntoIterator<Item = (f64, u64)>) -> Self {
        let mut all: Vec<(f64, u64)> = values.into_iter().filter(|(_, subjects)| *subjects > 0).collect();
        all.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let mut up_to: Vec<(f64, u64)> = Vec::with_capacity(all.len());
        for (value, subjects) in all {
            let before = up_to.last().map_or(0, |(_, subjects)| *subjects);
            match up_to.last_mut() {
                Some((last, number)) if *last == value => *number += subjects,
                _ => up_to.push((value, before + subjects)),
            }
        }
        Self { up_to }
    }

    /// How many subjects there are.
    pub fn subjects(&self) -> u64 {
        self.up_to.last().map_or(0, |(_, subjects)| *subjects)
    }

    /// The smallest value that at least this share of subjects do not exceed (the inverse of the empirical distribution: Hyndman and Fan 1996, definition 1).
    ///
    /// # Errors
    ///
    /// Without a subject, or with a share that is not between 0 and 1.
    pub fn quantile(&self, share: f64) -> Result<f64, Undetermined> {
        self.at(self.rank(share)?)
    }

    /// The sums with no subject counting for more than `most`.
    pub fn sums_up_to(&self, most: f64) -> Sums {
        let mut before = 0;
        let mut sums = Sums::default();
        for (value, up_to) in &self.up_to {
            let (value, number) = (value.min(most), (up_to - before) as f64);
            before = *up_to;
            sums = sums + Sums { subjects: 0, sum: value * number, sum_of_squares: value * value * number };
        }
        Sums { subjects: self.subjects(), ..sums }
    }

    /// Of a share, the place in the order of values, from 1.
    fn rank(&self, share: f64) -> Result<u64, Undetermined> {
        if !(share > 0.0 && share < 1.0) {
            return Err(Undetermined::OutOfRange("a quantile must be between 0 and 1"));
        }
        Ok(((share * self.subjects() as f64).ceil() as u64).max(1))
    }

    fn at(&self, rank: u64) -> Result<f64, Undetermined> {
        let place = self.up_to.partition_point(|(_, up_to)| *up_to < rank);
        self.up_to.get(place).map(|(value, _)| *value).ok_or(Undetermined::TooFewSubjects)
    }

    /// The quantile of resamples with replacement. None is drawn: the place of a resample's order statistic is distributed as the order statistic of uniform numbers, which is a Beta distribution (Schultzberg and Ankargren
    /// 2022, *Resampling-free bootstrap inference for quantiles*).
    fn resampled(&self, share: f64, random: &mut ChaCha8Rng) -> Result<Vec<f64>, Undetermined> {
        let (subjects, rank) = (self.subjects() as f64, self.rank(share)? as f64);
        let places = Beta::new(rank, subjects - rank + 1.0).map_err(|_| Undetermined::TooFewSubjects)?;
        let quantile = |_| self.at(((places.sample(random) * subjects).ceil() as u64).max(1));
        (0..RESAMPLES).map(quantile).collect()
    }
}

/// The quantiles of both, and the percentile interval of their difference (Efron and Tibshirani 1993, *An Introduction to the Bootstrap*, 13.3). The same seed gives the same interval.
///
/// # Errors
///
/// With fewer than two subjects in one of them, or a share or a confidence out of its range.
pub fn quantile_effect(
    control: &Values,
    treatment: &Values,
    share: f64,
    confidence: f64,
    seed: u64,
) -> Result<QuantileEffect, Undetermined> {
    let error = error_of(confidence)?;
    if control.subjects() < 2 || treatment.subjects() < 2 {
        return Err(Undetermined::TooFewSubjects);
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (own, other) = (control.resampled(share, &mut random)?, treatment.resampled(share, &mut random)?);
    let mut differences: Vec<f64> = own.iter().zip(&other).map(|(own, other)| other - own).collect();
    differences.sort_by(f64::total_cmp);
    let end =
        |share: f64| differences.get(((share * RESAMPLES as f64) as usize).min(RESAMPLES - 1)).copied().ok_or(Undetermined::TooFewSubjects);
    let interval = Interval { low: end(error / 2.0)?, high: end(1.0 - error / 2.0)? };
    Ok(QuantileEffect { control: control.quantile(share)?, treatment: treatment.quantile(share)?, interval })
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;

    use super::*;

    #[test]
    fn quantiles_are_values_that_are_there() {
        let values = Values::of([(3.0, 2), (1.0, 1), (7.0, 1), (3.0, 1)]);
        assert_eq!(values.subjects(), 5);
        let check = |share: f64, expect: f64| assert_eq!(values.quantile(share), Ok(expect), "{share}");
        check(0.1, 1.0);
        check(0.2, 1.0);
        check(0.21, 3.0);
        check(0.8, 3.0);
        check(0.81, 7.0);
        assert!(values.quantile(0.0).is_err() && values.quantile(1.0).is_err() && Values::default().quantile(0.5).is_err());
        assert_eq!(values.sums_up_to(4.0), Sums { subjects: 5, sum: 14.0, sum_of_squares: 44.0 });
    }

    /// As drawing every subject of every resample would have it.
    #[test]
    fn the_interval_is_that_of_resamples_that_are_drawn() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut draw = |number: usize, scale: f64| -> Vec<f64> {
            (0..number).map(|_| (random.random::<f64>().powi(3) * scale * 100.0).round()).collect()
        };
        let (control, treatment) = (draw(400, 1.0), draw(300, 1.4));
        let of = |values: &[f64]| Values::of(values.iter().map(|value| (*value, 1)));
        for share in [0.25, 0.5, 0.9] {
            let found = quantile_effect(&of(&control), &of(&treatment), share, 0.9, 7).unwrap();
            let mut resampled = |values: &[f64]| {
                of(&(0..values.len()).map(|_| values[random.random_range(0..values.len())]).collect::<Vec<_>>()).quantile(share).unwrap()
            };
            let mut differences: Vec<f64> = (0..4_000).map(|_| resampled(&treatment) - resampled(&control)).collect();
            differences.sort_by(f64::total_cmp);
            // Of the ends of an interval of that many resamples, within what chance does.
            for (end, place) in [(found.interval.low, 200), (found.interval.high, 3_800)] {
                assert!((differences[place - 60]..=differences[place + 60]).contains(&end), "{share}: {found:?} {}", differences[place]);
            }
            assert_eq!(found, quantile_effect(&of(&control), &of(&treatment), share, 0.9, 7).unwrap());
        }
        assert!(quantile_effect(&of(&control[..1]), &of(&treatment), 0.5, 0.9, 7).is_err());
    }
}
