//! How many subjects an experiment needs, and what it can find with those it has: for the difference of two means or shares, as normally distributed (Chow, Shao, Wang and Lokhnygina, *Sample Size
//! Calculations in Clinical Research*, 3.2.1).

use super::distribution::{normal_upper, normal_upper_quantile};
use super::effect::{Undetermined, error_of};

/// What is planned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Of one subject of the control, as `p (1 - p)` of a share.
    pub control_variance: f64,
    /// Of one subject of the treatment; most often taken as that of the control.
    pub treatment_variance: f64,
    /// The share of subjects that get the treatment, of both variations together; 0.5 needs the fewest.
    pub treatment_share: f64,
    /// Of the interval that the test will be told with, such as 0.95.
    pub confidence: f64,
}

impl Plan {
    /// How likely a difference of this size is found with so many subjects, both variations together.
    ///
    /// # Errors
    ///
    /// Where a part of the plan is out of its range.
    pub fn power(&self, difference: f64, subjects: u64) -> Result<f64, Undetermined> {
        let limit = normal_upper_quantile(self.error()? / 2.0);
        let z = difference.abs() / (self.variance_by_subjects()? / subjects as f64).sqrt();
        // Found on the right side, or on the wrong one.
        Ok(normal_upper(limit - z) + normal_upper(limit + z))
    }

    /// How many subjects, both variations together, find a difference of this size with this power. That it is found on the wrong side is left out of account.
    ///
    /// # Errors
    ///
    /// Where a part of the plan is out of its range, or the difference is zero: no number would do.
    pub fn subjects(&self, difference: f64, power: f64) -> Result<f64, Undetermined> {
        if !(difference.is_finite() && difference != 0.0) {
            return Err(Undetermined::OutOfRange("the difference must not be zero"));
        }
        Ok(self.variance_by_subjects()? * (self.limits(power)? / difference).powi(2))
    }

    /// The smallest difference that so many subjects, both variations together, find with this power.
    ///
    /// # Errors
    ///
    /// Where a part of the plan is out of its range, or there are no subjects.
    pub fn smallest_difference(&self, subjects: u64, power: f64) -> Result<f64, Undetermined> {
        if subjects == 0 {
            return Err(Undetermined::TooFewSubjects);
        }
        Ok(self.limits(power)? * (self.variance_by_subjects()? / subjects as f64).sqrt())
    }

    fn error(&self) -> Result<f64, Undetermined> {
        error_of(self.confidence)
    }

    fn limits(&self, power: f64) -> Result<f64, Undetermined> {
        let missed = 1.0 - power;
        if !(missed > 0.0 && missed < 1.0) {
            return Err(Undetermined::OutOfRange("the power must be between 0 and 1"));
        }
        Ok(normal_upper_quantile(self.error()? / 2.0) + normal_upper_quantile(missed))
    }

    /// The variance of the difference, times the number of subjects.
    fn variance_by_subjects(&self) -> Result<f64, Undetermined> {
        let share = self.treatment_share;
        if !(share > 0.0 && share < 1.0) {
            return Err(Undetermined::OutOfRange("the share of the treatment must be between 0 and 1"));
        }
        let variance = self.control_variance / (1.0 - share) + self.treatment_variance / share;
        if !(variance.is_finite() && variance > 0.0) {
            return Err(Undetermined::NoVariance);
        }
        Ok(variance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVEN: Plan = Plan { control_variance: 1.0, treatment_variance: 1.0, treatment_share: 0.5, confidence: 0.95 };

    /// As `statsmodels.stats.power.NormalIndPower` has it, which counts in the numbers of subjects what is found on the wrong side: 1,569.7721, not 1,569.7759 for each variation.
    #[test]
    fn plans() {
        let near = |found: f64, expect: f64| assert!((found / expect - 1.0).abs() < 1e-9, "{found} {expect}");
        near(EVEN.subjects(0.1, 0.8).unwrap(), 2.0 * 1_569.775_946_869_817_3);
        near(EVEN.power(0.1, 2_000).unwrap(), 0.608_779_484_645_456_6);
        // Three times as many in the treatment.
        near(Plan { treatment_share: 0.75, ..EVEN }.power(0.1, 2_000).unwrap(), 0.490_685_567_669_968_9);
        near(EVEN.smallest_difference(10_000, 0.8).unwrap(), 0.056_031_704_362_259_38);
        // The one undoes the other.
        let found = EVEN.smallest_difference(EVEN.subjects(0.03, 0.9).unwrap().ceil() as u64, 0.9).unwrap();
        assert!(found <= 0.03 && found > 0.03 * (1.0 - 1e-4), "{found}");
        near(EVEN.power(0.0, 100).unwrap(), 0.05);
    }

    #[test]
    fn what_cannot_be_had_has_a_reason() {
        assert!(EVEN.subjects(0.0, 0.8).is_err() && EVEN.subjects(0.1, 1.0).is_err() && EVEN.smallest_difference(0, 0.8).is_err());
        assert!(Plan { treatment_share: 1.0, ..EVEN }.subjects(0.1, 0.8).is_err());
        assert!(Plan { control_variance: 0.0, treatment_variance: 0.0, ..EVEN }.subjects(0.1, 0.8).is_err());
    }
}
