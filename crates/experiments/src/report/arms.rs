//! The sums of a metric, by variation.

use chrono::NaiveDate;

use super::{Kind, PairSums, Sums, SumsRow, View};
use crate::definition::Metric;
use crate::statistics::{Arm, Undetermined, Values};

/// The segment that everybody is in.
pub(super) const EVERYBODY: &str = "all";

/// Which subjects are meant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Who<'a> {
    pub(super) segment: &'a str,
    pub(super) part: &'a str,
    /// Those that came on this day or before.
    pub(super) until: Option<NaiveDate>,
}

impl Who<'static> {
    pub(super) const EVERYBODY: Self = Self { segment: EVERYBODY, part: "", until: None };
}

impl View<'_> {
    /// The sums of a metric over the subjects meant, for each variation, the control first.
    pub(super) fn sums(&self, metric: &Metric, who: Who<'_>) -> Vec<PairSums> {
        let definition = &self.experiment.definition;
        let mut sums = vec![PairSums::default(); definition.variations.len()];
        for row in self.rows(metric, who) {
            let place = definition.variations.iter().position(|variation| variation.key == row.variation);
            if let Some(own) = place.and_then(|place| sums.get_mut(place)) {
                *own = *own + row.pair();
            }
        }
        sums
    }

    pub(super) fn rows<'a>(&'a self, metric: &'a Metric, who: Who<'a>) -> impl Iterator<Item = &'a SumsRow> {
        let is_meant = move |row: &&SumsRow| {
            row.metric == metric.name
                && row.segment == who.segment
                && row.part == who.part
                && who.until.is_none_or(|until| row.date <= until)
        };
        self.gold.sums.iter().filter(is_meant).filter(|row| self.is_told(metric, row.date))
    }

    /// What is told of a day after the first exposure, or of a time that may be the whole window, is told of those only for whom it is over.
    pub(super) fn is_told(&self, metric: &Metric, date: NaiveDate) -> bool {
        let waits = matches!(metric.kind, Kind::Retention | Kind::TimeTo);
        !waits || self.is_over(date, metric.days(self.experiment.definition.attribution_days))
    }

    /// How many subjects of a variation have which value.
    pub(super) fn values(&self, metric: &Metric, variation: Option<&str>) -> Values {
        let is_meant = |row: &&super::ValueRow| row.metric == metric.name && variation.is_none_or(|variation| row.variation == variation);
        Values::of(self.gold.values.iter().filter(is_meant).map(|row| (row.value, row.subjects)))
    }
}

/// A variation's side of a metric.
pub(super) fn arm(metric: &Metric, sums: PairSums) -> Result<Arm, Undetermined> {
    match metric.kind {
        Kind::Proportion | Kind::Retention | Kind::Funnel => Arm::proportion(sums.subjects, sums.sum.round() as u64),
        Kind::Mean | Kind::Ratio => Arm::ratio(sums),
        Kind::Count | Kind::Sum | Kind::TimeTo => {
            Arm::mean(Sums { subjects: sums.subjects, sum: sums.sum, sum_of_squares: sums.sum_of_squares })
        }
    }
}
