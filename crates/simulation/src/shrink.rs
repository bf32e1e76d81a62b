//! What is left of a scenario when all is taken out of it that does not matter.

use anyhow::Result;

use crate::laws::Law;
use crate::plant::Plant;
use crate::scenario::{Fault, Scenario};
use crate::world::Outcome;

/// So often a scenario is played again to make it smaller.
const PLAYS_MAX: usize = 80;

/// A scenario that breaks the same law with less.
#[derive(Debug, Clone)]
pub struct Smallest {
    /// The scenario.
    pub scenario: Scenario,
    /// The numbers of the steps that are left, in the scenario as its seed has it.
    pub steps: Vec<usize>,
    /// The faults that are not needed.
    pub without: Vec<Fault>,
    /// What comes of it.
    pub outcome: Outcome,
}

impl Scenario {
    /// The same with only some of its steps, by their numbers.
    #[must_use]
    pub fn only(&self, steps: &[usize]) -> Self {
        let kept = self.steps.iter().enumerate().filter(|(number, _)| steps.contains(number)).map(|(_, step)| step.clone()).collect();
        Self { steps: kept, ..self.clone() }
    }

    /// The same without a fault.
    #[must_use]
    pub fn without(&self, fault: Fault) -> Self {
        Self { rates: self.rates.without(fault), ..self.clone() }
    }
}

/// Takes out of a scenario what it does not need to break this law.
///
/// # Errors
///
/// As [`crate::play`].
pub fn shrink(scenario: &Scenario, plant: Option<Plant>, law: Law, outcome: Outcome) -> Result<Smallest> {
    let steps = (0..scenario.steps.len()).collect();
    let mut smallest = Smallest { scenario: scenario.clone(), steps, without: Vec::new(), outcome };
    let mut plays = 0;
    let mut breaks = |scenario: &Scenario| -> Result<Option<Outcome>> {
        plays += 1;
        if plays > PLAYS_MAX {
            return Ok(None);
        }
        let outcome = crate::play(scenario.clone(), plant, false)?;
        Ok(outcome.violations.iter().any(|violation| violation.law == law).then_some(outcome))
    };
    let mut size = smallest.steps.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < smallest.steps.len() {
            let fewer: Vec<usize> =
                smallest.steps.iter().enumerate().filter(|(place, _)| !(at..at + size).contains(place)).map(|(_, step)| *step).collect();
            let candidate = Scenario { rates: smallest.scenario.rates, ..scenario.only(&fewer) };
            match breaks(&candidate)? {
                Some(outcome) => (smallest.scenario, smallest.steps, smallest.outcome) = (candidate, fewer, outcome),
                None => at += size,
            }
        }
        size /= 2;
    }
    for fault in Fault::ALL {
        let candidate = smallest.scenario.without(fault);
        if candidate != smallest.scenario
            && let Some(outcome) = breaks(&candidate)?
        {
            (smallest.scenario, smallest.outcome) = (candidate, outcome);
            smallest.without.push(fault);
        }
    }
    Ok(smallest)
}
