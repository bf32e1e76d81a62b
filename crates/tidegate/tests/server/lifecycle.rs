//! From start to stop, and what is there in between.

use serde_json::{Value, json};

use crate::process::{KEY, Place, client, text};

async fn send(place: &Place, events: &Value) -> (u16, Value) {
    let request = client().post(format!("{}/v1/events", place.url())).basic_auth(KEY, Some("")).json(events);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn page_views(count: u32) -> Value {
    let event = |number: u32| {
        json!({
            "event_id": format!("page-{number}"),
            "event_type": "page_view",
            "event_time": "2026-03-29T12:34:56.789Z",
            "user_id": "u1",
            "properties": {"url": format!("https://example.com/a?n={number}"), "title": "A"},
        })
    };
    (0..count).map(event).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_can_be_queried_while_the_server_runs_and_after_it_stopped() {
    let place = Place::new();
    let server = place.start();
    let (status, body) = send(&place, &page_views(100)).await;
    assert_eq!((status, &body["accepted"]), (200, &json!(100)));
    place.wait_for("SELECT count(*) FROM silver.events", 100);
    // A copy of all of it, years later by the clock of whoever queries: nothing changes.
    send(&place, &page_views(100)).await;
    place.wait_for("SELECT count(*) FROM bronze.events", 200);
    server.stop(&place);

    assert_eq!(place.number("SELECT count(*) FROM silver.events"), 100);
    let row = &place.query("SELECT * FROM silver.events WHERE event_id = 'page-7'")[0];
    assert_eq!(row["source"], "web");
    assert_eq!(row["page_path"], "/a");
    assert_eq!(row["event_time"], "2026-03-29T12:34:56.789000Z");
    assert_eq!(place.number("SELECT sum(events) FROM gold.activity_by_day"), 100);
    let typed = &place.query("SELECT url, title, event_date FROM events.page_view WHERE event_id = 'page-7'")[0];
    assert_eq!((&typed["url"], &typed["title"]), (&json!("https://example.com/a?n=7"), &json!("A")));
    assert_eq!(place.number("SELECT count(*) FROM events.conversion WHERE revenue > 1.5"), 0);
    // Two records of it, one row, and where it counts.
    let steps: Vec<Value> = serde_json::from_str(&place.run_sound(&["trace", "page-7", "--format", "json"])).unwrap();
    let tables: Vec<&str> = steps.iter().map(|step| step["table"].as_str().unwrap()).collect();
    assert_eq!(tables[..5], ["bronze.events", "bronze.events", "silver.events", "gold.activity_by_minute", "gold.activity_by_day"]);
    assert!(tables.contains(&"gold.sessions"), "{tables:?}");
    let what: Vec<&str> = steps.iter().map(|step| step["what"].as_str().unwrap()).collect();
    assert!(what[0].ends_with("the row of Silver") && what[1].contains("a duplicate: "), "{what:?}");
    assert!(steps[0]["journal"] == steps[2]["journal"] && steps[0]["journal"] != steps[1]["journal"], "{steps:?}");
    assert!(what[2].contains("event_date 2026-03-29") && what[2].contains("late"), "{what:?}");
    assert_eq!(what[4], "event_date 2026-03-29: counted");
    assert_eq!(place.run(&["trace", "nobody"]).status.code(), Some(1));
    assert_eq!(place.number("SELECT sum(events) FROM gold.activity_by_minute"), 100);
    let books: Value = serde_json::from_str(&place.run_sound(&["audit", "--format", "json"])).unwrap();
    assert_eq!(books["balanced"], true, "{books}");

    // Started again, it goes on where it was.
    let server = place.start();
    send(&place, &page_views(150)).await;
    place.wait_for("SELECT count(*) FROM silver.events", 150);
    server.stop(&place);
    place.run_sound(&["audit"]);
}

/// The number of the oldest file of the journal.
fn oldest_segment(place: &Place) -> u64 {
    let names = std::fs::read_dir(place.data().join("journal")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(".segment")?.parse().ok()).min().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_the_data_folder_goes_on_as_the_original_does() {
    let place = Place::new();
    // Small files, so that the journal lets go of some.
    let settings = [("TIDEGATE_JOURNAL__SEGMENT_BYTES", "20000")];
    let server = place.start_with(&settings);
    let sent = 100;
    let began = std::time::Instant::now();
    while oldest_segment(&place) == 1 {
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "the journal let go of nothing");
        assert_eq!(send(&place, &page_views(sent)).await.0, 200);
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    // One is not like the others, and becomes a dead letter.
    assert_eq!(send(&place, &json!([{"event_id": "bad", "event_type": "page_view", "event_time": "no time"}])).await.0, 400);
    server.stop(&place);

    let copy = Place::of(tempfile::tempdir().unwrap(), Vec::new());
    let whole = format!("{}/.", place.data().display());
    assert!(std::process::Command::new("cp").args(["-a", &whole]).arg(copy.data()).status().unwrap().success());
    // Both at once, each with its own lake; keys are the same.
    let servers = [place.start_with(&settings), copy.start_with(&settings)];
    let received = place.number("SELECT count(*) FROM bronze.events");
    for (at, more) in [(&place, 10), (&copy, 20)] {
        assert_eq!(send(at, &page_views(sent + more)).await.0, 200);
        at.wait_for("SELECT count(*) FROM silver.events", u64::from(sent + more));
    }
    for (at, server) in [&place, &copy].into_iter().zip(servers) {
        server.stop(at);
        at.run_sound(&["audit", "--deep"]);
        assert_eq!(at.number("SELECT count(*) FROM dead_letters"), 1);
    }
    assert_eq!(copy.number("SELECT count(*) FROM bronze.events"), received + u64::from(sent) + 20, "nothing was taken up again");
    assert_eq!(copy.number("SELECT count(*) FROM bronze.events WHERE journal_generation = 2"), u64::from(sent) + 20);
    assert_eq!(place.number("SELECT count(DISTINCT journal_generation) FROM bronze.events"), 1);
}

#[test]
fn a_second_server_on_the_same_data_is_refused_with_what_to_do() {
    let place = Place::new();
    let server = place.start();
    let second = place.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("in use"), "{}", text(&second.stderr));
    server.stop(&place);
}

#[test]
fn a_file_sent_twice_adds_nothing() {
    let place = Place::new();
    let server = place.start();
    let file = place.data().join("events.ndjson");
    let lines: Vec<String> = page_views(1_234).as_array().unwrap().iter().map(Value::to_string).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    for _ in 0..2 {
        let command = ["send", file.to_str().unwrap(), "--url", &place.url(), "--key", KEY];
        let sent = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate")).args(command).output().unwrap();
        assert!(sent.status.success(), "{}{}", text(&sent.stdout), text(&sent.stderr));
    }
    server.stop(&place);
    assert_eq!(place.number("SELECT count(*) FROM bronze.events"), 2_468);
    assert_eq!(place.number("SELECT count(*) FROM silver.events"), 1_234);
    place.run_sound(&["audit"]);
}

#[test]
fn misuse_is_told_from_failure() {
    let place = Place::new();
    assert_eq!(place.run(&["querry", "SELECT 1"]).status.code(), Some(2));
    assert_eq!(place.run(&["query", "SELECT nonsense FROM nowhere"]).status.code(), Some(1));
    let unknown = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["config"])
        .env("TIDEGATE_PIPELINE__COMMIT_INTERVALL", "1s")
        .output()
        .unwrap();
    assert!(!unknown.status.success());
    assert!(text(&unknown.stderr).contains("commit_interval"), "{}", text(&unknown.stderr));
}
