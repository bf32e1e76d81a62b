//! Events on disk.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_sdk::{Client, Event, Outcome};

use crate::gate::{Gate, taken, unavailable};
use crate::helpers::{SOON, application, balanced, client, given, kill, millis, numbered, until};

/// All files of a spool with events in them.
fn files(spool: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(spool).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "ndjson"));
    files.sort();
    files
}

fn is_empty(spool: &Path) -> bool {
    fs::read_dir(spool).unwrap().next().is_none()
}

fn spooled(gate: &Gate, spool: &Path) -> Client {
    client(&gate.url).spool(spool).build().unwrap()
}

#[test]
#[ignore = "an application that another test kills"]
fn tracks_syncs_and_sleeps() {
    let client = Client::builder("k").url(given("GATE")).spool(given("SPOOL")).build().unwrap();
    for number in 0..given("EVENTS").parse().unwrap() {
        numbered(&client, number);
    }
    assert!(client.sync(SOON));
    client.track(Event::new("not synced"));
    println!("\ntracked {}", client.stats().tracked);
    thread::sleep(Duration::from_secs(60));
}

/// An application that is killed when its events are on disk.
fn killed_after_sync(gate: &Gate, spool: &Path, events: u64) {
    let variables = [("GATE", gate.url.as_str()), ("SPOOL", spool.to_str().unwrap()), ("EVENTS", &events.to_string())];
    let mut application = application("spool::tracks_syncs_and_sleeps", &variables).spawn().unwrap();
    let lines = BufReader::new(application.stdout.take().unwrap()).lines();
    let told = lines.map(Result::unwrap).find(|line| line.starts_with("tracked"));
    assert_eq!(told.unwrap(), format!("tracked {}", events + 1));
    kill(&mut application);
    gate.forget();
}

#[test]
fn what_was_synced_arrives_after_a_kill_and_is_gone_from_the_disk() {
    let (gate, folder) = (Gate::start(), TempDir::new().unwrap());
    let spool = folder.path().join("a/spool");
    gate.answer(unavailable);
    killed_after_sync(&gate, &spool, 1_234);
    let mut lines = 0;
    for path in files(&spool) {
        // Readable by people, and by `tidegate send`.
        for line in fs::read_to_string(&path).unwrap().lines() {
            assert!(serde_json::from_str::<Value>(line).unwrap()["event_type"].is_string());
            lines += 1;
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
            assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o077, 0);
        }
    }
    assert!(lines >= 1_234);
    gate.answer(taken);
    let told = Arc::new(Mutex::new(Vec::new()));
    let tells = Arc::clone(&told);
    let client = client(&gate.url).spool(&spool).on_delivery(move |delivery| tells.lock().unwrap().push(delivery.outcome)).build().unwrap();
    until("all are recovered", || client.stats().recovered >= 1_234);
    assert_eq!(balanced(&client).tracked, 0);
    client.close(SOON);
    let events = gate.events();
    let mut numbers: Vec<_> = events.iter().filter_map(|event| event["properties"]["n"].as_u64()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..1_234).collect::<Vec<_>>());
    let ids = gate.ids();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    assert_eq!(told.lock().unwrap().iter().filter(|outcome| **outcome == Outcome::Delivered).count(), ids.len());
    assert!(is_empty(&spool));
}

#[test]
fn an_orderly_end_leaves_what_is_not_answered_to_the_next_start() {
    let (gate, spool) = (Gate::start(), TempDir::new().unwrap());
    gate.answer(unavailable);
    let client = spooled(&gate, spool.path());
    let mut ids: Vec<_> = (0..700).filter_map(|number| numbered(&client, number)).collect();
    assert!(client.sync(SOON) && !client.close(millis(500)));
    let stats = balanced(&client);
    assert_eq!((stats.pending, stats.dropped), (700, 0));
    gate.forget();
    gate.answer(taken);
    let client = spooled(&gate, spool.path());
    until("all are recovered", || client.stats().recovered == 700);
    ids.sort();
    assert_eq!(gate.ids(), ids);
}

#[test]
fn what_was_spooled_is_removed_when_it_is_answered() {
    let (gate, spool) = (Gate::start(), TempDir::new().unwrap());
    let client = client(&gate.url).spool(spool.path()).batch_events_max(10).build().unwrap();
    for round in 0..5 {
        for number in 0..25 {
            numbered(&client, round * 25 + number);
        }
        assert!(client.flush(SOON));
        assert_eq!(files(spool.path()), [] as [PathBuf; 0]);
    }
    assert_eq!((balanced(&client).delivered, gate.events().len()), (125, 125));
    assert!(client.close(SOON) && is_empty(spool.path()));
}

