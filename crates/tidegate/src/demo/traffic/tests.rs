use contract::wire::{Envelope, decode_in};
use contract::{Plan, WireFormat, json};

use super::*;
use crate::demo::expected::Expected;
use crate::demo::flaws::Found;

/// 2025-11-20T00:00:00Z.
const START: i64 = 1_763_596_800 * SECOND;

fn history(seed: u64, users: u32, start: i64) -> Vec<Step> {
    let mut traffic = Traffic::new(seed, users, 3, start);
    std::iter::from_fn(|| traffic.next_step()).collect()
}

fn counted(steps: &[Step]) -> Expected {
    let mut expected = Expected::default();
    for parcel in steps.iter().flat_map(|step| &step.parcels) {
        expected.count(parcel);
    }
    expected
}

/// FNV-1a in 64 bits over the bytes of the first so many events.
fn fingerprint(steps: &[Step], events: usize) -> u64 {
    let texts = steps.iter().flat_map(|step| &step.parcels).take(events).flat_map(|parcel| parcel.text.bytes());
    texts.fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
}

#[test]
fn the_same_seed_gives_the_same_bytes_for_ever() {
    let steps = history(7, 200, START);
    assert_eq!(fingerprint(&steps, 1_000), FINGERPRINT, "the demo's events have changed; if that is meant, so is this number");
    assert_ne!(fingerprint(&history(8, 200, START), 1_000), FINGERPRINT);
}

const FINGERPRINT: u64 = 1_188_244_988_103_973_183;

#[test]
fn no_figure_hangs_on_the_day() {
    let (one, other) = (history(7, 300, START), history(7, 300, START + 137 * DAY));
    let figures = |steps: &[Step]| {
        let expected = counted(steps);
        (expected.sent, expected.rows, expected.copies, expected.late, expected.flaws.clone(), expected.trial())
    };
    assert_eq!(figures(&one), figures(&other));
}

#[test]
fn steps_are_in_order_and_nothing_is_sent_before_it_happens() {
    let steps = history(7, 300, START);
    assert!(steps.windows(2).all(|pair| pair[0].at < pair[1].at));
    assert!(steps.iter().all(|step| step.at <= START + 3 * DAY));
    let mut late = 0;
    for step in &steps {
        for parcel in &step.parcels {
            if let Fate::Row(row) = &parcel.fate {
                let delay = step.at - row.at;
                assert!(delay >= SENT_AFTER_MIN, "{delay}");
                assert_eq!(row.is_late, delay > HOUR, "{delay}");
                assert!(delay <= LATENESS.1 + HISTORY_STEP, "{delay}");
                late += u64::from(row.is_late);
            }
        }
    }
    assert!(late > 0);
}

#[test]
fn a_copy_comes_in_a_later_step_than_what_it_copies() {
    let mut sent: BTreeMap<String, i64> = BTreeMap::new();
    let mut copies = 0;
    for step in history(3, 300, START) {
        for parcel in &step.parcels {
            let Some(id) = id_of(parcel) else { continue };
            match parcel.fate {
                Fate::Copy => {
                    assert!(sent.get(&id).is_some_and(|first| *first < step.at), "{id}");
                    copies += 1;
                }
                Fate::Row(_) | Fate::Dead(_) => assert_eq!(sent.insert(id, step.at), None),
            }
        }
    }
    assert!(copies > 0);
}

fn id_of(parcel: &Parcel) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(&parcel.text).ok()?;
    let id = value.get("event_id").or_else(|| value.get("messageId"))?;
    id.as_str().map(str::to_owned)
}

#[test]
fn proportions_are_those_that_are_stated() {
    let expected = counted(&history(7, 2_000, START));
    let share = |count: u64, of: u64| count as f64 / of as f64;
    assert!((25_000..60_000).contains(&expected.sent), "{}", expected.sent);
    let within = |found: f64, low: f64, high: f64| assert!((low..high).contains(&found), "{found} is not within {low} and {high}");
    within(share(expected.copies, expected.rows), 0.045, 0.055);
    within(share(expected.late, expected.rows), 0.016, 0.023);
    within(share(expected.flaws.values().sum(), expected.rows), 0.008, 0.012);
    within(share(expected.corrected, expected.rows), 0.018, 0.042);
    within(share(expected.robots, expected.rows), 0.015, 0.045);
    assert_eq!(expected.flaws.len(), 5, "every kind of flaw is there");
    let trial = expected.trial();
    let subjects = trial.control.subjects + trial.treatment.subjects;
    assert!((800..1_400).contains(&subjects), "{subjects}");
    assert!(trial.contaminated > 0 && trial.contaminated < 20, "{}", trial.contaminated);
    for variation in Variation::ALL {
        let outcome = trial.of(variation);
        let truth = variation.buyers_per_million() as f64 / 1e6;
        within(share(outcome.subjects, subjects), 0.45, 0.55);
        within(share(outcome.conversions, outcome.subjects), truth - 0.07, truth + 0.07);
    }
    assert_eq!(expected.accepted() + expected.dead_total(Found::Refused), expected.sent);
}

/// What gate and plan find wrong with an event: who, and under which word.
fn judged(parcel: &Parcel, plan: &Plan) -> Option<(Found, String)> {
    let (format, envelope) =
        if parcel.is_app { (WireFormat::Segment, Envelope::default()) } else { (WireFormat::Native, Envelope::default()) };
    match decode_in(format, parcel.text.as_bytes(), &envelope, &json::Limits::default()) {
        Err(violations) => Some((Found::Refused, violations[0].code.clone())),
        Ok(event) => plan.validate(&event).first().map(|violation| (Found::Quarantined, violation.code.clone())),
    }
}

#[test]
fn gate_and_plan_find_each_flaw_and_no_other() {
    let plan = Plan::built_in();
    let mut flaws = std::collections::BTreeSet::new();
    for parcel in history(7, 1_000, START).iter().flat_map(|step| &step.parcels) {
        let expect = match parcel.fate {
            Fate::Dead(flaw) => {
                flaws.insert((flaw, parcel.is_app));
                let (found, code) = flaw.verdict();
                Some((found, code.to_owned()))
            }
            Fate::Row(_) | Fate::Copy => None,
        };
        assert_eq!(judged(parcel, &plan), expect, "{}", parcel.text);
    }
    assert_eq!(flaws.len(), 9, "five flaws in the native shape, four in Segment's: {flaws:?}");
}

#[test]
fn live_traffic_comes_at_the_rate_that_was_asked_for() {
    let mut traffic = Traffic::new(7, 2_000, 3, START);
    let mut counts = Vec::new();
    let begin = START + 3 * DAY;
    for second in 0..120 {
        let from = begin + second * SECOND;
        let step = traffic.live_step(from, from + SECOND, 50);
        assert_eq!(step.at, from + SECOND);
        counts.push(step.parcels.len());
    }
    let steady: usize = counts[60..].iter().sum();
    assert!((2_000..4_000).contains(&steady), "{steady} events in a minute at 50 a second");
}
