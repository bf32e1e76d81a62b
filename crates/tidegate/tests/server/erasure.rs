//! `tidegate erase` beside a running server, and killed on the way.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{KEY, Place, client, text};

const ALICE: &str = "alice@example.org";

fn events(users: &[&str], from: u32, count: u32) -> Value {
    let event = |number: u32| {
        let user = users[number as usize % users.len()];
        json!({"event_id": format!("e-{number}"), "event_type": "page_view", "user_id": user, "properties": {"url": format!("https://x.example/{number}")}})
    };
    (from..from + count).map(event).collect()
}

async fn send(place: &Place, events: &Value) {
    let request = client().post(format!("{}/v1/events", place.url())).basic_auth(KEY, Some("")).json(events);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200, "{}", answer.text().await.unwrap());
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_below(&path, files) } else { files.push(path) }
    }
}

/// The files of journal, index and log that have these bytes. What is in Parquet files is packed: the queries look there.
fn files_with(place: &Place, needle: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    files_below(place.data(), &mut files);
    // A socket cannot be read, and has nothing; files may go while this looks.
    files.retain(|path| std::fs::read(path).is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle.as_bytes())));
    files
}

fn check_gone(place: &Place, rows: u64) {
    assert_eq!(place.number("SELECT count(*) FROM bronze.events"), rows);
    let mentions =
        "SELECT count(*) FROM bronze.events WHERE strpos(CAST(payload AS VARCHAR), 'alice') > 0 OR strpos(envelope, 'alice') > 0";
    assert_eq!(place.number(mentions), 0);
    assert_eq!(place.number("SELECT count(*) FROM silver.events WHERE user_id = 'alice@example.org'"), 0);
    assert_eq!(place.number("SELECT count(*) FROM gold.subjects_by_day WHERE subject_id = 'alice@example.org'"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_erased_while_the_server_runs() {
    let place = Place::new();
    let server = place.start();
    send(&place, &events(&[ALICE, "bob", "cat"], 0, 300)).await;
    place.wait_for("SELECT count(*) FROM silver.events", 300);
    assert!(!files_with(&place, ALICE).is_empty(), "the journal has it");
    let told = text(&place.run(&["erase", "--user", ALICE, "--dry-run", "--format", "json"]).stdout);
    assert_eq!(serde_json::from_str::<Value>(&told).unwrap()[0]["rows_of_Bronze"], 100, "{told}");
    assert_eq!(place.number("SELECT count(*) FROM silver.events"), 300, "a dry run changes nothing");

    let traffic = async {
        for turn in 0..20 {
            send(&place, &events(&["bob", "cat"], 300 + turn * 50, 50)).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let report = place.data().join("report.json");
    let erasing = tokio::task::spawn_blocking({
        let mut command = place.command();
        command.args(["erase", "--user", ALICE, "--data"]).arg(place.data()).arg("--report").arg(&report);
        move || command.stdin(Stdio::null()).output().unwrap()
    });
    let ((), output) = tokio::join!(traffic, erasing);
    let output = output.unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let report: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    assert_eq!(report["report"]["tables"]["bronze.events"]["rows_emptied"], 100);
    assert_eq!(report["report"]["tables"]["silver.events"]["rows_removed"], 100);
    assert_eq!(report["report"]["rows_left"], json!({}));
    assert_eq!(report["blake3"].as_str().unwrap().len(), 64);
    place.wait_for("SELECT count(*) FROM silver.events", 1_200);
    check_gone(&place, 1_300);
    assert_eq!(files_with(&place, ALICE), Vec::<PathBuf>::new());

    // By now the gate knows: nothing of what she sends comes even into the journal.
    tokio::time::sleep(Duration::from_secs(3)).await;
    send(&place, &events(&[ALICE], 5_000, 10)).await;
    place.wait_for("SELECT count(*) FROM bronze.events WHERE wire_format = 'erased'", 110);
    assert_eq!(files_with(&place, ALICE), Vec::<PathBuf>::new());
    check_gone(&place, 1_310);
    let books: Value = serde_json::from_str(&place.run_sound(&["audit", "--deep", "--format", "json"])).unwrap();
    assert_eq!((&books["balanced"], &books["total"]["erased"]), (&json!(true), &json!(110)), "{books}");
    server.stop(&place);
    // Started anew, the gate has the list from its first request on.
    let server = place.start();
    send(&place, &events(&[ALICE], 6_000, 10)).await;
    assert_eq!(files_with(&place, ALICE), Vec::<PathBuf>::new());
    server.stop(&place);
    place.run_sound(&["audit"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_that_is_killed_again_and_again_comes_to_its_end() {
    let place = Place::new();
    let server = place.start();
    for turn in 0..10 {
        send(&place, &events(&[ALICE, "bob", "cat"], turn * 300, 300)).await;
    }
    place.wait_for("SELECT count(*) FROM silver.events", 3_000);
    server.stop(&place);
    let mut killed = 0;
    for turn in 0..8_u64 {
        let mut command = place.command();
        command
            .args(["erase", "--user", ALICE, "--data"])
            .arg(place.data())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(60 + 90 * turn));
        child.kill().unwrap();
        killed += u32::from(child.wait().unwrap().signal() == Some(9));
    }
    assert!(killed >= 3, "only {killed} of them were ended by the kill");
    place.run_sound(&["erase", "--user", ALICE]);
    check_gone(&place, 3_000);
    assert_eq!(place.number("SELECT count(*) FROM silver.events"), 2_000);
    assert_eq!(files_with(&place, ALICE), Vec::<PathBuf>::new());
    place.run_sound(&["audit", "--deep"]);
    place.run_sound(&["replay", "--cut-over"]);
    check_gone(&place, 3_000);
    place.run_sound(&["audit"]);
}
