//! What is told of one metric.

use std::fmt;

use chrono::NaiveDate;
use serde::Serialize;

use super::arms::{EVERYBODY, Who, arm};
use super::{AgeRow, Interval, Kind, PairSums, Role, View};
use crate::definition::{Analysis, Metric};
use crate::statistics::{
    AlwaysValid, Arm, Effect, Plan, Posterior, Prior, QuantileEffect, Scale, Undetermined, adjusted, benjamini_hochberg, holm,
    quantile_effect,
};

/// The power that the smallest effect is told for.
const POWER: f64 = 0.8;
/// Parts of a segment that are told, those with the most subjects.
const PARTS_TOLD_MAX: usize = 20;

/// What came of a metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricReport {
    /// Its name.
    pub metric: String,
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it is there for.
    pub role: Role,
    /// What is made of the events.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Whether less of it is better.
    pub lower_is_better: bool,
    /// By variation, the control first.
    pub arms: Vec<ArmOf>,
    /// By treatment.
    pub effects: Vec<EffectOf>,
    /// How many subjects it takes to find the effect that is worth finding, all variations together; nothing where none is named, or it cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subjects_needed: Option<f64>,
    /// With the subjects that came up to each day, of primary metrics.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub over_time: Vec<Point>,
    /// By the days since the first exposure, of primary metrics.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_age: Vec<Age>,
    /// By segment, of primary metrics.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_segment: Vec<Part>,
}

/// A variation's side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ArmOf {
    /// The variation.
    pub variation: String,
    /// Subjects that it is told of.
    pub subjects: u64,
    /// What a subject has on average; of a ratio, the ratio. Nothing where it cannot be told.
    pub mean: Option<f64>,
    /// Of one subject.
    pub standard_deviation: Option<f64>,
}

/// What a treatment changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EffectOf {
    /// The treatment.
    pub variation: String,
    /// Treatment less control.
    pub difference: Option<Told>,
    /// That, relative to the control.
    pub lift: Option<Told>,
    /// Why the one or the other cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
    /// With what subjects were before taken out (CUPED).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adjusted: Option<Adjusted>,
    /// What is believed of the lift.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bayes: Option<Bayes>,
    /// The p-value of the difference, adjusted over all metrics and treatments so that no false discovery is made (Holm).
    pub p_value_holm: Option<f64>,
    /// The same, so that few of the discoveries are false (Benjamini and Hochberg).
    pub p_value_benjamini_hochberg: Option<f64>,
    /// The smallest relative effect that so many subjects find with a power of 0.8.
    pub smallest_lift: Option<f64>,
    /// Quantiles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<QuantileOf>,
    /// What can be said.
    pub verdict: Verdict,
}

/// An effect as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Told {
    /// The effect.
    pub estimate: f64,
    /// How far it is from the truth, typically.
    pub standard_error: f64,
    /// Where it is, if it is looked at once, at the end.
    pub interval: Interval,
    /// How likely chance alone gives this or more, if it is looked at once, at the end.
    pub p_value: f64,
    /// Where it is, however often it is looked at.
    pub always_valid_interval: Interval,
    /// The p-value for that.
    pub always_valid_p_value: f64,
}

/// An effect with what subjects were before taken out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Adjusted {
    /// The share of the variance that is gone.
    pub variance_reduction: f64,
    /// Treatment less control.
    pub difference: Told,
    /// That, relative to the adjusted control.
    pub lift: Option<Told>,
}

/// What is believed of a lift.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bayes {
    /// How likely the treatment is better.
    pub chance_to_win: f64,
    /// What is lost on average by taking it, as a relative effect.
    pub expected_loss: f64,
    /// Where the lift is.
    pub interval: Interval,
}

/// A quantile of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct QuantileOf {
    /// The share of subjects below it.
    pub quantile: f64,
    /// Of the control.
    pub control: f64,
    /// Of the treatment.
    pub treatment: f64,
    /// Of the treatment less that of the control, by bootstrap.
    pub interval: Interval,
}

/// What can be said of a treatment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is better.
    Better,
    /// It is worse.
    Worse,
    /// Nothing was found.
    NoDifferenceFound,
    /// It cannot be told.
    Undetermined,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::NoDifferenceFound => "no difference found",
            Self::Undetermined => "cannot be told",
        })
    }
}

/// An effect with the subjects that came up to a day.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// The day.
    pub date: NaiveDate,
    /// The treatment.
    pub variation: String,
    /// The difference.
    pub difference: Told,
}

/// An effect so many days after the first exposure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Age {
    /// Whole days since the first exposure.
    pub age: u32,
    /// The treatment.
    pub variation: String,
    /// Subjects for whom that day is over.
    pub subjects: u64,
    /// The difference of what they did on that day.
    pub difference: Told,
}

