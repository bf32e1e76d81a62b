use std::thread;

use serde_json::json;

use super::*;

const NOW: Timestamp = Timestamp(1_763_892_000_123_456);

fn fresh() -> (tempfile::TempDir, AuditLog) {
    let folder = tempfile::tempdir().unwrap();
    let log = AuditLog::at(folder.path().join("below/audit.log"));
    (folder, log)
}

fn act(on: &str) -> Act {
    let detail = json!({"event_types": ["a", "b"]}).as_object().unwrap().clone();
    Act { by: "anna".to_owned(), act: "source.add".to_owned(), on: on.to_owned(), detail }
}

fn filled(count: u32) -> (tempfile::TempDir, AuditLog) {
    let (folder, log) = fresh();
    for number in 0..count {
        log.add(act(&format!("s{number}")), NOW).unwrap();
    }
    (folder, log)
}

fn verify(log: &AuditLog) -> Verified {
    log.verify(None, |_, _| ()).unwrap()
}

#[test]
fn what_was_done_can_be_read_in_order() {
    let (_folder, log) = fresh();
    assert!(verify(&log).is_sound(), "nothing was done yet");
    let heads: Vec<Head> = (0..5).map(|number| log.add(act(&format!("s{number}")), NOW).unwrap()).collect();
    let mut entries = Vec::new();
    let verified = log.verify(Some(&heads[2].digest), |entry, digest| entries.push((entry.clone(), digest.to_owned()))).unwrap();
    assert!(verified.is_sound() && verified.head == heads[4], "{verified:?}");
    let told: Vec<(u64, &str)> = entries.iter().map(|(entry, _)| (entry.number, entry.act.on.as_str())).collect();
    assert_eq!(told, [(1, "s0"), (2, "s1"), (3, "s2"), (4, "s3"), (5, "s4")]);
    assert_eq!((entries[0].0.at.as_str(), &entries[0].0.act), ("2025-11-23T10:00:00.123456Z", &act("s0")));
    assert!(entries.iter().zip(&heads).all(|((_, digest), head)| *digest == head.digest));
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(log.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn every_change_is_seen_and_where_it_is() {
    let (_folder, log) = filled(6);
    let sound = fs::read_to_string(log.path()).unwrap();
    let lines: Vec<&str> = sound.lines().collect();
    let again = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let swapped = [lines[0], lines[2], lines[1], lines[3], lines[4], lines[5]];
    let without = [lines[0], lines[1], lines[3], lines[4], lines[5]];
    let twice = [lines[0], lines[1], lines[1], lines[2], lines[3], lines[4]];
    for (what, changed, line) in [
        ("another name", sound.replacen("s2", "s9", 1), 3),
        ("another person", sound.replacen("anna", "bert", 1), 1),
        ("swapped", again(&swapped), 2),
        ("taken out", again(&without), 3),
        ("the first taken out", again(&lines[1..]), 1),
        ("put in", again(&twice), 3),
        ("a line of nothing", format!("{sound}\n"), 7),
        ("half a line", format!("{sound}{}", lines[0].get(..20).unwrap()), 7),
        ("something else", format!("hello\n{sound}"), 1),
    ] {
        fs::write(log.path(), &changed).unwrap();
        let verified = verify(&log);
        assert_eq!(verified.broken.as_ref().map(|(line, _)| *line), Some(line), "{what}: {verified:?}");
        assert!(!verified.is_sound());
    }
    // Made anew with a digest that fits: the next entry does not follow from it.
    let mut entry: Entry = serde_json::from_str(serde_json::from_str::<Line>(lines[2]).unwrap().entry.get()).unwrap();
    entry.act.by = "bert".to_owned();
    let (forged, _) = log.line(&entry).unwrap();
    let forged = String::from_utf8(forged).unwrap();
    let forged = [lines[0], lines[1], forged.trim_end(), lines[3], lines[4], lines[5]];
    fs::write(log.path(), again(&forged)).unwrap();
    assert_eq!(verify(&log).broken.unwrap().0, 4);
}

#[test]
fn a_log_that_was_cut_or_made_anew_does_not_have_what_was_noted() {
    let (_folder, log) = filled(4);
    let noted = verify(&log).head.digest;
    assert!(log.verify(Some(&noted), |_, _| ()).unwrap().is_sound());
    let sound = fs::read_to_string(log.path()).unwrap();
    let cut: String = sound.lines().take(3).map(|line| format!("{line}\n")).collect();
    fs::write(log.path(), cut).unwrap();
    assert!(verify(&log).is_sound(), "by itself it cannot tell");
    assert!(!log.verify(Some(&noted), |_, _| ()).unwrap().is_sound());
    fs::remove_file(log.path()).unwrap();
    assert!(!log.verify(Some(&noted), |_, _| ()).unwrap().is_sound());
    log.add(act("s"), NOW).unwrap();
    assert!(!log.verify(Some(&noted), |_, _| ()).unwrap().is_sound());
}

#[test]
fn what_a_crash_left_unfinished_is_cut_off_and_told() {
    let (_folder, log) = filled(2);
    let sound = fs::read_to_string(log.path()).unwrap();
    fs::write(log.path(), format!("{sound}{{\"entry\":{{\"num")).unwrap();
    log.add(act("after"), NOW).unwrap();
    let mut cuts = Vec::new();
    let verified = log.verify(None, |entry, _| cuts.push(entry.cut)).unwrap();
    assert!(verified.is_sound(), "{verified:?}");
    assert_eq!(cuts, [0, 0, 14]);
}

#[test]
fn nothing_is_added_to_a_log_whose_end_was_changed() {
    let (_folder, log) = filled(2);
    let changed = fs::read_to_string(log.path()).unwrap().replace("s1", "s9");
    fs::write(log.path(), &changed).unwrap();
    assert!(matches!(log.add(act("s"), NOW), Err(Error::Damaged { .. })));
    assert_eq!(fs::read_to_string(log.path()).unwrap(), changed);
    let long = Act { on: "x".repeat(LINE_BYTES_MAX), ..act("s") };
    let (_folder, log) = fresh();
    assert!(matches!(log.add(long, NOW), Err(Error::TooLarge { .. })));
    assert!(verify(&log).is_sound());
}

#[test]
fn a_line_of_a_newer_version_is_told_and_left_as_it_is() {
    let (_folder, log) = filled(2);
    let newer = r#"{"version":2,"act":"of that version","seal":"another"}"#;
    // Also where a crash left something behind it.
    let text = format!("{}{newer}\n{{\"ver", fs::read_to_string(log.path()).unwrap());
    fs::write(log.path(), &text).unwrap();
    assert!(matches!(log.add(act("s"), NOW), Err(Error::Newer { line: None, found: 2, .. })));
    let mut seen = 0;
    let error = log.verify(None, |_, _| seen += 1).unwrap_err();
    assert!(matches!(error, Error::Newer { line: Some(3), found: 2, .. }), "{error}");
    assert!(error.to_string().starts_with("line 3 of the audit log "), "{error}");
    assert_eq!((seen, fs::read_to_string(log.path()).unwrap()), (2, text));
}

#[test]
fn what_a_later_program_adds_is_passed_over() {
    let (_folder, log) = filled(2);
    let head = verify(&log).head;
    let entry = format!(
        r#"{{"number":3,"at":"2027-01-01T00:00:00Z","by":"anna","act":"source.add","on":"web","from":"10.0.0.1","before":"{}"}}"#,
        head.digest
    );
    let line = format!(r#"{{"entry":{entry},"digest":"{}","sealed_by":"x"}}"#, digest(&entry));
    fs::write(log.path(), format!("{}{line}\n", fs::read_to_string(log.path()).unwrap())).unwrap();
    log.add(act("after"), NOW).unwrap();
    let verified = verify(&log);
    assert!(verified.is_sound() && verified.head.number == 4, "{verified:?}");
}

#[test]
fn whoever_is_refused_leaves_the_file_as_it_was() {
    let (_folder, log) = filled(2);
    let sound = fs::read_to_string(log.path()).unwrap();
    let unfinished = "{\"entry\":{\"num";
    // What a crash left behind an entry that was changed is evidence, too.
    let changed = format!("{}{unfinished}", sound.replace("s1", "s9"));
    fs::write(log.path(), &changed).unwrap();
    assert!(matches!(log.add(act("s"), NOW), Err(Error::Damaged { .. })));
    assert_eq!(fs::read_to_string(log.path()).unwrap(), changed);
    // And what an act that is too long was not put in the place of.
    let cut = format!("{sound}{unfinished}");
    fs::write(log.path(), &cut).unwrap();
    assert!(matches!(log.add(Act { on: "x".repeat(LINE_BYTES_MAX), ..act("s") }, NOW), Err(Error::TooLarge { .. })));
    assert_eq!(fs::read_to_string(log.path()).unwrap(), cut);
    assert!(log.add(act("s"), NOW).is_ok() && verify(&log).is_sound());
}

#[test]
fn no_number_comes_after_the_last() {
    let (_folder, log) = fresh();
    let entry = Entry { number: u64::MAX, at: NOW.to_rfc3339(), act: act("s"), cut: 0, before: NOTHING.to_owned() };
    fs::create_dir_all(log.path().parent().unwrap()).unwrap();
    fs::write(log.path(), log.line(&entry).unwrap().0).unwrap();
    assert!(matches!(log.add(act("s"), NOW), Err(Error::Damaged { .. })));
    assert_eq!(verify(&log).broken.unwrap().0, 1);
}

#[test]
fn many_add_at_once() {
    let (_folder, log) = fresh();
    thread::scope(|scope| {
        for number in 0..16 {
            let log = &log;
            scope.spawn(move || log.add(act(&format!("s{number}")), NOW).unwrap());
        }
    });
    let verified = verify(&log);
    assert!(verified.is_sound() && verified.head.number == 16, "{verified:?}");
}
