//! What a treatment changes, where the test is looked at once, at its planned end.

use thiserror::Error;

use super::arm::{Arm, Reference};
use super::distribution::{normal_upper, normal_upper_quantile, student_both_tails, student_both_tails_quantile};

/// In what an effect is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Treatment less control.
    Difference,
    /// The difference by the control's mean: 0.1 is ten percent more.
    Relative,
}

/// Why a number cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Undetermined {
    /// In one of the variations.
    #[error("there are too few subjects")]
    TooFewSubjects,
    /// Every subject has the same: nothing can be said of chance.
    #[error("all subjects have the same value")]
    NoVariance,
    /// A relative effect has nothing to be relative to.
    #[error("the control's mean is zero")]
    NoControlMean,
    /// Where no subject of the treatment has anything, a relative effect is minus one, and its error cannot be told.
    #[error("the treatment's mean is zero, and with it the error of a relative effect")]
    NoTreatmentMean,
    /// A ratio of nothing.
    #[error("the denominator is zero")]
    NoDenominator,
    /// A share, a level or a size that is out of its range.
    #[error("{0}")]
    OutOfRange(&'static str),
}

/// From where to where.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "definition", derive(serde::Serialize))]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Interval {
    pub(crate) fn around(middle: f64, half: f64) -> Self {
        Self { low: middle - half, high: middle + half }
    }
}

/// An effect, as it is estimated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effect {
    /// The effect.
    pub estimate: f64,
    /// How far it is from the truth, typically.
    pub standard_error: f64,
    /// Of Student's t (Welch and Satterthwaite); none where the normal distribution is used.
    pub degrees: Option<f64>,
    /// Of both variations together.
    pub subjects: u64,
}

impl Effect {
    /// The effect of a treatment. A relative one has its error by the delta method: `var(T) / C² + var(C) T² / C⁴`, with `T` and `C` the means and their variances (Deng, Knoblich and Lu 2018,
    /// equation 2, for independent variations).
    ///
    /// # Errors
    ///
    /// Where all subjects are alike, or a relative effect has a control of zero.
    pub fn of(control: &Arm, treatment: &Arm, scale: Scale) -> Result<Self, Undetermined> {
        let of_mean = |arm: &Arm| arm.variance / arm.subjects as f64;
        let (c, t) = (of_mean(control), of_mean(treatment));
        let difference = treatment.mean - control.mean;
        let (estimate, variance) = match scale {
            Scale::Difference => (difference, c + t),
            Scale::Relative if control.mean == 0.0 => return Err(Undetermined::NoControlMean),
            Scale::Relative => {
                let lift = treatment.mean / control.mean;
                (difference / control.mean, (t + c * lift * lift) / (control.mean * control.mean))
            }
        };
        if !(estimate.is_finite() && variance.is_finite()) {
            return Err(Undetermined::OutOfRange("the means are too far apart to be calculated with"));
        }
        if variance <= 0.0 {
            return Err(if c + t > 0.0 { Undetermined::NoTreatmentMean } else { Undetermined::NoVariance });
        }
        let degrees = (control.reference == Reference::Student && treatment.reference == Reference::Student).then(|| {
            let part = |of_mean: f64, arm: &Arm| of_mean * of_mean / (arm.subjects as f64 - 1.0);
            (c + t) * (c + t) / (part(c, control) + part(t, treatment))
        });
        Ok(Self { estimate, standard_error: variance.sqrt(), degrees, subjects: control.subjects + treatment.subjects })
    }

    /// How likely an estimate at least as far from `no_effect` would be without an effect, on either side.
    pub fn p_value(&self, no_effect: f64) -> f64 {
        let statistic = (self.estimate - no_effect) / self.standard_error;
        match self.degrees {
            Some(degrees) => student_both_tails(statistic, degrees),
            None => 2.0 * normal_upper(statistic.abs()),
        }
    }