/// An effect on the subjects of a segment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// The segment.
    pub segment: String,
    /// The part of it.
    pub part: String,
    /// The treatment.
    pub variation: String,
    /// Subjects of all variations.
    pub subjects: u64,
    /// The difference; nothing where it cannot be told.
    pub difference: Option<Told>,
    /// That, relative to the control.
    pub lift: Option<Told>,
}

/// What came of all metrics.
pub(super) fn reports(view: &View<'_>) -> Vec<MetricReport> {
    let mut reports: Vec<MetricReport> = view.experiment.metrics.iter().map(|(role, metric)| report(view, *role, metric)).collect();
    correct(view, &mut reports);
    reports
}

/// Adjusts the p-values over all metrics and treatments, and says what can be said.
fn correct(view: &View<'_>, reports: &mut [MetricReport]) {
    let p_values: Vec<f64> =
        reports.iter().flat_map(|report| &report.effects).filter_map(|effect| effect.difference).map(|told| told.p_value).collect();
    let always: Vec<f64> = reports
        .iter()
        .flat_map(|report| &report.effects)
        .filter_map(|effect| effect.difference)
        .map(|told| told.always_valid_p_value)
        .collect();
    let (mut by_holm, mut by_rate) = (holm(&p_values).into_iter(), benjamini_hochberg(&p_values).into_iter());
    let mut always = holm(&always).into_iter();
    let error = 1.0 - view.experiment.definition.analysis.confidence;
    // One that runs is looked at more than once.
    let is_final = view.is_final();
    for report in reports {
        let better = if report.lower_is_better { -1.0 } else { 1.0 };
        for effect in &mut report.effects {
            let Some(told) = effect.difference else { continue };
            effect.p_value_holm = by_holm.next();
            effect.p_value_benjamini_hochberg = by_rate.next();
            let always = always.next();
            let p_value = if is_final { effect.p_value_holm } else { always };
            effect.verdict = match p_value {
                Some(p_value) if p_value < error && told.estimate * better > 0.0 => Verdict::Better,
                Some(p_value) if p_value < error => Verdict::Worse,
                _ => Verdict::NoDifferenceFound,
            };
        }
    }
}

fn report(view: &View<'_>, role: Role, metric: &Metric) -> MetricReport {
    let definition = &view.experiment.definition;
    let sums = view.sums(metric, Who::EVERYBODY);
    let arms: Vec<Result<Arm, Undetermined>> = match metric.winsorize {
        Some(share) => winsorized(view, metric, share),
        None => sums.iter().map(|sums| arm(metric, *sums)).collect(),
    };
    let keys = definition.variations.iter().map(|variation| variation.key.as_str());
    let told = keys.clone().zip(&arms).zip(&sums).map(|((key, arm), sums)| ArmOf {
        variation: key.to_owned(),
        subjects: sums.subjects,
        mean: arm.as_ref().ok().map(|arm| arm.mean),
        standard_deviation: arm.as_ref().ok().map(|arm| arm.variance.sqrt()),
    });
    let effects = keys.enumerate().skip(1).map(|(place, key)| effect(view, metric, (&arms, &sums), (place, key))).collect();
    let is_primary = role == Role::Primary;
    MetricReport {
        metric: metric.name.clone(),
        description: metric.description.clone(),
        role,
        kind: metric.kind,
        lower_is_better: metric.lower_is_better,
        arms: told.collect(),
        effects,
        subjects_needed: definition.analysis.lift_worth_finding.and_then(|lift| subjects_needed(view, arms.first()?.as_ref().ok()?, lift)),
        over_time: if is_primary { over_time(view, metric) } else { Vec::new() },
        by_age: if is_primary { by_age(view, metric) } else { Vec::new() },
        by_segment: if is_primary { by_segment(view, metric) } else { Vec::new() },
    }
}

/// No subject counts for more than the quantile of all subjects together.
fn winsorized(view: &View<'_>, metric: &Metric, share: f64) -> Vec<Result<Arm, Undetermined>> {
    let most = view.values(metric, None).quantile(share);
    let arm = |key: &str| most.and_then(|most| Arm::mean(view.values(metric, Some(key)).sums_up_to(most)));
    view.experiment.definition.variations.iter().map(|variation| arm(&variation.key)).collect()
}

fn subjects_needed(view: &View<'_>, control: &Arm, lift: f64) -> Option<f64> {
    let definition = &view.experiment.definition;
    let weights = definition.weights();
    let (own, other) = (weights.first()?, weights.get(1)?);
    let plan = Plan {
        control_variance: control.variance,
        treatment_variance: control.variance,
        treatment_share: other / (own + other),
        confidence: definition.analysis.confidence,
    };
    let both = plan.subjects(lift * control.mean, POWER).ok()?;
    Some((both / (own + other)).ceil())
}

type Arms<'a> = (&'a [Result<Arm, Undetermined>], &'a [PairSums]);

