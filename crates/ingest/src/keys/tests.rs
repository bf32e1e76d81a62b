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

fn of(origins: &[&str]) -> Scope {
    Scope { allowed_origins: origins.iter().map(|&origin| origin.to_owned()).collect(), ..Scope::default() }
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
    let added = file.add(name("web"), &key("secret-key"), of(&["https://a.example"]), NOW).unwrap();
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
    let add = |source: &str, text: &str| file.add(name(source), &key(text), Scope::default(), NOW);
    add("web", "one").unwrap();
    add("web", "one").unwrap();
    add("web", "two").unwrap();
    assert_eq!(file.list().unwrap().len(), 2, "a source may have several keys, each once");
    assert!(matches!(add("app", "one"), Err(Error::TakenKey(taken)) if taken == name("web")));
    assert_eq!(file.revoke(&name("web"), None, NOW).unwrap(), 2);
    assert!(matches!(file.revoke(&name("web"), None, NOW), Err(Error::NoSuchSource(_))));
    assert!(matches!(file.revoke(&name("none"), None, NOW), Err(Error::NoSuchSource(_))));
    assert!(matches!(add("web", "one"), Err(Error::RevokedKey(_))), "what is revoked stays so");
    add("web", "three").unwrap();
}

#[test]
fn a_key_is_rotated_with_an_overlap() {
    let (_folder, file) = fresh();
    let (later, much_later) = (Timestamp(NOW.0 + 10), Timestamp(NOW.0 + 20));
    let scope = Scope { event_types: vec!["page_view".to_owned()], ..Scope::default() };
    assert!(matches!(file.rotate(&name("web"), &key("two"), NOW, later), Err(Error::NoSuchSource(_))));
    file.add(name("web"), &key("one"), scope.clone(), NOW).unwrap();
    let (added, ending) = file.rotate(&name("web"), &key("two"), NOW, later).unwrap();
    assert_eq!((added.scope, added.revoked_at, ending), (scope, None, 1));
    assert!(matches!(file.rotate(&name("web"), &key("two"), NOW, later), Err(Error::TakenKey(_))), "a new key is another one");
    let keyring = Keyring::open(file.clone()).unwrap();
    let taken = |text: &str, now| matches!(keyring.find(text, now), Lookup::Known(_));
    assert!(taken("one", NOW) && taken("two", NOW), "both are taken for a while");
    assert!(!taken("one", later) && taken("two", later), "then the new one alone");
    assert_eq!(keyring.find("one", later), Lookup::Revoked);

    // A second rotation does not let the first key live longer, and a sudden end is an end at once.
    file.rotate(&name("web"), &key("three"), NOW, much_later).unwrap();
    let ends: Vec<_> = file.list().unwrap().into_iter().map(|entry| entry.revoked_at).collect();
    assert_eq!(ends, [Some(later), Some(much_later), None]);
    let second = file.list().unwrap()[1].digest.short();
    assert_eq!(file.revoke(&name("web"), Some(&second), NOW).unwrap(), 1);
    assert!(matches!(file.revoke(&name("web"), Some(&second), NOW), Err(Error::NoSuchSource(_))));
    wait_until("one key of several is revoked", || keyring.find("two", NOW) == Lookup::Revoked);
    assert!(known(&keyring, "one") && known(&keyring, "three"));
}

#[test]
fn origins_are_checked_where_a_key_is_added() {
    let (_folder, file) = fresh();
    let add = |origin: &str| file.add(name("web"), &key("k"), of(&[origin]), NOW);
    for good in ["https://www.example.com", "http://localhost:3000", "chrome-extension://abc", "http://[::1]:80"] {
        add(good).unwrap();
    }
    assert!(matches!(add("www.example.com"), Err(Error::InvalidOrigin(_))));
}

#[test]
fn many_at_once_lose_nothing() {
    let (_folder, file) = fresh();
    thread::scope(|scope| {
        for number in 0..16 {
            let file = &file;
            scope.spawn(move || file.add(name(&format!("s{number}")), &key(&format!("k{number}")), Scope::default(), NOW).unwrap());
        }
    });
    assert_eq!(file.list().unwrap().len(), 16);
}

fn known(keyring: &Keyring, text: &str) -> bool {
    matches!(keyring.find(text, NOW), Lookup::Known(_))
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
    assert_eq!(keyring.find("one", NOW), Lookup::Unknown);
    file.add(name("web"), &key("one"), of(&["https://a.example"]), NOW).unwrap();
    assert!(known(&keyring, "one"), "a new key is known at once");
    let Lookup::Known(source) = keyring.find("one", NOW) else { panic!() };
    assert_eq!(
        (source.name.as_str(), source.scope.allows_origin("https://a.example"), source.scope.allows_origin("https://b.example")),
        ("web", true, false)
    );
    assert_eq!((keyring.allows("https://a.example", NOW), keyring.allows("https://b.example", NOW)), (true, false));
    file.add(name("app"), &key("two"), Scope::default(), NOW).unwrap();
    assert!(known(&keyring, "two"), "and so is a second");
    assert!(keyring.allows("https://b.example", NOW), "a source without origins takes events from any");
    file.revoke(&name("web"), None, NOW).unwrap();
    wait_until("a revoked key is refused", || keyring.find("one", NOW) == Lookup::Revoked);
    assert!(known(&keyring, "two"));
}

#[test]
fn while_the_file_is_damaged_the_last_keys_hold() {
    let (_folder, file) = fresh();
    file.add(name("web"), &key("one"), Scope::default(), NOW).unwrap();
    let keyring = Keyring::open(file.clone()).unwrap();
    let sound = fs::read(file.path()).unwrap();
    fs::write(file.path(), "{").unwrap();
    thread::sleep(Duration::from_millis(1100));
    assert!(known(&keyring, "one"));
    fs::remove_file(file.path()).unwrap();
    thread::sleep(Duration::from_millis(1100));
    assert!(known(&keyring, "one"));
    fs::write(file.path(), sound).unwrap();
    file.add(name("web"), &key("two"), Scope::default(), NOW).unwrap();
    wait_until("mended", || known(&keyring, "two"));
}
