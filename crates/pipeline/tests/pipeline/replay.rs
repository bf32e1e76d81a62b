//! Rebuilds from Bronze: the same rows as live Silver whatever happened to either, differences that are found and named, and a cut-over under traffic.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray as _, RecordBatch, StringArray};
use chrono::NaiveDate;
use contract::Verdict;
use lake::{Commit, Lake};
use pipeline::replay::{Replay, drop_build};
use pipeline::{Compared, Pipeline};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;

use crate::place::{Arriving, HOUR, Place, RECEIVED};

/// Events of all kinds: of several days, copies near and far, late ones, exposures, other events under an id that is taken, and what cannot be a row of Silver.
fn events(count: usize) -> Vec<Arriving> {
    let event = |number: usize| {
        let arriving = number;
        let number = if number % 9 == 8 { number / 2 } else { number };
        // Another event under an id that is taken.
        let id = format!("event-{}", if number % 40 == 7 { number / 2 } else { number });
        let day = 10 + number % 7;
        let page = format!(
            r#"{{"event_id":"{id}","event_type":"page_view","event_time":"2026-11-{day}T09:59:30Z","user_id":"u{}"}}"#,
            number % 50
        );
        let mut event = match number % 11 {
            0 => Arriving::exposure(&id, &format!("s{}", number % 30), "control", "2026-11-23T09:10:00Z"),
            1 => Arriving::page(&id).judged(Verdict::Quarantined),
            2 => Arriving::page(&id).judged(Verdict::Refused),
            3 => Arriving::with(&id, r#"{"event_id":"x","event_type":7}"#),
            4 => Arriving::page(&id).judged(Verdict::Flagged),
            _ => Arriving::with(&id, &page),
        };
        event.received = RECEIVED + (arriving as i64 % 40) * HOUR / 4;
        event
    };
    (0..count).map(event).collect()
}

fn small(place: &mut Place) {
    place.config.batch_records_max = 70;
    place.config.silver_rows_max = 90;
    place.config.index.memtable_entries_max = 60;
}

fn replay(place: &Place, into: &str) -> Replay {
    Replay { into: into.to_owned(), from: None, to: None, index_folder: place.path().join(format!("index-{into}")) }
}

async fn rebuild(place: &Place, into: &str) -> pipeline::replay::Rebuilt {
    replay(place, into).run(&place.lake().await, &place.config, &|_| ()).await.unwrap()
}

async fn compare(place: &Place, right: &str) -> Compared {
    pipeline::diff(&place.lake().await, "silver", right, &place.config).await.unwrap()
}

/// How many rows one of two tables has and the other has not, either way.
async fn unlike(place: &Place, one: &str, other: &str) -> i64 {
    let columns = place.lake().await.reader(one).await.unwrap().unwrap().schema();
    let columns: Vec<&str> = columns.fields().iter().map(|field| field.name().as_str()).collect();
    let all = columns.join(", ");
    // Equal rows are counted first: EXCEPT ALL is an anti join in DataFusion.
    let counted = |table: &str| format!("SELECT {all}, count(*) AS copies FROM {table} GROUP BY {all}");
    let (one, other) = (counted(one), counted(other));
    place.number(&format!("SELECT count(*) FROM (({one} EXCEPT {other}) UNION ALL ({other} EXCEPT {one}))")).await
}

/// Replaces a day of Silver by what the change makes of its rows, as somebody with another tool could.
async fn tamper(lake: &Lake, day: &str, change: impl Fn(RecordBatch) -> RecordBatch) {
    let mut silver = lake.reader("silver.events").await.unwrap().unwrap();
    let mut files = silver.files().await.unwrap();
    files.retain(|file| file.partition_values.get("event_date").cloned().flatten().as_deref() == Some(day));
    let rows: Vec<RecordBatch> = silver.read(&files, None).await.unwrap().into_iter().map(change).collect();
    silver.replace("event_date", &[day.to_owned()], rows, Commit::default()).await.unwrap();
}

fn column_of<'a>(batch: &'a RecordBatch, name: &str) -> &'a StringArray {
    batch.column_by_name(name).unwrap().as_string::<i32>()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_is_live_silver_row_for_row() {
    let mut place = Place::new();
    small(&mut place);
    let all = events(1_400);
    for part in all.chunks(300) {
        place.feed(part).await;
    }
    let rebuilt = rebuild(&place, "silver_v2").await;
    assert!(!rebuilt.resumed && rebuilt.silver > 800 && rebuilt.duplicates > 20, "{rebuilt:?}");
    let compared = compare(&place, "silver_v2").await;
    assert!(compared.identical && compared.rows_left == rebuilt.silver, "{compared:?}");
    for table in ["events", "exposures"] {
        assert_eq!(unlike(&place, &format!("silver.{table}"), &format!("silver_v2.{table}")).await, 0, "{table}");
    }
    for table in ["activity_by_minute", "activity_by_day", "experiment_subjects"] {
        assert_eq!(unlike(&place, &format!("gold.{table}"), &format!("gold_v2.{table}")).await, 0, "{table}");
    }
    let live = place.number("SELECT count(*) FROM dead_letters WHERE stage IN ('plan', 'silver')").await;
    assert_eq!(place.number("SELECT count(*) FROM silver_v2.dead_letters").await, live);
    assert!(place.number("SELECT count(*) FROM dead_letters WHERE code = 'identity_conflict'").await > 0);

    // More comes in: a comparison leaves it out, and the rebuild catches up with it by the live algorithm.
    place.feed(&events(1_700)[1_000..]).await;
    let behind = compare(&place, "silver_v2").await;
    assert!(behind.identical && behind.rows_left == rebuilt.silver, "{behind:?}");
    let again = rebuild(&place, "silver_v2").await;
    assert!(again.resumed && again.silver > rebuilt.silver && again.bronze_version > rebuilt.bronze_version, "{again:?}");
    let compared = compare(&place, "silver_v2").await;
    assert!(compared.identical && compared.rows_left == again.silver, "{compared:?}");
    assert_eq!(unlike(&place, "gold.activity_by_day", "gold_v2.activity_by_day").await, 0);
    drop_build(&place.lake().await, "silver_v2").await.unwrap();
    assert!(place.lake().await.tables().await.unwrap().iter().all(|table| !table.contains("_v2")));
    assert!(drop_build(&place.lake().await, "silver_v2").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_is_cut_off_anywhere_ends_the_same() {
    let mut random = StdRng::seed_from_u64(3);
    let mut place = Place::new();
    small(&mut place);
    place.feed(&events(1_500)).await;
    // Cuts come within the time that a rebuild takes on this machine now: most of them cut something off, and some leave something done.
    let began = std::time::Instant::now();
    rebuild(&place, "silver_v1").await;
    let whole = began.elapsed();
    drop_build(&place.lake().await, "silver_v1").await.unwrap();
    let mut cuts = 0;
    for _ in 0..20 {
        let (replay, lake) = (replay(&place, "silver_v2"), place.lake().await);
        let cut = whole.mul_f64(random.random_range(0.0..1.0));
        cuts += u32::from(tokio::time::timeout(cut, replay.run(&lake, &place.config, &|_| ())).await.is_err());
    }
    assert!(cuts > 5, "only {cuts} were cut off");
    let rebuilt = rebuild(&place, "silver_v2").await;
    assert!(rebuilt.resumed);
    let compared = compare(&place, "silver_v2").await;
    assert!(compared.identical && compared.rows_right == rebuilt.silver, "{compared:?}");
    for table in ["events", "exposures"] {
        assert_eq!(unlike(&place, &format!("silver.{table}"), &format!("silver_v2.{table}")).await, 0, "{table}");
    }
    let letters = "SELECT count(*) FROM silver_v2.dead_letters";
    assert_eq!(place.number(letters).await, place.number("SELECT count(*) FROM dead_letters WHERE stage IN ('plan', 'silver')").await);
    let places = "SELECT count(*) - count(DISTINCT journal_partition * 1000000 + journal_offset) FROM silver_v2.dead_letters";
    assert_eq!(place.number(places).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_byte_one_loss_and_one_copy_are_found_and_named() {
    let mut place = Place::new();
    small(&mut place);
    place.feed(&events(700)).await;
    rebuild(&place, "silver_v2").await;
    let lake = place.lake().await;
    let day = "2026-11-15";
    let ids = place.texts(&format!("SELECT event_id FROM silver.events WHERE event_date = DATE '{day}' ORDER BY event_id LIMIT 3")).await;
    let [altered, lost, doubled] = <[String; 3]>::try_from(ids).unwrap();
    tamper(&lake, day, |batch| {
        let ids = column_of(&batch, "event_id");
        let properties = column_of(&batch, "properties");
        let changed: StringArray =
            ids.iter().zip(properties).map(|(id, text)| if id == Some(&altered) { Some("{ }") } else { text }).collect();
        let number = batch.schema().index_of("properties").unwrap();
        let mut columns = batch.columns().to_vec();
        columns[number] = Arc::new(changed);
        let batch = RecordBatch::try_new(batch.schema(), columns).unwrap();
        let rows = column_of(&batch, "event_id").iter().enumerate().flat_map(|(row, id)| {
            let times = if id == Some(&lost) { 0 } else { 1 + usize::from(id == Some(&doubled)) };
            std::iter::repeat_n(row as u32, times)
        });
        let rows = arrow::array::UInt32Array::from_iter_values(rows);
        arrow::compute::take_record_batch(&batch, &rows).unwrap()
    })
    .await;
    let compared = compare(&place, "silver_v2").await;
    // One is lost and one is there twice: the counts agree.
    assert!(!compared.identical && compared.rows_left == compared.rows_right, "{compared:?}");
    assert_eq!(compared.days.iter().map(|day| day.event_date.as_str()).collect::<Vec<_>>(), [day]);
    let of = |id: &str| compared.differences.iter().find(|difference| difference.event_id == id).unwrap();
    assert_eq!(compared.differences.len(), 3, "{:?}", compared.differences);
    let columns: Vec<_> =
        of(&altered).columns.iter().map(|column| (column.column.as_str(), column.left.as_deref(), column.right.as_deref())).collect();
    assert_eq!(columns, [("properties", Some("{ }"), Some("{}"))]);
    assert_eq!(of(&lost).what, "only silver_v2 has it");
    assert_eq!(of(&doubled).what, "silver has it 2 times, silver_v2 1 times");
    assert!(
        compared.differences.iter().all(|difference| difference.why.contains("what silver has is not that")),
        "{:?}",
        compared.differences
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn some_days_are_rebuilt_with_all_copies_in_view() {
    let mut place = Place::new();
    small(&mut place);
    place.feed(&events(900)).await;
    let day = |day: u32| NaiveDate::from_ymd_opt(2026, 11, day);
    let some = Replay { from: day(12), to: day(14), ..replay(&place, "silver_days") };
    let rebuilt = some.run(&place.lake().await, &place.config, &|_| ()).await.unwrap();
    let live = "SELECT count(*) FROM silver.events WHERE event_date >= DATE '2026-11-12' AND event_date < DATE '2026-11-14'";
    assert_eq!(rebuilt.silver, place.number(live).await.unsigned_abs());
    place.feed(&events(1_000)[800..]).await;
    let compared = compare(&place, "silver_days").await;
    assert!(compared.identical && compared.rows_left == rebuilt.silver && rebuilt.silver > 50, "{compared:?}");
    let refused = some.cut_over(&place.lake().await, &place.config, &|_| ()).await.unwrap_err().to_string();
    assert!(refused.contains("some days only"), "{refused}");
    let other = Replay { from: day(13), ..some };
    let refused = other.run(&place.lake().await, &place.config, &|_| ()).await.unwrap_err().to_string();
    assert!(refused.contains("begun with other settings or days"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_over_mends_silver_and_the_live_stages_go_on_from_it() {
    let mut place = Place::new();
    small(&mut place);
    let all = events(1_600);
    place.feed(&all[..800]).await;
    let lake = place.lake().await;
    let day = "2026-11-14";
    let [lost, _] = <[String; 2]>::try_from(
        place.texts(&format!("SELECT event_id FROM silver.events WHERE event_date = DATE '{day}' ORDER BY event_id LIMIT 2")).await,
    )
    .unwrap();
    tamper(&lake, day, |batch| {
        let keep = column_of(&batch, "event_id").iter().map(|id| Some(id != Some(lost.as_str()))).collect();
        arrow::compute::filter_record_batch(&batch, &keep).unwrap()
    })
    .await;
    let books = place.audit().await;
    assert!(!books.balanced && books.findings.iter().any(|finding| finding.text().contains(&lost)), "{:?}", books.findings);

    // Traffic goes on while it is rebuilt and cut over, copies of what was lost among it.
    let journal = place.journal().await;
    let running: Pipeline = place.pipeline(Arc::clone(&journal)).await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(running.run(stopped));
    let feeding = async {
        for part in all[800..1_400].chunks(30) {
            place.append(&journal, part).await;
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    };
    let cutting = async {
        rebuild(&place, "silver_v2").await;
        replay(&place, "silver_v2").cut_over(&place.lake().await, &place.config, &|_| ()).await.unwrap()
    };
    let (cut_over, ()) = tokio::join!(cutting, feeding);
    // The live stage stands still for it: it can be faster with what it had decided before it knew.
    assert!(cut_over.silver > 400 && cut_over.attempts_lost <= 2, "{cut_over:?}");
    // Every event once more: nothing may be there twice, whatever the live stage knew before.
    place.append(&journal, &all).await;
    stop.send_replace(true);
    running.await.unwrap().unwrap();
    assert_eq!(place.number("SELECT count(*) - count(DISTINCT event_id) FROM silver.events").await, 0);
    assert_eq!(place.number(&format!("SELECT count(*) FROM silver.events WHERE event_id = '{lost}'")).await, 1);
    let books = place.audit().await;
    assert!(books.balanced, "{:?}", books.findings);
    assert_eq!(books.total.pending, 0);
    assert!(!place.lake().await.tables().await.unwrap().iter().any(|table| table.starts_with("silver_v2")));
    let gold = place.number("SELECT sum(events) FROM gold.activity_by_day").await;
    assert_eq!(gold, place.number("SELECT count(*) FROM silver.events").await);
    // And it is still what Bronze gives.
    rebuild(&place, "silver_v3").await;
    let compared = compare(&place, "silver_v3").await;
    assert!(compared.identical, "{compared:?}");
    assert_eq!(unlike(&place, "gold.activity_by_day", "gold_v3.activity_by_day").await, 0);
    // The ledger says what was corrected, and its sums are those of the tables.
    assert!(place.number("SELECT count(*) FROM ledger WHERE stage = 'replay' AND measure = 'silver'").await <= 40);
    let sum = "SELECT sum(count) FROM ledger WHERE measure = 'silver'";
    assert_eq!(place.number(sum).await, place.number("SELECT count(*) FROM silver.events").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_cannot_be_are_refused() {
    let place = Place::new();
    place.feed(&events(20)).await;
    let lake = place.lake().await;
    for bad in ["silver", "gold_v2", "silver_", "silver_a/b"] {
        let refused = replay(&place, bad).run(&lake, &place.config, &|_| ()).await.unwrap_err();
        assert_eq!(refused.kind(), pipeline::ErrorKind::Setting, "{refused}");
    }
    let refused = replay(&place, "silver_none").cut_over(&lake, &place.config, &|_| ()).await.unwrap_err().to_string();
    assert!(refused.contains("there is no such rebuild"), "{refused}");
    let refused = pipeline::diff(&lake, "silver", "silver_none", &place.config).await.unwrap_err().to_string();
    assert!(refused.contains("has no rebuild"), "{refused}");
}
