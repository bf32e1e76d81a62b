//! Which partitions of a model are concerned by a change in what it reads, and how much of that has to be in view to make them.

use std::collections::BTreeSet;

use super::Span;
use chrono::{Datelike as _, Days, NaiveDate};

/// The partitions, of those that are `known`, that hang on one that `changed`.
pub fn concerned(changed: &BTreeSet<String>, span: Span, known: &BTreeSet<String>) -> BTreeSet<String> {
    let Span::Days { before, after } = span else {
        return if changed.is_empty() { BTreeSet::new() } else { known.clone() };
    };
    if span == Span::SAME {
        return changed.intersection(known).cloned().collect();
    }
    let changed: BTreeSet<i32> = changed.iter().filter_map(|value| day(value)).map(|date| date.num_days_from_ce()).collect();
    let reaches = |value: &&String| {
        let Some(date) = day(value).map(|date| date.num_days_from_ce()) else { return false };
        let from = before.map_or(i32::MIN, |days| date.saturating_sub_unsigned(days));
        let to = after.map_or(i32::MAX, |days| date.saturating_add_unsigned(days));
        changed.range(from..=to).next().is_some()
    };
    known.iter().filter(reaches).cloned().collect()
}

/// The condition for what has to be in view of a table with that column to make these partitions.
pub fn view(span: Span, partitions: &[String], column: &str, is_date: bool) -> String {
    match span {
        Span::Whole => "TRUE".to_owned(),
        Span::SAME => one_of(column, partitions, is_date),
        Span::Days { before, after } => {
            let ranges = ranges(partitions, before, after);
            let range = |(from, to): &(Option<NaiveDate>, Option<NaiveDate>)| {
                let from = from.map(|date| format!("{column} >= DATE '{date}'"));
                let to = to.map(|date| format!("{column} <= DATE '{date}'"));
                let bounds: Vec<String> = from.into_iter().chain(to).collect();
                if bounds.is_empty() { "TRUE".to_owned() } else { format!("({})", bounds.join(" AND ")) }
            };
            let ranges: Vec<String> = ranges.iter().map(range).collect();
            if ranges.is_empty() { "FALSE".to_owned() } else { ranges.join(" OR ") }
        }
    }
}

/// `column IN (…)`, for texts or dates.
pub fn one_of(column: &str, values: &[String], is_date: bool) -> String {
    format!("{column} IN ({})", values.iter().map(|value| literal(value, is_date)).collect::<Vec<_>>().join(", "))
}

/// A query that gives these partitions, in one column.
pub fn values(column: &str, partitions: &[String], is_date: bool) -> String {
    if partitions.is_empty() {
        let none = if is_date { "DATE" } else { "STRING" };
        return format!("SELECT CAST(NULL AS {none}) AS {column} WHERE FALSE");
    }
    let rows: Vec<String> = partitions.iter().map(|value| format!("({})", literal(value, is_date))).collect();
    format!("SELECT * FROM (VALUES {}) AS made({column})", rows.join(", "))
}

fn literal(value: &str, is_date: bool) -> String {
    let quoted = format!("'{}'", value.replace('\'', "''"));
    if is_date { format!("DATE {quoted}") } else { quoted }
}

/// The days needed, those that meet or overlap joined. `None` is no bound.
fn ranges(partitions: &[String], before: Option<u32>, after: Option<u32>) -> Vec<(Option<NaiveDate>, Option<NaiveDate>)> {
    let mut dates: Vec<NaiveDate> = partitions.iter().filter_map(|value| day(value)).collect();
    dates.sort_unstable();
    let mut joined: Vec<(Option<NaiveDate>, Option<NaiveDate>)> = Vec::new();
    for date in dates {
        let from = before.and_then(|days| date.checked_sub_days(Days::new(days.into())));
        let to = after.and_then(|days| date.checked_add_days(Days::new(days.into())));
        match joined.last_mut() {
            Some((_, end)) if from.is_none() || end.is_none_or(|end| end.succ_opt().is_none_or(|next| from <= Some(next))) => *end = to,
            _ => joined.push((from, to)),
        }
    }
    joined
}

