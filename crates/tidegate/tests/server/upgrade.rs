//! The program of a release and the present one in turns on the same data, under traffic: in its place after a kill, taken back, and put there again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::process::{KEY, PROGRAM, Place, text};
use crate::traffic::{CLIENTS, Load, Told, Traffic, check_silver};

/// The program of the release before, as an absolute path; `cargo xtask upgrade --from` sets it. Without it the present one stands on both sides.
const PREVIOUS: &str = "TIDEGATE_TEST_PREVIOUS";
const RATE: u64 = 2_000;
/// Until it is ended.
const LOAD: Load = Load { batch: 20, rate: RATE, events: u64::MAX / 2 };
/// For the program that was put back.
const LOAD_BACK: Load = Load { batch: 20, rate: 0, events: 2_000 };
/// How long so many events may take.
const TAKEN_MAX: Duration = Duration::from_secs(60);

/// Waits until so many more events were answered with success.
async fn taken(traffic: &Traffic, more: u64) {
    let until = traffic.acknowledged() + more;
    let reached = async {
        while traffic.acknowledged() < until {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(TAKEN_MAX, reached).await.is_ok(), "{more} events were not taken in {TAKEN_MAX:?}");
}

/// By the program that is in its place: the books balance, and each event that was answered with success is there once.
fn check(place: &Place, told: &[Told]) {
    let books: Value = serde_json::from_str(&place.run_sound(&["audit", "--format", "json"])).unwrap();
    assert_eq!(books["balanced"], true, "{books}");
    check_silver(place, told);
    let sent: u64 = told.iter().map(|told| told.acknowledged + told.copies).sum();
    let bronze = place.number("SELECT count(*) FROM bronze.events");
    assert!(bronze >= sent, "{bronze} rows of {sent} events that were taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_takes_over_after_a_kill_and_can_be_taken_back() {
    let (previous, present) = (std::env::var_os(PREVIOUS).map_or_else(|| PathBuf::from(PROGRAM), PathBuf::from), Path::new(PROGRAM));
    let mut place = Place::of(tempfile::tempdir().unwrap(), Vec::new());
    place.put(&previous);
    let version = place.command().arg("--version").output().unwrap();
    println!("{} ({})", text(&version.stdout).trim(), previous.display());
    place.run_sound(&["source", "add", "web", "--key", KEY]);

    let server = place.start();
    let traffic = Traffic::start(vec![place.url()], LOAD);
    place.wait_for("SELECT count(*) FROM (SELECT event_id FROM silver.events LIMIT 1) AS seen", 1);
    // Just now one was answered, so the next ones are on their way.
    taken(&traffic, 1).await;
    let failed = traffic.failed();
    server.kill();
    traffic.wait_for_failure(failed).await;
    let (in_silver, acknowledged) = (place.number("SELECT count(*) FROM silver.events"), traffic.acknowledged());
    assert!(in_silver < acknowledged, "{in_silver} of {acknowledged} events were in Silver: the kill left nothing to do");

    place.put(present);
    let server = place.start();
    taken(&traffic, 2 * RATE).await;
    let mut told = traffic.end().await;
    server.stop(&place);
    check(&place, &told);
    let forth: u64 = told.iter().map(|told| told.acknowledged).sum();

    place.put(&previous);
    let server = place.start();
    told.extend(Traffic::start_from(vec![place.url()], LOAD_BACK, CLIENTS).finish().await);
    server.stop(&place);
    check(&place, &told);

    place.put(present);
    place.start().stop(&place);
    check(&place, &told);
    place.run_sound(&["audit", "--deep"]);
    println!(
        "{acknowledged} events by the former until it was killed, {} by the present one, {} by the former again",
        forth - acknowledged,
        LOAD_BACK.events
    );
}
