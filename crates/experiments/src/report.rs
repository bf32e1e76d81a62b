//! What came of an experiment: whether it can be trusted, and what it found. Made of sums that Gold keeps, so it takes as long for ten subjects as for ten million.

use chrono::{DateTime, Days, NaiveDate, Utc};
use serde::{Deserialize, Deserializer, Serialize};

use crate::definition::{Experiment, Kind, Role, Subject};
use crate::statistics::{Interval, PairSums, Sums};

mod arms;
mod health;
mod metric;
#[cfg(test)]
mod tests;

pub use health::{Check, State};
pub use metric::{Adjusted, Age, ArmOf, Bayes, EffectOf, MetricReport, Part, Point, QuantileOf, Told, Verdict};

/// What Gold has of an experiment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Gold {
    /// Sums over subjects.
    pub sums: Vec<SumsRow>,
    /// What counted and what did not.
    pub counts: Vec<CountRow>,
    /// How many subjects have which value.
    pub values: Vec<ValueRow>,
    /// Sums by the days since the first exposure.
    pub ages: Vec<AgeRow>,
    /// How many events the tracking plan kept out, by the day they were received.
    pub kept_out: Vec<(NaiveDate, u64)>,
    /// Up to when everything is there that is not late, in microseconds. `None`: nothing is.
    pub final_up_to_micros: Option<i64>,
}

impl Gold {
    fn final_up_to(&self) -> Option<DateTime<Utc>> {
        self.final_up_to_micros.and_then(DateTime::from_timestamp_micros)
    }
}

/// Sums over the subjects of a day, variation and segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SumsRow {
    /// The day of their first exposures.
    pub date: NaiveDate,
    /// The variation.
    pub variation: String,
    /// The segment; `all` has everybody.
    pub segment: String,
    /// The part of it.
    pub part: String,
    /// The metric.
    pub metric: String,
    /// Subjects.
    pub subjects: u64,
    /// Of the metric.
    #[serde(deserialize_with = "exact")]
    pub sum: f64,
    /// Of its squares.
    #[serde(deserialize_with = "exact")]
    pub sum_of_squares: f64,
    /// Of the denominator, or of what was before; zero where there is neither.
    #[serde(deserialize_with = "exact")]
    pub other_sum: f64,
    /// Of its squares.
    #[serde(deserialize_with = "exact")]
    pub other_sum_of_squares: f64,
    /// Of the products of the two.
    #[serde(deserialize_with = "exact")]
    pub sum_of_products: f64,
}

impl SumsRow {
    fn pair(&self) -> PairSums {
        PairSums {
            subjects: self.subjects,
            sum: self.sum,
            sum_of_squares: self.sum_of_squares,
            other_sum: self.other_sum,
            other_sum_of_squares: self.other_sum_of_squares,
            sum_of_products: self.sum_of_products,
        }
    }
}

/// How many of something there were on a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountRow {
    /// The day.
    pub date: NaiveDate,
    /// The variation; empty where it is of none.
    pub variation: String,
    /// Of what.
    pub measure: String,
    /// How many.
    pub count: u64,
}

/// How many subjects of a day and variation have a value of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValueRow {
    /// The day of their first exposures.
    pub date: NaiveDate,
    /// The variation.
    pub variation: String,
    /// The metric.
    pub metric: String,
    /// The value.
    #[serde(deserialize_with = "exact")]
    pub value: f64,
    /// How many have it.
    pub subjects: u64,
}

/// Sums over the subjects of a day and variation that did something so many days after their first exposure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgeRow {
    /// The day of their first exposures.
    pub date: NaiveDate,
    /// The variation.
    pub variation: String,
    /// The metric.
    pub metric: String,
    /// Whole days since the first exposure.
    pub age: u32,
    /// Of the metric on that day.
    #[serde(deserialize_with = "exact")]
    pub sum: f64,
    /// Of its squares.
    #[serde(deserialize_with = "exact")]
    pub sum_of_squares: f64,
}

/// A decimal number as text, or a number: readers of JSON do not always take the nearest float.
fn exact<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Text(String),
        Number(f64),
    }
    match Written::deserialize(deserializer)? {
        Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        Written::Number(number) => Ok(number),
    }
}

/// What came of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// As the exposures name it.
    pub experiment: String,
    /// What it is for.
    pub description: String,
    /// What was assigned.
    pub subject: Subject,
    /// From when on exposures counted.
    pub start: DateTime<Utc>,
    /// Until when; nothing where it is running.
    pub end: Option<DateTime<Utc>>,
    /// Days that each subject was looked at.
    pub attribution_days: u32,
    /// Of all intervals.
    pub confidence: f64,
    /// Up to when everything is there that is not late.
    pub final_up_to: Option<DateTime<Utc>>,
    /// Whether it has ended, and nothing but what is late can change it any more.
    pub is_final: bool,
    /// Whether it can be trusted: the worst first. What it spoils stands below.
    pub health: Vec<Check>,
    /// Subjects by variation, the control first.
    pub variations: Vec<VariationOf>,
    /// The metrics, the primary ones first.
    pub metrics: Vec<MetricReport>,
    /// Subjects by day, and whether they are divided as they should be.
    pub days: Vec<DayOf>,
    /// What counted and what did not.
    pub counts: Vec<(String, u64)>,
}

