//! What was measured beside what, round by round, and whether that is as it should be. Pure.

/// What is to be reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    /// So many times the other's, or more.
    RatioAtLeast(f64),
    /// So many times the other's, or less.
    RatioAtMost(f64),
    AtLeast(f64),
    AtMost(f64),
}

/// One figure of ours over all rounds, beside the same of a peer, of a limit, or of nobody.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Comparison {
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    /// Whose the other figures are; empty where there are none.
    pub(crate) beside: &'static str,
    pub(crate) ours: Vec<f64>,
    pub(crate) theirs: Vec<f64>,
    pub(crate) target: Option<Target>,
}

/// Of several rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` of nothing, and of what is no number.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        if values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let (below, above) = (sorted.get(middle.saturating_sub(1))?, sorted.get(middle)?);
        let median = if sorted.len() % 2 == 1 { *above } else { f64::midpoint(*below, *above) };
        Some(Self { min, median, max })
    }
}

impl Comparison {
    /// Beside a peer or a limit.
    pub(crate) fn beside(beside: &'static str, what: &str, unit: &'static str) -> Self {
        Self { what: what.to_owned(), unit, beside, ours: Vec::new(), theirs: Vec::new(), target: None }
    }

    /// For itself.
    pub(crate) fn alone(what: &str, unit: &'static str) -> Self {
        Self::beside("", what, unit)
    }

    pub(crate) fn target(self, target: Target) -> Self {
        Self { target: Some(target), ..self }
    }

    /// Takes a round's figures.
    pub(crate) fn round(&mut self, ours: f64, theirs: f64) {
        self.ours.push(ours);
        self.theirs.push(theirs);
    }

    /// Takes a round's figure, for which there is no other.
    pub(crate) fn round_alone(&mut self, ours: f64) {
        self.ours.push(ours);
    }

    /// Ours as a part of theirs. Of the same round, so that what disturbs the machine for a while disturbs both.
    pub(crate) fn ratio(&self) -> Option<Spread> {
        let ratios: Vec<f64> = self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| ours / theirs).collect();
        Spread::of(&ratios)
    }

    /// Whether the target is met, by the median; `None` without a target, or without figures.
    pub(crate) fn met(&self) -> Option<bool> {
        Some(match self.target? {
            Target::RatioAtLeast(least) => self.ratio()?.median >= least,
            Target::RatioAtMost(most) => self.ratio()?.median <= most,
            Target::AtLeast(least) => Spread::of(&self.ours)?.median >= least,
            Target::AtMost(most) => Spread::of(&self.ours)?.median <= most,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let check = |values: &[f64], expect: Option<(f64, f64, f64)>| {
            let found = Spread::of(values).map(|spread| (spread.min, spread.median, spread.max));
            assert_eq!(found, expect, "{values:?}");
        };
        check(&[], None);
        check(&[2.0], Some((2.0, 2.0, 2.0)));
        check(&[3.0, 1.0, 10.0], Some((1.0, 3.0, 10.0)));
        check(&[4.0, 1.0, 2.0, 10.0], Some((1.0, 3.0, 10.0)));
        check(&[1.0, f64::INFINITY], None);
    }

    #[test]
    fn rounds_are_compared_with_themselves() {
        let mut requests = Comparison::beside("a peer", "requests", "requests/s").target(Target::RatioAtLeast(10.0));
        assert_eq!((requests.ratio(), requests.met()), (None, None));
        // The machine was slow in the second round, for both.
        for (ours, theirs) in [(1000.0, 100.0), (550.0, 50.0), (900.0, 100.0)] {
            requests.round(ours, theirs);
        }
        assert_eq!(requests.ratio(), Some(Spread { min: 9.0, median: 10.0, max: 11.0 }));
        assert_eq!(requests.met(), Some(true));
    }

    #[test]
    fn targets_are_met_or_not() {
        let check = |target, ours: f64, theirs: f64, expect| {
            let mut comparison = Comparison::beside("a peer", "x", "").target(target);
            comparison.round(ours, theirs);
            assert_eq!(comparison.met(), Some(expect), "{target:?} {ours} {theirs}");
        };
        check(Target::RatioAtLeast(0.5), 5.0, 10.0, true);
        check(Target::RatioAtLeast(0.5), 4.0, 10.0, false);
        check(Target::RatioAtMost(0.2), 2.0, 10.0, true);
        check(Target::RatioAtMost(0.2), 3.0, 10.0, false);
        check(Target::AtLeast(0.8), 0.7, 1.0, false);
        check(Target::AtMost(150.0), 149.0, 1.0, true);
        let mut alone = Comparison::alone("x", "s").target(Target::AtMost(1.0));
        alone.round_alone(2.0);
        assert_eq!((alone.ratio(), alone.met()), (None, Some(false)));
        assert_eq!(Comparison::alone("x", "s").met(), None);
    }
}
