use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use contract::{SourceName, Timestamp};
use tempfile::TempDir;

use super::*;

const NOW: Timestamp = Timestamp(1_763_892_000_123_456);

fn name(text: &str) -> SourceName {
    text.parse().unwrap()
}

fn key(text: &str) -> WriteKey {
    text.parse().unwrap()
}

fn fresh() -> (TempDir, KeyFile) {
    let folder = TempDir::new().unwrap();
    let file = KeyFile::at(folder.path().join("new/sources.json"));
    (folder, file)
}

#[test]
fn keys_are_random_and_never_shown() {
    let (one, other) = (WriteKey::generate(), WriteKey::generate());
    assert_ne!(one.reveal(), other.reveal());
    assert!(one.reveal().starts_with("tg_") && one.reveal().len() == 43);
    assert!(one.reveal().parse::<WriteKey>().is_ok());
    assert_eq!(format!("{one:?}"), "WriteKey(…)");
}

#[test]
fn what_can_be_a_key() {
    for bad in ["", " ", "a b", "a:b", "é", "a\n", &"x".repeat(201)] {
        assert!(matches!(bad.parse::<WriteKey>(), Err(Error::InvalidKey)), "{bad:?}");
    }
    assert!("x".repeat(200).parse::<WriteKey>().is_ok());
}

#[test]
fn the_file_has_digests_and_no_keys() {
    let (_folder, file) = fresh();
    assert_eq!(file.list().unwrap(), []);
    let added = file.add(name("web"), &key("secret-key"), vec!["https://a.example".to_owned()], NOW).unwrap();
    assert_eq!(file.list().unwrap(), std::slice::from_ref(&added));
    let text = fs::read_to_string(file.path()).unwrap();
    assert!(!text.contains("secret-key"));
    assert!(text.contains("2025-11-23T10:00:00.123456Z"), "{text}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_file_written_by_hand_is_read() {
    let (folder, _) = fresh();
    let path = folder.path().join("sources.json");
    let digest = "ab".repeat(32);
    let text = format!(r#"{{"keys":[{{"name":"web","digest":"{digest}","created_at":"2026-01-01","revoked_at":null,"later":1}}]}}"#);
    fs::write(&path, text).unwrap();
    let entries = KeyFile::at(&path).list().unwrap();
    assert_eq!((entries.len(), entries[0].revoked_at, entries[0].digest.short()), (1, None, "abababab".to_owned()));
    fs::write(&path, "{").unwrap();
    assert!(matches!(KeyFile::at(&path).list(), Err(Error::File(secrets::Error::Damaged { .. }))));
}

#[test]
fn adding_and_revoking() {
    let (_folder, file) = fresh();
    let add = |source: &str, text: &str| file.add(name(source), &key(text), vec![], NOW);
    add("web", "one").unwrap();
    add("web", "one").unwrap();
    add("web", "two").unwrap();
    assert_eq!(file.list().unwrap().len(), 2, "a source may have several keys, each once");
    assert!(matches!(add("app", "one"), Err(Error::TakenKey(taken)) if taken == name("web")));
    assert_eq!(file.revoke(&name("web"), NOW).unwrap(), 2);
    assert!(matches!(file.revoke(&name("web"), NOW), Err(Error::NoSuchSource(_))));
    assert!(matches!(file.revoke(&name("none"), NOW), Err(Error::NoSuchSource(_))));
    assert!(matches!(add("web", "one"), Err(Error::RevokedKey(_))), "what is revoked stays so");
    add("web", "three").unwrap();
}

#[test]
fn only_origins_are_origins() {
    let (_folder, file) = fresh();
    let add = |origin: &str| file.add(name("web"), &key("k"), vec![origin.to_owned()], NOW);
    for good in ["https://www.example.com", "http://localhost:3000", "chrome-extension://abc", "http://[::1]:80"] {
        add(good).unwrap();
    }
    for bad in ["", "*", "www.example.com", "https://", "https://a/", "https://A.example", "HTTPS://a", "https://*.a", "https://a b"] {
        assert!(matches!(add(bad), Err(Error::InvalidOrigin(_))), "{bad}");
    }
}

#[test]
fn many_at_once_lose_nothing() {
    let (_folder, file) = fresh();
    thread::scope(|scope| {
        for number in 0..16 {
            let file = &file;
            scope.spawn(move || file.add(name(&format!("s{number}")), &key(&format!("k{number}")), vec![], NOW).unwrap());
        }
    });
    assert_eq!(file.list().unwrap().len(), 16);
}

fn known(keyring: &Keyring, text: &str) -> bool {
    matches!(keyring.find(text), Lookup::Known(_))
}

fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !reached() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_keyring_follows_the_file() {
    let (_folder, file) = fresh();
    let keyring = Keyring::open(file.clone()).unwrap();
    assert_eq!(keyring.find("one"), Lookup::Unknown);
    file.add(name("web"), &key("one"), vec!["https://a.example".to_owned()], NOW).unwrap();
    assert!(known(&keyring, "one"), "a new key is known at once");
    let Lookup::Known(source) = keyring.find("one") else { panic!() };
    assert_eq!((source.name.as_str(), source.allows("https://a.example"), source.allows("https://b.example")), ("web", true, false));
    assert_eq!((keyring.allows("https://a.example"), keyring.allows("https://b.example")), (true, false));
    file.add(name("app"), &key("two"), vec![], NOW).unwrap();
    assert!(known(&keyring, "two"), "and so is a second");
    assert!(keyring.allows("https://b.example"), "a source without origins takes events from any");
    file.revoke(&name("web"), NOW).unwrap();
    wait_until("a revoked key is refused", || keyring.find("one") == Lookup::Revoked);
    assert!(known(&keyring, "two"));
}

#[test]
fn while_the_file_is_damaged_the_last_keys_hold() {
    let (_folder, file) = fresh();
    file.add(name("web"), &key("one"), vec![], NOW).unwrap();
    let keyring = Keyring::open(file.clone()).unwrap();
    let sound = fs::read(file.path()).unwrap();
    fs::write(file.path(), "{").unwrap();
    thread::sleep(Duration::from_millis(1100));
    assert!(known(&keyring, "one"));
    fs::remove_file(file.path()).unwrap();
    thread::sleep(Duration::from_millis(1100));
    assert!(known(&keyring, "one"));
    fs::write(file.path(), sound).unwrap();
    file.add(name("web"), &key("two"), vec![], NOW).unwrap();
    wait_until("mended", || known(&keyring, "two"));
}
