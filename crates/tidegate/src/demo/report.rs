//! The report of a run: what was sent, what was to become of it and what did, and the experiment beside its truth.
//!
//! It holds nothing that differs between two runs of one seed: no time, no rate, no address. So two reports can be compared byte by byte.

use experiments::statistics::{self, Effect, Interval, Scale, Undetermined};
use serde::Serialize;

use super::expected::{Expected, Outcome, Trial};
use super::experiment::{self, Variation};
use super::flaws::Found as FoundBy;
use super::found::Found;
use super::gate::Answers;

#[cfg(test)]
mod tests;
mod text;

pub(crate) use text::render;

/// Of all intervals.
const CONFIDENCE: f64 = 0.95;
/// Below this p-value of the sample ratio check, the split is no chance.
const SAMPLE_RATIO_ALARM: f64 = 0.001;

/// The whole report.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    users: u32,
    days: u32,
    seed: u64,
    /// Whether all was found as expected and the books balance.
    sound: bool,
    books: Vec<Check>,
    audit: Audit,
    experiment: Experiment,
    /// Events of people by hour of the day in UTC.
    events_by_hour: [u64; 24],
}

/// What the run was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) users: u32,
    pub(crate) days: u32,
    pub(crate) seed: u64,
}

/// One line of the books.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    what: String,
    expected: u64,
    found: u64,
    agrees: bool,
}

/// The verdict of the platform's own audit.
#[derive(Debug, Serialize)]
struct Audit {
    balanced: bool,
    findings: Vec<String>,
}

/// How the experiment went, as found in the lake.
#[derive(Debug, Serialize)]
struct Experiment {
    id: &'static str,
    window_hours: i64,
    variations: Vec<Arm>,
    contaminated: u64,
    /// Absent where a rate of zero or one leaves nothing to compare.
    effect: Option<Difference>,
    sample_ratio: Option<SampleRatio>,
}

#[derive(Debug, Serialize)]
struct Arm {
    id: &'static str,
    subjects: u64,
    conversions: u64,
    rate: Option<Estimate>,
    true_rate: f64,
}

/// A number with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Estimate {
    value: f64,
    low: f64,
    high: f64,
}

#[derive(Debug, Serialize)]
struct Difference {
    absolute: Estimate,
    true_absolute: f64,
    relative: Estimate,
    true_relative: f64,
    p_value: f64,
}

#[derive(Debug, Serialize)]
struct SampleRatio {
    p_value: f64,
    as_planned: bool,
}

impl Report {
    pub(crate) fn new(asked: Asked, expected: &Expected, answers: &Answers, found: &Found) -> Self {
        let books = books(expected, answers, found);
        let findings: Vec<String> = found.books.findings.iter().map(pipeline::Finding::text).collect();
        let audit = Audit { balanced: found.books.balanced, findings };
        let sound = audit.balanced && books.iter().all(|check| check.agrees);
        let Asked { users, days, seed } = asked;
        Self { users, days, seed, sound, books, audit, experiment: Experiment::of(&found.trial), events_by_hour: found.hours }
    }

    /// Whether all was found as expected and the books balance.
    pub(crate) fn is_sound(&self) -> bool {
        self.sound
    }

    /// As one JSON document.
    pub(crate) fn to_json(&self) -> serde_json::Result<String> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }
}

