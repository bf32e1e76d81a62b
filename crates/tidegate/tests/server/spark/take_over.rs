//! The stream changes hands in mid-flow, in both directions, and the driver is killed again and again: every acknowledged event is once in Silver.

use super::harness::{Job, Servers, hand_over};
use crate::process::{Place, text};
use crate::traffic::{Load, Traffic, check_silver};

/// Events a second, from the beginning to the end.
const RATE: u64 = 200;
/// `TIDEGATE_TEST_KILLS` sets another number.
const KILLS: u64 = 3;

fn bronze_version(place: &Place) -> u64 {
    let standing: serde_json::Value = serde_json::from_str(&place.run_sound(&["spark", "status", "--format", "json"])).unwrap();
    standing[0]["version"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Spark: cargo xtask test spark"]
async fn the_stream_changes_hands_and_nothing_is_lost_or_doubled() {
    let kills = std::env::var("TIDEGATE_TEST_KILLS").map_or(KILLS, |number| number.parse().unwrap());
    let servers = Servers::start();
    let place = servers.place("lake", &[]);
    let server = place.start();
    let job = |place: &Place| Job::submit(place, &["--master", "local[2]"], &[]);

    // Not its own: the job says so and ends.
    let refused = place.run(&["spark", "submit", "--master", "local[2]"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("tidegate engine spark"), "{}", text(&refused.stderr));

    let traffic = Traffic::start(vec![place.url()], Load { batch: 50, rate: RATE, events: u64::MAX });
    place.wait_for("SELECT CASE WHEN count(*) > 0 THEN 1 ELSE 0 END FROM silver.events", 1);
    for round in 0..kills {
        // In mid-flow: the workers have something in their hands.
        hand_over(&place, "spark");
        let before = bronze_version(&place);
        let mut driver = job(&place);
        // Killed at another point of its way each time: as soon as it has committed once, and then a while later.
        driver.wait_until("it has committed", || bronze_version(&place) > before);
        tokio::time::sleep(std::time::Duration::from_millis(700 * round)).await;
        driver.kill();
        if round % 2 == 1 {
            // What the driver left half done, the workers go on with.
            hand_over(&place, "workers");
            let before = bronze_version(&place);
            let began = std::time::Instant::now();
            while bronze_version(&place) <= before + 1 {
                assert!(began.elapsed().as_secs() < 60, "the workers do not go on: {}", place.log());
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
        }
    }
    // Taken away from a driver that runs: it ends and says why.
    hand_over(&place, "spark");
    let before = bronze_version(&place);
    let mut driver = job(&place);
    driver.wait_until("it has committed", || bronze_version(&place) > before);
    hand_over(&place, "workers");
    let log = place.data().join("spark.log");
    assert_eq!(driver.wait(), 1);
    assert!(std::fs::read_to_string(log).unwrap().contains("the stream is the workers'"));

    let told = traffic.end().await;
    let acknowledged: u64 = told.iter().map(|told| told.acknowledged).sum();
    place.wait_for("SELECT count(*) FROM silver.events", acknowledged);
    server.stop(&place);
    check_silver(&place, &told);
    let deep = place.run(&["audit", "--deep"]);
    assert!(deep.status.success(), "{}{}", text(&deep.stdout), text(&deep.stderr));
    println!(
        "{acknowledged} events acknowledged, {kills} kills of the driver, {} changes of hands: {}",
        kills + 2 + kills / 2,
        text(&deep.stderr)
    );
}
