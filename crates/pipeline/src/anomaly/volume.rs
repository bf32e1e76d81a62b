//! Whether a count is unusual among those before it.

use std::collections::BTreeMap;

use super::DAYS;

/// Days that are needed to be held against.
const DAYS_MIN: usize = 3;
/// Windows just before, where there are too few days.
const BEFORE_MAX: i64 = 24;
/// And so many of these are needed.
const BEFORE_MIN: usize = 6;
/// From how many standard deviations on a count is unusual. Counts are not of one rate all day, so it is far out.
const DEVIATIONS_MIN: f64 = 6.0;
/// And only where it is so many times as much or as little: of large counts a small change would stand far out, too.
const TIMES_MIN: f64 = 2.0;
/// A source that sends less than this is not missed.
const USUAL_MIN: f64 = 20.0;
/// Fewer than these are no burst.
const BURST_MIN: u64 = 100;
/// From the median of the absolute deviations to the standard deviation, of a normal distribution: 1 / Φ⁻¹(3/4).
const MAD_TO_DEVIATION: f64 = 1.482_602_218_505_602;

/// Which way a count is unusual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// There is nothing.
    Silent,
    More,
    Fewer,
}

/// A count that is unusual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deviation {
    pub(super) direction: Direction,
    pub(super) found: u64,
    /// The median of those it is held against.
    pub(super) usual: u64,
}

/// Counts by window.
#[derive(Debug, Clone, Default)]
pub(super) struct Series(BTreeMap<i64, u64>);

impl Series {
    pub(super) fn add(&mut self, window: i64, events: u64) {
        *self.0.entry(window).or_default() += events;
    }

    fn count(&self, window: i64) -> u64 {
        self.0.get(&window).copied().unwrap_or_default()
    }

    /// Whether the count of this window is unusual; nothing where too little is known.
    pub(super) fn judge(&self, window: i64, windows_by_day: i64) -> Option<Deviation> {
        let (first, _) = self.0.first_key_value()?;
        // A window in which it began to send is not a whole one.
        let known = |window: &i64| window > first;
        let days: Vec<u64> = (1..=DAYS).map(|day| window - day * windows_by_day).filter(known).map(|window| self.count(window)).collect();
        if days.len() >= DAYS_MIN {
            return judge(self.count(window), &days);
        }
        let before: Vec<u64> = (1..=BEFORE_MAX).map(|back| window - back).filter(known).map(|window| self.count(window)).collect();
        if before.len() >= BEFORE_MIN { judge(self.count(window), &before) } else { None }
    }
}

/// Whether a count is unusual among others: by its distance from their median, in standard deviations told by the median of the absolute deviations, of which a few wild counts change nothing. Counts are
/// brought to one variance first (Anscombe 1948: 2·√(x + 3/8) of a Poisson count has a variance near 1), which is also the least that is taken for the deviation.
fn judge(found: u64, others: &[u64]) -> Option<Deviation> {
    let even = |count: u64| 2.0 * (count as f64 + 0.375).sqrt();
    let middle = median(others.iter().map(|count| even(*count)).collect())?;
    let spread = median(others.iter().map(|count| (even(*count) - middle).abs()).collect())?;
    let deviations = (even(found) - middle) / (spread * MAD_TO_DEVIATION).max(1.0);
    let usual = median(others.iter().map(|count| *count as f64).collect())?;
    let is_far = deviations.abs() >= DEVIATIONS_MIN;
    let direction = if deviations > 0.0 {
        (found >= BURST_MIN && found as f64 >= TIMES_MIN * usual).then_some(Direction::More)
    } else if found == 0 {
        (usual >= USUAL_MIN).then_some(Direction::Silent)
    } else {
        (usual >= USUAL_MIN && found as f64 * TIMES_MIN <= usual).then_some(Direction::Fewer)
    };
    direction.filter(|_| is_far).map(|direction| Deviation { direction, found, usual: usual.round() as u64 })
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let high = *values.get(values.len() / 2)?;
    let low = *values.get((values.len() - 1) / 2)?;
    Some((low + high) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direction(found: u64, others: &[u64]) -> Option<Direction> {
        judge(found, others).map(|deviation| deviation.direction)
    }

    #[test]
    fn what_stands_far_out_is_told() {
        let usual = [200, 190, 210, 205, 195];
        for (found, expect) in [
            (0, Some(Direction::Silent)),
            (50, Some(Direction::Fewer)),
            (150, None),
            (200, None),
            (390, None),
            (450, Some(Direction::More)),
        ] {
            assert_eq!(direction(found, &usual), expect, "{found}");
        }
        // One wild day changes nothing.
        assert_eq!(direction(0, &[200, 190, 210, 205, 20_000]), Some(Direction::Silent));
        // Who sends now and then is not missed, and who sends by fits and starts may.
        assert_eq!(direction(0, &[3, 5, 4, 6]), None);
        assert_eq!(direction(0, &[0, 400, 10, 900, 3, 700, 100]), None);
        assert_eq!(direction(60, &[0, 0, 0]), None);
        assert_eq!(direction(600, &[0, 0, 0]), Some(Direction::More));
        assert_eq!(direction(5, &[]), None);
    }

    #[test]
    fn days_before_come_first() {
        let mut series = Series::default();
        // Nights are quiet: a window is held against its own time of day.
        for window in 0..24 * 8 {
            series.add(window, if window % 24 < 6 { 0 } else { 500 });
        }
        let at_night = 24 * 8 + 2;
        assert_eq!(series.judge(at_night, 24), None);
        let at_noon = 24 * 8 + 12;
        assert_eq!(series.judge(at_noon, 24).map(|deviation| deviation.usual), Some(500));

        // One that is new is held against the windows just before, once there are some.
        let mut new = Series::default();
        for window in 100..106 {
            new.add(window, 50);
        }
        assert_eq!(new.judge(106, 24), None);
        new.add(106, 50);
        assert_eq!(new.judge(107, 24).map(|deviation| deviation.direction), Some(Direction::Silent));
        assert_eq!(Series::default().judge(1, 24), None);
    }
}
