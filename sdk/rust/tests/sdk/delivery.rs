//! The platform behind a network that fails in every way: each event is in Silver once, or in a counter.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_sdk::{Client, Event, Outcome};

use crate::helpers::{SOON, application, balanced, given, kill, millis};

const DONE: Duration = Duration::from_secs(240);
const KEY: &str = "tg_test_key_of_the_sdk_tests";

/// The platform, all roles, on loopback.
struct Platform {
    data: TempDir,
    url: String,
    process: Child,
}

impl Platform {
    fn start() -> Self {
        let data = TempDir::new().unwrap();
        // Free now, and most likely a moment later.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let added = tidegate(data.path()).args(["source", "add", "web", "--key", KEY, "--data"]).arg(data.path()).output().unwrap();
        assert!(added.status.success(), "{added:?}");
        let log = File::create(data.path().join("serve.log")).unwrap();
        let mut serve = tidegate(data.path());
        serve.arg("serve").arg("--data").arg(data.path()).args(["--listen", &address]);
        let process = serve.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let platform = Self { data, url: format!("http://{address}"), process };
        let ready = format!("{}/readyz", platform.url);
        let began = Instant::now();
        while ureq::get(&ready).call().is_err() {
            assert!(began.elapsed() < DONE, "{}", fs::read_to_string(platform.data.path().join("serve.log")).unwrap());
            thread::sleep(millis(50));
        }
        platform
    }

    fn query(&self, sql: &str) -> Vec<Value> {
        let data = self.data.path();
        let done = tidegate(data).args(["query", sql, "--format", "json", "--data"]).arg(data).output().unwrap();
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    }

