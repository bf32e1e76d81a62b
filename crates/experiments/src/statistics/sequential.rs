//! What may be said of an effect at any time, however often it is looked at: asymptotic confidence sequences.
//!
//! Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2023, *Time-uniform central limit theory and asymptotic confidence sequences* (arXiv 2103.06476, version 7): equation 9 for the interval, 155 for the
//! p-value, 161 for the tuning.

use super::effect::{Effect, Interval, Undetermined, error_of};

/// An effect under a test that may be looked at as often as one likes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlwaysValid {
    effect: Effect,
    error: f64,
    /// The width of the mixture of effects that the test has in mind.
    rho_squared: f64,
}

impl AlwaysValid {
    /// At this confidence, and tightest when so many subjects are there, both variations together. The number is chosen before the experiment begins; a wrong one costs width, never
    /// validity.
    ///
    /// # Errors
    ///
    /// With a confidence or a number of subjects out of its range.
    pub fn of(effect: Effect, confidence: f64, tightest_at_subjects: u64) -> Result<Self, Undetermined> {
        let error = error_of(confidence)?;
        if tightest_at_subjects == 0 {
            return Err(Undetermined::OutOfRange("the test must be tightest at one subject at least"));
        }
        let twice = -2.0 * error.ln();
        let rho_squared = (twice + (twice + 1.0).ln()) / tightest_at_subjects as f64;
        Ok(Self { effect, error, rho_squared })
    }

    /// What holds the truth at all times together, in so many of all experiments.
    pub fn interval(&self) -> Interval {
        let n = self.effect.subjects as f64;
        let grown = n * self.rho_squared + 1.0;
        let times = (2.0 * grown * (grown.sqrt() / self.error).ln() / (n * self.rho_squared)).sqrt();
        Interval::around(self.effect.estimate, times * self.effect.standard_error)
    }

    /// Below the error one may stop, whenever it is. At most 1.
    pub fn p_value(&self, no_effect: f64) -> f64 {
        let n = self.effect.subjects as f64;
        let grown = n * self.rho_squared + 1.0;
        let statistic = (self.effect.estimate - no_effect) / self.effect.standard_error;
        // The logarithm of the evidence, which itself might be too large to be a number.
        let evidence = n * self.rho_squared * statistic * statistic / (2.0 * grown) - 0.5 * grown.ln();
        (-evidence).exp().min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::{Arm, Scale};

    /// As gbstats 0.8 has it.
    #[test]
    fn at_any_time() {
        let near = |found: f64, expect: f64| assert!((found / expect - 1.0).abs() < 1e-10, "{found} {expect}");
        let (control, treatment) = (Arm::proportion(44_700, 8_502).unwrap(), Arm::proportion(45_489, 8_279).unwrap());
        let difference = Effect::of(&control, &treatment, Scale::Difference).unwrap();
        let test = AlwaysValid::of(difference, 0.95, 5_000).unwrap();
        near(test.interval().low, -0.016_813_224_653_248_16);
        near(test.interval().high, 0.000_410_628_022_836_331_47);
        near(test.p_value(0.0), 0.083_284_265_358_576_36);
        let lift = Effect::of(&control, &treatment, Scale::Relative).unwrap();
        let test = AlwaysValid::of(lift, 0.95, 100_000).unwrap();
        near(test.interval().low, -0.083_595_271_422_688_48);
        near(test.interval().high, -0.002_642_798_370_231_847);
        near(test.p_value(0.0), 0.028_977_920_229_271_217);
        // What its interval ends at is what is just not excluded.
        near(test.p_value(test.interval().low), 0.05);
    }

    #[test]
    fn evidence_beyond_all_numbers_is_evidence() {
        let effect = Effect { estimate: 1e6, standard_error: 1e-6, degrees: None, subjects: 1_000_000 };
        let test = AlwaysValid::of(effect, 0.95, 5_000).unwrap();
        assert_eq!((test.p_value(0.0), test.p_value(1e6)), (0.0, 1.0));
        assert!(AlwaysValid::of(effect, 0.95, 0).is_err() && AlwaysValid::of(effect, 1.5, 10).is_err());
    }
}
