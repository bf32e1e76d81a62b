//! One variation's side of a metric.

use std::ops::Add;

use super::distribution::normal_upper_quantile;
use super::effect::{Interval, Undetermined, error_of};

/// Sums of one quantity over the subjects of a variation: all that is needed of any number of events. They add up over days and segments, as long as no subject is in two of them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sums {
    /// How many there are, those with nothing included.
    pub subjects: u64,
    /// Of the quantity.
    pub sum: f64,
    /// Of its squares.
    pub sum_of_squares: f64,
}

impl Sums {
    fn mean(&self) -> f64 {
        self.sum / self.subjects as f64
    }

    /// Unbiased: by one less than there are.
    fn variance(&self) -> f64 {
        unbiased(self.subjects, self.sum_of_squares, self.sum, self.sum)
    }
}

impl Add for Sums {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            subjects: self.subjects + other.subjects,
            sum: self.sum + other.sum,
            sum_of_squares: self.sum_of_squares + other.sum_of_squares,
        }
    }
}

/// Sums of two quantities of the same subjects: a numerator and a denominator, or a metric and the same metric before the experiment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PairSums {
    /// How many there are.
    pub subjects: u64,
    /// Of the first quantity.
    pub sum: f64,
    /// Of its squares.
    pub sum_of_squares: f64,
    /// Of the second quantity.
    pub other_sum: f64,
    /// Of its squares.
    pub other_sum_of_squares: f64,
    /// Of the products of the two.
    pub sum_of_products: f64,
}

impl PairSums {
    fn first(&self) -> Sums {
        Sums { subjects: self.subjects, sum: self.sum, sum_of_squares: self.sum_of_squares }
    }

    fn second(&self) -> Sums {
        Sums { subjects: self.subjects, sum: self.other_sum, sum_of_squares: self.other_sum_of_squares }
    }

    fn covariance(&self) -> f64 {
        unbiased(self.subjects, self.sum_of_products, self.sum, self.other_sum)
    }
}

impl Add for PairSums {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            subjects: self.subjects + other.subjects,
            sum: self.sum + other.sum,
            sum_of_squares: self.sum_of_squares + other.sum_of_squares,
            other_sum: self.other_sum + other.other_sum,
            other_sum_of_squares: self.other_sum_of_squares + other.other_sum_of_squares,
            sum_of_products: self.sum_of_products + other.sum_of_products,
        }
    }
}

/// One variation's side of a metric: what a subject has on average, and how much subjects differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arm {
    /// How many there are.
    pub subjects: u64,
    /// Of a subject; of a ratio, the ratio.
    pub mean: f64,
    /// Of one subject, not of the mean.
    pub variance: f64,
    /// What the mean's distance from the truth is measured against.
    pub(crate) reference: Reference,
}

/// The distribution that a test statistic is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reference {
    /// Where the variance follows from the mean, or holds for many subjects only.
    Normal,
    /// Where the variance is estimated from the same subjects.
    Student,
}

impl Arm {
    /// The share of subjects that did something, of which each counts once. The variance is `p (1 - p)`, and the test is the z-test with unpooled variances (Agresti, *Categorical Data
    /// Analysis*, 3.1.1).
    ///
    /// # Errors
    ///
    /// Without a subject, or with more successes than subjects.
    pub fn proportion(subjects: u64, successes: u64) -> Result<Self, Undetermined> {
        if subjects == 0 || successes > subjects {
            return Err(Undetermined::TooFewSubjects);
        }
        let mean = successes as f64 / subjects as f64;
        Ok(Self { subjects, mean, variance: mean * (1.0 - mean), reference: Reference::Normal })
    }

    /// Where the share is, as many subjects as there are: not symmetric, and within 0 and 1 (Wilson 1927, *Probable inference, the law of succession, and statistical inference*). For arms of
    /// [`Arm::proportion`].
    ///
    /// # Errors
    ///
    /// With a confidence out of its range.
    pub fn share_interval(&self, confidence: f64) -> Result<Interval, Undetermined> {
        let z = normal_upper_quantile(error_of(confidence)? / 2.0);
        let n = self.subjects as f64;
        let weight = n / (n + z * z);
        let centre = weight * (self.mean + z * z / (2.0 * n));
        let half = weight * z * (self.variance / n + (z / (2.0 * n)).powi(2)).sqrt();
        Ok(Interval { low: (centre - half).max(0.0), high: (centre + half).min(1.0) })
    }

    /// The mean over subjects of a count, a sum or any other quantity. The test is Welch's (Welch 1947).
    ///
    /// # Errors
    ///
    /// With fewer than two subjects, or sums beyond all numbers.
    pub fn mean(sums: Sums) -> Result<Self, Undetermined> {
        at_least_two(sums.subjects)?;
        Self { subjects: sums.subjects, mean: sums.mean(), variance: sums.variance(), reference: Reference::Student }.finite()
    }

