//! When people come: by hour of the day and day of the week.
//!
//! Days are counted from the demo's first one, which is taken for a Thursday whatever the calendar says: the figures of a run must not hang on the day it is made.

/// How lively each local hour is.
const HOURS: [u64; 24] = [9, 5, 3, 2, 2, 4, 11, 24, 38, 45, 48, 50, 55, 52, 48, 47, 50, 56, 66, 78, 86, 80, 55, 26];
/// How lively each day is, in hundredths of a usual one, from Thursday on.
const DAYS: [u64; 7] = [98, 92, 104, 118, 101, 96, 91];

/// How likely it is, in millionths, that someone who comes so often begins a session within an hour.
///
/// `hour` counts from the first day's midnight in UTC.
pub(crate) fn chance_per_million(sessions_per_1000_days: u64, hour: i64, hours_ahead: i64) -> u64 {
    let local = hour + hours_ahead;
    let of_day = HOURS[local.rem_euclid(24) as usize];
    let day = DAYS[local.div_euclid(24).rem_euclid(7) as usize];
    let total: u64 = HOURS.iter().sum();
    (sessions_per_1000_days * 1_000 * of_day * day / (total * 100)).min(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_has_as_many_sessions_as_were_asked_for() {
        for hours_ahead in [-5, 0, 9] {
            let sum: u64 = (0..7 * 24).map(|hour| chance_per_million(700, hour, hours_ahead)).sum();
            // 0.7 sessions a day.
            assert!((4_850_000..4_950_000).contains(&sum), "{sum}");
        }
    }

    #[test]
    fn evenings_are_livelier_than_nights_where_people_live() {
        assert!(chance_per_million(700, 20, 0) > 10 * chance_per_million(700, 3, 0));
        assert_eq!(chance_per_million(700, 11, 9), chance_per_million(700, 20, 0));
    }
}