fn day(value: &str) -> Option<NaiveDate> {
    value.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn days(before: Option<u32>, after: Option<u32>) -> Span {
        Span::Days { before, after }
    }

    fn set(values: &[&str]) -> BTreeSet<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn partitions_are_named_safely() {
        let check = |values: &[&str], is_date: bool, expect: &str| {
            let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
            assert_eq!(one_of("c", &values, is_date), expect);
        };
        check(&["2026-11-23", "2026-11-24"], true, "c IN (DATE '2026-11-23', DATE '2026-11-24')");
        check(&["it's", "') OR (1=1"], false, "c IN ('it''s', ''') OR (1=1')");
    }

    #[test]
    fn a_change_concerns_the_days_that_reach_it() {
        let known = set(&["2026-11-01", "2026-11-05", "2026-11-06", "2026-11-30", "2026-12-02"]);
        let check = |span: Span, expect: &[&str]| assert_eq!(concerned(&set(&["2026-11-05"]), span, &known), set(expect), "{span:?}");
        check(Span::SAME, &["2026-11-05"]);
        check(days(Some(29), Some(0)), &["2026-11-05", "2026-11-06", "2026-11-30", "2026-12-02"]);
        check(days(Some(25), Some(0)), &["2026-11-05", "2026-11-06", "2026-11-30"]);
        check(days(Some(0), Some(4)), &["2026-11-01", "2026-11-05"]);
        check(days(None, Some(0)), &["2026-11-05", "2026-11-06", "2026-11-30", "2026-12-02"]);
        check(Span::Whole, &["2026-11-01", "2026-11-05", "2026-11-06", "2026-11-30", "2026-12-02"]);
        assert!(concerned(&BTreeSet::new(), Span::Whole, &known).is_empty());
        assert_eq!(concerned(&set(&["b"]), Span::SAME, &set(&["a", "b"])), set(&["b"]), "partitions need not be days");
    }

    #[test]
    fn a_view_has_what_is_needed() {
        let view = |span: Span, values: &[&str]| view(span, &values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>(), "d", true);
        assert_eq!(view(Span::SAME, &["2026-11-05"]), "d IN (DATE '2026-11-05')");
        assert_eq!(
            view(days(Some(2), Some(1)), &["2026-11-05", "2026-11-09", "2026-11-20"]),
            "(d >= DATE '2026-11-03' AND d <= DATE '2026-11-10') OR (d >= DATE '2026-11-18' AND d <= DATE '2026-11-21')"
        );
        assert_eq!(view(days(None, Some(0)), &["2026-11-05", "2026-11-09"]), "(d <= DATE '2026-11-09')");
        assert_eq!(view(days(None, None), &["2026-11-05"]), "TRUE");
        assert_eq!(view(Span::Whole, &["2026-11-05"]), "TRUE");
        assert_eq!(view(days(Some(1), Some(1)), &[]), "FALSE");
    }

    proptest! {
        #[test]
        fn what_is_in_view_is_what_concerns(
            before in prop::option::of(0..5_u32), after in prop::option::of(0..5_u32),
            outputs in prop::collection::btree_set(1..28_u32, 1..6), inputs in prop::collection::btree_set(1..28_u32, 1..6),
        ) {
            let text = |days: &BTreeSet<u32>| days.iter().map(|day| format!("2026-11-{day:02}")).collect::<Vec<_>>();
            let lot = text(&outputs);
            let in_view = |day: &str| {
                let date = day.parse::<NaiveDate>().unwrap();
                ranges(&lot, before, after).iter().any(|(from, to)| from.is_none_or(|from| from <= date) && to.is_none_or(|to| date <= to))
            };
            let known: BTreeSet<String> = lot.iter().cloned().collect();
            for input in text(&inputs) {
                let concerns = !concerned(&BTreeSet::from([input.clone()]), days(before, after), &known).is_empty();
                prop_assert_eq!(concerns, in_view(&input), "{}", input);
            }
        }
    }
}
