//! Whether variations have the subjects that they should have. Where they have not, something decided who is counted, and no number of the experiment can be believed.

use super::distribution::chi_square_upper;
use super::effect::Undetermined;

/// Pearson's chi-square test of the numbers of subjects against the shares that were assigned (Fabijan and others 2019, *Diagnosing Sample Ratio Mismatch in Online Controlled Experiments*).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleRatio {
    /// The test statistic.
    pub chi_square: f64,
    /// How likely numbers at least as far from the shares are where nothing is wrong.
    pub p_value: f64,
}

impl SampleRatio {
    /// Of the subjects of each variation, and of the weight of each, which need not be 1 together.
    ///
    /// # Errors
    ///
    /// Without subjects; with numbers that are not as many as weights, or fewer than two; with a weight that is not positive.
    pub fn of(subjects: &[u64], weights: &[f64]) -> Result<Self, Undetermined> {
        if subjects.len() != weights.len() || weights.len() < 2 {
            return Err(Undetermined::OutOfRange("each variation needs a weight, and there must be two at least"));
        }
        if !weights.iter().all(|weight| weight.is_finite() && *weight > 0.0) {
            return Err(Undetermined::OutOfRange("weights must be positive"));
        }
        let all: u64 = subjects.iter().sum();
        if all == 0 {
            return Err(Undetermined::TooFewSubjects);
        }
        let weight_of_all: f64 = weights.iter().sum();
        let parts = subjects.iter().zip(weights).map(|(observed, weight)| {
            let expected = weight / weight_of_all * all as f64;
            (*observed as f64 - expected).powi(2) / expected
        });
        let chi_square = parts.sum();
        Ok(Self { chi_square, p_value: chi_square_upper(chi_square, weights.len() as f64 - 1.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `scipy.stats.chisquare` and gbstats 0.8 have them; the first one is the public test of Cookie Cats, the second one the example of Kohavi, Tang and Xu's book (2020, chapter 21).
    #[test]
    fn numbers_against_shares() {
        let check = |subjects: &[u64], weights: &[f64], p_value: f64| {
            let found = SampleRatio::of(subjects, weights).unwrap();
            assert!((found.p_value / p_value - 1.0).abs() < 1e-10, "{found:?}");
        };
        check(&[44_700, 45_489], &[0.5, 0.5], 0.008_607_987_810_836_262);
        check(&[821_588, 815_482], &[1.0, 1.0], 1.821_792_872_619_185_8e-6);
        check(&[100, 200, 330], &[0.2, 0.3, 0.5], 0.034_742_611_100_271_444);
        let found = SampleRatio::of(&[44_700, 45_489], &[0.5, 0.5]).unwrap();
        assert!((found.chi_square - 6.902_404_949_605_827_5).abs() < 1e-12);
        assert_eq!(SampleRatio::of(&[10, 10], &[3.0, 3.0]).unwrap().p_value, 1.0);
    }

    #[test]
    fn what_cannot_be_had_has_a_reason() {
        assert_eq!(SampleRatio::of(&[0, 0], &[1.0, 1.0]), Err(Undetermined::TooFewSubjects));
        for (subjects, weights) in
            [(&[1, 2][..], &[1.0][..]), (&[1], &[1.0]), (&[1, 2], &[1.0, 0.0]), (&[1, 2], &[1.0, f64::NAN]), (&[], &[])]
        {
            assert!(SampleRatio::of(subjects, weights).is_err(), "{weights:?}");
        }
    }
}
