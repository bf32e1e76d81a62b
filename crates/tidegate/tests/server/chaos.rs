//! The program breaks a platform of its own, says so, and finds every event it was told yes for.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::process::text;

/// At the least: each scenario is played once.
const MINUTES: &str = "1";

fn chaos(folder: &std::path::Path, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("chaos").args(arguments).arg("--folder").arg(folder.join("run")).current_dir(folder).env("NO_COLOR", "1");
    // So that the disk can be small, and is really full.
    command.env("TIDEGATE_JOURNAL__DISK_FREE_BYTES_MIN", "1000000");
    command.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn every_fault_is_survived_and_every_event_is_accounted_for() {
    let folder = tempfile::tempdir().unwrap();
    let may_mount = Command::new("unshare").args(["-rm", "true"]).output().is_ok_and(|output| output.status.success());
    let mut arguments = vec![
        "kill",
        "torn-journal",
        "damaged-index",
        "--minutes",
        MINUTES,
        "--rate",
        "500",
        "--pause",
        "0",
        "--seed",
        "1",
        "--format",
        "json",
    ];
    if may_mount {
        arguments.extend(["disk-full", "--disk", "128"]);
    } else {
        eprintln!("disk-full is left out: this system lets nobody mount a file system of their own (unshare -rm)");
    }
    let output = chaos(folder.path(), &arguments);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));

    let run = folder.path().join("run");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(run.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["sound"], true, "{report}");
    let verdict = &report["run"]["verdict"];
    let acknowledged = verdict["acknowledged"].as_u64().unwrap();
    assert!(acknowledged >= 10_000 && verdict["rows"] == acknowledged, "{verdict}");
    let incidents = report["run"]["incidents"].as_array().unwrap();
    let printed: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed.len(), incidents.len());
    let played: BTreeSet<&str> = incidents.iter().map(|incident| incident["scenario"].as_str().unwrap()).collect();
    assert_eq!(played.len(), if may_mount { 4 } else { 3 }, "{played:?}");
    assert!(report["run"]["requests_in_vain"].as_u64().unwrap() > 0, "the faults must have been felt");

    // The ledger alone says the same.
    let ledger = std::fs::read_to_string(run.join("acknowledged.csv")).unwrap();
    let counted: u64 = ledger.lines().skip(1).map(|line| line.rsplit(',').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(counted, acknowledged);
    let damaged = incidents.iter().find(|incident| incident["scenario"] == "damaged-index").unwrap();
    assert!(damaged["detail"].as_str().unwrap().contains("turned over"), "{damaged}");
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("0 lost, 0 doubled"), "{page}");
}

#[test]
fn what_cannot_be_played_says_why() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (vec!["s3-away"], "the setup has no link s3"),
        (vec!["no-such-scenario"], "those that come with the program"),
        (vec!["kill", "--setup", "no-such-file.yaml"], "no-such-file.yaml"),
    ] {
        let output = chaos(folder.path(), &arguments);
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(expected), "{arguments:?}: {said}");
        assert!(!folder.path().join("run").exists(), "{arguments:?} left a folder");
    }
    std::fs::write(folder.path().join("run"), "in use").unwrap();
    assert!(!chaos(folder.path(), &["kill"]).status.success(), "a file is no folder");
}