/// The subjects of a variation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VariationOf {
    /// As the exposures name it.
    pub variation: String,
    /// The share it should have.
    pub weight: f64,
    /// Subjects that count.
    pub subjects: u64,
    /// Subjects that saw another one too, and do not count.
    pub contaminated: u64,
}

/// The subjects that came on a day.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DayOf {
    /// The day.
    pub date: NaiveDate,
    /// By variation, the control first; those that saw another one too included.
    pub subjects: Vec<u64>,
    /// Of the sample ratio check; nothing where nobody came.
    pub p_value: Option<f64>,
}

impl Report {
    /// How the worst check stands.
    pub fn trust(&self) -> State {
        self.health.iter().map(|check| check.state).min().unwrap_or(State::Passed)
    }

    /// Subjects that count, of all variations.
    pub fn subjects(&self) -> u64 {
        self.variations.iter().map(|variation| variation.subjects).sum()
    }

    /// Where an effect is: for one look once the result is final, for any number of looks before.
    pub fn interval(&self, told: &Told) -> Interval {
        if self.is_final { told.interval } else { told.always_valid_interval }
    }

    /// The p-value that belongs to it.
    pub fn p_value(&self, told: &Told) -> f64 {
        if self.is_final { told.p_value } else { told.always_valid_p_value }
    }

    /// The result of an experiment, of what Gold has of it.
    pub fn of(experiment: &Experiment, gold: &Gold) -> Self {
        let definition = &experiment.definition;
        let view = View { experiment, gold };
        let variations = definition
            .variations
            .iter()
            .map(|variation| {
                let counted = |measure: &str| view.counted_in(measure, Some(&variation.key));
                let (all, contaminated) = (counted("subjects"), counted("subjects_contaminated"));
                VariationOf {
                    variation: variation.key.clone(),
                    weight: variation.weight,
                    subjects: all.saturating_sub(contaminated),
                    contaminated,
                }
            })
            .collect();
        let metrics = metric::reports(&view);
        let days = view.days();
        let health = health::checks(&view, &metrics, &days);
        let mut names: Vec<&str> = gold.counts.iter().map(|row| row.measure.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        Self {
            experiment: definition.key.clone(),
            description: definition.description.clone(),
            subject: definition.subject,
            start: definition.start,
            end: definition.end,
            attribution_days: definition.attribution_days,
            confidence: definition.analysis.confidence,
            final_up_to: gold.final_up_to(),
            is_final: view.is_final(),
            health,
            variations,
            metrics,
            days,
            counts: names.into_iter().map(|name| (name.to_owned(), view.counted_in(name, None))).collect(),
        }
    }
}

impl DayOf {
    /// Whether the day's subjects are divided in a way that is no chance, by itself.
    pub fn is_odd(&self) -> bool {
        self.p_value.is_some_and(|p| p < health::SAMPLE_RATIO_ERROR)
    }
}

/// A p-value for people: very small ones by their power of ten.
pub fn shown_p_value(p: f64) -> String {
    if p < 0.0001 { format!("{p:.1e}") } else { format!("{p:.4}") }
}

/// An experiment, with what Gold has of it.
struct View<'a> {
    experiment: &'a Experiment,
    gold: &'a Gold,
}

impl View<'_> {
    fn counted(&self, measure: &str) -> u64 {
        self.counted_in(measure, None)
    }

    fn counted_in(&self, measure: &str, variation: Option<&str>) -> u64 {
        let is_meant = |row: &&CountRow| row.measure == measure && variation.is_none_or(|variation| row.variation == variation);
        self.gold.counts.iter().filter(is_meant).map(|row| row.count).sum()
    }

    /// Whether all windows are over, and everything is there that is not late.
    fn is_final(&self) -> bool {
        let definition = &self.experiment.definition;
        let last = definition.end.and_then(|end| end.checked_add_days(Days::new(definition.attribution_days.into())));
        last.zip(self.gold.final_up_to()).is_some_and(|(last, reached)| last <= reached)
    }

    /// Whether so many days are over for everybody who came on a day.
    fn is_over(&self, date: NaiveDate, days: u32) -> bool {
        let last =
            date.checked_add_days(Days::new(u64::from(days) + 1)).and_then(|date| date.and_hms_opt(0, 0, 0)).map(|time| time.and_utc());
        last.zip(self.gold.final_up_to()).is_some_and(|(last, reached)| last <= reached)
    }

    /// All subjects by day and variation, those that saw another variation too included: a broken assignment shows in them first.
    fn days(&self) -> Vec<DayOf> {
        let definition = &self.experiment.definition;
        let mut dates: Vec<NaiveDate> =
            self.gold.counts.iter().filter(|row| row.measure == "subjects" && row.count > 0).map(|row| row.date).collect();
        dates.sort_unstable();
        dates.dedup();
        let of = |date: NaiveDate| {
            let of_variation = |key: &str| {
                let is_meant = |row: &&CountRow| row.date == date && row.measure == "subjects" && row.variation == key;
                self.gold.counts.iter().filter(is_meant).map(|row| row.count).sum()
            };
            let subjects: Vec<u64> = definition.variations.iter().map(|variation| of_variation(&variation.key)).collect();
            let p_value = health::sample_ratio(&subjects, &definition.weights());
            DayOf { date, subjects, p_value }
        };
        dates.into_iter().map(of).collect()
    }
}
