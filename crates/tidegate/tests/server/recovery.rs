//! Events that a broken plan kept out, after its mending: each once in Silver, with its own times, however often and wherever it is put through.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{KEY, Place, Server, client, text};

const PLAN_FILE: &str = "plan.yaml";
/// Prices are texts and every purchase has a currency: neither is so.
const BROKEN: &str =
    "version: v1\ntypes:\n  buy:\n    properties:\n      price: {type: string}\n      currency: {type: string}\n    required: [currency]\n";
/// Prices are mended, currencies still asked for.
const HALF: &str =
    "version: v2\ntypes:\n  buy:\n    properties:\n      price: {type: number}\n      currency: {type: string}\n    required: [currency]\n";
const MENDED: &str =
    "version: v3\ntypes:\n  buy:\n    properties:\n      price: {type: [number, string]}\n      currency: {type: string}\n";
const EVENTS: u64 = 9_000;

fn start(place: &Place, plan: &str) -> Server {
    std::fs::write(place.data().join(PLAN_FILE), plan).unwrap();
    place.start_with(&[("TIDEGATE_PLAN__FILE", PLAN_FILE)])
}

/// A third has a price that is a number, a third no currency, a third is sound; all are days old.
async fn send(place: &Place) {
    let http = client();
    for batch in 0..EVENTS / 500 {
        let event = |number: u64| {
            let properties = match number % 3 {
                0 => json!({"price": 5, "currency": "EUR"}),
                1 => json!({"price": "5"}),
                _ => json!({"price": "5", "currency": "EUR"}),
            };
            let day = 10 + number % 9;
            json!({
                "event_id": format!("buy-{number}"), "event_type": "buy", "user_id": format!("u{}", number % 50), "properties": properties,
                "event_time": format!("2026-03-{day}T12:34:56.789Z"),
            })
        };
        let events: Value = (batch * 500..(batch + 1) * 500).map(event).collect();
        let sent = http.post(format!("{}/v1/events", place.url())).basic_auth(KEY, Some("")).json(&events).send().await.unwrap();
        assert_eq!(sent.status().as_u16(), 200);
    }
}

fn recover(place: &Place, arguments: &[&str]) -> Vec<Value> {
    let plan = [("TIDEGATE_PLAN__FILE".to_owned(), PLAN_FILE.to_owned())];
    let output = place.run_with(&[&["recover", "--format", "json"], arguments].concat(), &plan);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// One number of the lines of that reason.
fn of(lines: &[Value], reason: &str, column: &str) -> u64 {
    lines.iter().filter(|line| line["reason"] == reason).map(|line| line[column].as_u64().unwrap()).sum()
}

fn check_silver(place: &Place, expected: u64) {
    place.wait_for("SELECT count(*) FROM silver.events", expected);
    assert_eq!(place.number("SELECT count(DISTINCT event_id) FROM silver.events"), expected);
    let times = "SELECT count(*) FROM silver.events WHERE event_time = arrow_cast('2026-03-' || (10 + CAST(substr(event_id, 5) AS BIGINT) % 9) || \
                 'T12:34:56.789Z', 'Timestamp(Microsecond, Some(\"UTC\"))')";
    assert_eq!(place.number(times), expected, "each has its own time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_a_broken_plan_are_once_in_silver_after_its_mending() {
    let place = Place::new();
    let server = start(&place, BROKEN);
    send(&place).await;
    place.wait_for("SELECT count(*) FROM silver.events", EVENTS / 3);
    place.wait_for("SELECT count(*) FROM dead_letters", EVENTS / 3 * 2);
    let received = place.query("SELECT event_id, received_at FROM bronze.events ORDER BY 1");
    let summary: Vec<Value> = serde_json::from_str(&place.run_sound(&["dead-letters", "--summary", "--format", "json"])).unwrap();
    assert_eq!(of_code(&summary, "wrong_type"), EVENTS / 3, "{summary:?}");
    let listed = place.run_sound(&["dead-letters", "--reason", "missing_property", "--limit", "7", "--payload", "--format", "ndjson"]);
    assert!(listed.lines().count() == 7 && listed.contains(r#"\"price\":\"5\""#), "{listed}");

    // Half mended, while the server runs: one reason passes, the other says why it does not.
    std::fs::write(place.data().join(PLAN_FILE), HALF).unwrap();
    let dry = recover(&place, &["--dry-run"]);
    assert_eq!(of(&dry, "wrong_type", "would_pass"), EVENTS / 3, "{dry:?}");
    assert_eq!(of(&dry, "missing_property", "still_failing"), EVENTS / 3, "{dry:?}");
    assert_eq!(place.number("SELECT count(*) FROM silver.events"), EVENTS / 3, "a dry run does nothing");
    let done = recover(&place, &["--reason", "wrong_type"]);
    assert_eq!(of(&done, "wrong_type", "passed"), EVENTS / 3, "{done:?}");
    check_silver(&place, EVENTS / 3 * 2);
    let again = recover(&place, &[]);
    assert_eq!((of(&again, "wrong_type", "already_there"), of(&again, "wrong_type", "passed")), (EVENTS / 3, 0), "{again:?}");
    server.stop(&place);

    // Mended, without a server: killed in between, it goes on.
    std::fs::write(place.data().join(PLAN_FILE), MENDED).unwrap();
    let mut killed = 0;
    for after in [15, 40, 80, 160] {
        let mut command = place.command();
        command.arg("recover").arg("--data").arg(place.data()).env("TIDEGATE_PLAN__FILE", PLAN_FILE);
        let mut running = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(after));
        running.kill().unwrap();
        killed += u32::from(running.wait().unwrap().signal() == Some(9));
    }
    assert!(killed > 0, "none was killed before its end");
    let done = recover(&place, &[]);
    assert_eq!(of(&done, "missing_property", "passed"), EVENTS / 3, "{done:?}");
    let server = start(&place, MENDED);
    check_silver(&place, EVENTS);
    server.stop(&place);

    // They came when they came, whatever was done since; and nothing is owed.
    let since =
        place.query("SELECT event_id, min(received_at) AS received_at, max(received_at) AS last FROM bronze.events GROUP BY 1 ORDER BY 1");
    for (row, first) in since.iter().zip(&received) {
        assert!(row["received_at"] == first["received_at"] && row["last"] == first["received_at"], "{row} {first}");
    }
    assert_eq!(place.number("SELECT count(DISTINCT plan_version) FROM silver.events"), 3);
    place.run_sound(&["audit", "--deep"]);
    assert_eq!(
        of_code(
            &serde_json::from_str::<Vec<Value>>(&place.run_sound(&["dead-letters", "--summary", "--format", "json"])).unwrap(),
            "wrong_type"
        ),
        EVENTS / 3
    );
}

fn of_code(summary: &[Value], code: &str) -> u64 {
    summary.iter().filter(|line| line["code"] == code).map(|line| line["dead_letters"].as_u64().unwrap()).sum()
}