    /// The ratio of two sums, such as revenue by order, where subjects are what was assigned: by the delta method (Deng, Knoblich and Lu 2018, *Applying the Delta Method in Metric Analytics*,
    /// equation 3).
    ///
    /// # Errors
    ///
    /// With fewer than two subjects, a denominator of zero, or sums beyond all numbers.
    pub fn ratio(numerator_and_denominator: PairSums) -> Result<Self, Undetermined> {
        let sums = numerator_and_denominator;
        at_least_two(sums.subjects)?;
        if sums.other_sum == 0.0 {
            return Err(Undetermined::NoDenominator);
        }
        let ratio = sums.sum / sums.other_sum;
        let spread = sums.first().variance() + ratio * ratio * sums.second().variance() - 2.0 * ratio * sums.covariance();
        let variance = spread.max(0.0) / sums.second().mean().powi(2);
        Self { subjects: sums.subjects, mean: ratio, variance, reference: Reference::Normal }.finite()
    }

    fn finite(self) -> Result<Self, Undetermined> {
        let is_finite = self.mean.is_finite() && self.variance.is_finite();
        if is_finite { Ok(self) } else { Err(Undetermined::OutOfRange("the sums are too large to be calculated with")) }
    }
}

/// Two arms with what was known of the subjects before taken out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adjusted {
    /// Of the control.
    pub control: Arm,
    /// Of the treatment.
    pub treatment: Arm,
    /// The share of the variance of the two means' difference that is gone; 0 where nothing was known.
    pub variance_reduction: f64,
}

/// CUPED (Deng, Xu, Kohavi and Walker 2013, *Improving the Sensitivity of Online Controlled Experiments by Utilizing Pre-Experiment Data*, equations 4 to 6): the metric less `theta` times
/// what the same quantity (or another one) was before the subject's first exposure, with `theta` the covariance by the variance over all subjects. The means are those of a subject who was
/// as the average of all.
///
/// # Errors
///
/// With fewer than two subjects in one of them, or sums beyond all numbers.
pub fn adjusted(control: PairSums, treatment: PairSums) -> Result<Adjusted, Undetermined> {
    at_least_two(control.subjects)?;
    at_least_two(treatment.subjects)?;
    let all = control + treatment;
    let before = all.second();
    // Where all were alike before, there is nothing to take out.
    let theta = if before.variance() > 0.0 { all.covariance() / before.variance() } else { 0.0 };
    let arm = |sums: PairSums| {
        let variance = sums.first().variance() + theta * theta * sums.second().variance() - 2.0 * theta * sums.covariance();
        Arm {
            subjects: sums.subjects,
            mean: sums.first().mean() - theta * (sums.second().mean() - before.mean()),
            variance: variance.max(0.0),
            reference: Reference::Student,
        }
        .finite()
    };
    let (own, other) = (arm(control)?, arm(treatment)?);
    let of_difference = |a: f64, b: f64| a / control.subjects as f64 + b / treatment.subjects as f64;
    let unadjusted = of_difference(control.first().variance(), treatment.first().variance());
    let left = of_difference(own.variance, other.variance);
    let variance_reduction = if unadjusted > 0.0 { 1.0 - left / unadjusted } else { 0.0 };
    Ok(Adjusted { control: own, treatment: other, variance_reduction })
}

fn at_least_two(subjects: u64) -> Result<(), Undetermined> {
    if subjects < 2 { Err(Undetermined::TooFewSubjects) } else { Ok(()) }
}

