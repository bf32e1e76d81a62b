//! The file of write keys, in which anything may stand: it is told apart from one that is sound, and a sound one takes a key and keeps those it had.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use contract::{SourceName, Timestamp};
use ingest::keys::{KeyFile, Keyring, Lookup, Scope, WriteKey};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

const NOW: Timestamp = Timestamp(1_795_428_000_000_000);
static FOLDER: LazyLock<TempDir> = LazyLock::new(tidegate_fuzz::folder);

fuzz_target!(|bytes: &[u8]| {
    let path = FOLDER.path().join("sources.json");
    fs::write(&path, bytes).expect("room");
    let file = KeyFile::at(&path);
    let listed = file.list();
    assert_eq!(Keyring::open(file.clone()).is_ok(), listed.is_ok());
    let key: WriteKey = "tg_a_new_one".parse().expect("a key");
    let name: SourceName = "new".parse().expect("a name");
    let added = file.add(name.clone(), &key, Scope::default(), NOW);
    let Ok(before) = listed else {
        // What cannot be read is not written over.
        assert!(added.is_err());
        assert_eq!(fs::read(&path).expect("the file"), bytes);
        return;
    };
    let Ok(added) = added else { return };
    let after = file.list().expect("what was written can be read");
    assert!(after.contains(&added) && after.len() <= before.len() + 1);
    assert!(before.iter().all(|entry| after.iter().any(|kept| (&kept.name, kept.digest) == (&entry.name, entry.digest))));
    let keyring = Keyring::open(file.clone()).expect("and followed");
    assert!(matches!(keyring.find(key.reveal(), NOW), Lookup::Known(source) if source.name == name));
    let revoked = file.revoke(&name, None, NOW).expect("it has one");
    assert!(revoked >= 1 && file.list().expect("again").iter().all(|entry| entry.name != name || !entry.is_live(NOW)));
});
