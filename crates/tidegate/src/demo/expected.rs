//! What the books must say, counted from what was sent and nothing else.

use std::collections::BTreeMap;

use super::experiment::{Variation, WINDOW_MICROS};
use super::flaws::{Flaw, Found};
use super::traffic::{Fate, Parcel, Row};

/// Counts of what was sent, by what is to become of it.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    pub(crate) sent: u64,
    pub(crate) rows: u64,
    pub(crate) copies: u64,
    pub(crate) late: u64,
    pub(crate) corrected: u64,
    pub(crate) robots: u64,
    pub(crate) exposures: u64,
    pub(crate) flaws: BTreeMap<Flaw, u64>,
    subjects: BTreeMap<u64, Subject>,
}

/// One visitor in the experiment.
#[derive(Debug, Default)]
struct Subject {
    exposures: Vec<(i64, Variation)>,
    purchases: Vec<i64>,
}

/// How one variation did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) subjects: u64,
    pub(crate) conversions: u64,
}

/// How the experiment went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Trial {
    pub(crate) control: Outcome,
    pub(crate) treatment: Outcome,
    /// Subjects that saw both, and count for neither.
    pub(crate) contaminated: u64,
}

impl Trial {
    pub(crate) fn of(&self, variation: Variation) -> Outcome {
        match variation {
            Variation::Control => self.control,
            Variation::Treatment => self.treatment,
        }
    }

    pub(crate) fn of_mut(&mut self, variation: Variation) -> &mut Outcome {
        match variation {
            Variation::Control => &mut self.control,
            Variation::Treatment => &mut self.treatment,
        }
    }
}

impl Expected {
    /// Counts a parcel that the platform has taken or refused.
    pub(crate) fn count(&mut self, parcel: &Parcel) {
        self.sent += 1;
        match &parcel.fate {
            Fate::Copy => self.copies += 1,
            Fate::Dead(flaw) => *self.flaws.entry(*flaw).or_default() += 1,
            Fate::Row(row) => self.count_row(row),
        }
    }

    fn count_row(&mut self, row: &Row) {
        self.rows += 1;
        self.late += u64::from(row.is_late);
        self.corrected += u64::from(row.is_corrected);
        self.robots += u64::from(row.is_robot);
        if let Some(variation) = row.exposure {
            self.exposures += 1;
            self.subjects.entry(row.visitor).or_default().exposures.push((row.at, variation));
        }
        if row.is_purchase {
            self.subjects.entry(row.visitor).or_default().purchases.push(row.at);
        }
    }

    /// Events that this side is to find, under each of its words.
    pub(crate) fn dead(&self, found: Found) -> BTreeMap<&'static str, u64> {
        let mut codes = BTreeMap::new();
        for (flaw, count) in &self.flaws {
            let (by, code) = flaw.verdict();
            if by == found {
                *codes.entry(code).or_default() += count;
            }
        }
        codes
    }

    /// The number of them.
    pub(crate) fn dead_total(&self, found: Found) -> u64 {
        self.dead(found).values().sum()
    }

    /// What the gate is to take.
    pub(crate) fn accepted(&self) -> u64 {
        self.sent - self.dead_total(Found::Refused)
    }

    /// The experiment, counted by its definition: a purchase counts from a subject's first exposure on, for a day.
    pub(crate) fn trial(&self) -> Trial {
        let mut trial = Trial::default();
        for subject in self.subjects.values() {
            let Some((first, variation)) = subject.exposures.iter().min_by_key(|(at, _)| *at).copied() else { continue };
            let in_window = |at: &i64| (first..first + WINDOW_MICROS).contains(at);
            if subject.exposures.iter().any(|(at, other)| *other != variation && in_window(at)) {
                trial.contaminated += 1;
                continue;
            }
            let outcome = trial.of_mut(variation);
            outcome.subjects += 1;
            outcome.conversions += u64::from(subject.purchases.iter().any(in_window));
        }
        trial
    }
}