    /// What holds the truth in so many of all experiments; `confidence` is in (0, 1), such as 0.95.
    ///
    /// # Errors
    ///
    /// With a confidence out of its range.
    pub fn interval(&self, confidence: f64) -> Result<Interval, Undetermined> {
        let error = error_of(confidence)?;
        let times = match self.degrees {
            Some(degrees) => student_both_tails_quantile(error, degrees),
            None => normal_upper_quantile(error / 2.0),
        };
        Ok(Interval::around(self.estimate, times * self.standard_error))
    }
}

/// What is left of 1.
pub(crate) fn error_of(confidence: f64) -> Result<f64, Undetermined> {
    let error = 1.0 - confidence;
    if error > 0.0 && error < 1.0 { Ok(error) } else { Err(Undetermined::OutOfRange("a confidence must be between 0 and 1")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::Sums;

    fn near(found: f64, expect: f64) {
        assert!((found / expect - 1.0).abs() < 1e-10, "{found} {expect}");
    }

    fn arms() -> (Arm, Arm) {
        let control = Arm::mean(Sums { subjects: 7, sum: 30.0, sum_of_squares: 176.0 }).unwrap();
        (control, Arm::mean(Sums { subjects: 6, sum: 44.0, sum_of_squares: 382.0 }).unwrap())
    }

    /// As `scipy.stats.ttest_ind` has it, with unequal variances.
    #[test]
    fn welch() {
        let (control, treatment) = arms();
        let effect = Effect::of(&control, &treatment, Scale::Difference).unwrap();
        near(effect.estimate, 3.047_619_047_619_047_4);
        near(effect.degrees.unwrap(), 9.703_548_317_059);
        near(effect.p_value(0.0), 0.115_432_432_552_121_38);
        let interval = effect.interval(0.95).unwrap();
        near(interval.low, -0.896_194_729_440_706);
        near(interval.high, 6.991_432_824_678_801);
        // What an interval ends at is what is just not excluded.
        near(effect.p_value(interval.high), 0.05);
    }

    /// As gbstats 0.8 has it.
    #[test]
    fn a_relative_effect() {
        let (control, treatment) = arms();
        let effect = Effect::of(&control, &treatment, Scale::Relative).unwrap();
        near(effect.estimate, 0.711_111_111_111_111_1);
        near(effect.standard_error, 0.536_368_080_597_239_2);
        near(effect.p_value(0.0), 0.215_271_698_605_604_47);
        let interval = effect.interval(0.95).unwrap();
        near(interval.low, -0.488_959_051_256_053_43);
        near(interval.high, 1.911_181_273_478_275_6);
    }

    /// The counts of a public test of a mobile game (Cookie Cats, retention after 7 days); as scipy's normal distribution has it.
    #[test]
    fn shares() {
        let (control, treatment) = (Arm::proportion(44_700, 8_502).unwrap(), Arm::proportion(45_489, 8_279).unwrap());
        let effect = Effect::of(&control, &treatment, Scale::Difference).unwrap();
        near(effect.estimate, -0.008_201_298_315_205_913);
        near(effect.standard_error, 0.002_592_014_008_294_044_4);
        near(effect.p_value(0.0), 0.001_555_825_573_707_254_7);
        let interval = effect.interval(0.95).unwrap();
        near(interval.low, -0.013_281_552_418_885_546);
        near(interval.high, -0.003_121_044_211_526_28);
    }

    #[test]
    fn what_cannot_be_had_has_a_reason() {
        let of = |successes: u64| Arm::proportion(10, successes).unwrap();
        let check = |control: &Arm, treatment: &Arm, scale: Scale, expect: Undetermined| {
            assert_eq!(Effect::of(control, treatment, scale), Err(expect));
        };
        check(&of(0), &of(0), Scale::Difference, Undetermined::NoVariance);
        check(&of(10), &of(10), Scale::Relative, Undetermined::NoVariance);
        check(&of(0), &of(3), Scale::Relative, Undetermined::NoControlMean);
        check(&of(3), &of(0), Scale::Relative, Undetermined::NoTreatmentMean);
        let effect = Effect::of(&of(3), &of(4), Scale::Difference).unwrap();
        for confidence in [0.0, 1.0, -1.0, 2.0, f64::NAN] {
            assert!(effect.interval(confidence).is_err(), "{confidence}");
        }
    }
}
