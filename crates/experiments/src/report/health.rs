//! Whether a result can be trusted.

use std::fmt;

use chrono::{Datelike as _, NaiveDate};
use serde::Serialize;

use super::arms::Who;
use super::{DayOf, MetricReport, View, shown_p_value};
use crate::statistics::distribution::normal_upper;
use crate::statistics::{SampleRatio, holm};

/// Below it the division of subjects is no chance (Fabijan and others 2019 take 0.0005 to 0.01).
pub(super) const SAMPLE_RATIO_ERROR: f64 = 0.001;
/// Below it the effect is another in the first days than later.
const NOVELTY_ERROR: f64 = 0.01;
/// Shares above which something is told as a warning, and as a failure.
const CONTAMINATED: (f64, f64) = (0.01, 0.05);
const WITHOUT_SUBJECT: (f64, f64) = (0.01, 0.1);
const LATE: (f64, f64) = (0.1, 1.0);
const BREAKING_PLAN: (f64, f64) = (0.001, 0.05);
const UNREADABLE: (f64, f64) = (0.0, 0.01);
/// Missing days that are named.
const NAMED_MAX: usize = 5;

/// One thing that is looked at before a result is believed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// What is looked at.
    pub check: &'static str,
    /// How it stands.
    pub state: State,
    /// What was found, and what to do.
    pub what: String,
}

/// How a check stands, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The result cannot be trusted.
    Failed,
    /// It is to be read with this in mind.
    Warning,
    /// As it should be.
    Passed,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "failed",
            Self::Warning => "warning",
            Self::Passed => "passed",
        })
    }
}

/// The p-value of the sample ratio check; nothing where nobody came.
pub(super) fn sample_ratio(subjects: &[u64], weights: &[f64]) -> Option<f64> {
    SampleRatio::of(subjects, weights).ok().map(|found| found.p_value)
}

/// All checks, the worst first.
pub(super) fn checks(view: &View<'_>, metrics: &[MetricReport], days: &[DayOf]) -> Vec<Check> {
    let mut checks = vec![division(days, view)];
    checks.extend(division_by_day(days));
    checks.extend(division_by_segment(view));
    checks.extend([
        contamination(view),
        share(
            ("exposures without a subject", "have no id of a subject; see that the client knows it before it asks for the variation"),
            view.counted("exposures_without_subject"),
            view.counted("exposures"),
            WITHOUT_SUBJECT,
        ),
        share(
            ("late events", "came later than the allowed lateness; results of the last days will change"),
            view.counted("exposures_late") + view.counted("events_late"),
            view.counted("exposures") + view.counted("events"),
            LATE,
        ),
        missing_days(view, days),
        plan(view),
        share(
            (
                "values that are no numbers",
                "have none where a metric sums one up, and count as nothing; mend the tracking plan or the metric",
            ),
            view.counted("events_unreadable"),
            view.counted("events"),
            UNREADABLE,
        ),
        finality(view),
    ]);
    checks.extend(metrics.iter().flat_map(novelty));
    checks.sort_by_key(|check| check.state);
    checks
}

fn division(days: &[DayOf], view: &View<'_>) -> Check {
    let weights = view.experiment.definition.weights();
    let mut subjects = vec![0_u64; weights.len()];
    for day in days {
        for (sum, own) in subjects.iter_mut().zip(&day.subjects) {
            *sum += own;
        }
    }
    let told: Vec<String> = subjects.iter().map(u64::to_string).collect();
    let told = told.join(" : ");
    let (state, what) = match sample_ratio(&subjects, &weights) {
        None => (
            State::Failed,
            "there are no subjects; see whether exposures come in, and whether the key and the variations are those of the definition"
                .to_owned(),
        ),
        Some(p) if p < SAMPLE_RATIO_ERROR => (
            State::Failed,
            format!(
                "{told} is no chance (p = {}): subjects are lost or doubled on one side, and no number below can be trusted",
                shown_p_value(p)
            ),
        ),
        Some(p) => (State::Passed, format!("{told}, as assigned (p = {})", shown_p_value(p))),
    };
    Check { check: "sample ratio", state, what }
}

