//! The audit finds what was planted, and names it.

use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use contract::Verdict;
use lake::{Commit, Lake};

use crate::place::{Arriving, HOUR, Place, RECEIVED};

async fn fed() -> Place {
    let place = Place::new();
    let events: Vec<_> = (0..30).map(|number| Arriving::page(&format!("page-{number}"))).collect();
    place.feed(&events).await;
    place
}

async fn rows(lake: &Lake, table: &str) -> RecordBatch {
    let mut table = lake.reader(table).await.unwrap().unwrap();
    let files = table.files().await.unwrap();
    concat_batches(&table.schema(), &table.read(&files, None).await.unwrap()).unwrap()
}

/// Rewrites a table's rows behind the program's back.
async fn tamper(place: &Place, table: &str, change: impl Fn(RecordBatch) -> RecordBatch) {
    let lake = place.lake().await;
    let changed = change(rows(&lake, table).await);
    let mut table = lake.reader(table).await.unwrap().unwrap();
    table.replace_all(vec![changed], Commit::default()).await.unwrap();
}

fn without(rows: &RecordBatch, gone: usize) -> RecordBatch {
    let parts = [rows.slice(0, gone), rows.slice(gone + 1, rows.num_rows() - gone - 1)];
    concat_batches(&rows.schema(), &parts).unwrap()
}

fn with_copy(rows: &RecordBatch, of: usize) -> RecordBatch {
    concat_batches(&rows.schema(), &[rows.clone(), rows.slice(of, 1)]).unwrap()
}

fn id(rows: &RecordBatch, row: usize) -> String {
    rows.column_by_name("event_id").unwrap().as_string::<i32>().value(row).to_owned()
}