/// From the sum of products and the two sums. What rounding leaves below zero of something that has no variance is zero.
fn unbiased(subjects: u64, products: f64, one: f64, other: f64) -> f64 {
    let n = subjects as f64;
    let centred = products - one * other / n;
    // Of a sum of `n` rounded terms, the error grows with the root of their number.
    let noise = products.abs().max((one * other / n).abs()) * f64::EPSILON * 8.0 * n.sqrt();
    if centred.is_finite() && centred.abs() <= noise { 0.0 } else { centred / (n - 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(values: &[f64]) -> Sums {
        Sums { subjects: values.len() as u64, sum: values.iter().sum(), sum_of_squares: values.iter().map(|value| value * value).sum() }
    }

    pub(crate) fn pairs(values: &[(f64, f64)]) -> PairSums {
        let of = |term: fn(&(f64, f64)) -> f64| values.iter().map(term).sum();
        PairSums {
            subjects: values.len() as u64,
            sum: of(|(one, _)| *one),
            sum_of_squares: of(|(one, _)| one * one),
            other_sum: of(|(_, other)| *other),
            other_sum_of_squares: of(|(_, other)| other * other),
            sum_of_products: of(|(one, other)| one * other),
        }
    }

    const CONTROL: [(f64, f64); 5] = [(2.0, 1.0), (3.0, 2.0), (7.0, 3.0), (5.0, 2.0), (1.0, 1.0)];
    const TREATMENT: [(f64, f64); 6] = [(3.0, 1.0), (2.0, 1.0), (5.0, 2.0), (9.0, 4.0), (4.0, 2.0), (8.0, 3.0)];

    #[test]
    fn means_and_variances() {
        let arm = Arm::mean(sums(&[1.0, 2.0, 4.0, 4.0, 7.0, 9.0, 3.0])).unwrap();
        assert!((arm.mean - 30.0 / 7.0).abs() < 1e-15 && (arm.variance - (176.0 - 900.0 / 7.0) / 6.0).abs() < 1e-14);
        let arm = Arm::proportion(400, 100).unwrap();
        assert_eq!((arm.mean, arm.variance), (0.25, 0.1875));
        let both = sums(&[1.0, 2.0]) + sums(&[4.0]);
        assert_eq!(both, sums(&[1.0, 2.0, 4.0]));
    }

    /// As `statsmodels.stats.proportion.proportion_confint` has them.
    #[test]
    fn shares_are_between_nothing_and_all() {
        let check = |successes: u64, subjects: u64, low: f64, high: f64| {
            let found = Arm::proportion(subjects, successes).unwrap().share_interval(0.95).unwrap();
            assert!((found.low - low).abs() < 1e-9 && (found.high - high).abs() < 1e-9, "{found:?}");
        };
        check(15, 50, 0.191035535009, 0.437503504645);
        check(0, 10, 0.0, 0.277532799863);
        check(10, 10, 0.722467200137, 1.0);
    }

    /// As gbstats 0.8 has them.
    #[test]
    fn ratios() {
        let check = |values: &[(f64, f64)], mean: f64, variance: f64| {
            let arm = Arm::ratio(pairs(values)).unwrap();
            assert!((arm.mean - mean).abs() < 1e-14 && (arm.variance - variance).abs() < 1e-14, "{arm:?}");
        };
        check(&CONTROL, 2.0, 0.308_641_975_308_642_24);
        check(&TREATMENT, 2.384_615_384_615_384_6, 0.092_769_860_999_265_99);
    }

    /// As numpy has them of the adjusted values of each subject.
    #[test]
    fn what_was_before_is_taken_out() {
        let found = adjusted(pairs(&CONTROL), pairs(&TREATMENT)).unwrap();
        let near = |one: f64, other: f64| assert!((one - other).abs() < 1e-13, "{one} {other}");
        near(found.control.mean, 4.1);
        near(found.control.variance, 0.675);
        near(found.treatment.mean, 4.75);
        near(found.treatment.variance, 0.475);
        near(found.variance_reduction, 0.912_743_322_770_484_4);
        // Nothing was known of them.
        let unknown = |values: &[(f64, f64)]| pairs(&values.iter().map(|(one, _)| (*one, 0.0)).collect::<Vec<_>>());
        let same = adjusted(unknown(&CONTROL), unknown(&TREATMENT)).unwrap();
        assert_eq!((same.variance_reduction, same.control.mean), (0.0, 18.0 / 5.0));
    }

    #[test]
    fn what_cannot_be_had_has_a_reason() {
        assert_eq!(Arm::proportion(0, 0), Err(Undetermined::TooFewSubjects));
        assert_eq!(Arm::proportion(1, 2), Err(Undetermined::TooFewSubjects));
        assert_eq!(Arm::mean(sums(&[1.0])), Err(Undetermined::TooFewSubjects));
        let huge = Sums { subjects: 2, sum: f64::MAX, sum_of_squares: f64::MAX };
        assert!(matches!(Arm::mean(huge), Err(Undetermined::OutOfRange(_))));
        assert_eq!(Arm::ratio(pairs(&[(1.0, 0.0), (2.0, 0.0)])), Err(Undetermined::NoDenominator));
        assert_eq!(adjusted(pairs(&CONTROL[..1]), pairs(&TREATMENT)), Err(Undetermined::TooFewSubjects));
    }

    #[test]
    fn rounding_makes_no_variance() {
        for value in [0.1, 1e-9, 123_456.789, 1e15] {
            let arm = Arm::mean(sums(&[value; 1_000])).unwrap();
            assert_eq!(arm.variance, 0.0, "{value}");
        }
        // A little of it is not lost.
        let arm = Arm::mean(sums(&[1e6, 1e6 + 1.0])).unwrap();
        assert!((arm.variance - 0.5).abs() < 1e-3, "{arm:?}");
    }
}
