//! The models of Gold over real tables.

use std::time::Duration;

use chrono::DateTime;
use pipeline::gold::state::{run, state};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::place::{Arriving, HOUR, Place, RECEIVED};

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * HOUR;

fn time(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros).unwrap().format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

fn event(id: &str, event_type: &str, user: &str, at: i64, more: &str) -> Arriving {
    let text = format!(r#"{{"event_id":"{id}","event_type":"{event_type}","event_time":"{}","user_id":"{user}"{more}}}"#, time(at));
    Arriving { received: at + MINUTE, ..Arriving::with(id, &text) }
}

fn page(id: &str, user: &str, at: i64, path: &str) -> Arriving {
    event(id, "page_view", user, at, &format!(r#","context":{{"page":{{"path":"{path}"}}}}"#))
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_go_over_midnight_and_end_after_half_an_hour() {
    let place = Place::new();
    let midnight = RECEIVED - RECEIVED.rem_euclid(DAY);
    let mut events = vec![
        page("a", "ann", midnight - 20 * MINUTE, "/"),
        page("b", "ann", midnight + 5 * MINUTE, "/shoes"),
        event("c", "conversion", "ann", midnight + 35 * MINUTE, ""),
        page("d", "ann", midnight + 66 * MINUTE, "/again"),
    ];
    // One that never pauses, from the day before yesterday on.
    events.extend((0..3 * 24 * 3).map(|n| page(&format!("r{n}"), "robot", midnight - 2 * DAY + 10 * HOUR + n * 20 * MINUTE, "/r")));
    place.feed(&events).await;
    let sessions = "SELECT concat_ws(' ', CAST(event_date AS VARCHAR), CAST(events AS VARCHAR), CAST(page_views AS VARCHAR), CAST(conversions AS VARCHAR), entry_page, exit_page) \
                    FROM gold.sessions WHERE subject_id = 'ann' ORDER BY started_at";
    assert_eq!(place.texts(sessions).await, ["2026-11-22 3 2 1 / /shoes", "2026-11-23 1 1 0 /again /again"]);
    let robot = "SELECT concat_ws(' ', CAST(event_date AS VARCHAR), CAST(events AS VARCHAR)) FROM gold.sessions WHERE subject_id = 'robot' ORDER BY 1";
    // It begins on the 21st at 10 and pauses at no time: cut at the beginning of each day that follows a whole day without a pause.
    assert_eq!(place.texts(robot).await, ["2026-11-21 114", "2026-11-23 72", "2026-11-24 30"]);
    assert_eq!(place.number("SELECT sum(events) FROM gold.sessions").await, place.number("SELECT count(*) FROM silver.events").await);
    check_made_of_parts(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_counted_over_days_and_sources() {
    let place = Place::new();
    let day = |ago: i64| RECEIVED - ago * DAY;
    let events = [
        page("1", "ann", day(0), "/"),
        page("2", "ann", day(3), "/"),
        page("3", "bob", day(6), "/"),
        page("4", "cid", day(7), "/"),
        page("5", "dan", day(29), "/"),
        page("6", "eve", day(30), "/"),
    ];
    place.feed(&events).await;
    let of = |date: &str| {
        format!(
            "SELECT concat_ws(' ', source, CAST(active_1_day AS VARCHAR), CAST(active_7_days AS VARCHAR), CAST(active_30_days AS VARCHAR)) FROM gold.active_users WHERE \
             event_date = DATE '{date}' ORDER BY 1"
        )
    };
    assert_eq!(place.texts(&of("2026-11-23")).await, ["1 2 4", "web 1 2 4"]);
    // A late one corrects all days that it reaches, and only these.
    place.feed(&[Arriving { received: RECEIVED, ..page("late", "zoe", day(6), "/") }]).await;
    assert_eq!(place.texts(&of("2026-11-23")).await, ["1 3 5", "web 1 3 5"]);
    assert_eq!(place.texts(&of("2026-11-16")).await, ["1 1 3", "web 1 1 3"]);
    check_made_of_parts(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conversions_go_to_the_last_campaign_and_to_the_variation_seen_first() {
    let place = Place::new();
    let campaign = |name: &str| format!(r#","context":{{"campaign":{{"source":"s","name":"{name}"}}}}"#);
    let seen = |id: &str, user: &str, variation: &str, at: i64| {
        event(id, "feature_exposure", user, at, &format!(r#","properties":{{"experiment_id":"x","variation_id":"{variation}"}}"#))
    };
    let events = [
        event("t1", "page_view", "ann", RECEIVED - 31 * DAY, &campaign("too old")),
        event("t2", "page_view", "bob", RECEIVED - 2 * DAY, &campaign("first")),
        event("t3", "page_view", "bob", RECEIVED - DAY, &campaign("last")),
        event("c1", "conversion", "ann", RECEIVED, ""),
        event("c2", "conversion", "bob", RECEIVED, ""),
        seen("e1", "ann", "a", RECEIVED - HOUR),
        seen("e2", "bob", "b", RECEIVED + HOUR),
        event("c3", "conversion", "bob", RECEIVED + 2 * HOUR, ""),
        event("c4", "conversion", "ann", RECEIVED + DAY, ""),
        seen("e3", "ann", "b", RECEIVED + DAY),
    ];
    place.feed(&events).await;
    let by_campaign = "SELECT concat_ws(' ', CAST(event_date AS VARCHAR), campaign_name, CAST(conversions AS VARCHAR)) FROM gold.campaign_conversions ORDER BY 1";
    assert_eq!(place.texts(by_campaign).await, ["2026-11-23 1", "2026-11-23 last 2", "2026-11-24 1"]);
    let by_variation = "SELECT concat_ws(' ', CAST(event_date AS VARCHAR), variation_id, CAST(contaminated AS VARCHAR), CAST(events AS VARCHAR), CAST(subjects AS VARCHAR)) \
                        FROM gold.experiment_metrics WHERE event_type = 'conversion' ORDER BY 1";
    // Bob's first came before he saw anything; Ann saw both.
    assert_eq!(place.texts(by_variation).await, ["2026-11-23 a true 1 1", "2026-11-23 b false 1 1", "2026-11-24 a true 1 1"]);
    check_made_of_parts(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn models_of_ones_own_are_made_and_made_anew_when_they_change() {
    let mut place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let head = "-- grain: a day and user\n-- keys: event_date, user_id\n-- reads: silver.events\n";
    write(
        "users.sql",
        &format!("{head}SELECT event_date, user_id, count(*) AS events FROM silver.events GROUP BY event_date, user_id -- all"),
    );
    write(
        "way.yaml",
        "funnel:\n  within_days: 1\n  steps:\n    - {name: view, event_type: page_view}\n    - {name: buy, event_type: conversion}\n",
    );
    write("back.yaml", "retention:\n  starts: {event_type: page_view}\n  new_for_days: 5\n  days: [1, 2]\n");
    place.config.gold_models = Some(folder.path().to_owned());
    let events = [
        page("1", "ann", RECEIVED, "/"),
        event("2", "conversion", "ann", RECEIVED + HOUR, ""),
        page("3", "bob", RECEIVED, "/"),
        event("4", "conversion", "bob", RECEIVED - HOUR, ""),
        page("5", "bob", RECEIVED + 2 * DAY, "/"),
    ];
    place.feed(&events).await;
    let users = "SELECT concat_ws(' ', CAST(event_date AS VARCHAR), user_id, CAST(events AS VARCHAR)) FROM gold.users ORDER BY 1";
    assert_eq!(place.texts(users).await, ["2026-11-23 ann 2", "2026-11-23 bob 2", "2026-11-25 bob 1"]);
    let way = "SELECT concat_ws(' ', CAST(event_date AS VARCHAR), CAST(step AS VARCHAR), step_name, CAST(subjects AS VARCHAR)) FROM gold.way ORDER BY 1";
    assert_eq!(place.texts(way).await, ["2026-11-23 1 view 2", "2026-11-23 2 buy 1", "2026-11-25 1 view 1"]);
    let back = "SELECT concat_ws(' ', CAST(event_date AS VARCHAR), CAST(subjects AS VARCHAR), CAST(day_1 AS VARCHAR), CAST(day_2 AS VARCHAR)) FROM gold.back ORDER BY 1";
    assert_eq!(place.texts(back).await, ["2026-11-23 2 0 1"], "who has been there in the days before is not new");

    // Another query, with another column: the table is made anew.
    write(
        "users.sql",
        &format!(
            "{head}SELECT event_date, user_id, count(*) AS events, count(DISTINCT event_type) AS types FROM silver.events GROUP BY event_date, user_id"
        ),
    );
    place.feed(&[]).await;
    assert_eq!(place.number("SELECT sum(types) FROM gold.users").await, 5);
    check_made_of_parts(&place).await;
    let models = place.config.models().unwrap();
    let stands = state(&place.lake().await, &place.config, models.named("way").unwrap()).await.unwrap();
    assert_eq!((stands.rows, stands.due, stands.final_up_to.as_deref()), (3, 0, Some("2026-11-24T09:01:00.000000Z")), "{stands:?}");

    // One that gives what it may not stands still, with its reason; the others go on.
    write("users.sql", &format!("{head}SELECT event_date, user_id, 1 AS events FROM silver.events"));
    place.feed(&[page("6", "ann", RECEIVED + DAY, "/")]).await;
    assert_eq!(place.number("SELECT sum(events) FROM gold.activity_by_day").await, 6);
    let error = run(&place.lake().await, place.config.models().unwrap().named("users").unwrap(), false).await.unwrap_err().to_string();
    assert_eq!(error, "the model gold.users cannot be made: its query gives two rows for event_date, user_id = 2026-11-23, ann");
    write("users.sql", &format!("{head}SELECT event_date, nothing FROM silver.events"));
    let error = place.pipeline(place.journal().await).await.unwrap_err().to_string();
    assert!(error.contains("gold.users") && error.contains("nothing"), "{error}");
}

/// A query that needs more memory than it may have is given fewer days at a time; one day that needs too much says what to change.
#[tokio::test(flavor = "multi_thread")]
async fn days_too_large_to_be_made_together_are_made_one_lot_after_the_other() {
    const DAYS: i64 = 8;
    const EVENTS: i64 = 100;
    let mut place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    // Each event is 10 kB on either side of the join, one of which has to be kept: a day needs 1 MB.
    let wide = "(SELECT event_date, event_id, repeat(event_type, 1000) AS wide FROM silver.events)";
    let sql = format!(
        "-- grain: a day\n-- keys: event_date\n-- reads: silver.events\n\
         SELECT a.event_date, sum(length(concat(a.wide, b.wide))) AS size FROM {wide} AS a JOIN {wide} AS b ON b.event_id = a.event_id GROUP BY a.event_date"
    );
    std::fs::write(folder.path().join("wide.sql"), sql).unwrap();
    let events: Vec<Arriving> =
        (0..DAYS * EVENTS).map(|number| event(&format!("e{number}"), "conversion", "ann", RECEIVED - number % DAYS * DAY, "")).collect();
    place.feed(&events).await;
    place.config.gold_models = Some(folder.path().to_owned());
    let models = place.config.models().unwrap();
    let made_with = async |bytes: u64| {
        let options = lake::Options { query_memory_bytes_max: bytes, ..lake::Options::default() };
        let lake = lake::Lake::open(place.path().join("lake").to_str().unwrap(), options).await.unwrap();
        run(&lake, models.named("wide").unwrap(), true).await
    };
    let commits = async || place.lake().await.reader("gold.wide").await.unwrap().unwrap().version();
    made_with(64 << 20).await.unwrap();
    let together = commits().await;
    let error = made_with(256 << 10).await.unwrap_err().to_string();
    assert!(error.contains("gold.wide") && error.contains("lake.query_memory_bytes_max"), "{error}");
    assert_eq!(commits().await, together, "nothing was made");
    made_with(4 << 20).await.unwrap();
    assert!(commits().await > together + 1, "in more than one lot");
    let sizes = "SELECT concat_ws(' ', CAST(count(*) AS VARCHAR), CAST(min(size) AS VARCHAR), CAST(max(size) AS VARCHAR)) FROM gold.wide";
    assert_eq!(place.texts(sizes).await, [format!("{DAYS} {size} {size}", size = EVENTS * 20_000)]);
}

/// Whatever comes in whatever order: what is made by parts is what is made as a whole.
#[tokio::test(flavor = "multi_thread")]
async fn tables_made_by_parts_are_those_made_as_a_whole() {
    let mut random = StdRng::seed_from_u64(11);
    let mut place = Place::new();
    place.config.gold_interval = Duration::ZERO;
    let mut number = 0;
    for _ in 0..6 {
        let mut events = Vec::new();
        for _ in 0..random.random_range(1..120) {
            number += 1;
            let (id, user) = (format!("e{number}"), format!("u{}", random.random_range(0..12)));
            let at = RECEIVED - random.random_range(0..45 * DAY);
            let more = match random.random_range(0..4) {
                0 => r#","context":{"campaign":{"source":"s","name":"n"}}"#,
                1 => r#","properties":{"experiment_id":"x","variation_id":"a"}"#,
                2 => r#","properties":{"experiment_id":"x","variation_id":"b"}"#,
                _ => "",
            };
            let event_type =
                if more.contains("experiment_id") { "feature_exposure" } else { ["page_view", "conversion"][random.random_range(0..2)] };
            events.push(Arriving { received: RECEIVED + HOUR, ..event(&id, event_type, &user, at, more) });
        }
        place.feed(&events).await;
    }
    check_made_of_parts(&place).await;
}

/// No table of Gold differs from what its model makes of the whole of what it reads.
pub(crate) async fn check_made_of_parts(place: &Place) {
    let (lake, models) = (place.lake().await, place.config.models().unwrap());
    for model in models.iter() {
        let texts = async || {
            let session = lake.session().await.unwrap();
            let batches = session.sql(&format!("SELECT * FROM {}", model.name)).await.unwrap().collect().await.unwrap();
            let mut rows: Vec<String> =
                arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string().lines().map(str::to_owned).collect();
            rows.sort();
            rows
        };
        let by_parts = texts().await;
        let made = run(&lake, model, true).await.unwrap();
        assert!(made.partitions > 0 || by_parts.len() <= 4, "{}", model.name);
        let as_a_whole = texts().await;
        assert_eq!(by_parts, as_a_whole, "{}", model.name);
        assert_eq!(state(&lake, &place.config, model).await.unwrap().due, 0, "{}", model.name);
    }
}
