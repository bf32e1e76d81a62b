use chrono::{DateTime, NaiveDate};
use serde_json::{Value, json};

use super::*;

const DAY: i64 = 86_400_000_000;

fn day(number: u64) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 1).unwrap() + Days::new(number)
}

fn experiment(change: impl FnOnce(&mut Value)) -> Experiment {
    let mut definition = json!({
        "key": "cookie-cats", "variations": [{"key": "gate_30", "weight": 0.5}, {"key": "gate_40", "weight": 0.5}],
        "start": "2026-11-01", "end": "2026-11-03", "attribution_days": 8, "metrics": {"primary": ["day_7"]},
    });
    change(&mut definition);
    let metrics = json!({
        "day_7": {"type": "retention", "event": {"event_type": "start"}, "day": 7},
        "rounds": {"type": "sum", "event": {"event_type": "rounds"}, "property": "n", "quantiles": [0.5], "lower_is_better": true},
        "capped": {"type": "sum", "event": {"event_type": "rounds"}, "property": "n", "winsorize": 0.75},
        "buyers": {"type": "proportion", "event": {"event_type": "order"}},
    });
    Experiment::new(serde_json::from_value(definition).unwrap(), &serde_json::from_value(metrics).unwrap()).unwrap()
}

fn sums(date: u64, variation: &str, metric: &str, subjects: u64, sum: f64, sum_of_squares: f64) -> SumsRow {
    SumsRow {
        date: day(date),
        variation: variation.to_owned(),
        segment: "all".to_owned(),
        part: String::new(),
        metric: metric.to_owned(),
        subjects,
        sum,
        sum_of_squares,
        other_sum: 0.0,
        other_sum_of_squares: 0.0,
        sum_of_products: 0.0,
    }
}

fn count(date: u64, variation: &str, measure: &str, count: u64) -> CountRow {
    CountRow { date: day(date), variation: variation.to_owned(), measure: measure.to_owned(), count }
}

/// All that is there up to so many days after the start.
fn reached(days: i64) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339("2026-11-01T00:00:00Z").unwrap().timestamp_micros() + days * DAY)
}

/// The public test of a mobile game (Cookie Cats), its subjects over two days.
fn cookie_cats() -> Gold {
    let mut gold = Gold { final_up_to_micros: reached(12), ..Gold::default() };
    for (variation, subjects, seen) in [("gate_30", 44_700_u64, 8_502.0), ("gate_40", 45_489, 8_279.0)] {
        gold.sums.push(sums(0, variation, "day_7", 20_000, 4_000.0, 4_000.0));
        gold.sums.push(sums(1, variation, "day_7", subjects - 20_000, seen - 4_000.0, seen - 4_000.0));
        gold.counts.push(count(0, variation, "subjects", 20_000));
        gold.counts.push(count(1, variation, "subjects", subjects - 20_000));
    }
    gold
}

fn state(report: &Report, check: &str) -> State {
    report.health.iter().find(|found| found.check == check).unwrap().state
}

/// The figures are scipy's, of the file's counts.
#[test]
fn a_real_experiment_is_told_as_scipy_tells_it() {
    let report = Report::of(&experiment(|_| {}), &cookie_cats());
    let [metric] = report.metrics.as_slice() else { panic!() };
    let means: Vec<f64> = metric.arms.iter().map(|arm| arm.mean.unwrap()).collect();
    assert_eq!(means.iter().map(|mean| format!("{:.2}", mean * 100.0)).collect::<Vec<_>>(), ["19.02", "18.20"]);
    let told = metric.effects[0].difference.unwrap();
    let near = |found: f64, expect: f64| assert!((found / expect - 1.0).abs() < 1e-10, "{found} {expect}");
    near(told.estimate, -0.008_201_298_315_205_913);
    near(told.p_value, 0.001_555_825_573_707_254_7);
    near(told.interval.low, -0.013_281_552_418_885_546);
    near(told.interval.high, -0.003_121_044_211_526_28);
    assert!(report.is_final);
    assert_eq!(metric.effects[0].verdict, Verdict::Worse);
    assert_eq!(metric.over_time.len(), 2);
    // Less divides them in one day than in the other: the whole is within what chance does at 0.001.
    assert_eq!((state(&report, "sample ratio"), state(&report, "finality")), (State::Passed, State::Passed));
}

