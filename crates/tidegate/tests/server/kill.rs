//! kill -9 under load, again and again: what was answered with success is in Bronze, and exactly once in Silver.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::process::{KEY, Place, client};

/// `TIDEGATE_TEST_KILLS` sets another number.
const KILLS: u32 = 50;
const CLIENTS: u64 = 4;
const BATCH_EVENTS_MAX: u64 = 20;

/// What a client did.
#[derive(Default)]
struct Sent {
    /// Ids of events that were answered with success.
    acknowledged: BTreeSet<String>,
    /// Batches that had to be sent more than once.
    retried: u64,
    /// Batches that were sent again although they had been taken.
    repeated: u64,
}

fn batch(client: u64, first: u64, count: u64) -> Value {
    let event = |number: u64| {
        json!({
            "event_id": format!("client{client}-{number}"),
            "event_type": if number % 10 == 1 { "conversion" } else { "page_view" },
            "event_time": "2026-03-29T12:34:56Z",
            "anonymous_id": format!("someone-{}", number % 100),
            // One event in 25 breaks the built-in plan and is kept as a dead letter.
            "properties": if number.is_multiple_of(25) { json!({"url": 7}) } else { json!({"url": format!("https://example.com/{number}")}) },
        })
    };
    (first..first + count).map(event).collect()
}

/// Sends batch after batch, each until it is answered with success, until told to stop.
async fn load(url: String, number: u64, stop: Arc<AtomicBool>) -> Sent {
    let mut random = StdRng::seed_from_u64(number);
    let (http, mut sent, mut first) = (client(), Sent::default(), 0);
    while !stop.load(Ordering::SeqCst) {
        let count = random.random_range(1..=BATCH_EVENTS_MAX);
        let events = batch(number, first, count);
        let times = if random.random_bool(0.05) { 2 } else { 1 };
        for _ in 0..times {
            let mut attempts = 0;
            while let Err(problem) = post(&http, &url, &events).await {
                assert!(problem != "refused", "a sound batch was refused");
                attempts += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            sent.retried += u64::from(attempts > 0);
        }
        sent.repeated += times - 1;
        sent.acknowledged.extend((first..first + count).map(|event| format!("client{number}-{event}")));
        first += count;
    }
    sent
}

async fn post(http: &reqwest::Client, url: &str, events: &Value) -> Result<(), &'static str> {
    let request = http.post(format!("{url}/v1/events")).basic_auth(KEY, Some("")).json(events);
    let answer = request.send().await.map_err(|_| "no answer")?;
    let status = answer.status().as_u16();
    match status {
        200 => {
            let body: Value = answer.json().await.map_err(|_| "half an answer")?;
            assert_eq!(body["success"], true, "{body}");
            Ok(())
        }
        429 | 503 => Err("wait"),
        _ => Err("refused"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_doubled_by_kills() {
    let kills = std::env::var("TIDEGATE_TEST_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let place = Place::new();
    let stop = Arc::new(AtomicBool::new(false));
    let mut server = place.start();
    let clients: Vec<_> = (0..CLIENTS).map(|number| tokio::spawn(load(place.url(), number, Arc::clone(&stop)))).collect();
    let mut random = StdRng::seed_from_u64(0);
    for _ in 0..kills {
        // From "just started" to "some commits made".
        tokio::time::sleep(Duration::from_millis(random.random_range(0..1_500))).await;
        server.kill();
        server = place.start();
    }
    stop.store(true, Ordering::SeqCst);
    let mut sent = Sent::default();
    for client in clients {
        let client = client.await.unwrap();
        sent.acknowledged.extend(client.acknowledged);
        sent.retried += client.retried;
        sent.repeated += client.repeated;
    }
    assert!(sent.retried >= u64::from(kills) / 2, "the kills must have been felt: {} of {kills}", sent.retried);
    assert!(sent.repeated > 0);
    server.stop(&place);

    let audit = place.run(&["audit"]);
    assert!(audit.status.success(), "{}{}", crate::process::text(&audit.stdout), crate::process::text(&audit.stderr));
    let ids = |sql: &str| -> BTreeMap<String, u64> {
        let row = |row: Value| (row["event_id"].as_str().unwrap().to_owned(), row["n"].as_u64().unwrap());
        place.query(sql).into_iter().map(row).collect()
    };
    let bronze = ids("SELECT event_id, count(*) AS n FROM bronze.events GROUP BY event_id");
    let silver = ids("SELECT event_id, count(*) AS n FROM silver.events GROUP BY event_id");
    let dead = ids("SELECT event_id, count(*) AS n FROM dead_letters GROUP BY event_id");

    let lost: Vec<_> = sent.acknowledged.iter().filter(|id| !bronze.contains_key(*id)).take(5).collect();
    assert!(lost.is_empty(), "acknowledged and not in Bronze: {lost:?}");
    let doubled: Vec<_> = silver.iter().filter(|(_, copies)| **copies != 1).take(5).collect();
    assert!(doubled.is_empty(), "not once in Silver: {doubled:?}");
    for (id, copies) in &bronze {
        let quarantined = id.rsplit('-').next().unwrap().parse::<u64>().unwrap().is_multiple_of(25);
        let (in_silver, in_dead) = (silver.get(id).copied().unwrap_or(0), dead.get(id).copied().unwrap_or(0));
        let expected = if quarantined { (0, *copies) } else { (1, 0) };
        assert_eq!((in_silver, in_dead), expected, "{id} with {copies} copies in Bronze");
    }
    assert!(!dead.is_empty(), "some events must have been quarantined");
    println!(
        "{kills} kills: {} events acknowledged, {} rows in Bronze, {} in Silver, {} dead letters; {} batches retried, {} repeated",
        sent.acknowledged.len(),
        bronze.values().sum::<u64>(),
        silver.len(),
        dead.values().sum::<u64>(),
        sent.retried,
        sent.repeated
    );
}
