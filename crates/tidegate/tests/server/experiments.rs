//! Experiments as their users run them: definitions in files, events of several clients, and a result whose figures are known.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::process::{KEY, Place, client, free_port, text};

const METRICS: &str = include_str!("../../../../examples/cookie-cats/experiments/metrics.yaml");
const COOKIE_CATS: &str = include_str!("../../../../examples/cookie-cats/experiments/cookie_cats.yaml");
/// Of the public test of a mobile game: players of each variation, and those that came back after one day and after seven.
const COUNTS: [(&str, u64, u64, u64); 2] = [("gate_30", 44_700, 20_034, 8_502), ("gate_40", 45_489, 20_119, 8_279)];
/// An experiment whose exposures come from other clients, and one whose exposures are events of its own.
const FLAGS: &str = "
variations: [{key: 'false', weight: 0.5}, {key: 'true', weight: 0.5}]
start: 2026-11-01
metrics: {primary: [day_1_retention]}
";
const OWN: &str = "
exposure: {event_type: ab_seen, experiment: test, variation: arm}
variations: [{key: a, weight: 0.5}, {key: '1', weight: 0.5}]
start: 2026-11-01
metrics: {primary: [day_1_retention]}
";

fn events() -> String {
    let mut events = String::new();
    for (variation, players, after_one, after_seven) in COUNTS {
        for player in 0..players {
            let user = format!("{variation}-{player}");
            let properties = format!(r#"{{"experiment_id":"cookie_cats","variation_id":"{variation}"}}"#);
            writeln!(events, r#"{{"event_id":"x{user}","event_type":"feature_exposure","event_time":"2026-11-01T10:00:00Z","user_id":"{user}","properties":{properties}}}"#).unwrap();
            for (goal, day, reached) in [("day_1_retention", "02", after_one), ("day_7_retention", "08", after_seven)] {
                if player < reached {
                    let properties = format!(r#"{{"goal":"{goal}"}}"#);
                    writeln!(events, r#"{{"event_id":"{goal}{user}","event_type":"conversion","event_time":"2026-11-{day}T10:00:00Z","user_id":"{user}","properties":{properties}}}"#).unwrap();
                }
            }
        }
    }
    // PostHog's, GrowthBook's by way of Segment's, and our own.
    for (id, event) in [
        ("p", r#""event_type":"$feature_flag_called","properties":{"$feature_flag":"flags","$feature_flag_response":true}"#),
        ("s", r#""event_type":"feature_exposure","properties":{"experimentId":"flags","variationId":"false"}"#),
        ("o", r#""event_type":"ab_seen","properties":{"test":"own","arm":"a"}"#),
        ("n", r#""event_type":"ab_seen","properties":{"test":"own","arm":1}"#),
        ("z", r#""event_type":"ab_seen","properties":{"test":"another","arm":1}"#),
    ] {
        writeln!(events, r#"{{"event_id":"{id}","event_time":"2026-11-03T10:00:00Z","user_id":"user-{id}",{event}}}"#).unwrap();
    }
    events
}

fn define(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for (name, text) in [("metrics", METRICS), ("cookie_cats", COOKIE_CATS), ("flags", FLAGS), ("own", OWN)] {
        std::fs::write(folder.join(format!("{name}.yaml")), text).unwrap();
    }
}

fn near(found: &Value, expect: f64) {
    let found = found.as_f64().unwrap();
    assert!((found / expect - 1.0).abs() < 1e-9, "{found} {expect}");
}

/// The console shows what there is so far, to this machine alone.
async fn pages(port: u16) {
    let get = async |path: &str, host: &str| {
        let request = client().get(format!("http://127.0.0.1:{port}{path}")).header("Host", host);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, index) = get("/experiments", "localhost").await;
    assert!(
        status == 200 && ["cookie_cats", "flags", "own"].iter().all(|name| index.contains(&format!("/experiments/{name}"))),
        "{status} {index}"
    );
    let (status, page) = get("/experiments/cookie_cats", "127.0.0.1").await;
    assert!(status == 200 && page.contains("Can it be trusted?"), "{status} {page}");
    let (status, json) = get("/experiments/cookie_cats?format=json", "127.0.0.1").await;
    assert_eq!((status, serde_json::from_str::<Value>(&json).unwrap()["experiment"].as_str()), (200, Some("cookie_cats")));
    assert_eq!(get("/experiments/nothing", "127.0.0.1").await.0, 404);
    assert_eq!(get("/experiments", "evil.example.org").await.0, 421);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_experiment_is_told_as_scipy_tells_it() {
    let place = Place::new();
    define(&place.data().join("experiments"));
    let file = place.data().join("events.ndjson");
    std::fs::write(&file, events()).unwrap();
    let console = free_port();
    let server = place.start_with(&[("TIDEGATE_CONSOLE__LISTEN", &format!("127.0.0.1:{console}"))]);
    let sent = place.command().args(["send", file.to_str().unwrap(), "--url", &place.url(), "--key", KEY]).output().unwrap();
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    let expected = 90_189 + 40_153 + 16_781 + 5;
    place.wait_for("SELECT count(*) AS n FROM silver.events", expected);
    pages(console).await;
    // What is not made yet is made at its end.
    server.stop(&place);

    let report: Value = serde_json::from_str(&place.run_sound(&["experiment", "cookie_cats", "--format", "json"])).unwrap();
    let metric = &report["metrics"][0];
    assert_eq!(metric["metric"], "day_7_retention");
    let subjects: Vec<u64> = metric["arms"].as_array().unwrap().iter().map(|arm| arm["subjects"].as_u64().unwrap()).collect();
    assert_eq!(subjects, [44_700, 45_489]);
    let difference = &metric["effects"][0]["difference"];
    near(&difference["estimate"], -0.008_201_298_315_205_913);
    near(&difference["p_value"], 0.001_555_825_573_707_254_7);
    near(&difference["interval"]["low"], -0.013_281_552_418_885_546);
    near(&difference["interval"]["high"], -0.003_121_044_211_526_28);
    assert_eq!(metric["effects"][0]["verdict"], "worse");
    near(&report["days"][0]["p_value"], 0.008_607_987_810_836_262);
    let table = place.run_sound(&["experiment", "cookie_cats"]);
    assert!(table.contains("19.02 %") && table.contains("18.20 %") && table.contains("✓ sample ratio"), "{table}");
    let csv = place.run_sound(&["experiment", "cookie_cats", "--format", "csv"]);
    assert!(csv.lines().count() == 3 && csv.starts_with("metric,role,variation,control_mean"), "{csv}");

    let page = place.data().join("result.html");
    place.run_sound(&["experiment", "cookie_cats", "--html", page.to_str().unwrap()]);
    let html = std::fs::read_to_string(&page).unwrap();
    // It needs nothing else.
    for absent in ["<script", "src=", "href=", "@import", "url("] {
        assert!(!html.contains(absent), "{absent}");
    }
    assert!(html.matches("<svg").count() >= 2 && html.contains("19.02 %") && html.contains("Can it be trusted?"));
    assert!(html.find("Can it be trusted?") < html.find("What was found"));

    // Exposures of other clients.
    for (name, first) in [("flags", "false"), ("own", "a")] {
        let report: Value = serde_json::from_str(&place.run_sound(&["experiment", name, "--format", "json"])).unwrap();
        let subjects: Vec<(&str, u64)> = report["variations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|found| (found["variation"].as_str().unwrap(), found["subjects"].as_u64().unwrap()))
            .collect();
        assert_eq!((subjects[0], subjects[1].1), ((first, 1), 1), "{name}");
    }

    let list = place.run_sound(&["experiment", "list", "--format", "csv"]);
    assert!(list.contains("cookie_cats,2026-11-01,2026-11-02,90189,"), "{list}");
    let assigned = place.run_sound(&["experiment", "assign", "cookie_cats", "u1", "u2", "--format", "csv"]);
    assert_eq!(assigned.lines().count(), 3, "{assigned}");
    let unknown = place.run(&["experiment", "nothing"]);
    assert!(
        !unknown.status.success() && text(&unknown.stderr).contains("defines no experiment nothing; it defines cookie_cats, flags, own"),
        "{}",
        text(&unknown.stderr)
    );
    std::fs::write(place.data().join("experiments/own.yaml"), OWN.replace("start: 2026", "begin: 2026")).unwrap();
    let wrong = place
        .command()
        .args(["experiment", "check", place.data().join("experiments").to_str().unwrap(), "--format", "csv"])
        .output()
        .unwrap();
    assert!(
        !wrong.status.success() && text(&wrong.stdout).contains("own.yaml") && text(&wrong.stdout).contains("unknown field"),
        "{}",
        text(&wrong.stdout)
    );
}
