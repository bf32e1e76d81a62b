//! Damage is found, never answered from.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use dedup::{Error, ErrorKind, Index};
use proptest::prelude::*;

use crate::support::{entry, insert, keys, tiny};

const KNOWN: u32 = 3_000;

/// Puts an index of several runs there, and returns its files.
fn filled(dir: &Path) -> Vec<PathBuf> {
    static FILES: OnceLock<Vec<(OsString, Vec<u8>)>> = OnceLock::new();
    let files = FILES.get_or_init(|| {
        let made = tempfile::tempdir().unwrap();
        let mut index = Index::open(made.path(), tiny()).unwrap();
        insert(&mut index, 0..KNOWN, 50);
        index.flush().unwrap();
        assert!(index.stats().runs >= 2);
        drop(index);
        let paths = fs::read_dir(made.path()).unwrap().map(|entry| entry.unwrap().path());
        paths.map(|path| (path.file_name().unwrap().to_owned(), fs::read(&path).unwrap())).filter(|(name, _)| name != "lock").collect()
    });
    for (name, content) in files {
        fs::write(dir.join(name), content).unwrap();
    }
    files.iter().map(|(name, _)| dir.join(name)).collect()
}

/// Opens the index and asks it for everything.
fn use_all(dir: &Path) -> Result<(), Error> {
    let mut index = Index::open(dir, tiny())?;
    // An empty index says so, and is filled before it is asked.
    assert_eq!(index.applied(), Some(i64::from(KNOWN / 50) - 1));
    let expected: Vec<_> = (0..2 * KNOWN).map(|number| (number < KNOWN).then_some(u64::from(number))).collect();
    assert_eq!(index.probe(&keys(0..2 * KNOWN))?, expected);
    Ok(())
}

fn is_corrupt(dir: &Path) -> bool {
    use_all(dir).is_err_and(|error| {
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains("rebuild the index from Silver"), "{error}");
        true
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn changed_bytes_are_found(places in prop::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 12)) {
        let dir = tempfile::tempdir().unwrap();
        for file in filled(dir.path()) {
            let sound = fs::read(&file).unwrap();
            for (place, change) in &places {
                let mut bytes = sound.clone();
                bytes[place.index(sound.len())] ^= *change;
                fs::write(&file, bytes).unwrap();
                prop_assert!(is_corrupt(dir.path()), "{} at {}", file.display(), place.index(sound.len()));
            }
            fs::write(&file, &sound).unwrap();
        }
        use_all(dir.path()).unwrap();
    }

    #[test]
    fn files_cut_short_or_made_longer_are_found(place in any::<prop::sample::Index>()) {
        let dir = tempfile::tempdir().unwrap();
        for file in filled(dir.path()) {
            let sound = fs::read(&file).unwrap();
            fs::write(&file, &sound[..place.index(sound.len())]).unwrap();
            prop_assert!(is_corrupt(dir.path()), "{} cut at {}", file.display(), place.index(sound.len()));
            fs::write(&file, [&sound, &sound[..1 + place.index(10)]].concat()).unwrap();
            prop_assert!(is_corrupt(dir.path()), "{} made longer", file.display());
            fs::write(&file, &sound).unwrap();
        }
        use_all(dir.path()).unwrap();
    }
}

#[test]
fn missing_and_exchanged_files_are_found_and_a_rebuild_mends_all() {
    let dir = tempfile::tempdir().unwrap();
    let files = filled(dir.path());
    for file in &files {
        let sound = fs::read(file).unwrap();
        fs::remove_file(file).unwrap();
        assert!(is_corrupt(dir.path()), "{} missing", file.display());
        for other in files.iter().filter(|other| *other != file) {
            fs::copy(other, file).unwrap();
            assert!(is_corrupt(dir.path()), "{} in place of {}", other.display(), file.display());
        }
        fs::write(file, sound).unwrap();
    }
    use_all(dir.path()).unwrap();
    fs::write(&files[0], b"").unwrap();
    let mut index = Index::rebuild(dir.path(), tiny()).unwrap().finish(0).unwrap();
    assert_eq!(index.probe(&keys(0..1)).unwrap(), [None]);
}

#[test]
fn damage_that_comes_while_the_index_is_open_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let files = filled(dir.path());
    let mut index = Index::open(dir.path(), tiny()).unwrap();
    let run = files.iter().find(|file| file.extension().is_some_and(|extension| extension == "run")).unwrap();
    fs::write(run, [0; 4_000]).unwrap();
    let error = index.probe(&keys(0..KNOWN)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    drop(index);

    filled(dir.path());
    let mut index = Index::open(dir.path(), tiny()).unwrap();
    fs::remove_file(run).unwrap();
    let error = index.probe(&keys(0..KNOWN)).unwrap_err();
    assert!(error.to_string().contains("it is missing"), "{error}");
}

#[test]
fn damage_is_not_merged() {
    let dir = tempfile::tempdir().unwrap();
    for run in filled(dir.path()).iter().filter(|file| file.extension().is_some_and(|extension| extension == "run")) {
        let mut bytes = fs::read(run).unwrap();
        bytes[20] ^= 1;
        fs::write(run, bytes).unwrap();
    }
    let mut index = Index::open(dir.path(), tiny()).unwrap();
    // New identities pass no filter, so that only merges meet the damage.
    let found = (KNOWN..3 * KNOWN).map(|number| index.insert(1_000 + i64::from(number), &[entry(number, 0)])).find_map(Result::err);
    assert_eq!(found.unwrap().kind(), ErrorKind::Corrupt);
}
