//! Experiments of which the truth is known: how often the statistics are wrong, and how often they find what is there.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Binomial, Distribution as _};

use crate::statistics::{AlwaysValid, Arm, Effect, Interval, Scale, Undetermined};

/// Experiments with a share as their metric, each looked at once a day and decided at its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Simulation {
    /// How many.
    pub experiments: u32,
    /// How long each runs.
    pub days: u32,
    /// How many subjects each variation gets a day.
    pub subjects_by_day: u64,
    /// How many of the control do what is counted, in (0, 1).
    pub control_share: f64,
    /// What the treatment adds to that share; nothing for an A/A test.
    pub difference: f64,
    /// Of all intervals.
    pub confidence: f64,
    /// With how many subjects the always-valid intervals are tightest.
    pub tightest_at_subjects: u64,
    /// The same seed gives the same experiments on every machine.
    pub seed: u64,
}

/// What was said of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Simulated {
    /// How many there were.
    pub experiments: u64,
    /// In how many the test at the end found a difference.
    pub found_at_the_end: u64,
    /// In how many the same test, made every day, found one on some day: what looking too early does.
    pub found_by_peeking: u64,
    /// In how many the always-valid test found one on some day.
    pub found_at_any_time: u64,
    /// In how many the interval at the end held the truth.
    pub held_at_the_end: u64,
    /// In how many the always-valid interval held the truth on every day.
    pub held_at_all_times: u64,
}

impl Simulation {
    /// Runs them. `progress` is told after each how many are done.
    ///
    /// # Errors
    ///
    /// Where a number is out of its range.
    pub fn run(&self, mut progress: impl FnMut(u32)) -> Result<Simulated, Undetermined> {
        let treatment_share = self.control_share + self.difference;
        let binomial = |share: f64| {
            let is_share = share > 0.0 && share < 1.0;
            let made = is_share.then(|| Binomial::new(self.subjects_by_day, share).ok()).flatten();
            made.ok_or(Undetermined::OutOfRange("the shares of both variations must be between 0 and 1"))
        };
        let (control, treatment) = (binomial(self.control_share)?, binomial(treatment_share)?);
        if self.days == 0 || self.subjects_by_day == 0 {
            return Err(Undetermined::TooFewSubjects);
        }
        let mut found = Simulated::default();
        for number in 0..self.experiments {
            // Each has randomness of its own, so that it is the same however many there are.
            let mut random = ChaCha8Rng::seed_from_u64(self.seed);
            random.set_stream(number.into());
            self.one(&mut found, || (control.sample(&mut random), treatment.sample(&mut random)))?;
            progress(number + 1);
        }
        Ok(found)
    }

    fn one(&self, found: &mut Simulated, mut a_day: impl FnMut() -> (u64, u64)) -> Result<(), Undetermined> {
        let error = 1.0 - self.confidence;
        let holds = |Interval { low, high }: Interval| (low..=high).contains(&self.difference);
        let (mut subjects, mut of_control, mut of_treatment) = (0, 0, 0);
        let (mut by_peeking, mut at_any_time, mut at_all_times) = (false, false, true);
        let (mut at_the_end, mut held) = (false, true);
        for _ in 0..self.days {
            let (one, other) = a_day();
            subjects += self.subjects_by_day;
            of_control += one;
            of_treatment += other;
            let effect = Effect::of(&Arm::proportion(subjects, of_control)?, &Arm::proportion(subjects, of_treatment)?, Scale::Difference);
            let effect = match effect {
                Ok(effect) => effect,
                // On its first days nobody may have done anything yet: there is nothing to find.
                Err(Undetermined::NoVariance) => continue,
                Err(why) => return Err(why),
            };
            let always = AlwaysValid::of(effect, self.confidence, self.tightest_at_subjects)?;
            at_the_end = effect.p_value(0.0) < error;
            held = holds(effect.interval(self.confidence)?);
            by_peeking |= at_the_end;
            at_any_time |= always.p_value(0.0) < error;
            at_all_times &= holds(always.interval());
        }
        found.experiments += 1;
        found.found_at_the_end += u64::from(at_the_end);
        found.found_by_peeking += u64::from(by_peeking);
        found.found_at_any_time += u64::from(at_any_time);
        found.held_at_the_end += u64::from(held);
        found.held_at_all_times += u64::from(at_all_times);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AA: Simulation = Simulation {
        experiments: 2_000,
        days: 14,
        subjects_by_day: 1_000,
        control_share: 0.1,
        difference: 0.0,
        confidence: 0.95,
        tightest_at_subjects: 5_000,
        seed: 7,
    };

    fn share(of: u64, all: u64) -> f64 {
        of as f64 / all as f64
    }

    #[test]
    fn without_a_difference_one_in_twenty_is_found_and_no_more_at_any_time() {
        let found = AA.run(|_| {}).unwrap();
        assert_eq!(found.experiments, 2_000);
        let of = |number: u64| share(number, found.experiments);
        assert!((0.04..=0.06).contains(&of(found.found_at_the_end)), "{found:?}");
        assert!((0.94..=0.96).contains(&of(found.held_at_the_end)), "{found:?}");
        assert!(of(found.found_at_any_time) <= 0.05 && of(found.held_at_all_times) >= 0.95, "{found:?}");
        // That is why.
        assert!(of(found.found_by_peeking) > 0.12, "{found:?}");
    }

    #[test]
    fn a_difference_is_found_as_often_as_was_planned() {
        let simulation = Simulation { difference: 0.01, ..AA };
        let found = simulation.run(|_| {}).unwrap();
        let plan = crate::statistics::Plan {
            control_variance: 0.1 * 0.9,
            treatment_variance: 0.11 * 0.89,
            treatment_share: 0.5,
            confidence: 0.95,
        };
        let power = plan.power(0.01, 28_000).unwrap();
        assert!((share(found.found_at_the_end, 2_000) - power).abs() < 0.03, "{found:?} {power}");
        assert!((0.94..=0.96).contains(&share(found.held_at_the_end, 2_000)) && share(found.held_at_all_times, 2_000) >= 0.95, "{found:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_experiments() {
        let few = Simulation { experiments: 50, ..AA };
        let mut told = Vec::new();
        assert_eq!(few.run(|done| told.push(done)), few.run(|_| {}));
        assert_eq!((told.len(), told.last()), (50, Some(&50)));
        assert_ne!(few.run(|_| {}), Simulation { seed: 8, experiments: 50, days: 28, ..AA }.run(|_| {}));
        for wrong in [
            Simulation { control_share: 0.0, ..AA },
            Simulation { difference: 0.9, ..AA },
            Simulation { confidence: 1.0, ..AA },
            Simulation { days: 0, ..AA },
        ] {
            assert!(wrong.run(|_| {}).is_err(), "{wrong:?}");
        }
    }
}
