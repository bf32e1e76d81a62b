//! By what an experiment is judged.

use serde::{Deserialize, Serialize};

use super::{DAYS_MAX, Events, PARTS_MAX, Problem, check_name};

/// A metric: what is made of a subject's events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Its name: the key it stands under.
    #[serde(default)]
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What is made of the events.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The events that count; of a ratio, those of the numerator.
    #[serde(default)]
    pub event: Events,
    /// The property that is summed up; without one, events are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<String>,
    /// The events of a ratio's denominator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<Events>,
    /// The property that is summed up in the denominator; without one, events are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_property: Option<String>,
    /// What one subject counts for at most, of a count or a sum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<f64>,
    /// The share of subjects, of all variations together, above whose value no subject counts for more, such as 0.99; of a count or a sum. Values are told apart to three digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winsorize: Option<f64>,
    /// The day after the first exposure that a retention asks for: the time from so many days after it to one day more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<u32>,
    /// The steps of a funnel, each of which counts after the one before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Events>,
    /// Days after the first exposure in which the events count; the experiment's attribution window where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_days: Option<u32>,
    /// Whether less of it is better.
    #[serde(default)]
    pub lower_is_better: bool,
    /// Quantiles that are told beside the mean, such as 0.5 and 0.9; of a count or a sum. Values are told apart to three digits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<f64>,
}

/// What is made of a subject's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The share of subjects with such an event.
    Proportion,
    /// How many a subject has on average.
    Count,
    /// The sum of a property that a subject has on average.
    Sum,
    /// The mean of a property over events, where subjects are what was assigned.
    Mean,
    /// One sum or count by another, where subjects are what was assigned.
    Ratio,
    /// The share of subjects with such an event on a day after the first exposure.
    Retention,
    /// The share of subjects that take all steps.
    Funnel,
    /// The time from the first exposure to the first such event, in seconds; of subjects without one, the whole window (the restricted mean: Royston and Parmar 2013).
    TimeTo,
}

impl Metric {
    /// The days in which its events count.
    pub fn days(&self, attribution_days: u32) -> u32 {
        match self.day {
            Some(day) => day + 1,
            None => self.within_days.unwrap_or(attribution_days),
        }
    }

    /// Whether it is a share of subjects.
    pub fn is_share(&self) -> bool {
        matches!(self.kind, Kind::Proportion | Kind::Retention | Kind::Funnel)
    }

    /// Whether it is one quantity by another.
    pub fn is_ratio(&self) -> bool {
        matches!(self.kind, Kind::Mean | Kind::Ratio)
    }

    /// Whether the same quantity can be had of the time before the first exposure.
    pub fn has_before(&self) -> bool {
        matches!(self.kind, Kind::Proportion | Kind::Count | Kind::Sum)
    }

    /// Whether how many subjects have which value is kept.
    pub fn has_values(&self) -> bool {
        self.winsorize.is_some() || !self.quantiles.is_empty()
    }

    pub(super) fn check(&self, attribution_days: u32) -> Result<(), Problem> {
        let problem = |what: String| Err(Problem(what));
        check_name("name", &self.name)?;
        self.event.check("event")?;
        if let Some(per) = &self.per {
            per.check("per")?;
        }
        let needs_property = matches!(self.kind, Kind::Sum | Kind::Mean);
        if needs_property != self.property.is_some() && self.kind != Kind::Ratio {
            let what = if needs_property {
                "property: name the property that is summed up"
            } else {
                "property: nothing is summed up; leave it out"
            };
            return problem(what.to_owned());
        }
        if (self.kind == Kind::Ratio) != self.per.is_some() || (self.per_property.is_some() && self.kind != Kind::Ratio) {
            return problem("per: a ratio needs the events of its denominator, and nothing else does".to_owned());
        }
        if (self.kind == Kind::Retention) != self.day.is_some() {
            return problem("day: a retention needs the day after the first exposure, and nothing else does".to_owned());
        }
        if self.day.is_some() && self.within_days.is_some() {
            return problem("within_days: the day says it; leave it out".to_owned());
        }
        let steps = self.steps.len();
        if (self.kind == Kind::Funnel) != (steps > 0) || steps == 1 || steps > PARTS_MAX {
            return problem(format!("steps: a funnel has 2 to {PARTS_MAX}, and nothing else has any"));
        }
        for (number, step) in self.steps.iter().enumerate() {
            step.check(&format!("steps, number {}", number + 1))?;
            if step.is_empty() {
                return problem(format!("steps, number {}: say which events it is", number + 1));
            }
        }
        if self.kind == Kind::Funnel && !self.event.is_empty() {
            return problem("event: the steps say which; leave it out".to_owned());
        }
        if !matches!(self.kind, Kind::Retention | Kind::Funnel) && self.event.is_empty() {
            return problem("event: say which events count, such as {event_type: conversion}".to_owned());
        }
        let days = self.days(attribution_days);
        if days == 0 || days > attribution_days {
            return problem(format!(
                "it needs {days} days after the first exposure, and attribution_days is {attribution_days} (at most {DAYS_MAX})"
            ));
        }
        let is_amount = matches!(self.kind, Kind::Count | Kind::Sum);
        if !is_amount && (self.cap.is_some() || self.winsorize.is_some() || !self.quantiles.is_empty()) {
            return problem("cap, winsorize and quantiles are of a count or a sum".to_owned());
        }
        // Beyond this the columns end.
        if self.cap.is_some_and(|cap| !(cap > 0.0 && cap <= 1e10)) {
            return problem("cap: must be above 0 and at most 10,000,000,000".to_owned());
        }
        if self.cap.is_some() && self.winsorize.is_some() {
            return problem("cap and winsorize: one of them is enough".to_owned());
        }
        let is_inner = |share: f64| share > 0.0 && share < 1.0;
        if self.winsorize.is_some_and(|share| !is_inner(share))
            || self.quantiles.len() > PARTS_MAX
            || !self.quantiles.iter().copied().all(is_inner)
        {
            return problem(format!("winsorize and quantiles are shares between 0 and 1, at most {PARTS_MAX} of them"));
        }
        Ok(())
    }
}
