//! Experiments: a world in which everything goes wrong at once, of which the truth is known as it is made.

use std::collections::BTreeMap;

use chrono::DateTime;
use pipeline::gold::experiments::load;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::gold::check_made_of_parts;
use crate::place::{Arriving, HOUR, Place, RECEIVED};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 24 * HOUR;
/// 2026-11-01T00:00:00Z.
const STARTED: i64 = RECEIVED - 22 * DAY - 10 * HOUR;
/// The attribution window.
const WINDOW: i64 = 7 * DAY;
const BEFORE: i64 = 5 * DAY;
/// What a subject counts for at most, in millionths.
const CAP: i128 = 50_000_000;
const MILLION: i128 = 1_000_000;

const METRICS: &str = "
buyers: {type: proportion, event: {event_type: order}}
orders: {type: count, event: {event_type: order}}
large: {type: count, event: {event_type: order, properties: {value: {at_least: 10}, goal: [sale, rent], gift: false}}}
revenue: {type: sum, event: {event_type: order}, property: value, cap: 50, quantiles: [0.5]}
basket: {type: mean, event: {event_type: order}, property: value, within_days: 3}
by_visit: {type: ratio, event: {event_type: order}, per: {event_type: visit}}
day_3: {type: retention, event: {event_type: visit}, day: 3}
bought_after_visit: {type: funnel, steps: [{event_type: visit}, {event_type: order}]}
first_order: {type: time_to, event: {event_type: order}, lower_is_better: true}
";

const EXPERIMENT: &str = "
description: Everything goes wrong at once.
variations: [{key: control, weight: 0.5}, {key: treatment, weight: 0.5}]
start: 2026-11-01
end: 2026-11-13
attribution_days: 7
before_days: 5
exclude: {where: \"user_id LIKE 'staff-%'\"}
segments: {device: {column: device_type}, colour: {property: colour}}
metrics:
  primary: [buyers, revenue]
  secondary: [orders, large, basket, by_visit, day_3, bought_after_visit, first_order]
";

/// What a subject does, and when: microseconds from its first exposure on.
#[derive(Debug, Clone, Copy)]
struct Deed {
    offset: i64,
    /// The order's value in millionths; a visit has none.
    value: Option<i128>,
    is_large: bool,
}

/// One subject as it is meant to be found.
#[derive(Debug, Clone, Default)]
struct Truth {
    variation: usize,
    contaminated: bool,
    deeds: Vec<Deed>,
}

#[derive(Default)]
struct World {
    arriving: Vec<Arriving>,
    truths: Vec<Truth>,
    counts: BTreeMap<&'static str, i64>,
    number: u64,
}

const VARIATIONS: [&str; 2] = ["control", "treatment"];

fn time(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros).unwrap().format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

#[derive(Debug, Clone, Copy)]
struct Ids<'a> {
    user: Option<&'a str>,
    anonymous: Option<&'a str>,
}

