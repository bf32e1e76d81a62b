//! What is no longer to be kept: it goes, the books go on to balance, and nothing is made anew for which days are missing.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::DateTime;
use contract::{Timestamp, Verdict};
use lake::Commit;
use pipeline::replay::Replay;
use pipeline::retention::{Expired, Retention, expire};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::place::{Arriving, HOUR, Place, RECEIVED};

const DAY: i64 = 24 * HOUR;
const MINUTE: i64 = 60_000_000;

fn days(days: u64) -> Option<Duration> {
    Some(Duration::from_secs(days * 86_400))
}

fn place() -> Place {
    let mut place = Place::new();
    place.config.retention = Retention { bronze: days(6), silver: days(4), dead_letters: days(5), gold: None };
    place.config.batch_records_max = 40;
    place
}

fn event(id: &str, happened: i64, received: i64) -> Arriving {
    let time = DateTime::from_timestamp_micros(happened).unwrap().format("%Y-%m-%dT%H:%M:%S%.6fZ");
    let text = format!(r#"{{"event_id":"{id}","event_type":"page_view","event_time":"{time}","anonymous_id":"a{}"}}"#, id.len());
    Arriving { received, ..Arriving::with(id, &text) }
}

/// What came in on a day: most of it of that day, some of it late, some bad, some twice.
fn of_day(ago: i64, count: i64) -> Vec<Arriving> {
    let mut events = Vec::new();
    for n in 0..count {
        let received = RECEIVED - ago * DAY + n * MINUTE;
        let id = format!("d{ago}-{n}");
        let happened = if n % 6 == 5 { received - 2 * DAY } else { received - MINUTE / 2 };
        let verdict = match n % 10 {
            3 => Verdict::Refused,
            7 => Verdict::Quarantined,
            _ => Verdict::Accepted,
        };
        let arriving = event(&id, happened, received).judged(verdict);
        if n % 4 == 0 {
            events.push(Arriving { received: received + MINUTE, ..arriving.clone() });
        }
        events.push(arriving);
    }
    events
}

async fn fed(place: &Place) {
    for ago in (0..10).rev() {
        place.feed(&of_day(ago, 30)).await;
    }
}

async fn let_go(place: &Place, now: i64) -> BTreeMap<String, Expired> {
    let expired = expire(&place.lake().await, &place.config, Timestamp(now), false).await.unwrap();
    expired.into_iter().map(|expired| (expired.table.clone(), expired)).collect()
}

async fn check_books(place: &Place) -> pipeline::Line {
    let books = place.audit().await;
    assert!(books.balanced, "{:#?}", books.findings);
    books.total
}

async fn first_day(place: &Place, table: &str, column: &str) -> String {
    place.texts(&format!("SELECT CAST(min({column}) AS VARCHAR) FROM {table}")).await[0].clone()
}

async fn gold(place: &Place) -> Vec<String> {
    let rows = "SELECT concat_ws(' ', CAST(event_date AS VARCHAR), source, event_type, CAST(events AS VARCHAR)) FROM gold.activity_by_day ORDER BY 1";
    place.texts(rows).await
}

async fn rebuild_and_cut_over(place: &Place) {
    let replay = Replay { into: "silver_v2".to_owned(), from: None, to: None, index_folder: place.path().join("index-v2") };
    let lake = place.lake().await;
    replay.run(&lake, &place.config, &|_| ()).await.unwrap();
    replay.cut_over(&lake, &place.config, &|_| ()).await.unwrap();
    place.drain(place.journal().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_goes_and_the_books_balance() {
    let place = place();
    fed(&place).await;
    let (before, counts, gold_before) = (check_books(&place).await, place.counts().await, gold(&place).await);

    let told = expire(&place.lake().await, &place.config, Timestamp(RECEIVED), true).await.unwrap();
    assert_eq!(place.counts().await, counts, "it was only asked");
    let expired = let_go(&place, RECEIVED).await;
    assert_eq!(expired.values().map(|expired| expired.rows).sum::<u64>(), told.iter().map(|told| told.rows).sum::<u64>());
    assert!(let_go(&place, RECEIVED).await.is_empty(), "nothing is left to go");
    assert_eq!(first_day(&place, "bronze.events", "ingest_date").await, "2026-11-17");
    assert_eq!(first_day(&place, "silver.events", "event_date").await, "2026-11-19");
    assert_eq!(first_day(&place, "dead_letters", "ingest_date").await, "2026-11-18");

    let after = check_books(&place).await;
    assert_eq!(
        (after.received, after.accepted, after.refused, after.duplicates),
        (before.received, before.accepted, before.refused, before.duplicates)
    );
    assert_eq!(after.bronze + after.bronze_expired, before.bronze);
    assert_eq!(after.silver + after.silver_expired, before.silver);
    assert!(after.bronze_expired > 80 && after.silver_expired > 80 && after.dead_letters_expired > 10, "{after:?}");
    place.drain(place.journal().await).await;
    assert_eq!(gold(&place).await, gold_before, "aggregates are kept, they have a time of their own");

    // What comes late for a day that is gone is taken, changes no aggregate of what is missing, and goes again.
    let late =
        [event("late", RECEIVED - 8 * DAY, RECEIVED + MINUTE), event("of-today", RECEIVED, RECEIVED + MINUTE), of_day(8, 1)[0].clone()];
    place.feed(&late).await;
    let line = check_books(&place).await;
    assert_eq!((line.silver, line.duplicates), (after.silver + 2, after.duplicates + 1), "a copy of what is gone is known for one");
    let now = gold(&place).await;
    assert_eq!(now.len(), gold_before.len());
    assert_eq!(now.iter().filter(|row| !gold_before.contains(row)).count(), 1, "only today: {now:?}");
    assert_eq!(let_go(&place, RECEIVED).await["silver.events"].rows, 1);
    check_books(&place).await;

    // Every row that is kept is what Bronze gives.
    let index = place.path().join("index-audit");
    let deep = pipeline::audit_deep(&place.lake().await, &place.config, index, &|_| ()).await.unwrap();
    assert!(deep.balanced, "{:#?}", deep.findings);
    assert_eq!(deep.compared, Some(line.silver - 1));

    // A loss is still told from what was let go.
    let lake = place.lake().await;
    let mut bronze = lake.reader("bronze.events").await.unwrap().unwrap();
    let files = bronze.files().await.unwrap();
    let of_one_day: Vec<_> =
        files.into_iter().filter(|file| file.partition_values["ingest_date"].as_deref() == Some("2026-11-20")).collect();
    let rows = bronze.read(&of_one_day, None).await.unwrap();
    let rows = rows.iter().map(|batch| batch.slice(0, batch.num_rows().saturating_sub(1))).collect();
    bronze.replace("ingest_date", &["2026-11-20".to_owned()], rows, Commit::default()).await.unwrap();
    let books = place.audit().await;
    assert!(!books.balanced && books.findings.iter().any(|finding| finding.check.contains("rows of Bronze")), "{:?}", books.findings);
    assert!(books.findings.iter().any(|finding| finding.check.contains("records of the journal")), "{:?}", books.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_of_what_is_left_takes_its_place_and_the_books_balance() {
    let place = place();
    fed(&place).await;
    let_go(&place, RECEIVED).await;
    let rows =
        "SELECT concat_ws(' ', event_id, CAST(event_time AS VARCHAR), CAST(journal_offset AS VARCHAR)) FROM silver.events ORDER BY 1";
    let before = place.texts(rows).await;
    for round in 0..2_i64 {
        rebuild_and_cut_over(&place).await;
        let line = check_books(&place).await;
        assert_eq!(line.accepted, line.bronze + line.bronze_expired);
        // Bronze has days that Silver keeps no longer: they are back, and go again.
        let again = let_go(&place, RECEIVED + round * DAY).await;
        assert!(again["silver.events"].rows > 0, "{again:?}");
        check_books(&place).await;
        if round == 0 {
            assert_eq!(place.texts(rows).await, before);
        }
        place.feed(&of_day(-1 - round, 30)).await;
        check_books(&place).await;
    }
    // While a rebuild is there, Bronze keeps what that is made of.
    let replay = Replay { into: "silver_v2".to_owned(), from: None, to: None, index_folder: place.path().join("index-v2") };
    let lake = place.lake().await;
    replay.run(&lake, &place.config, &|_| ()).await.unwrap();
    let there = place.counts().await.0;
    let_go(&place, RECEIVED + 4 * DAY).await;
    assert_eq!(place.counts().await.0, there);
    check_books(&place).await;
    replay.cut_over(&lake, &place.config, &|_| ()).await.unwrap();
    place.drain(place.journal().await).await;
    check_books(&place).await;
    assert!(let_go(&place, RECEIVED + 4 * DAY).await.contains_key("bronze.events"));
    check_books(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_anywhere_it_ends_the_same() {
    let mut random = StdRng::seed_from_u64(11);
    let place = place();
    fed(&place).await;
    let (lake, mut cut) = (place.lake().await, 0);
    for _ in 0..80 {
        let limit = Duration::from_micros(random.random_range(0..60_000));
        let done = tokio::time::timeout(limit, expire(&lake, &place.config, Timestamp(RECEIVED), false)).await;
        check_books(&place).await;
        match done.map(Result::unwrap) {
            Ok(expired) if expired.is_empty() => break,
            Ok(_) => {}
            Err(_) => cut += 1,
        }
    }
    let_go(&place, RECEIVED).await;
    assert!(cut > 3, "it was cut off {cut} times");
    assert_eq!(first_day(&place, "bronze.events", "ingest_date").await, "2026-11-17");
    check_books(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregates_go_by_their_own_time_and_stay_gone() {
    let mut place = place();
    place.config.retention = Retention { gold: days(3), ..Retention::default() };
    fed(&place).await;
    let expired = let_go(&place, RECEIVED).await;
    assert!(expired.keys().all(|table| table.starts_with("gold.")) && expired.contains_key("gold.activity_by_day"), "{expired:?}");
    assert_eq!(first_day(&place, "gold.activity_by_day", "event_date").await, "2026-11-20");
    place.feed(&[event("late", RECEIVED - 6 * DAY, RECEIVED), event("of-today", RECEIVED, RECEIVED)]).await;
    assert_eq!(first_day(&place, "gold.activity_by_day", "event_date").await, "2026-11-20");
    assert_eq!(first_day(&place, "silver.events", "event_date").await, "2026-11-12");
    check_books(&place).await;
}
