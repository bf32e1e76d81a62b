//! The audit finds what was planted, and names it.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use lake::{Commit, Lake};

use crate::place::{Arriving, Place};

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
    use arrow::array::AsArray as _;
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