impl World {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Sends an event, some of them late, some with a clock that is off, some twice.
    fn send(&mut self, random: &mut StdRng, event_type: &str, ids: Ids<'_>, at: i64, properties: &str, is_bot: bool) {
        self.number += 1;
        let id = format!("e{}", self.number);
        let delay =
            if random.random_range(0..8) == 0 { random.random_range(2 * HOUR..3 * DAY) } else { random.random_range(0..40 * 60 * SECOND) };
        let received = at + delay;
        // The client's clock is off by more than is let pass, and it says when it sent.
        let off = random.random_range(HOUR / 10..9 * HOUR);
        let skew = [0, 0, 0, 0, off, -off][random.random_range(0..6)];
        let sent = if skew == 0 { String::new() } else { format!(r#","sent_at":"{}""#, time(received + skew)) };
        let id_of = |name: &str, id: Option<&str>| id.map(|id| format!(r#","{name}":"{id}""#)).unwrap_or_default();
        let agent = if is_bot {
            "Googlebot/2.1"
        } else {
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1"
        };
        let text = format!(
            r#"{{"event_id":"{id}","event_type":"{event_type}","event_time":"{}"{sent}{}{},"properties":{{{properties}}},"context":{{"userAgent":"{agent}"}}}}"#,
            time(at + skew),
            id_of("user_id", ids.user),
            id_of("anonymous_id", ids.anonymous),
        );
        let event = Arriving { received, ..Arriving::with(&id, &text) };
        // From the first of November on, and before the thirteenth.
        let runs = STARTED..STARTED + 12 * DAY;
        if event_type == "feature_exposure" && properties.contains(r#""experiment_id":"trap""#) && runs.contains(&at) {
            self.count("exposures");
        }
        if random.random_range(0..7) == 0 {
            self.arriving.push(Arriving { received: received + random.random_range(0..DAY), ..event.clone() });
        }
        self.arriving.push(event);
    }

    fn expose(&mut self, random: &mut StdRng, ids: Ids<'_>, at: i64, variation: &str, is_bot: bool) {
        let properties = format!(r#""experiment_id":"trap","variation_id":"{variation}","colour":"red""#);
        self.send(random, "feature_exposure", ids, at, &properties, is_bot);
    }

    /// An order or a visit so long after the first exposure.
    fn deed(&mut self, random: &mut StdRng, ids: Ids<'_>, exposed_at: i64, offset: i64, is_bot: bool) -> Deed {
        if random.random_range(0..3) == 0 {
            self.send(random, "visit", ids, exposed_at + offset, "", is_bot);
            return Deed { offset, value: None, is_large: false };
        }
        let (value, text) = match random.random_range(0..4) {
            0 => (12_345_679, "12.3456785".to_owned()),
            1 => (30 * MILLION, "3e1".to_owned()),
            _ => {
                let cents = i128::from(random.random_range(1..4_000_i64));
                (cents * 10_000, format!("{}.{:02}", cents / 100, cents % 100))
            }
        };
        let (goal, gift) = (["sale", "rent", "loan"][random.random_range(0..3)], random.random_range(0..3) == 0);
        self.send(random, "order", ids, exposed_at + offset, &format!(r#""value":{text},"goal":"{goal}","gift":{gift}"#), is_bot);
        Deed { offset, value: Some(value), is_large: value >= 10 * MILLION && goal != "loan" && !gift }
    }

    fn person(&mut self, random: &mut StdRng, number: usize) {
        let (user, first_device, other_device) = (format!("u{number}"), format!("a{number}"), format!("b{number}"));
        let variation = random.random_range(0..2);
        let exposed_at = STARTED + 6 * HOUR + random.random_range(0..11 * DAY);
        let known = Ids { user: Some(&user), anonymous: None };
        let unknown = Ids { user: None, anonymous: Some(&first_device) };
        let both = Ids { user: Some(&user), anonymous: Some(&first_device) };
        let other = Ids { user: None, anonymous: Some(&other_device) };
        let scenario = number % 12;
        let mut truth = Truth { variation, ..Truth::default() };
        // Under which ids it is seen, and when the login is that joins them.
        let (exposed_as, acts_as, login): (Ids<'_>, Vec<Ids<'_>>, Option<i64>) = match scenario {
            0..=2 => (known, vec![known, both], None),
            3 | 4 => (unknown, vec![unknown], None),
            // Anonymous first, a login within the window: one person, on two devices.
            5..=7 => (unknown, vec![known, unknown, other], Some(random.random_range(SECOND..WINDOW))),
            // The login comes too late: what the user does is somebody else's.
            8 => (unknown, vec![unknown], Some(WINDOW + random.random_range(4 * DAY..5 * DAY))),
            9 => {
                // Robots and colleagues do as people do, and count for nothing.
                let staff = format!("staff-{number}");
                let (ids, is_bot) =
                    if random.random_range(0..2) == 0 { (known, true) } else { (Ids { user: Some(&staff), anonymous: None }, false) };
                self.count(if is_bot { "exposures_of_bots" } else { "exposures_internal" });
                self.expose(random, ids, exposed_at, VARIATIONS[variation], is_bot);
                for _ in 0..3 {
                    let offset = random.random_range(0..WINDOW);
                    self.deed(random, ids, exposed_at, offset, is_bot);
                }
                return;
            }
            10 => {
                // Nobody, and a variation that is none; then one that is.
                self.count("exposures_without_subject");
                self.expose(random, Ids { user: None, anonymous: None }, exposed_at, VARIATIONS[variation], false);
                self.count("exposures_of_no_variation");
                self.expose(random, known, exposed_at - HOUR, "blue", false);
                (known, vec![known], None)
            }
            _ => {
                // Of another experiment, before this one began, and after it ended.
                self.send(
                    random,
                    "feature_exposure",
                    known,
                    exposed_at - HOUR,
                    r#""experiment_id":"other","variation_id":"control""#,
                    false,
                );
                for at in [STARTED - SECOND, STARTED + 12 * DAY] {
                    self.expose(random, known, at, VARIATIONS[1 - variation], false);
                }
                (known, vec![known], None)
            }
        };
        self.expose(random, exposed_as, exposed_at, VARIATIONS[variation], false);
        if let Some(login) = login {
            self.send(random, "identify", both, exposed_at + login, "", false);
            if scenario != 8 {
                let login = random.random_range(SECOND..WINDOW);
                self.send(random, "identify", Ids { user: Some(&user), anonymous: Some(&other_device) }, exposed_at + login, "", false);
                self.count("subjects_joined_by_login");
            } else {
                // Not its own: the user never saw it.
                let offset = random.random_range(SECOND..WINDOW);
                self.deed(random, known, exposed_at, offset, false);
            }
        }
        for _ in 0..random.random_range(0..3) {
            let (ids, later) = (acts_as[random.random_range(0..acts_as.len())], random.random_range(SECOND..3 * DAY));
            self.expose(random, ids, exposed_at + later, VARIATIONS[variation], false);
        }
        if random.random_range(0..9) == 0 && exposed_at + 4 * DAY < STARTED + 12 * DAY {
            truth.contaminated = true;
            self.count("subjects_contaminated");
            let (ids, later) = (acts_as[random.random_range(0..acts_as.len())], random.random_range(SECOND..4 * DAY));
            self.expose(random, ids, exposed_at + later, VARIATIONS[1 - variation], false);
        } else if scenario < 5 && exposed_at + WINDOW + DAY < STARTED + 12 * DAY {
            // After the window was over: it changes nothing any more.
            let later = WINDOW + random.random_range(0..DAY);
            self.expose(random, exposed_as, exposed_at + later, VARIATIONS[1 - variation], false);
        }
        for _ in 0..random.random_range(0..7) {
            let ids = acts_as[random.random_range(0..acts_as.len())];
            let offset = match random.random_range(0..6) {
                0 => random.random_range(-7 * DAY..0),
                1 => WINDOW + random.random_range(0..3 * DAY),
                2 => [0, WINDOW - 1, WINDOW, -1, 3 * DAY, 4 * DAY - 1][random.random_range(0..6)],
                _ => random.random_range(0..WINDOW),
            };
            let deed = self.deed(random, ids, exposed_at, offset, false);
            truth.deeds.push(deed);
        }
        self.truths.push(truth);
    }
}

impl Truth {
    fn orders(&self, from: i64, until: i64) -> impl Iterator<Item = i128> {
        self.deeds.iter().filter(move |deed| (from..until).contains(&deed.offset)).filter_map(|deed| deed.value)
    }

    fn visits(&self, from: i64, until: i64) -> usize {
        self.deeds.iter().filter(|deed| deed.value.is_none() && (from..until).contains(&deed.offset)).count()
    }

    /// What a metric has of it, and the other quantity, in millionths.
    fn metric(&self, name: &str) -> (i128, Option<i128>) {
        let flag = |is: bool| if is { MILLION } else { 0 };
        let number = |count: usize| count as i128 * MILLION;
        let amount = |from, until| self.orders(from, until).sum::<i128>().min(CAP);
        let large = |from: i64, until: i64| self.deeds.iter().filter(|deed| deed.is_large && (from..until).contains(&deed.offset)).count();
        match name {
            "buyers" => (flag(self.orders(0, WINDOW).count() > 0), Some(flag(self.orders(-BEFORE, 0).count() > 0))),
            "orders" => (number(self.orders(0, WINDOW).count()), Some(number(self.orders(-BEFORE, 0).count()))),
            "large" => (number(large(0, WINDOW)), Some(number(large(-BEFORE, 0)))),
            "revenue" => (amount(0, WINDOW), Some(amount(-BEFORE, 0))),
            "basket" => (self.orders(0, 3 * DAY).sum(), Some(number(self.orders(0, 3 * DAY).count()))),
            "by_visit" => (number(self.orders(0, WINDOW).count()), Some(number(self.visits(0, WINDOW)))),
            "day_3" => (flag(self.visits(3 * DAY, 4 * DAY) > 0), None),
            "bought_after_visit" => {
                let visit = self
                    .deeds
                    .iter()
                    .filter(|deed| deed.value.is_none() && (0..WINDOW).contains(&deed.offset))
                    .map(|deed| deed.offset)
                    .min();
                (flag(visit.is_some_and(|visit| self.orders(visit + 1, WINDOW).count() > 0)), None)
            }
            "first_order" => {
                let first = self
                    .deeds
                    .iter()
                    .filter(|deed| deed.value.is_some() && (0..WINDOW).contains(&deed.offset))
                    .map(|deed| deed.offset)
                    .min();
                (first.unwrap_or(WINDOW).into(), None)
            }
            _ => panic!("{name}"),
        }
    }
}

/// A decimal number of the scale 6, or 12, as the table shows it.
fn decimal(value: i128, scale: u32) -> String {
    let power = 10_i128.pow(scale);
    format!("{}.{:0width$}", value / power, value % power, width = scale as usize)
}

fn expected(truths: &[Truth]) -> Vec<String> {
    let mut rows = Vec::new();
    for (number, variation) in VARIATIONS.iter().enumerate() {
        let subjects: Vec<&Truth> = truths.iter().filter(|truth| truth.variation == number && !truth.contaminated).collect();
        for name in ["buyers", "revenue", "orders", "large", "basket", "by_visit", "day_3", "bought_after_visit", "first_order"] {
            let pairs: Vec<(i128, Option<i128>)> = subjects.iter().map(|truth| truth.metric(name)).collect();
            let sum = |of: &dyn Fn(i128, i128) -> i128| pairs.iter().map(|(own, other)| of(*own, other.unwrap_or_default())).sum::<i128>();
            let mut row = format!(
                "{variation} {name} {} {} {}",
                subjects.len(),
                decimal(sum(&|own, _| own), 6),
                decimal(sum(&|own, _| own * own), 12)
            );
            if pairs.iter().all(|(_, other)| other.is_some()) {
                let (others, squares, products) = (sum(&|_, other| other), sum(&|_, other| other * other), sum(&|own, other| own * other));
                row.push_str(&format!(" {} {} {}", decimal(others, 6), decimal(squares, 12), decimal(products, 12)));
            }
            rows.push(row);
        }
    }
    rows.sort();
    rows
}

/// Duplicates, late first exposures, subjects in two variations, conversions before the exposure and outside the window, robots, colleagues, logins, clocks that are off: what is found is the truth
/// to the last digit, however it came in.
#[tokio::test(flavor = "multi_thread")]
async fn a_world_with_every_trap_gives_the_truth() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("metrics.yaml"), METRICS).unwrap();
    std::fs::write(folder.path().join("trap.yaml"), EXPERIMENT).unwrap();
    assert_eq!(load(folder.path()).unwrap().len(), 1);
    let mut place = Place::new();
    place.config.experiments = Some(folder.path().to_owned());

    let mut random = StdRng::seed_from_u64(5);
    let mut world = World::default();
    for number in 0..480 {
        world.person(&mut random, number);
    }
    assert!(world.arriving.iter().all(|event| event.received < RECEIVED + 5 * DAY));
    world.arriving.sort_by_key(|event| event.received);
    // The tables are made four times, each time of more.
    for lot in world.arriving.chunks(world.arriving.len().div_ceil(4)) {
        place.feed(lot).await;
    }

    let sums = "SELECT concat_ws(' ', variation_id, metric, CAST(sum(subjects) AS VARCHAR), CAST(sum(sum) AS VARCHAR), CAST(sum(sum_of_squares) AS VARCHAR),
            CAST(sum(other_sum) AS VARCHAR), CAST(sum(other_sum_of_squares) AS VARCHAR), CAST(sum(sum_of_products) AS VARCHAR))
        FROM gold.experiment_metrics_trap WHERE segment = '{}' GROUP BY variation_id, metric";
    let truth = expected(&world.truths);
    let found = async |segment: &str| {
        let mut rows = place.texts(&sums.replace("{}", segment)).await;
        rows.sort();
        rows
    };
    assert_eq!(found("all").await, truth);
    // Everybody is in each breakdown, and in one part of it.
    for segment in ["device", "colour"] {
        assert_eq!(found(segment).await, truth, "{segment}");
    }

    let counted =
        place.texts("SELECT concat_ws(' ', measure, CAST(sum(count) AS VARCHAR)) FROM gold.experiment_counts_trap GROUP BY measure").await;
    let counted: BTreeMap<&str, i64> =
        counted.iter().filter_map(|row| row.split_once(' ')).map(|(name, count)| (name, count.parse().unwrap())).collect();
    for (what, expect) in &world.counts {
        assert_eq!(counted[what], *expect, "{what}");
    }
    let deeds = |from: i64, until: i64| {
        world.truths.iter().map(|truth| truth.deeds.iter().filter(|deed| (from..until).contains(&deed.offset)).count() as i64).sum::<i64>()
    };
    assert_eq!(counted["subjects"], world.truths.len() as i64);
    assert_eq!(counted["counted_events"], deeds(0, WINDOW));
    assert_eq!(counted["events_before_exposure"], deeds(-7 * DAY, 0));
    assert_eq!(counted["events_after_window"], deeds(WINDOW, WINDOW + DAY));
    assert!(counted["exposures_late"] > 0 && counted["events_of_bots"] > 0, "{counted:?}");

    // By age and by value there is the same in all.
    let ages = "SELECT CAST(sum(sum) AS VARCHAR) FROM gold.experiment_ages_trap WHERE metric = 'buyers' AND age >= 0 AND age < 7";
    let buyer_days: i128 = world
        .truths
        .iter()
        .filter(|truth| !truth.contaminated)
        .map(|truth| (0..7).filter(|day| truth.orders(day * DAY, (day + 1) * DAY).count() > 0).count() as i128)
        .sum();
    assert_eq!(place.texts(ages).await, [decimal(buyer_days * MILLION, 6)]);
    let values = "SELECT CAST(sum(subjects) AS VARCHAR) FROM gold.experiment_values_trap WHERE metric = 'revenue'";
    let clean = world.truths.iter().filter(|truth| !truth.contaminated).count();
    assert_eq!(place.texts(values).await, [clean.to_string()]);
    check_made_of_parts(&place).await;
}