#[test]
fn what_runs_is_judged_by_what_is_always_valid_and_waits_for_its_days() {
    let mut gold = cookie_cats();
    gold.final_up_to_micros = reached(9);
    let report = Report::of(&experiment(|_| {}), &gold);
    // The second day's seventh day is not over.
    assert_eq!(report.metrics[0].arms.iter().map(|arm| arm.subjects).collect::<Vec<_>>(), [20_000, 20_000]);
    assert!(!report.is_final && state(&report, "finality") == State::Warning);
    gold.final_up_to_micros = reached(10);
    let report = Report::of(&experiment(|definition| definition["end"] = json!(null)), &gold);
    let effect = &report.metrics[0].effects[0];
    assert!(effect.difference.unwrap().p_value < 0.05 && effect.difference.unwrap().always_valid_p_value > 0.05);
    assert_eq!(effect.verdict, Verdict::NoDifferenceFound);
}

#[test]
fn what_spoils_a_result_comes_first() {
    let check = |change: fn(&mut Gold), check: &str, expect: State, part: &str| {
        let mut gold = cookie_cats();
        change(&mut gold);
        let report = Report::of(&experiment(|_| {}), &gold);
        let found = report.health.iter().find(|found| found.check == check).unwrap();
        assert!(found.state == expect && found.what.contains(part), "{found:?}");
        assert!(report.health.is_sorted_by_key(|check| check.state));
    };
    check(|gold| gold.counts.clear(), "sample ratio", State::Failed, "there are no subjects");
    check(|gold| gold.counts.push(count(1, "gate_40", "subjects", 900)), "sample ratio", State::Failed, "is no chance");
    check(
        |gold| gold.counts.extend([count(0, "gate_30", "subjects", 800), count(1, "gate_40", "subjects", 400)]),
        "sample ratio by day",
        State::Failed,
        "not as assigned in 2026-11-01",
    );
    check(|_| {}, "contamination", State::Passed, "none of 90189");
    check(
        |gold| gold.counts.push(count(0, "gate_30", "subjects_contaminated", 1_000)),
        "contamination",
        State::Warning,
        "1000 of 90189 (1.11 %)",
    );
    check(|gold| gold.counts.push(count(0, "gate_30", "subjects_contaminated", 9_000)), "contamination", State::Failed, "");
    let of = |measure: &'static str| {
        move |gold: &mut Gold| gold.counts.extend([count(0, "", measure, 20), count(0, "", "exposures", 100), count(0, "", "events", 100)])
    };
    let mut gold = cookie_cats();
    of("exposures_without_subject")(&mut gold);
    assert_eq!(state(&Report::of(&experiment(|_| {}), &gold), "exposures without a subject"), State::Failed);
    let mut gold = cookie_cats();
    of("events_unreadable")(&mut gold);
    assert_eq!(state(&Report::of(&experiment(|_| {}), &gold), "values that are no numbers"), State::Failed);
    let mut gold = cookie_cats();
    of("events_late")(&mut gold);
    assert_eq!(state(&Report::of(&experiment(|_| {}), &gold), "late events"), State::Passed);
    check(|gold| gold.kept_out.push((day(0), 100)), "tracking plan", State::Failed, "100 of all types were kept out");
    check(|gold| gold.counts.retain(|row| row.date != day(0)), "missing days", State::Warning, "no subject came on 2026-11-01;");
    check(|gold| gold.final_up_to_micros = None, "finality", State::Warning, "complete up to nothing");
}

#[test]
fn an_effect_that_fades_is_told() {
    let define = |definition: &mut Value| definition["metrics"]["primary"] = json!(["buyers"]);
    let told = |effects: [f64; 6]| {
        let mut gold = Gold { final_up_to_micros: reached(30), ..Gold::default() };
        for (variation, is_treatment) in [("gate_30", 0.0), ("gate_40", 1.0)] {
            gold.sums.push(sums(0, variation, "buyers", 10_000, 3_000.0, 3_000.0));
            gold.counts.push(count(0, variation, "subjects", 10_000));
            for (age, effect) in (0..).zip(effects) {
                let sum = 1_000.0 + is_treatment * effect;
                gold.ages.push(AgeRow {
                    date: day(0),
                    variation: variation.to_owned(),
                    metric: "buyers".to_owned(),
                    age,
                    sum,
                    sum_of_squares: sum,
                });
            }
        }
        let report = Report::of(&experiment(define), &gold);
        assert_eq!(report.metrics[0].by_age.len(), 6);
        state(&report, "novelty")
    };
    assert_eq!(told([300.0, 250.0, 20.0, 0.0, 0.0, 10.0]), State::Warning);
    assert_eq!(told([100.0, 90.0, 110.0, 100.0, 95.0, 105.0]), State::Passed);
}