#[test]
fn the_half_of_a_line_is_left_out_and_counted() {
    let (gate, spool) = (Gate::start(), TempDir::new().unwrap());
    gate.answer(unavailable);
    killed_after_sync(&gate, spool.path(), 3);
    let last = files(spool.path()).pop().unwrap();
    fs::OpenOptions::new().append(true).open(last).unwrap().write_all(br#"{"event_id":"half","event_ty"#).unwrap();
    gate.answer(taken);
    let client = spooled(&gate, spool.path());
    until("all are recovered", || client.stats().recovered >= 3);
    assert_eq!(client.stats().torn, 1);
    client.close(SOON);
    assert!(!gate.ids().contains(&"half".to_owned()) && is_empty(spool.path()));
}

#[test]
fn two_clients_have_one_spool() {
    let (gate, spool) = (Gate::start(), TempDir::new().unwrap());
    gate.answer(unavailable);
    let (one, two) = (spooled(&gate, spool.path()), spooled(&gate, spool.path()));
    let mut ids: Vec<_> = [&one, &two].into_iter().flat_map(|client| (0..10).filter_map(|number| numbered(client, number))).collect();
    assert!(one.sync(SOON) && two.sync(SOON));
    // The one that ends leaves its events; the other one goes on, and its folder is not touched.
    assert!(!one.close(millis(200)));
    gate.answer(taken);
    let three = spooled(&gate, spool.path());
    until("what one left is recovered", || three.stats().recovered == 10);
    assert!(two.close(SOON) && two.stats().delivered == 10);
    let mut sent = gate.ids();
    sent.dedup();
    ids.sort();
    assert_eq!(sent, ids);
}

#[test]
fn a_full_spool_is_sent_around() {
    let (gate, spool) = (Gate::start(), TempDir::new().unwrap());
    gate.hold();
    let client = client(&gate.url).spool(spool.path()).spool_bytes_max(5_000).queue_events_max(50).build().unwrap();
    for number in 0..200 {
        numbered(&client, number);
        thread::sleep(millis(1));
    }
    until("it is full", || client.stats().spool_errors > 0);
    gate.let_go();
    assert!(client.close(SOON));
    let stats = balanced(&client);
    assert!(stats.delivered + stats.dropped == 200 && stats.dropped_by.keys().all(|code| code == "queue_full"), "{stats:?}");
    let ids: HashSet<_> = gate.ids().into_iter().collect();
    assert_eq!(ids.len() as u64, stats.delivered);
}

#[test]
#[ignore = "an application that another test runs on a full disk"]
fn tracks_on_a_full_disk() {
    let client = Client::builder("k").url(given("GATE")).spool(given("SPOOL")).queue_events_max(100).build().unwrap();
    let mut slowest = Duration::ZERO;
    for number in 0..1_000 {
        let began = Instant::now();
        numbered(&client, number);
        slowest = slowest.max(began.elapsed());
        thread::sleep(Duration::from_micros(500));
    }
    let closed = client.close(SOON);
    let stats = balanced(&client);
    println!("\ntold {closed} {} {} {} {} {}", stats.delivered, stats.dropped, stats.pending, stats.spool_errors, slowest.as_millis());
}

#[cfg(unix)]
#[test]
fn a_full_disk_does_not_hurt_the_application() {
    let (gate, folder) = (Gate::start(), TempDir::new().unwrap());
    let spool = folder.path().join("spool");
    let program = application("spool::tracks_on_a_full_disk", &[]);
    // No file may grow beyond this, as on a disk that is full. In blocks of 512 or 1,024 bytes, as the shell has it.
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", r#"trap "" XFSZ; ulimit -f 3; exec "$0" "$@""#]).arg(program.get_program()).args(program.get_args());
    let done = limited.env("GATE", &gate.url).env("SPOOL", &spool).output().unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{said} {}", String::from_utf8_lossy(&done.stderr));
    let told: Vec<_> = said.lines().find_map(|line| line.strip_prefix("told ")).unwrap().split(' ').collect();
    let [closed, numbers @ ..] = &told[..] else { panic!("{told:?}") };
    let numbers: Vec<u64> = numbers.iter().map(|number| number.parse().unwrap()).collect();
    let [delivered, dropped, pending, spool_errors, slowest] = numbers[..] else { panic!("{numbers:?}") };
    assert!(*closed == "true" && spool_errors > 0 && pending == 0 && delivered > 0, "{told:?}");
    assert_eq!(delivered + dropped, 1_000);
    assert_eq!(gate.ids().into_iter().collect::<HashSet<_>>().len() as u64, delivered);
    // The machine may be busy; a call that waited for a disk would take far longer than any busy moment.
    assert!(slowest < 2_000, "{slowest} ms");
}

#[test]
fn a_folder_that_cannot_be_made_does_not_hurt_either() {
    let (gate, folder) = (Gate::start(), TempDir::new().unwrap());
    let file = folder.path().join("file");
    fs::write(&file, "not a folder").unwrap();
    gate.hold();
    let client = spooled(&gate, &file.join("spool"));
    for number in 0..10 {
        numbered(&client, number);
    }
    assert!(!client.sync(millis(200)));
    gate.let_go();
    assert!(client.close(SOON));
    assert_eq!(balanced(&client).delivered, 10);
}

#[test]
fn consent_that_is_taken_back_empties_the_spool() {
    let (gate, spool) = (Gate::start(), TempDir::new().unwrap());
    gate.answer(unavailable);
    killed_after_sync(&gate, spool.path(), 5);
    let client = spooled(&gate, spool.path());
    for number in 0..3 {
        numbered(&client, number);
        assert!(client.sync(SOON));
    }
    client.opt_out();
    gate.answer(taken);
    gate.forget();
    until("nothing is left", || balanced(&client).pending == 0);
    client.close(SOON);
    assert_eq!(files(spool.path()), [] as [PathBuf; 0]);
    // One batch may have been on its way.
    assert!(gate.requests().len() <= 1);
    let stats = client.stats();
    assert_eq!(stats.dropped_by.get("opted_out").unwrap_or(&0) + stats.delivered, 3);
}

#[cfg(unix)]
#[test]
fn what_the_python_sdk_left_is_sent() {
    let (gate, spool) = (Gate::start(), TempDir::new().unwrap());
    let folder = spool.path().join("17-0123456789ab");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("lock"), "").unwrap();
    fs::write(folder.join(format!("{:020}.ndjson", 1)), "{\"event_id\":\"of python\",\"event_type\":\"t\"}\n").unwrap();
    let client = spooled(&gate, spool.path());
    until("it is recovered", || client.stats().recovered == 1);
    client.close(SOON);
    assert!(gate.ids() == ["of python"] && is_empty(spool.path()));
}