    /// The ids in Silver, once there are so many rows.
    fn silver(&self, expected: u64) -> Vec<String> {
        let began = Instant::now();
        loop {
            let rows = self.query("SELECT event_id FROM silver.events");
            if rows.len() as u64 >= expected {
                return rows.iter().map(|row| row["event_id"].as_str().unwrap().to_owned()).collect();
            }
            assert!(began.elapsed() < DONE, "{} of {expected} rows", rows.len());
            thread::sleep(millis(200));
        }
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The product, away from any configuration of whoever runs the tests.
fn tidegate(folder: &Path) -> Command {
    let mut command = Command::new(given("TIDEGATE_BIN"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEGATE_") || name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder);
    command
}

/// A network that fails by a seed, before a gate.
struct Network {
    url: String,
    process: Child,
    plans: Arc<Mutex<HashSet<String>>>,
}

impl Network {
    fn start(upstream: &str, seed: u64) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testing/unruly.py");
        let mut command = Command::new("python3");
        command.arg(program).args(["--upstream", upstream, "--seed", &seed.to_string()]);
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the network that fails needs python3");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let url = lines.next().unwrap().unwrap();
        let plans: Arc<Mutex<HashSet<String>>> = Arc::default();
        let seen = Arc::clone(&plans);
        thread::spawn(move || {
            for plan in lines.map_while(Result::ok) {
                seen.lock().unwrap().insert(plan);
            }
        });
        Self { url, process, plans }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
fn every_event_is_in_silver_once_or_counted() {
    let platform = Platform::start();
    let mut in_silver = 0;
    for seed in 1..=3 {
        let network = Network::start(&platform.url, seed);
        let fates: Arc<Mutex<HashMap<String, Outcome>>> = Arc::default();
        let tells = Arc::clone(&fates);
        let spool = TempDir::new().unwrap();
        let mut builder = Client::builder(KEY).url(&network.url).batch_events_max(30).queue_events_max(700);
        if seed == 2 {
            builder = builder.spool(spool.path());
        }
        let client = builder.on_delivery(move |told| drop(tells.lock().unwrap().insert(told.event_id, told.outcome))).build().unwrap();
        for number in 0..1_500_u32 {
            let event = Event::new("conversion").property("n", number).user_id(number % 10);
            // Some that the gate refuses by name, and some that no client can send.
            client.track(match number {
                number if number % 50 == 7 => event.event_time_text("yesterday"),
                number if number % 100 == 13 => event.property("n", f64::INFINITY),
                _ => event,
            });
            if number % 300 == 0 {
                thread::sleep(millis(200));
            }
        }
        assert!(client.close(DONE), "{:?}", client.stats());
        let stats = balanced(&client);
        assert_eq!((stats.pending, stats.tracked, stats.dropped_by["invalid"]), (0, 1_500, 15), "{stats:?}");
        assert_eq!(stats.rejected_by.keys().collect::<Vec<_>>(), ["invalid_time"]);
        let faults = [
            "reset_before",
            "reset_after_commit",
            "cut_answer",
            "half_committed",
            "bad_gateway",
            "unavailable",
            "busy",
            "portal",
            "too_large",
        ];
        let plans = network.plans.lock().unwrap();
        assert!(
            faults.iter().all(|fault| plans.contains(*fault)) && stats.retries > 5,
            "the network was too good to show anything: {plans:?}"
        );
        let fates = fates.lock().unwrap();
        let delivered: HashSet<&String> = fates.iter().filter(|(_, outcome)| **outcome == Outcome::Delivered).map(|(id, _)| id).collect();
        assert_eq!(delivered.len() as u64, stats.delivered);
        in_silver += stats.delivered;
        let rows = platform.silver(in_silver);
        assert_eq!(rows.len() as u64, in_silver, "one was doubled");
        let rows: HashSet<&String> = rows.iter().collect();
        assert!(rows.len() as u64 == in_silver && delivered.is_subset(&rows));
        // Every refusal is a dead letter, however often it was refused.
        let refused = fates.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Rejected(_))).map(|(id, _)| format!("'{id}'"));
        let refused = refused.collect::<Vec<_>>().join(", ");
        let letters = platform.query(&format!("SELECT count(DISTINCT event_id) AS n FROM dead_letters WHERE event_id IN ({refused})"));
        assert_eq!(letters[0]["n"], stats.rejected);
    }
}

#[test]
#[ignore = "an application that another test kills again and again"]
fn tracks_without_an_end() {
    let builder = Client::builder(KEY).url(given("NETWORK")).spool(given("SPOOL")).batch_events_max(40);
    let client = builder.batch_interval(millis(100)).build().unwrap();
    loop {
        let ids: Vec<_> = (0..20).filter_map(|n: u32| client.track(Event::new("conversion").property("n", n).user_id("u"))).collect();
        if client.sync(SOON) {
            let mut out = std::io::stdout().lock();
            writeln!(out, "\nsynced {}", ids.join(" ")).unwrap();
            out.flush().unwrap();
        }
        thread::sleep(millis(10));
    }
}

#[test]
fn an_application_that_is_killed_again_and_again_loses_nothing_that_was_on_disk() {
    let (platform, spool) = (Platform::start(), TempDir::new().unwrap());
    let mut synced = HashSet::new();
    for life in 0..4 {
        let network = Network::start(&platform.url, life);
        let variables = [("NETWORK", network.url.as_str()), ("SPOOL", spool.path().to_str().unwrap())];
        let mut application = application("delivery::tracks_without_an_end", &variables).spawn().unwrap();
        let lines = BufReader::new(application.stdout.take().unwrap()).lines();
        let (began, tells) = std::sync::mpsc::channel();
        let reader = thread::spawn(move || {
            let mut ids = Vec::new();
            for line in lines.map_while(Result::ok) {
                if let Some(told) = line.strip_prefix("synced ") {
                    ids.extend(told.split(' ').map(str::to_owned));
                    began.send(()).ok();
                }
            }
            ids
        });
        tells.recv_timeout(SOON).expect("it syncs");
        thread::sleep(millis(1_000 + life * 300));
        kill(&mut application);
        // A line that was being printed may be cut.
        synced.extend(reader.join().unwrap().into_iter().filter(|id| id.len() == 36));
    }
    assert!(synced.len() > 400, "{}", synced.len());
    let client = Client::builder(KEY).url(&platform.url).spool(spool.path()).build().unwrap();
    let began = Instant::now();
    while fs::read_dir(spool.path()).unwrap().next().is_some() {
        assert!(began.elapsed() < DONE, "{:?}", client.stats());
        thread::sleep(millis(100));
    }
    loop {
        let rows = platform.silver(0);
        let ids: HashSet<String> = rows.iter().cloned().collect();
        assert_eq!(ids.len(), rows.len(), "one was doubled");
        let missing = synced.difference(&ids).count();
        if missing == 0 {
            break;
        }
        assert!(began.elapsed() < DONE, "{missing} of {} are missing", synced.len());
        thread::sleep(millis(200));
    }
}