fn effect(view: &View<'_>, metric: &Metric, (arms, sums): Arms<'_>, (place, key): (usize, &str)) -> EffectOf {
    let analysis = &view.experiment.definition.analysis;
    let pair = || {
        Ok((
            arms.first().ok_or(Undetermined::TooFewSubjects)?.as_ref().map_err(|why| *why)?,
            arms.get(place).ok_or(Undetermined::TooFewSubjects)?.as_ref().map_err(|why| *why)?,
        ))
    };
    let on = |scale: Scale| pair().and_then(|(control, treatment)| Effect::of(control, treatment, scale));
    let (difference, lift) = (on(Scale::Difference), on(Scale::Relative));
    let why_not = difference.as_ref().err().or(lift.as_ref().err()).map(ToString::to_string);
    let bayes = lift.ok().and_then(|lift| bayes(&lift, analysis, metric.lower_is_better));
    let smallest_lift = pair().ok().and_then(|(control, treatment)| {
        let both = control.subjects + treatment.subjects;
        let plan = Plan {
            control_variance: control.variance,
            treatment_variance: treatment.variance,
            treatment_share: treatment.subjects as f64 / both as f64,
            confidence: analysis.confidence,
        };
        plan.smallest_difference(both, POWER).ok().map(|difference| difference / control.mean.abs()).filter(|lift| lift.is_finite())
    });
    EffectOf {
        variation: key.to_owned(),
        difference: difference.ok().and_then(|effect| told(effect, analysis)),
        lift: lift.ok().and_then(|effect| told(effect, analysis)),
        why_not,
        adjusted: adjusted_effect(view, metric, sums, place),
        bayes,
        p_value_holm: None,
        p_value_benjamini_hochberg: None,
        smallest_lift,
        quantiles: quantiles(view, metric, key),
        verdict: Verdict::Undetermined,
    }
}

fn told(effect: Effect, analysis: &Analysis) -> Option<Told> {
    let always = AlwaysValid::of(effect, analysis.confidence, analysis.tightest_at_subjects).ok()?;
    Some(Told {
        estimate: effect.estimate,
        standard_error: effect.standard_error,
        interval: effect.interval(analysis.confidence).ok()?,
        p_value: effect.p_value(0.0),
        always_valid_interval: always.interval(),
        always_valid_p_value: always.p_value(0.0),
    })
}

fn bayes(lift: &Effect, analysis: &Analysis, lower_is_better: bool) -> Option<Bayes> {
    let prior = analysis.prior_standard_deviation.map_or(Prior::Flat, |standard_deviation| Prior::Normal { mean: 0.0, standard_deviation });
    let posterior = Posterior::of(lift, prior).ok()?;
    let interval = posterior.interval(analysis.confidence).ok()?;
    let (chance, loss) = (posterior.chance_to_win(), posterior.expected_loss());
    Some(if lower_is_better {
        Bayes { chance_to_win: 1.0 - chance, expected_loss: posterior.expected_loss_of_control(), interval }
    } else {
        Bayes { chance_to_win: chance, expected_loss: loss, interval }
    })
}

fn adjusted_effect(view: &View<'_>, metric: &Metric, sums: &[PairSums], place: usize) -> Option<Adjusted> {
    let definition = &view.experiment.definition;
    if definition.before_days == 0 || !metric.has_before() || metric.winsorize.is_some() {
        return None;
    }
    let found = adjusted(*sums.first()?, *sums.get(place)?).ok()?;
    let on = |scale: Scale| Effect::of(&found.control, &found.treatment, scale).ok().and_then(|effect| told(effect, &definition.analysis));
    Some(Adjusted { variance_reduction: found.variance_reduction, difference: on(Scale::Difference)?, lift: on(Scale::Relative) })
}

fn quantiles(view: &View<'_>, metric: &Metric, key: &str) -> Vec<QuantileOf> {
    let Some(control) = view.experiment.definition.variations.first() else { return Vec::new() };
    if metric.quantiles.is_empty() {
        return Vec::new();
    }
    let Analysis { confidence, seed, .. } = view.experiment.definition.analysis;
    let (own, other) = (view.values(metric, Some(&control.key)), view.values(metric, Some(key)));
    let of = |share: &f64| {
        let QuantileEffect { control, treatment, interval } = quantile_effect(&own, &other, *share, confidence, seed).ok()?;
        Some(QuantileOf { quantile: *share, control, treatment, interval })
    };
    metric.quantiles.iter().filter_map(of).collect()
}