fn books(expected: &Expected, answers: &Answers, found: &Found) -> Vec<Check> {
    let refused = expected.dead(FoundBy::Refused);
    let quarantined = expected.dead(FoundBy::Quarantined);
    let answered = answers.accepted + answers.refused.values().sum::<u64>();
    let mut checks = vec![
        check("sent, and answered by the gate", expected.sent, answered),
        check("accepted", expected.accepted(), answers.accepted),
        check("refused", expected.dead_total(FoundBy::Refused), answers.refused.values().sum()),
        check("rows of Bronze", expected.accepted(), found.bronze),
        check("rows of Silver", expected.rows, found.silver),
        check("duplicates", expected.copies, found.books.total.duplicates),
        check("dead letters", expected.dead_total(FoundBy::Refused) + expected.dead_total(FoundBy::Quarantined), found.dead.values().sum()),
    ];
    for (stage, by, codes) in [("gate", "refused by the gate", refused), ("plan", "against the plan", quarantined)] {
        for (code, count) in codes {
            let there = found.dead.get(&(stage.to_owned(), code.to_owned())).copied().unwrap_or_default();
            checks.push(check(&format!("  {by}: {code}"), count, there));
        }
    }
    checks.extend([
        check("of Silver: late", expected.late, found.late),
        check("of Silver: clock corrected", expected.corrected, found.corrected),
        check("of Silver: by robots", expected.robots, found.robots),
        check("exposures", expected.exposures, found.exposures),
    ]);
    let truth = expected.trial();
    for variation in Variation::ALL {
        let (should, is) = (truth.of(variation), found.trial.of(variation));
        checks.push(check(&format!("subjects of {}", variation.id()), should.subjects, is.subjects));
        checks.push(check(&format!("  of them bought within {} h", window_hours()), should.conversions, is.conversions));
    }
    checks.push(check("subjects that saw both", truth.contaminated, found.trial.contaminated));
    checks
}

fn check(what: &str, expected: u64, found: u64) -> Check {
    Check { what: what.to_owned(), expected, found, agrees: expected == found }
}

fn window_hours() -> i64 {
    experiment::WINDOW_MICROS / 3_600_000_000
}

impl Experiment {
    fn of(trial: &Trial) -> Self {
        let proportion = |Outcome { subjects, conversions }| statistics::Arm::proportion(subjects, conversions);
        let arm = |variation: Variation| {
            let outcome = trial.of(variation);
            let rate = proportion(outcome).and_then(|arm| Ok(Estimate::new(arm.mean, arm.share_interval(CONFIDENCE)?)));
            let Outcome { subjects, conversions } = outcome;
            Arm { id: variation.id(), subjects, conversions, rate: rate.ok(), true_rate: true_rate(variation) }
        };
        let effect = || Difference::of(&proportion(trial.control)?, &proportion(trial.treatment)?);
        // Half and half is what was assigned.
        let sample_ratio = statistics::SampleRatio::of(&[trial.control.subjects, trial.treatment.subjects], &[0.5, 0.5]);
        Self {
            id: experiment::ID,
            window_hours: window_hours(),
            variations: Variation::ALL.into_iter().map(arm).collect(),
            contaminated: trial.contaminated,
            effect: effect().ok(),
            sample_ratio: sample_ratio
                .ok()
                .map(|ratio| SampleRatio { p_value: ratio.p_value, as_planned: ratio.p_value >= SAMPLE_RATIO_ALARM }),
        }
    }
}

impl Difference {
    fn of(control: &statistics::Arm, treatment: &statistics::Arm) -> Result<Self, Undetermined> {
        let absolute = Effect::of(control, treatment, Scale::Difference)?;
        let relative = Effect::of(control, treatment, Scale::Relative)?;
        let (true_control, true_treatment) = (true_rate(Variation::Control), true_rate(Variation::Treatment));
        Ok(Self {
            absolute: Estimate::new(absolute.estimate, absolute.interval(CONFIDENCE)?),
            true_absolute: rounded(true_treatment - true_control),
            relative: Estimate::new(relative.estimate, relative.interval(CONFIDENCE)?),
            true_relative: rounded(true_treatment / true_control - 1.0),
            p_value: rounded(absolute.p_value(0.0)),
        })
    }
}

impl Estimate {
    fn new(value: f64, Interval { low, high }: Interval) -> Self {
        Self { value: rounded(value), low: rounded(low), high: rounded(high) }
    }
}

fn true_rate(variation: Variation) -> f64 {
    variation.buyers_per_million() as f64 / 1e6
}

/// To nine digits after the point: what is beyond may differ from one system's mathematics to another's.
fn rounded(number: f64) -> f64 {
    (number * 1e9).round() / 1e9
}
