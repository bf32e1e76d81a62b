//! Each alert of deploy/prometheus fires in a real Prometheus when its fault is made for real, and clears once that is mended. Their times are shortened, and nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};
use servers::{Fault, Prometheus};

use crate::cluster::Cluster;
use crate::process::{KEY, Place, Server, client};
use crate::tls::Secured;

const RULES: &str = include_str!("../../../../deploy/prometheus/alerts.yml");
/// How long an alert may take to fire or to clear. Experiments are looked at each minute.
const PATIENCE: Duration = Duration::from_secs(200);
/// More than the alert of the lag asks for.
const LAG_RECORDS: u64 = 101_000;
const MINUTE: i64 = 60_000_000;
/// Subjects of an experiment whose variations have one weight.
const SUBJECTS: u64 = 1_000;
const METRICS: &str = "bought: {type: proportion, event: {event_type: conversion}}";
const EXPERIMENT: &str = "
variations: [{key: a, weight: 0.5}, {key: b, weight: 0.5}]
start: 2026-11-01
metrics: {primary: [bought]}
";

/// The rules, with times of seconds in the place of minutes.
fn rules() -> String {
    let mut rules = RULES.to_owned();
    for (from, to) in [
        ("> 300 and", "> 5 and"),
        ("and sum(increase(tidegate_ingest_accepted_total[5m]))", "and sum(increase(tidegate_ingest_accepted_total[60s]))"),
    ] {
        assert!(rules.contains(from), "{from}");
        rules = rules.replace(from, to);
    }
    for minutes in ["[5m]", "[10m]"] {
        assert!(rules.contains(minutes), "{minutes}");
        rules = rules.replace(minutes, "[20s]");
    }
    let lines = rules.lines().map(|line| if line.trim_start().starts_with("for: ") { "        for: 1s" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

/// Prometheus, and what it has been seen to say.
struct Watch {
    prometheus: Prometheus,
    fired: BTreeSet<String>,
}

impl Watch {
    fn firing(&self) -> BTreeSet<String> {
        let told: Value = serde_json::from_str(&self.prometheus.ask("/api/v1/alerts").unwrap()).unwrap();
        let alerts = told["data"]["alerts"].as_array().unwrap();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        firing.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
    }

    /// Makes a fault again and again until the alert fires, which it does not before.
    async fn fires(&mut self, alert: &str, fault: impl AsyncFnMut()) {
        assert!(!self.firing().contains(alert), "{alert} fires without its fault");
        self.has_fired(alert, fault).await;
    }

    /// Waits until an alert fires whose fault was made before, or is made on and on.
    async fn has_fired(&mut self, alert: &str, mut fault: impl AsyncFnMut()) {
        let began = Instant::now();
        while !self.firing().contains(alert) {
            assert!(began.elapsed() < PATIENCE, "{alert} does not fire; {:?} do", self.firing());
            fault().await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        eprintln!("{alert} fires after {:.1} s", began.elapsed().as_secs_f64());
        self.fired.insert(alert.to_owned());
    }

    /// Waits until it fires no more.
    async fn clears(&self, alert: &str) {
        self.clears_while(alert, nothing).await;
    }

    /// The same, while something goes on.
    async fn clears_while(&self, alert: &str, mut what: impl AsyncFnMut()) {
        let began = Instant::now();
        while self.firing().contains(alert) {
            assert!(began.elapsed() < PATIENCE, "{alert} does not clear");
            what().await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        eprintln!("{alert} clears after {:.1} s", began.elapsed().as_secs_f64());
    }
}

async fn nothing() {}

async fn post(place: &Place, key: &str, events: &Value) -> StatusCode {
    let request = client().post(format!("{}/v1/events", place.url())).basic_auth(key, Some("")).json(events);
    request.send().await.unwrap().status()
}

fn view(id: &str, url: Value) -> Value {
    json!({"event_id": id, "event_type": "page_view", "anonymous_id": "a", "properties": {"url": url}})
}

fn now() -> i64 {
    use telemetry::clock::{Clock as _, SystemClock};
    SystemClock.now_micros()
}

fn settings(own: &[(&str, &str)]) -> Vec<(String, String)> {
    let quick = [
        ("TIDEGATE_PIPELINE__WATCH_INTERVAL", "500ms"),
        ("TIDEGATE_PIPELINE__COMMIT_INTERVAL", "200ms"),
        ("TIDEGATE_PIPELINE__GOLD_INTERVAL", "1s"),
        ("TIDEGATE_PIPELINE__RETRY_PAUSE_MAX", "1s"),
        ("TIDEGATE_PIPELINE__ANOMALY_WINDOW", "1m"),
    ];
    quick.iter().chain(own).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn exposures(variation: &str, subjects: std::ops::Range<u64>) -> Value {
    let one = |number: u64| {
        json!({"event_id": format!("x-{variation}-{number}"), "event_type": "feature_exposure", "user_id": format!("{variation}-{number}"),
            "properties": {"experiment_id": "checkout", "variation_id": variation}})
    };
    subjects.map(one).collect()
}

/// Forty events of a source in each of these minutes before now.
async fn send_of_minutes(place: &Place, key: &str, minutes: std::ops::Range<i64>) {
    let this = now().div_euclid(MINUTE) * MINUTE;
    for back in minutes {
        let at = |number: i64| this - back * MINUTE + number * MINUTE / 40;
        let event = |number: i64| json!({"event_id": format!("q-{}", at(number)), "event_type": "ping", "anonymous_id": "q", "event_time": contract::Timestamp(at(number)).to_rfc3339()});
        // What lies ahead would be moved to now.
        let events: Value = (0..40).filter(|number| at(*number) < now()).map(event).collect();
        if events.as_array().is_some_and(|events| !events.is_empty()) {
            assert_eq!(post(place, key, &events).await, StatusCode::OK);
        }
    }
}

/// Takes a file out of a table, as a program that is not ours might; the version of the table before.
fn tamper(place: &Place) -> u64 {
    let log = place.data().join("lake/silver/events/_delta_log");
    let versions = || std::fs::read_dir(&log).unwrap().filter_map(|entry| entry.unwrap().path().file_stem()?.to_str()?.parse::<u64>().ok());
    loop {
        let newest = versions().max().unwrap();
        let lines = |version: u64| std::fs::read_to_string(log.join(format!("{version:020}.json"))).unwrap_or_default();
        let action = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        let removed: BTreeSet<String> = (0..=newest)
            .flat_map(|version| lines(version).lines().map(action).collect::<Vec<_>>())
            .filter_map(|action| Some(action["remove"]["path"].as_str()?.to_owned()))
            .collect();
        let added = (0..=newest).rev().flat_map(|version| lines(version).lines().map(action).collect::<Vec<_>>());
        let file =
            added.map(|action| action["add"].clone()).find(|add| add["path"].as_str().is_some_and(|path| !removed.contains(path))).unwrap();
        let remove = json!({"remove": {"path": file["path"], "deletionTimestamp": now() / 1_000, "dataChange": true, "extendedFileMetadata": true,
            "partitionValues": file["partitionValues"], "size": file["size"]}});
        let info = json!({"commitInfo": {"timestamp": now() / 1_000, "operation": "DELETE", "engineInfo": "somebody else"}});
        let next = log.join(format!("{:020}.json", newest + 1));
        // Another commit may have come first: then it is done on that one.
        match std::fs::File::create_new(next) {
            Ok(file) => {
                use std::io::Write as _;
                (&file).write_all(format!("{info}\n{remove}\n").as_bytes()).unwrap();
                return newest;
            }
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "{error}"),
        }
    }
}

/// A server whose data folder is on a disk of its own, small enough to be filled: a file system in memory that only it sees. `None` where the system lets nobody have one.
fn on_a_small_disk(place: &Place) -> Option<(Server, PathBuf)> {
    let may = std::process::Command::new("unshare").args(["-rm", "true"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        eprintln!("TidegateDiskFilling is left out: this system lets nobody mount a file system of their own (unshare -rm)");
        return None;
    }
    let folder = place.data().join("small");
    std::fs::create_dir_all(&folder).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=64m tmpfs {folder} && exec {program} serve --data {folder} --listen 127.0.0.1:{port}",
        folder = folder.display(),
        program = env!("CARGO_BIN_EXE_tidegate"),
        port = place.port
    );
    let mut command = std::process::Command::new("unshare");
    command.args(["-rm", "sh", "-c", &script]).current_dir(place.data()).env("TIDEGATE_JOURNAL__DISK_FREE_BYTES_MIN", "1000000");
    let server = place.started(command);
    let seen = Path::new("/proc").join(server.pid().to_string()).join("root").join(folder.strip_prefix("/").unwrap());
    Some((server, seen))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_alert_fires_on_its_fault_and_clears() {
    let place = Place::with(settings(&[]));
    let other = "tg_test_key_of_a_source_that_falls_silent";
    place.run_sound(&["source", "add", "quiet", "--key", other]);
    let experiments = place.data().join("experiments");
    std::fs::create_dir_all(&experiments).unwrap();
    std::fs::write(experiments.join("metrics.yaml"), METRICS).unwrap();
    std::fs::write(experiments.join("checkout.yaml"), EXPERIMENT).unwrap();
    let limited = Place::with(settings(&[("TIDEGATE_INGEST__EVENTS_PER_SECOND_MAX", "1"), ("TIDEGATE_INGEST__EVENTS_BURST_MAX", "1")]));
    let small = Place::new();
    let mut cluster =
        Cluster::new(1, 1, &[("TIDEGATE_PIPELINE__WATCH_INTERVAL", "500ms"), ("TIDEGATE_PIPELINE__COMMIT_INTERVAL", "200ms")]);
    for node in cluster.gates.iter_mut().chain(&mut cluster.workers) {
        node.start();
    }
    let secured = Secured::new(&[]);
    let third = secured.start(&secured.authority.client(None).build().unwrap()).await;
    let (server, mut second, disk) = (place.start(), limited.start(), on_a_small_disk(&small));
    let ports = [place.port, limited.port, cluster.gates[0].place.port, cluster.workers[0].place.port];
    let targets = ports.into_iter().chain(disk.as_ref().map(|_| small.port)).map(|port| format!("127.0.0.1:{port}"));
    let targets = targets.chain([format!("https://127.0.0.1:{}", secured.place.port)]).collect::<Vec<_>>();
    let folder = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(&folder.path().join("prometheus"), &targets, &rules()).unwrap();
    let mut watch = Watch { prometheus, fired: BTreeSet::new() };

    // Of an experiment with even weights one side is short.
    assert_eq!(post(&place, KEY, &exposures("a", 0..SUBJECTS)).await, StatusCode::OK);
    assert_eq!(post(&place, KEY, &exposures("b", 0..SUBJECTS * 7 / 10)).await, StatusCode::OK);
    // A source that sent forty events a minute, and then none.
    send_of_minutes(&place, other, 3..29).await;

    let mut round = 0;
    watch
        .fires("TidegateDeadLetters", async || {
            round += 1;
            post(&place, KEY, &json!([view(&format!("bad-{round}"), json!(7)), view(&format!("good-{round}"), json!("/"))])).await;
        })
        .await;
    watch.clears("TidegateDeadLetters").await;
    watch
        .fires("TidegateTurnedAway", async || {
            for _ in 0..20 {
                post(&limited, KEY, &json!([view("same", json!("/")), view("same", json!("/"))])).await;
            }
        })
        .await;
    watch.clears("TidegateTurnedAway").await;

    second.kill();
    watch.fires("TidegateDown", nothing).await;
    second = limited.start();
    watch.clears("TidegateDown").await;

    if let Some((_, seen)) = &disk {
        let ballast = seen.join("ballast");
        std::fs::write(&ballast, vec![1; 60 << 20]).unwrap();
        watch.fires("TidegateDiskFilling", nothing).await;
        std::fs::remove_file(&ballast).unwrap();
        watch.clears("TidegateDiskFilling").await;
    }

    // A certificate that has three days left, and then one that has years.
    let day = now().unsigned_abs() / 1_000_000 + 3 * 86_400;
    let (soon, long) = (secured.authority.pair_until(day), secured.authority.pair_until(day * 2));
    watch
        .fires("TidegateCertificateExpires", async || {
            secured.put("key.pem", &soon.key);
            secured.put("certificate.pem", &soon.certificate);
        })
        .await;
    secured.put("key.pem", &long.key);
    secured.put("certificate.pem", &long.certificate);
    watch.clears("TidegateCertificateExpires").await;

    watch.has_fired("TidegateUnusual", nothing).await;
    send_of_minutes(&place, other, -1..3).await;
    watch.clears("TidegateUnusual").await;

    // Another program takes a file of rows out of Silver.
    let version = tamper(&place);
    watch.fires("TidegateBooksOutOfBalance", nothing).await;
    place.run_sound(&["restore", "silver.events", "--version", &version.to_string()]);
    watch.clears("TidegateBooksOutOfBalance").await;

    watch.has_fired("TidegateSampleRatioMismatch", nothing).await;
    assert_eq!(post(&place, KEY, &exposures("b", SUBJECTS * 7 / 10..SUBJECTS)).await, StatusCode::OK);
    watch.clears("TidegateSampleRatioMismatch").await;

    served(&mut watch, &mut cluster).await;

    let mut all: BTreeSet<String> = RULES.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::to_owned).collect();
    if disk.is_none() {
        all.remove("TidegateDiskFilling");
    }
    assert_eq!(watch.fired, all, "there are alerts that were not made to fire");
    server.stop(&place);
    drop((second, third));
}

/// The faults of what Tidegate stands on: S3 is away, then Kafka is.
async fn served(watch: &mut Watch, cluster: &mut Cluster) {
    let gate = cluster.gates[0].place.url();
    let mut sent = 0_u64;
    let mut send = async |events: u64| {
        let batch: Value = (sent..sent + events).map(|number| view(&format!("v-{number}"), json!("/"))).collect();
        sent += events;
        let request = client().post(format!("{gate}/v1/events")).basic_auth(KEY, Some("")).json(&batch);
        assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    };
    // While events come and can be queried at once, nothing is old.
    for _ in 0..10 {
        send(1).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    watch.clears_while("TidegateNotFresh", async || send(1).await).await;
    cluster.proxy.set(Fault::Refuse);
    watch.fires("TidegateStageFailing", async || send(1).await).await;
    watch.has_fired("TidegateNotFresh", async || send(1).await).await;
    assert!(!watch.firing().contains("TidegateLag"));
    for _ in 0..LAG_RECORDS / 500 {
        send(500).await;
    }
    watch.has_fired("TidegateLag", nothing).await;
    cluster.proxy.set(Fault::None);
    for alert in ["TidegateLag", "TidegateNotFresh", "TidegateStageFailing"] {
        watch.clears(alert).await;
    }
    cluster.kafka.kill().unwrap();
    watch.fires("TidegateSpoolFilling", async || send(1).await).await;
    cluster.kafka.restart().unwrap();
    watch.clears("TidegateSpoolFilling").await;
    for node in cluster.gates.iter_mut().chain(&mut cluster.workers) {
        node.stop();
    }
}
