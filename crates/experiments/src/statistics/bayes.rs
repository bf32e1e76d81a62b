//! What to believe of an effect.

use super::distribution::{normal_density, normal_upper, normal_upper_quantile};
use super::effect::{Effect, Interval, Undetermined, error_of};

/// What was believed of it before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Prior {
    /// Nothing: every effect is as likely as any other.
    Flat,
    /// Normally distributed.
    Normal {
        /// The effect that was most likely.
        mean: f64,
        /// How far from it others were likely.
        standard_deviation: f64,
    },
}

/// What is believed of it now: normally distributed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Posterior {
    /// The effect that is most likely.
    pub mean: f64,
    /// How far from it others are likely.
    pub standard_deviation: f64,
}

impl Posterior {
    /// After the estimate, taken as normally distributed with its standard error: precisions add up, and means weigh by them (Gelman and others, *Bayesian Data Analysis*, 2.5).
    ///
    /// # Errors
    ///
    /// Of a prior without a positive standard deviation.
    pub fn of(effect: &Effect, prior: Prior) -> Result<Self, Undetermined> {
        match prior {
            Prior::Flat => Ok(Self { mean: effect.estimate, standard_deviation: effect.standard_error }),
            Prior::Normal { mean, standard_deviation } if standard_deviation > 0.0 && mean.is_finite() => {
                let (data, before) = (effect.standard_error.powi(-2), standard_deviation.powi(-2));
                let precision = data + before;
                Ok(Self { mean: (effect.estimate * data + mean * before) / precision, standard_deviation: precision.sqrt().recip() })
            }
            Prior::Normal { .. } => Err(Undetermined::OutOfRange("a prior must have a mean, and a standard deviation above zero")),
        }
    }

    /// How likely the treatment is better, where more is better.
    pub fn chance_to_win(&self) -> f64 {
        normal_upper(-self.mean / self.standard_deviation)
    }

    /// What is lost on average by taking the treatment, where it is worse: `E max(-effect, 0)`.
    pub fn expected_loss(&self) -> f64 {
        self.loss(self.mean)
    }

    /// What is lost on average by staying with the control, where it is worse: `E max(effect, 0)`.
    pub fn expected_loss_of_control(&self) -> f64 {
        self.loss(-self.mean)
    }

    /// What holds the effect with this probability, as much of the rest below as above.
    ///
    /// # Errors
    ///
    /// With a probability out of its range.
    pub fn interval(&self, probability: f64) -> Result<Interval, Undetermined> {
        let times = normal_upper_quantile(error_of(probability)? / 2.0);
        Ok(Interval::around(self.mean, times * self.standard_deviation))
    }

    /// The mean of what is below zero of a normal distribution around `mean`: `s φ(m/s) - m Φ(-m/s)`.
    fn loss(&self, mean: f64) -> f64 {
        let z = mean / self.standard_deviation;
        (self.standard_deviation * normal_density(z) - mean * normal_upper(z)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::{Arm, Scale};

    /// As gbstats 0.8 has it; the losses within the precision of its truncated normal distribution.
    #[test]
    fn beliefs() {
        let (control, treatment) = (Arm::proportion(44_700, 8_502).unwrap(), Arm::proportion(45_489, 8_279).unwrap());
        let lift = Effect::of(&control, &treatment, Scale::Relative).unwrap();
        let near = |found: f64, expect: f64| assert!((found / expect - 1.0).abs() < 1e-9, "{found} {expect}");
        let check = |prior: Prior, expect: [f64; 7]| {
            let posterior = Posterior::of(&lift, prior).unwrap();
            let interval = posterior.interval(0.95).unwrap();
            let [mean, low, high, chance, loss_of_control, loss, deviation] = expect;
            near(posterior.mean, mean);
            near(interval.low, low);
            near(interval.high, high);
            near(posterior.chance_to_win(), chance);
            near(posterior.expected_loss_of_control(), loss_of_control);
            near(posterior.expected_loss(), loss);
            near(posterior.standard_deviation, deviation);
        };
        check(
            Prior::Flat,
            [
                -0.043_119_034_896_460_164,
                -0.069_244_577_009_617_72,
                -0.016_993_492_783_302_61,
                0.000_608_570_331_576_745_1,
                2.168_805_152_444_456e-6,
                0.043_121_203_701_612_605,
                0.013_329_603_155_584_745,
            ],
        );
        check(
            Prior::Normal { mean: 0.02, standard_deviation: 0.01 },
            [
                -0.002_730_991_325_355_05,
                -0.018_409_123_598_430_607,
                0.012_947_140_947_720_502,
                0.366_398_110_109_070_1,
                0.002_009_918_910_759_885_3,
                0.004_740_910_236_114_934,
                0.007_999_194_065_167_86,
            ],
        );
    }

    #[test]
    fn a_prior_that_is_none() {
        let effect = Effect { estimate: 0.1, standard_error: 0.1, degrees: None, subjects: 10 };
        for standard_deviation in [0.0, -1.0, f64::NAN] {
            assert!(Posterior::of(&effect, Prior::Normal { mean: 0.0, standard_deviation }).is_err());
        }
        // Certain of the opposite: nothing is lost.
        let sure = Posterior { mean: 100.0, standard_deviation: 0.1 };
        assert_eq!((sure.chance_to_win(), sure.expected_loss()), (1.0, 0.0));
    }
}