#[test]
fn a_file_that_cannot_be_read_stays() {
    let (gate, spool) = (Gate::start(), TempDir::new().unwrap());
    let folder = spool.path().join("17-0123456789ab");
    // A folder cannot be read as a file.
    fs::create_dir_all(folder.join(format!("{:020}.ndjson", 1))).unwrap();
    fs::write(folder.join("lock"), "").unwrap();
    fs::write(folder.join(format!("{:020}.ndjson", 2)), "{\"event_id\":\"sound\",\"event_type\":\"t\"}\n").unwrap();
    let client = spooled(&gate, spool.path());
    until("the other one is recovered", || client.stats().recovered == 1);
    client.close(SOON);
    assert_eq!(files(spool.path()).len(), 1);
}

#[test]
#[ignore = "an application that ends without closing its client"]
fn tracks_and_exits() {
    let client = Client::builder("k").url(given("GATE")).spool(given("SPOOL")).build().unwrap();
    numbered(&client, 1);
    assert!(client.sync(SOON));
    std::process::exit(0);
}

#[test]
fn an_exit_without_a_close_loses_nothing_that_was_synced() {
    let (gate, spool) = (Gate::start(), TempDir::new().unwrap());
    gate.hold();
    let variables = [("GATE", gate.url.as_str()), ("SPOOL", spool.path().to_str().unwrap())];
    let mut application = application("spool::tracks_and_exits", &variables).spawn().unwrap();
    let mut said = String::new();
    application.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(application.wait().unwrap().success(), "{said}");
    gate.let_go();
    gate.forget();
    let client = spooled(&gate, spool.path());
    until("it is recovered", || client.stats().recovered == 1);
}
