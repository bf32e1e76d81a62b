//! From the journal to Gold.

use std::collections::BTreeSet;

use contract::Verdict;
use journal::Record;

use crate::place::{Arriving, HOUR, Place, RECEIVED};

fn pages(from: u32, to: u32) -> Vec<Arriving> {
    (from..to).map(|number| Arriving::page(&format!("page-{number}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_add_nothing_however_they_come() {
    let place = Place::new();
    // Within one append, in a later one, and after a restart with the index gone.
    let mut events = pages(0, 10);
    events.extend(pages(5, 10));
    place.feed(&events).await;
    place.feed(&pages(0, 12)).await;
    std::fs::remove_dir_all(place.path().join("index")).unwrap();
    place.feed(&pages(0, 13)).await;
    assert_eq!(place.counts().await, (10 + 5 + 12 + 13, 13, 0));
    let books = place.audit().await;
    assert!(books.balanced, "{books:?}");
    assert_eq!((books.total.received, books.total.silver, books.total.duplicates), (40, 13, 27));
    assert_eq!(place.number("SELECT sum(events) FROM gold.activity_by_day").await, 13);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_damaged_is_made_anew_and_nothing_stops() {
    let place = Place::new();
    place.feed(&pages(0, 300)).await;
    // A bit of a block: the index opens, and the damage is found by the question that reads it.
    let mut damaged = 0;
    for entry in std::fs::read_dir(place.path().join("index")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "run") {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[100] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    assert!(damaged > 0, "there was no run to damage");
    place.feed(&pages(0, 320)).await;
    assert_eq!(place.counts().await, (300 + 320, 320, 0));
    assert!(place.audit().await.balanced);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_with_another_content_is_kept_aside() {
    let place = Place::new();
    let other = r#"{"event_id":"page-0","event_type":"page_view","event_time":"2026-11-23T09:59:31Z","anonymous_id":"somebody else"}"#;
    place.feed(&[Arriving::page("page-0"), Arriving::with("page-0", other)]).await;
    place.feed(&[Arriving::with("page-0", other)]).await;
    assert_eq!(place.counts().await, (3, 1, 2));
    assert_eq!(place.texts("SELECT DISTINCT code FROM dead_letters").await, ["identity_conflict"]);
    assert_eq!(place.texts("SELECT anonymous_id FROM silver.events").await, ["a1"]);
    assert!(place.audit().await.balanced);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_bad_is_kept_with_its_reason() {
    let place = Place::new();
    let journal = place.journal().await;
    let events = [
        Arriving::page("good"),
        Arriving::page("quarantined").judged(Verdict::Quarantined),
        Arriving::page("flagged").judged(Verdict::Flagged),
        Arriving::page("refused").judged(Verdict::Refused),
        Arriving::with("undecodable", r#"{"event_id":"undecodable","event_type":7}"#),
    ];
    place.append(&journal, &events).await;
    // A record that no gate of ours wrote.
    journal.append(vec![Record { key: [7; 16], header: "no receipt".into(), value: "x".into() }]).await.unwrap();
    place.drain(journal).await;
    assert_eq!(place.counts().await, (4, 2, 4));
    let reasons = place.texts("SELECT stage || ' ' || code || ' ' || event_id FROM dead_letters WHERE stage <> 'bronze' ORDER BY 1").await;
    assert_eq!(reasons, ["gate wrong_type refused", "plan wrong_type quarantined", "silver wrong_type undecodable"]);
    assert_eq!(place.number("SELECT count(*) FROM dead_letters WHERE code = 'unreadable_receipt'").await, 1);
    let books = place.audit().await;
    assert!(books.balanced, "{books:?}");
    assert_eq!((books.total.received, books.total.accepted, books.total.refused, books.total.dead_letters), (6, 4, 2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn late_events_go_to_their_own_day_and_correct_what_they_touch() {
    let place = Place::new();
    let at = |id: &str, time: &str| {
        Arriving::with(id, &format!(r#"{{"event_id":"{id}","event_type":"page_view","event_time":"{time}","user_id":"u"}}"#))
    };
    place.feed(&[at("monday", "2026-11-23T09:00:00Z"), at("just in time", "2026-11-23T09:00:00.000001Z")]).await;
    place.feed(&[at("late", "2026-11-20T09:00:00Z"), at("from the future", "2027-11-20T09:00:00Z")]).await;
    let by_day = "SELECT event_date, sum(events) AS events FROM gold.activity_by_day GROUP BY event_date";
    let days = format!("SELECT CAST(event_date AS VARCHAR) || ' ' || CAST(events AS VARCHAR) FROM ({by_day}) ORDER BY 1");
    assert_eq!(place.texts(&days).await, ["2026-11-20 1", "2026-11-23 3"]);
    assert_eq!(place.texts("SELECT event_id FROM silver.events WHERE is_late").await, ["late"]);
    assert_eq!(place.texts("SELECT event_id FROM silver.events WHERE clock_corrected").await, ["from the future"]);
    assert_eq!(place.number("SELECT count(*) FROM gold.activity_by_minute WHERE event_date = DATE '2026-11-20' AND late = 1").await, 1);
}

/// The files of a table, each with the partition it is in.
async fn files(place: &Place, table: &str) -> BTreeSet<(String, String)> {
    let mut table = place.lake().await.reader(table).await.unwrap().unwrap();
    let files = table.files().await.unwrap();
    let partition = |file: &lake::Added| file.partition_values.values().next().cloned().flatten().unwrap_or_default();
    files.iter().map(|file| (file.path.clone(), partition(file))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_sixty_days_ago_changes_its_own_rows_and_touches_no_other_file() {
    const TABLES: [&str; 5] =
        ["silver.events", "silver.exposures", "gold.activity_by_minute", "gold.activity_by_day", "gold.experiment_subjects"];
    let place = Place::new();
    let day = |ago: u32| (chrono::NaiveDate::from_ymd_opt(2026, 11, 23).unwrap() - chrono::Days::new(ago.into())).to_string();
    let view = |id: &str, ago: u32| {
        Arriving::with(
            id,
            &format!(r#"{{"event_id":"{id}","event_type":"page_view","event_time":"{}T09:00:00Z","user_id":"u"}}"#, day(ago)),
        )
    };
    let mut events: Vec<Arriving> = (0..70).flat_map(|ago| [view(&format!("a{ago}"), ago), view(&format!("b{ago}"), ago)]).collect();
    events.push(Arriving::exposure("e", "ann", "treatment", &format!("{}T09:10:00Z", day(60))));
    place.feed(&events).await;
    let rows = "SELECT CAST(event_date AS VARCHAR) || ' ' || event_type || ' ' || CAST(events AS VARCHAR) || ' ' || CAST(users AS VARCHAR) FROM gold.activity_by_day \
                ORDER BY 1";
    let (rows_before, mut before) = (place.texts(rows).await, Vec::new());
    for table in TABLES {
        before.push(files(&place, table).await);
    }

    place.feed(&[view("late", 60)]).await;

    let changed: Vec<(String, String)> =
        rows_before.iter().zip(place.texts(rows).await).filter(|(was, is)| *was != is).map(|(was, is)| (was.clone(), is)).collect();
    assert_eq!(changed, [(format!("{} page_view 2 1", day(60)), format!("{} page_view 3 1", day(60)))]);
    for (table, before) in TABLES.iter().zip(before) {
        let after = files(&place, table).await;
        let touched: BTreeSet<&str> = before.symmetric_difference(&after).map(|(_, partition)| partition.as_str()).collect();
        let expected: Vec<String> = if table.ends_with("exposures") || table.ends_with("subjects") { Vec::new() } else { vec![day(60)] };
        assert_eq!(touched.into_iter().collect::<Vec<_>>(), expected, "{table}");
        assert!(table.starts_with("gold.") || before.is_subset(&after), "{table}: rows of Silver stay where they are");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_exposure_by_event_time_counts_whenever_it_comes() {
    let place = Place::new();
    let first = [
        Arriving::exposure("e1", "ann", "treatment", "2026-11-23T09:10:00Z"),
        Arriving::exposure("e2", "bob", "control", "2026-11-23T09:10:00Z"),
        Arriving::exposure("e3", "bob", "control", "2026-11-23T09:20:00Z"),
    ];
    place.feed(&first).await;
    let subjects = "SELECT subject_id || ' ' || variation_id || ' ' || CAST(exposures AS VARCHAR) || ' ' || CAST(contaminated AS VARCHAR) FROM \
                    gold.experiment_subjects ORDER BY 1";
    assert_eq!(place.texts(subjects).await, ["ann treatment 1 false", "bob control 2 false"]);
    place.feed(&[Arriving::exposure("e4", "ann", "control", "2026-11-23T09:05:00Z")]).await;
    assert_eq!(place.texts(subjects).await, ["ann control 2 true", "bob control 2 false"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn silver_is_the_same_whatever_the_batches() {
    let rows = "SELECT concat_ws('|', event_id, CAST(event_time AS VARCHAR), CAST(is_late AS VARCHAR), anonymous_id, CAST(journal_offset AS VARCHAR)) FROM \
                silver.events ORDER BY 1";
    let mut silvers = Vec::new();
    for batch_records_max in [1, 3, 1000] {
        let mut place = Place::new();
        place.config.batch_records_max = batch_records_max;
        place.config.silver_rows_max = batch_records_max as u64;
        let mut events = pages(0, 20);
        events.extend(pages(3, 9));
        for (number, event) in events.iter_mut().enumerate() {
            event.received = RECEIVED + number as i64 * HOUR;
        }
        place.feed(&events).await;
        silvers.push(place.texts(rows).await);
    }
    assert_eq!(silvers[0].len(), 20);
    assert!(silvers.iter().all(|silver| *silver == silvers[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_not_the_lakes_is_refused() {
    let place = Place::new();
    place.feed(&pages(0, 50)).await;
    std::fs::remove_dir_all(place.path().join("journal")).unwrap();
    let journal = place.journal().await;
    let refused = place.pipeline(journal).await.unwrap_err().to_string();
    assert!(refused.contains("greater generation"), "{refused}");
}
