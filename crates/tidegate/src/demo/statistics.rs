//! The statistics of two proportions: numbers in, numbers out.

/// The standard normal quantile of 0.975: 95 % lie within.
const Z95: f64 = 1.959_963_984_540_054;

/// From and to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Interval {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Successes among trials.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Proportion {
    successes: f64,
    trials: f64,
}

/// How far a treatment is from a control.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Effect {
    /// The difference of the rates, with its 95 % interval.
    pub(crate) absolute: f64,
    pub(crate) absolute_interval: Interval,
    /// The same as a share of the control's rate.
    pub(crate) relative: f64,
    pub(crate) relative_interval: Interval,
    /// Two-sided: how likely a difference as large were if there was none.
    pub(crate) p_value: f64,
}

impl Proportion {
    /// `None` where there are no trials, or more successes than trials.
    pub(crate) fn new(successes: u64, trials: u64) -> Option<Self> {
        (trials > 0 && successes <= trials).then_some(Self { successes: successes as f64, trials: trials as f64 })
    }

    pub(crate) fn rate(self) -> f64 {
        self.successes / self.trials
    }

    /// The 95 % interval of the rate (Wilson, "Probable inference, the law of succession, and statistical inference", 1927).
    pub(crate) fn interval(self) -> Interval {
        let z2 = Z95 * Z95;
        let centre = (self.successes + z2 / 2.0) / (self.trials + z2);
        let spread = self.rate() * (1.0 - self.rate()) / self.trials + z2 / (4.0 * self.trials * self.trials);
        let half = Z95 * self.trials / (self.trials + z2) * spread.sqrt();
        Interval { low: (centre - half).max(0.0), high: (centre + half).min(1.0) }
    }

    fn variance_of_rate(self) -> f64 {
        self.rate() * (1.0 - self.rate()) / self.trials
    }
}

/// The effect; `None` where a rate of zero or one leaves nothing to compare.
///
/// The p-value is that of the z test with the pooled rate; the interval of the difference is Wald's, that of the ratio Katz's, on its logarithm ("Obtaining confidence
/// intervals for the risk ratio in cohort studies", 1978).
pub(crate) fn effect(control: Proportion, treatment: Proportion) -> Option<Effect> {
    let absolute = treatment.rate() - control.rate();
    let pooled = (control.successes + treatment.successes) / (control.trials + treatment.trials);
    let pooled_variance = pooled * (1.0 - pooled) * (1.0 / control.trials + 1.0 / treatment.trials);
    if pooled_variance <= 0.0 || control.successes == 0.0 || treatment.successes == 0.0 {
        return None;
    }
    let half = Z95 * (control.variance_of_rate() + treatment.variance_of_rate()).sqrt();
    let ratio = treatment.rate() / control.rate();
    let of_log = |side: Proportion| (1.0 - side.rate()) / side.successes;
    let factor = (Z95 * (of_log(control) + of_log(treatment)).sqrt()).exp();
    Some(Effect {
        absolute,
        absolute_interval: Interval { low: absolute - half, high: absolute + half },
        relative: ratio - 1.0,
        relative_interval: Interval { low: ratio / factor - 1.0, high: ratio * factor - 1.0 },
        p_value: two_sided_p(absolute / pooled_variance.sqrt()),
    })
}

/// The p-value of the sample ratio check: how likely so uneven a split were if subjects were divided half and half (χ², one degree of freedom). `None` without subjects.
pub(crate) fn sample_ratio_p(control: u64, treatment: u64) -> Option<f64> {
    let total = (control + treatment) as f64;
    let difference = control as f64 - treatment as f64;
    // Σ (seen − half)² / half comes to this.
    (total > 0.0).then(|| two_sided_p(difference.abs() / total.sqrt()))
}

/// How likely a standard normal number is at least as far from zero.
fn two_sided_p(z: f64) -> f64 {
    complementary_error(z.abs() / std::f64::consts::SQRT_2)
}

