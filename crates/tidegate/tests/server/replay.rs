//! A rebuild from Bronze as its users make it: beside a server that is killed now and then, under traffic, killed itself again and again.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::process::{KEY, Place, Server, client, text};
use crate::traffic::{self, Load, Traffic};

/// How often the rebuild is killed.
const KILLS: u32 = 20;
const ATTEMPTS_MAX: u32 = 200;
const INTO: &str = "silver_v2";

/// The plan until the server is started anew, and the one after: what was no violation is one.
const PLAN_OLD: &str = "version: v1\ndefault_policy: quarantine\nunknown_types: allow\ntypes: {}\n";
const PLAN_NEW: &str = "version: v2\ndefault_policy: quarantine\nunknown_types: allow\ntypes:\n  page_view:\n    properties:\n      url: {type: string, pattern: \"^https\"}\n";

/// Where the plan lies: the programs run in the data folder.
const PLAN_FILE: &str = "plan.yaml";

/// Parts so small that a rebuild has many.
fn place() -> Place {
    let settings = [("TIDEGATE_PIPELINE__SILVER_ROWS_MAX", "1500"), ("TIDEGATE_PIPELINE__BATCH_RECORDS_MAX", "2000")];
    Place::with(settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
}

fn start(place: &Place, plan: &str) -> Server {
    std::fs::write(place.data().join(PLAN_FILE), plan).unwrap();
    place.start_with(&[("TIDEGATE_PLAN__FILE", PLAN_FILE)])
}

/// Events of many days, far apart and late, in which some break the new plan.
async fn send_history(place: &Place) {
    let http = client();
    for batch in 0..40 {
        let event = |number: u32| {
            json!({
                "event_id": format!("old-{}", if number % 10 == 9 { number / 2 } else { number }),
                "event_type": if number.is_multiple_of(13) { "feature_exposure" } else { "page_view" },
                "event_time": format!("2026-0{}-1{}T12:34:56Z", 1 + number % 9, number % 7),
                "anonymous_id": format!("someone-{}", number % 100),
                "properties": {"url": if number.is_multiple_of(7) { "ftp://a" } else { "https://a" }, "experiment_id": "e", "variation_id": "v"},
            })
        };
        let events: Value = (batch * 100..(batch + 1) * 100).map(event).collect();
        let sent = http.post(format!("{}/v1/events", place.url())).basic_auth(KEY, Some("")).json(&events).send().await.unwrap();
        assert_eq!(sent.status().as_u16(), 200);
    }
}

/// Runs a rebuild and kills it with SIGKILL after a while. Whether that came before its end.
fn killed(place: &Place, after: Duration) -> bool {
    let mut command = place.command();
    command.args(["replay", "--into", INTO, "--data"]).arg(place.data()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = command.spawn().unwrap();
    std::thread::sleep(after);
    running.kill().unwrap();
    running.wait().unwrap().signal() == Some(9)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_killed_twenty_times_is_live_silver_and_takes_its_place_under_traffic() {
    let place = place();
    let server = start(&place, PLAN_OLD);
    send_history(&place).await;
    let first = Traffic::start(vec![place.url()], Load { batch: 100, rate: 0, events: 24_000 }).finish().await;
    server.kill();
    let server = start(&place, PLAN_NEW);
    send_history(&place).await;

    let mut random = StdRng::seed_from_u64(5);
    let (mut kills, mut attempts) = (0, 0);
    while kills < KILLS {
        attempts += 1;
        assert!(attempts < ATTEMPTS_MAX, "only {kills} of {attempts} rebuilds were killed before their end");
        kills += u32::from(killed(&place, Duration::from_millis(random.random_range(20..900))));
    }
    // Traffic goes on while the rebuild ends, is compared and takes over. Clients repeat what they sent before.
    let second = Traffic::start(vec![place.url()], Load { batch: 100, rate: 4_000, events: u64::MAX });
    let rebuilt: Value = serde_json::from_str(&place.run_sound(&["replay", "--into", INTO, "--format", "json"])).unwrap();
    assert_eq!(rebuilt[0]["resumed"], true, "{rebuilt}");
    let compared: Value = serde_json::from_str(&place.run_sound(&["diff", "silver", INTO, "--format", "json"])).unwrap();
    assert!(compared["identical"] == true && compared["rows_left"].as_u64().unwrap() > 24_000, "{compared}");
    let before = second.acknowledged();
    let cut: Value = serde_json::from_str(&place.run_sound(&["replay", "--into", INTO, "--cut-over", "--format", "json"])).unwrap();
    assert!(cut[0]["cut_over_at_version"].is_u64(), "{cut}");
    assert!(second.acknowledged() > before, "there was no traffic during the cut-over");
    let told = second.end().await;
    server.stop(&place);

    let audit = place.run(&["audit"]);
    assert!(audit.status.success(), "{}{}", text(&audit.stdout), text(&audit.stderr));
    let told: Vec<_> =
        told.into_iter().zip(first).map(|(one, other)| if one.acknowledged > other.acknowledged { one } else { other }).collect();
    traffic::check_silver_where(&place, &told, "event_id LIKE 'c%'");
    let silver = place.number("SELECT count(*) FROM silver.events");
    assert_eq!(place.number("SELECT count(DISTINCT event_id) FROM silver.events"), silver);
    assert_eq!(place.number("SELECT sum(events) FROM gold.activity_by_day"), silver);
    assert_eq!(place.number("SELECT count(DISTINCT plan_version) FROM silver.events"), 2);
    assert!(place.number("SELECT count(*) FROM dead_letters WHERE stage = 'plan'") > 0);

    // What took the place is still what Bronze gives.
    let whole: Value = serde_json::from_str(&place.run_sound(&["replay", "--into", "silver_v3", "--format", "json"])).unwrap();
    assert_eq!(whole[0]["silver"], silver, "{whole}");
    assert!(place.run(&["diff", "silver", "silver_v3"]).status.success());
    println!("{kills} kills in {attempts} rebuilds; {silver} rows of Silver, identical, and in the place of the live ones");
}