#[test]
fn values_give_quantiles_and_sums_without_the_largest() {
    let define = |definition: &mut Value| {
        definition["metrics"]["primary"] = json!(["rounds"]);
        definition["metrics"]["secondary"] = json!(["capped"]);
    };
    let mut gold = Gold { final_up_to_micros: reached(30), ..Gold::default() };
    for (variation, values) in [("gate_30", [1.0, 2.0, 3.0, 100.0]), ("gate_40", [2.0, 3.0, 4.0, 5.0])] {
        for metric in ["rounds", "capped"] {
            let squares = values.iter().map(|value| value * value * 10.0).sum();
            gold.sums.push(sums(0, variation, metric, 40, values.iter().sum::<f64>() * 10.0, squares));
            gold.values.extend(values.map(|value| ValueRow {
                date: day(0),
                variation: variation.to_owned(),
                metric: metric.to_owned(),
                value,
                subjects: 10,
            }));
        }
        gold.counts.push(count(0, variation, "subjects", 40));
    }
    let report = Report::of(&experiment(define), &gold);
    let [rounds, capped] = report.metrics.as_slice() else { panic!() };
    let means = |metric: &MetricReport| metric.arms.iter().map(|arm| arm.mean.unwrap()).collect::<Vec<_>>();
    assert_eq!(means(rounds), [26.5, 3.5]);
    // Of all values three quarters are 4 or less.
    assert_eq!(means(capped), [2.5, 3.25]);
    let quantile = rounds.effects[0].quantiles[0];
    assert_eq!((quantile.control, quantile.treatment), (2.0, 3.0));
    assert!(quantile.interval.low <= 1.0 && quantile.interval.high >= 1.0, "{quantile:?}");
    // Less is better: what is believed of it is turned.
    assert!(rounds.effects[0].bayes.unwrap().chance_to_win > 0.9);
}

#[test]
fn what_was_before_and_what_is_worth_finding() {
    let define = |definition: &mut Value| {
        definition["before_days"] = json!(7);
        definition["metrics"]["primary"] = json!(["buyers"]);
        definition["analysis"] = json!({"lift_worth_finding": 0.05, "prior_standard_deviation": 0.1});
        definition["segments"] = json!({"device": {"column": "device_type"}});
    };
    let mut gold = Gold { final_up_to_micros: reached(30), ..Gold::default() };
    for (variation, buyers) in [("gate_30", 3_000.0), ("gate_40", 3_200.0)] {
        let before = SumsRow {
            other_sum: 2_500.0,
            other_sum_of_squares: 2_500.0,
            sum_of_products: 2_000.0,
            ..sums(0, variation, "buyers", 10_000, buyers, buyers)
        };
        for part in ["mobile", ""] {
            gold.sums.push(SumsRow {
                segment: "device".to_owned(),
                part: part.to_owned(),
                subjects: 5_000,
                sum: buyers / 2.0,
                sum_of_squares: buyers / 2.0,
                ..before.clone()
            });
        }
        gold.sums.push(before);
        gold.counts.push(count(0, variation, "subjects", 10_000));
    }
    let report = Report::of(&experiment(define), &gold);
    let metric = &report.metrics[0];
    let adjusted = metric.effects[0].adjusted.unwrap();
    assert!((0.3..0.6).contains(&adjusted.variance_reduction), "{adjusted:?}");
    assert!(adjusted.difference.standard_error < metric.effects[0].difference.unwrap().standard_error);
    assert!((metric.effects[0].difference.unwrap().estimate - 0.02).abs() < 1e-12);
    // As statsmodels has it for the difference of two means with the control's variance: 0.21 for 0.015.
    assert!((metric.subjects_needed.unwrap() - 29_303.0).abs() < 100.0, "{:?}", metric.subjects_needed);
    assert_eq!(
        metric.by_segment.iter().map(|part| (part.part.as_str(), part.subjects)).collect::<Vec<_>>(),
        [("", 10_000), ("mobile", 10_000)]
    );
    assert_eq!(state(&report, "sample ratio by segment"), State::Passed);
    // Nobody at all is no panic.
    let empty = Report::of(&experiment(define), &Gold::default());
    assert_eq!(empty.metrics[0].effects[0].verdict, Verdict::Undetermined);
    assert!(empty.metrics[0].effects[0].why_not.is_some() && serde_json::to_string(&empty).is_ok());
}