/// The complementary error function of a number that is not negative (Abramowitz and Stegun, "Handbook of mathematical functions", 1964): by the series 7.1.6 near
/// zero, by the continued fraction 7.1.14 beyond, each where it is good to about 14 digits.
fn complementary_error(x: f64) -> f64 {
    const SERIES_UNTIL: f64 = 2.0;
    let bell = (-x * x).exp() / std::f64::consts::PI.sqrt();
    if x < SERIES_UNTIL {
        let (mut term, mut sum, mut odd) = (x, x, 1.0);
        while term > sum * f64::EPSILON {
            odd += 2.0;
            term *= 2.0 * x * x / odd;
            sum += term;
        }
        return 1.0 - 2.0 * bell * sum;
    }
    let mut tail = 0.0;
    for step in (1..=FRACTION_STEPS).rev() {
        tail = f64::from(step) / 2.0 / (x + tail);
    }
    bell / (x + tail)
}

/// Enough for all digits from 2 on.
const FRACTION_STEPS: u32 = 120;

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, known: f64, within: f64) {
        assert!((found - known).abs() <= within * known.abs().max(1e-300), "{found} is not {known}");
    }

    #[test]
    fn the_error_function_is_that_of_the_tables() {
        // As the C library's erfc gives them.
        for (x, known) in [
            (0.0, 1.0),
            (0.1, 0.887_537_083_981_715),
            (0.5, 0.479_500_122_186_953),
            (1.0, 0.157_299_207_050_285),
            (1.9, 0.007_209_570_764_742_5),
            (2.0, 0.004_677_734_981_047_27),
            (3.0, 2.209_049_699_858_54e-5),
            (5.0, 1.537_459_794_428_03e-12),
            (10.0, 2.088_487_583_762_54e-45),
        ] {
            near(complementary_error(x), known, 1e-12);
        }
        near(two_sided_p(Z95), 0.05, 1e-12);
        near(two_sided_p(-2.575_829_303_548_901), 0.01, 1e-12);
    }

    #[test]
    fn intervals_are_wilsons() {
        // By the formula, in another language's arithmetic.
        let check = |successes, trials, low: f64, high: f64| {
            let interval = Proportion::new(successes, trials).unwrap().interval();
            assert!((interval.low - low).abs() < 1e-9, "{interval:?}");
            near(interval.high, high, 1e-6);
        };
        check(15, 50, 0.191_035_535, 0.437_503_505);
        check(0, 10, 0.0, 0.277_532_800);
        check(10, 10, 0.722_467_2, 1.0);
        assert!(Proportion::new(0, 0).is_none() && Proportion::new(2, 1).is_none());
    }

    #[test]
    fn the_effect_is_that_of_the_z_test() {
        let side = |successes, trials| Proportion::new(successes, trials).unwrap();
        let effect = super::effect(side(100, 1_000), side(130, 1_000)).unwrap();
        near(effect.absolute, 0.03, 1e-12);
        // z = 0.03 / sqrt(0.115 × 0.885 × 0.002)
        near(effect.p_value, 0.035_488_450_467, 1e-9);
        near(effect.absolute_interval.low, 0.002_067_934_4, 1e-6);
        near(effect.absolute_interval.high, 0.057_932_065_6, 1e-6);
        near(effect.relative, 0.3, 1e-12);
        near(effect.relative_interval.low, 0.016_984_271, 1e-6);
        near(effect.relative_interval.high, 0.661_775_947, 1e-6);
        assert!(super::effect(side(0, 10), side(1, 10)).is_none() && super::effect(side(10, 10), side(10, 10)).is_none());
    }

    #[test]
    fn the_sample_ratio_is_held_against_halves() {
        near(sample_ratio_p(500, 500).unwrap(), 1.0, 1e-12);
        // χ² = 10: p = erfc(√5)
        near(sample_ratio_p(450, 550).unwrap(), 0.001_565_402, 1e-6);
        assert!(sample_ratio_p(0, 0).is_none());
    }
}