/// The difference between each treatment and the control.
fn differences(view: &View<'_>, metric: &Metric, sums: &[PairSums]) -> Vec<(String, Result<Effect, Undetermined>)> {
    let control = sums.first().ok_or(Undetermined::TooFewSubjects).and_then(|sums| arm(metric, *sums));
    let keys = view.experiment.definition.variations.iter().map(|variation| variation.key.clone());
    let of = |sums: &PairSums| control.and_then(|control| Effect::of(&control, &arm(metric, *sums)?, Scale::Difference));
    keys.zip(sums).skip(1).map(|(key, sums)| (key, of(sums))).collect()
}

fn over_time(view: &View<'_>, metric: &Metric) -> Vec<Point> {
    if metric.winsorize.is_some() {
        return Vec::new();
    }
    let analysis = &view.experiment.definition.analysis;
    let mut dates: Vec<NaiveDate> = view.rows(metric, Who::EVERYBODY).map(|row| row.date).collect();
    dates.sort_unstable();
    dates.dedup();
    let of = |date: NaiveDate| {
        let sums = view.sums(metric, Who { until: Some(date), ..Who::EVERYBODY });
        let point = |(variation, effect): (String, Result<Effect, Undetermined>)| {
            effect.ok().and_then(|effect| told(effect, analysis)).map(|difference| Point { date, variation, difference })
        };
        differences(view, metric, &sums).into_iter().filter_map(point).collect::<Vec<_>>()
    };
    dates.into_iter().flat_map(of).collect()
}

/// Of each day since the first exposure, with those for whom it is over.
fn by_age(view: &View<'_>, metric: &Metric) -> Vec<Age> {
    let definition = &view.experiment.definition;
    let mut ages: Vec<u32> = view.gold.ages.iter().filter(|row| row.metric == metric.name).map(|row| row.age).collect();
    ages.sort_unstable();
    ages.dedup();
    let sums_at = |age: u32, key: &str| {
        let is_meant =
            |row: &&AgeRow| row.metric == metric.name && row.age == age && row.variation == key && view.is_over(row.date, age + 1);
        let whole = Who::EVERYBODY;
        let subjects =
            view.rows(metric, whole).filter(|row| row.variation == key && view.is_over(row.date, age + 1)).map(|row| row.subjects).sum();
        let mut sums = PairSums { subjects, ..PairSums::default() };
        for row in view.gold.ages.iter().filter(is_meant) {
            sums.sum += row.sum;
            sums.sum_of_squares += row.sum_of_squares;
        }
        sums
    };
    let at = |age: u32| {
        let sums: Vec<PairSums> = definition.variations.iter().map(|variation| sums_at(age, &variation.key)).collect();
        let subjects = sums.iter().map(|sums| sums.subjects).sum();
        let of = |(variation, effect): (String, Result<Effect, Undetermined>)| {
            effect.ok().and_then(|effect| told(effect, &definition.analysis)).map(|difference| Age { age, variation, subjects, difference })
        };
        differences(view, metric, &sums).into_iter().filter_map(of).collect::<Vec<_>>()
    };
    ages.into_iter().flat_map(at).collect()
}

fn by_segment(view: &View<'_>, metric: &Metric) -> Vec<Part> {
    if metric.winsorize.is_some() {
        return Vec::new();
    }
    let mut told_parts = Vec::new();
    for segment in view.experiment.definition.segments.keys().filter(|name| *name != EVERYBODY) {
        for (part, subjects) in parts(view, metric, segment).into_iter().take(PARTS_TOLD_MAX) {
            let sums = view.sums(metric, Who { segment, part: &part, until: None });
            let arms: Vec<Result<Arm, Undetermined>> = sums.iter().map(|sums| arm(metric, *sums)).collect();
            let keys = view.experiment.definition.variations.iter().map(|variation| &variation.key);
            for (own, key) in arms.iter().zip(keys).skip(1) {
                let on = |scale: Scale| {
                    let (control, treatment) = (arms.first()?.as_ref().ok()?, own.as_ref().ok()?);
                    Effect::of(control, treatment, scale).ok().and_then(|effect| told(effect, &view.experiment.definition.analysis))
                };
                told_parts.push(Part {
                    segment: segment.clone(),
                    part: part.clone(),
                    variation: key.clone(),
                    subjects,
                    difference: on(Scale::Difference),
                    lift: on(Scale::Relative),
                });
            }
        }
    }
    told_parts
}

/// The parts of a segment with their subjects, those with the most first.
pub(super) fn parts(view: &View<'_>, metric: &Metric, segment: &str) -> Vec<(String, u64)> {
    let mut parts: Vec<(String, u64)> = Vec::new();
    for row in view.gold.sums.iter().filter(|row| row.metric == metric.name && row.segment == segment) {
        match parts.iter_mut().find(|(part, _)| *part == row.part) {
            Some((_, subjects)) => *subjects += row.subjects,
            None => parts.push((row.part.clone(), row.subjects)),
        }
    }
    parts.sort_by(|(one, own), (other, others)| others.cmp(own).then_with(|| one.cmp(other)));
    parts
}