async fn check(table: &str, change: impl Fn(RecordBatch) -> RecordBatch, part: &str) {
    let place = fed().await;
    assert!(place.audit().await.balanced);
    let before = rows(&place.lake().await, table).await;
    tamper(&place, table, change).await;
    let books = place.audit().await;
    assert!(!books.balanced, "{table}: {part}");
    let text = books.findings.iter().map(pipeline::Finding::text).collect::<Vec<_>>().join("\n");
    let part = part.replace("{3}", &id(&before, 3)).replace("{7}", &id(&before, 7));
    assert!(text.contains(&part), "{table}: {part} in\n{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_a_copy_and_a_swap_are_named() {
    check("silver.events", |rows| without(&rows, 3), "web/{3} is in Bronze, and neither in Silver nor among the dead letters").await;
    check("silver.events", |rows| with_copy(&rows, 7), "web/{7} is there 2 times").await;
    // One lost and one doubled: the count is right.
    check("silver.events", |rows| with_copy(&without(&rows, 3), 7), "web/{3} is in Bronze, and neither").await;
    check("silver.events", |rows| with_copy(&without(&rows, 3), 7), "30 each, but not the same events").await;
    check("bronze.events", |rows| without(&rows, 3), "web/{3} is in Silver, and not in Bronze").await;
    check("bronze.events", |rows| without(&rows, 3), "is missing").await;
    check("bronze.events", |rows| with_copy(&rows, 7), "is there again").await;
    check("bronze.events", |rows| rows.slice(0, 9), "are missing").await;
}

/// A deep audit of what a change made of a table.
async fn deep(place: &Place) -> pipeline::Books {
    let index = place.path().join("index-audit");
    pipeline::audit_deep(&place.lake().await, &place.config, index, &|_| ()).await.unwrap()
}

/// The rows with one byte of one row altered, in a column of texts.
fn altered(rows: &RecordBatch, column: &str, row: usize) -> RecordBatch {
    let number = rows.schema().index_of(column).unwrap();
    let texts = rows.column(number).as_string::<i32>();
    let change = |(index, text): (usize, Option<&str>)| match (index == row, text) {
        (true, Some(text)) => Some(text.replacen('}', "~", 1)),
        (_, text) => text.map(str::to_owned),
    };
    let texts: StringArray = texts.iter().enumerate().map(change).collect();
    let mut columns = rows.columns().to_vec();
    columns[number] = Arc::new(texts);
    RecordBatch::try_new(rows.schema(), columns).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deep_audit_finds_one_byte_and_an_aggregate_that_is_wrong() {
    let place = fed().await;
    let sound = deep(&place).await;
    assert!(sound.balanced && sound.compared == Some(30), "{sound:?}");
    tamper(&place, "silver.events", |rows| altered(&rows, "properties", 3)).await;
    let name = id(&rows(&place.lake().await, "silver.events").await, 3);
    assert!(place.audit().await.balanced, "identities and counts are right");
    let books = deep(&place).await;
    let text = books.findings.iter().map(pipeline::Finding::text).collect::<Vec<_>>().join("\n");
    assert!(!books.balanced && text.contains(&format!("web/{name}: ")) && text.contains("in properties"), "{text}");
    assert!(place.lake().await.tables().await.unwrap().iter().all(|table| !table.contains("audit")));

    let place = fed().await;
    tamper(&place, "gold.activity_by_day", |rows| with_copy(&rows, 0)).await;
    assert!(place.audit().await.balanced);
    let books = deep(&place).await;
    let text = books.findings.iter().map(pipeline::Finding::text).collect::<Vec<_>>().join("\n");
    assert!(
        text.contains("rows of gold.activity_by_day, against what its model makes of Silver") && text.contains("event_date 2026-"),
        "{text}"
    );
    assert_eq!(books.findings.len(), 1, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_was_changed_and_a_file_that_was_deleted_are_found() {
    let place = fed().await;
    tamper(&place, "ledger", |rows| without(&rows, 0)).await;
    let books = place.audit().await;
    assert!(!books.balanced && books.findings.iter().any(|finding| finding.text().contains("against what its commits say")), "{books:?}");

    let place = fed().await;
    let files = place.lake().await.reader("bronze.events").await.unwrap().unwrap().files().await.unwrap();
    std::fs::remove_file(place.path().join("lake/bronze/events").join(&files[0].path)).unwrap();
    let books = place.audit().await;
    let text: String = books.findings.iter().map(|finding| finding.text() + "\n").collect();
    assert!(!books.balanced && text.contains(&format!("{} with", files[0].path)) && text.contains("is gone"), "{text}");
    // Which events were in it is told by what became of them.
    let ids = place.texts("SELECT event_id FROM silver.events WHERE journal_offset < 2 ORDER BY journal_offset").await;
    assert!(!ids.is_empty());
    for id in ids {
        assert!(text.contains(&format!("web/{id} (says silver.events)")), "{id}: {text}");
    }
}

/// A glance tells the same totals as the audit, which reads all rows.
async fn glance_agrees(place: &Place, glance: &mut pipeline::Glance) -> pipeline::Standing {
    let (standing, books) = (glance.look().await.unwrap(), place.audit().await);
    assert!(books.balanced && standing.findings.is_empty(), "{:?} {:?}", books.findings, standing.findings);
    assert_eq!((&standing.total, &standing.sources), (&books.total, &books.sources));
    for (table, rows) in [("bronze.events", books.total.bronze), ("silver.events", books.total.silver)] {
        assert_eq!(standing.table(table).map(|table| table.rows), Some(rows), "{table}");
    }
    standing
}

#[tokio::test(flavor = "multi_thread")]
async fn a_glance_follows_the_tables() {
    let place = Place::new();
    let models = place.config.models().unwrap();
    let mut glance = pipeline::Glance::new(place.lake().await, &models);
    assert_eq!(glance.look().await.unwrap(), pipeline::Standing::default(), "there are no tables yet");

    let events: Vec<_> = (0..30).map(|number| Arriving::page(&format!("page-{number}"))).collect();
    place.feed(&events).await;
    let standing = glance_agrees(&place, &mut glance).await;
    assert_eq!((standing.total.received, standing.total.silver, standing.received), (30, 30, Some(RECEIVED)));
    assert_eq!(standing.table("gold.activity_by_day").and_then(|table| table.received), Some(RECEIVED));

    // Copies, what the gate refused and what Silver cannot take, an hour later.
    let mut more: Vec<_> = (20..40).map(|number| Arriving::page(&format!("page-{number}"))).collect();
    more.push(Arriving::page("refused").judged(Verdict::Refused));
    more.push(Arriving::page("quarantined").judged(Verdict::Quarantined));
    let later: Vec<_> = more.into_iter().map(|event| Arriving { received: RECEIVED + HOUR, ..event }).collect();
    place.feed(&later).await;
    let standing = glance_agrees(&place, &mut glance).await;
    let total = &standing.total;
    assert_eq!((total.received, total.refused, total.silver, total.duplicates, total.dead_letters), (52, 1, 40, 10, 1));
    assert_eq!((standing.received, standing.table("dead_letters").map(|table| table.rows)), (Some(RECEIVED + HOUR), Some(2)));
    // One that has seen nothing of it before tells the same.
    assert_eq!(pipeline::Glance::new(place.lake().await, &models).look().await.unwrap(), standing);

    tamper(&place, "silver.events", |rows| without(&rows, 3)).await;
    let findings = glance.look().await.unwrap().findings;
    let told: Vec<_> = findings.iter().map(pipeline::Finding::text).collect();
    assert_eq!(told, ["rows of Silver, against what its commits say: 40 expected, 39 found"]);
}
