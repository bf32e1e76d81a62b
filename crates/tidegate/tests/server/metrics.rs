//! What `/metrics` tells is what the books say, to the event, through kills, pauses, bad input and copies.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::process::{KEY, Place, client};
use crate::traffic::{Load, Traffic, check_silver_where};

const SETTLED_MAX: Duration = Duration::from_secs(60);
/// Of the first load, when the server is killed: events that were acknowledged.
const KILL_AT: [u64; 2] = [4_000, 9_000];

/// Samples by name and labels, as they stand there.
type Scraped = BTreeMap<String, f64>;

async fn scrape(place: &Place) -> Scraped {
    let text = client().get(format!("{}/metrics", place.url())).send().await.unwrap().text().await.unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    samples.map(|line| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.parse().unwrap())).unwrap()).collect()
}

/// The sum of a metric over those of its labels that hold this text.
fn sum(scraped: &Scraped, name: &str, label: &str) -> u64 {
    let is_it = |key: &&String| key.split('{').next() == Some(name) && key.contains(label);
    scraped.iter().filter(|(key, _)| is_it(key)).map(|(_, value)| *value as u64).sum()
}

fn told(place: &Place) -> Value {
    serde_json::from_str::<Value>(&place.run_sound(&["audit", "--format", "json"])).unwrap()["total"].clone()
}

fn number(books: &Value, name: &str) -> u64 {
    books[name].as_u64().unwrap_or_default()
}

/// Waits until nothing is on its way and the gauges say so; what is told then.
async fn settled(place: &Place) -> (Scraped, Value) {
    let began = Instant::now();
    loop {
        let (scraped, books) = (scrape(place).await, told(place));
        let gauge = |measure: &str| sum(&scraped, "tidegate_ledger_events", &format!("measure=\"{measure}\""));
        let is_level = number(&books, "pending") == 0 && sum(&scraped, "tidegate_bronze_lag_records", "") == 0;
        if is_level
            && gauge("received") == number(&books, "received")
            && gauge("silver") == number(&books, "silver")
            && gauge("pending") == 0
        {
            // What came between the two would be in the next.
            if told(place) == books {
                return (scraped, books);
            }
        }
        assert!(
            began.elapsed() < SETTLED_MAX,
            "{books} {:?}",
            scraped.iter().filter(|(key, _)| key.contains("ledger")).collect::<Vec<_>>()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Requests of which some are bad in each way there is: broken events, bodies and keys.
async fn send_bad(place: &Place, round: u64) {
    let post = async |key: &str, body: String| {
        let request =
            client().post(format!("{}/v1/events", place.url())).basic_auth(key, Some("")).header(CONTENT_TYPE, "application/json");
        request.body(body).send().await.unwrap().status().as_u16()
    };
    let view = |id: String, url: Value| json!({"event_id": id, "event_type": "page_view", "anonymous_id": "a", "properties": {"url": url}});
    let good = view(format!("good-{round}"), json!("/"));
    let late =
        json!({"event_id": format!("late-{round}"), "event_type": "page_view", "event_time": "2026-01-01T00:00:00Z", "anonymous_id": "a"});
    // One good, its copy, one that breaks the plan, one without a type, one that is late.
    let mixed = json!([good, good, view(format!("bad-{round}"), json!(7)), {"event_id": format!("none-{round}")}, late]);
    assert_eq!(post(KEY, mixed.to_string()).await, 200);
    assert_eq!(post(KEY, "[{\"event_id\": ".to_owned()).await, 400);
    assert_eq!(post("tg_no_such_key", json!([good]).to_string()).await, 401);
}

fn load(events: u64) -> Load {
    Load { batch: 50, rate: 4_000, events }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_and_books_agree_to_the_event() {
    let place = Place::with(vec![
        ("TIDEGATE_PIPELINE__WATCH_INTERVAL".to_owned(), "200ms".to_owned()),
        ("TIDEGATE_PIPELINE__COMMIT_INTERVAL".to_owned(), "100ms".to_owned()),
    ]);
    let mut server = place.start();
    let traffic = Traffic::start(vec![place.url()], load(12_000));
    for at in KILL_AT {
        while traffic.acknowledged() < at {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        server.kill();
        traffic.wait_for_failure(traffic.failed()).await;
        server = place.start();
    }
    let first = traffic.finish().await;
    assert!(first.iter().any(|client| client.retried > 0), "the kills were met by no client");
    let (one, books_one) = settled(&place).await;

    // What this process did since is what it says it did: the gate, the stages, and the books.
    let traffic = Traffic::start_from(vec![place.url()], load(8_000), 100);
    for round in 0..20 {
        send_bad(&place, round).await;
        if round % 8 == 3 {
            server.freeze();
            tokio::time::sleep(Duration::from_millis(300)).await;
            server.thaw();
        }
    }
    let second = traffic.finish().await;
    let (two, books_two) = settled(&place).await;
    let grown = |name: &str, label: &str| sum(&two, name, label) - sum(&one, name, label);
    let booked = |name: &str| number(&books_two, name) - number(&books_one, name);
    for (name, label, book) in [
        ("tidegate_ingest_received_total", "", "received"),
        ("tidegate_journal_appended_records_total", "", "received"),
        ("tidegate_bronze_records_total", "", "received"),
        ("tidegate_ingest_accepted_total", "", "accepted"),
        ("tidegate_bronze_rows_total", "", "accepted"),
        ("tidegate_ingest_refused_total", "", "refused"),
        ("tidegate_silver_read_rows_total", "", "accepted"),
        ("tidegate_silver_rows_total", "outcome=\"silver\"", "silver"),
        ("tidegate_silver_rows_total", "outcome=\"duplicate\"", "duplicates"),
        ("tidegate_silver_rows_total", "outcome=\"dead_letter\"", "dead_letters"),
        ("tidegate_silver_rows_total", "outcome=\"late\"", "late"),
        ("tidegate_lake_commit_rows_total", "table=\"silver.events\"", "silver"),
        ("tidegate_lake_commit_rows_total", "table=\"bronze.events\"", "accepted"),
    ] {
        assert_eq!(grown(name, label), booked(book), "{name} {label}");
    }
    let sent: u64 = second.iter().map(|client| client.acknowledged + client.copies).sum();
    assert!(booked("received") >= sent + 20 * 6, "{} {sent}", booked("received"));
    assert_eq!(
        (booked("refused"), booked("dead_letters")),
        (40, 20),
        "of each round an event without a type and a broken body, and one that breaks the plan"
    );
    for (measure, book) in [
        ("received", "received"),
        ("accepted", "accepted"),
        ("refused", "refused"),
        ("silver", "silver"),
        ("duplicate", "duplicates"),
        ("dead_letter", "dead_letters"),
        ("late", "late"),
    ] {
        assert_eq!(sum(&two, "tidegate_ledger_events", &format!("measure=\"{measure}\"")), number(&books_two, book), "{measure}");
    }
    for (table, book) in [("bronze.events", "bronze"), ("silver.events", "silver")] {
        assert_eq!(sum(&two, "tidegate_table_rows", &format!("table=\"{table}\"")), number(&books_two, book), "{table}");
    }
    assert_eq!(sum(&two, "tidegate_ledger_findings", ""), 0);
    server.stop(&place);
    check_silver_where(&place, &first, "event_id LIKE 'c_-%'");
}