/// Whether one of many divisions is no chance, the number of them taken into account.
fn of_many(check: &'static str, found: &[(String, f64)]) -> Option<Check> {
    let adjusted = holm(&found.iter().map(|(_, p)| *p).collect::<Vec<_>>());
    let bad: Vec<&str> =
        found.iter().zip(&adjusted).filter(|(_, p)| **p < SAMPLE_RATIO_ERROR).map(|((name, _), _)| name.as_str()).collect();
    if found.is_empty() {
        return None;
    }
    Some(if bad.is_empty() {
        Check { check, state: State::Passed, what: format!("as assigned in all {}", found.len()) }
    } else {
        let more = bad.len().saturating_sub(NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named: Vec<&str> = bad.iter().take(NAMED_MAX).copied().collect();
        Check {
            check,
            state: State::Failed,
            what: format!("not as assigned in {}{more}: look there for what loses or doubles subjects", named.join(", ")),
        }
    })
}

fn division_by_day(days: &[DayOf]) -> Option<Check> {
    let found: Vec<(String, f64)> = days.iter().filter_map(|day| Some((day.date.to_string(), day.p_value?))).collect();
    of_many("sample ratio by day", &found)
}

fn division_by_segment(view: &View<'_>) -> Option<Check> {
    // All metrics have the same subjects, but for those that wait for a window.
    let metric = view.experiment.metrics.iter().map(|(_, metric)| metric).next()?;
    let weights = view.experiment.definition.weights();
    let mut found = Vec::new();
    for segment in view.experiment.definition.segments.keys() {
        for (part, _) in super::metric::parts(view, metric, segment) {
            let subjects: Vec<u64> =
                view.sums(metric, Who { segment, part: &part, until: None }).iter().map(|sums| sums.subjects).collect();
            if let Some(p) = sample_ratio(&subjects, &weights) {
                found.push((format!("{segment} = {part}"), p));
            }
        }
    }
    of_many("sample ratio by segment", &found)
}

fn contamination(view: &View<'_>) -> Check {
    share(
        ("contamination", "saw more than one variation within their window and are left out; see whether the assignment is stable"),
        view.counted("subjects_contaminated"),
        view.counted("subjects"),
        CONTAMINATED,
    )
}

fn share((check, what): (&'static str, &str), some: u64, all: u64, (warning, failure): (f64, f64)) -> Check {
    let share = if all == 0 { 0.0 } else { some as f64 / all as f64 };
    let state = if share > failure {
        State::Failed
    } else if share > warning {
        State::Warning
    } else {
        State::Passed
    };
    let what = if some == 0 { format!("none of {all}") } else { format!("{some} of {all} ({:.2} %) {what}", share * 100.0) };
    Check { check, state, what }
}

fn missing_days(view: &View<'_>, days: &[DayOf]) -> Check {
    let definition = &view.experiment.definition;
    // The day that is not over yet is not missed.
    let reached = view.gold.final_up_to().map(|time| time.date_naive());
    let end = definition.end.map(|end| end.date_naive());
    let until = reached.into_iter().chain(end).min().unwrap_or(definition.start.date_naive());
    let from = definition.start.date_naive();
    let missing: Vec<NaiveDate> =
        from.iter_days().take_while(|date| *date < until).filter(|date| days.iter().all(|day| day.date != *date)).collect();
    let check = "missing days";
    if missing.is_empty() {
        let number = (until.num_days_from_ce() - from.num_days_from_ce()).max(0);
        return Check { check, state: State::Passed, what: format!("subjects came on all {number} days") };
    }
    let named: Vec<String> = missing.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    let more = missing.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more days") } else { String::new() };
    Check {
        check,
        state: State::Warning,
        what: format!("no subject came on {}{more}; see whether exposures were lost there", named.join(", ")),
    }
}

fn plan(view: &View<'_>) -> Check {
    let definition = &view.experiment.definition;
    let (from, until) = (definition.start.date_naive(), view.gold.final_up_to().map(|time| time.date_naive()));
    let is_within = |date: NaiveDate| date >= from && until.is_none_or(|until| date <= until);
    let kept_out: u64 = view.gold.kept_out.iter().filter(|(date, _)| is_within(*date)).map(|(_, count)| count).sum();
    let flagged = view.counted("exposures_breaking_plan") + view.counted("events_breaking_plan");
    let all = view.counted("exposures") + view.counted("events") + kept_out;
    let what = format!(
        "break the tracking plan: {kept_out} of all types were kept out, {flagged} of this experiment are in it with a flag; list them with `tidegate dead-letters`"
    );
    share(("tracking plan", &what), kept_out + flagged, all, BREAKING_PLAN)
}

fn finality(view: &View<'_>) -> Check {
    let check = "finality";
    let definition = &view.experiment.definition;
    if view.is_final() {
        return Check { check, state: State::Passed, what: "all windows are over, and everything is there but what comes late".to_owned() };
    }
    let open: u64 = view
        .gold
        .counts
        .iter()
        .filter(|row| row.measure == "subjects" && !view.is_over(row.date, definition.attribution_days))
        .map(|row| row.count)
        .sum();
    let reached = view.gold.final_up_to().map_or_else(|| "nothing".to_owned(), |time| time.format("%Y-%m-%d %H:%M UTC").to_string());
    let what = format!(
        "complete up to {reached}; the windows of {open} subjects are still open: go by the always-valid intervals until it has ended"
    );
    Check { check, state: State::Warning, what }
}

/// Whether the effect in the first days after the exposure is another than later: of a new thing, or one to get used to.
fn novelty(metric: &MetricReport) -> Vec<Check> {
    let mut variations: Vec<&str> = metric.by_age.iter().map(|age| age.variation.as_str()).collect();
    variations.sort_unstable();
    variations.dedup();
    let of = |variation: &str| {
        let ages: Vec<_> = metric.by_age.iter().filter(|age| age.variation == variation).collect();
        let last = ages.iter().map(|age| age.age).max()?;
        // The first third, and the rest.
        let (early, later): (Vec<_>, Vec<_>) = ages.into_iter().partition(|age| age.age <= last / 3);
        // The mean of the daily effects; days of one subject are taken as independent.
        let mean = |ages: &[&super::Age]| {
            let number = ages.len() as f64;
            let estimate = ages.iter().map(|age| age.difference.estimate).sum::<f64>() / number;
            let error = ages.iter().map(|age| age.difference.standard_error.powi(2)).sum::<f64>().sqrt() / number;
            (!ages.is_empty()).then_some((estimate, error))
        };
        let ((first, first_error), (rest, rest_error)) = mean(&early).zip(mean(&later))?;
        let p = 2.0 * normal_upper(((first - rest) / first_error.hypot(rest_error)).abs());
        let told = format!(
            "{}, {variation}: {} a day in the first {} days after the exposure, {} later (p = {})",
            metric.metric,
            signed(first),
            last / 3 + 1,
            signed(rest),
            shown_p_value(p)
        );
        Some(if p < NOVELTY_ERROR {
            Check { check: "novelty", state: State::Warning, what: format!("{told}: the effect changes as subjects get used to it") }
        } else {
            Check { check: "novelty", state: State::Passed, what: told }
        })
    };
    variations.into_iter().filter_map(of).collect()
}

fn signed(value: f64) -> String {
    format!("{value:+.5}")
}
