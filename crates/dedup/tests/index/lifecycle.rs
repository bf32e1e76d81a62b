//! Opening, locking, beginning anew, and the work that is done on the side.

use std::fs;
use std::path::Path;

use dedup::{Entry, ErrorKind, Index, Limits, Options};

use crate::support::{entry, insert, key, keys, tiny};

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_empty_index_knows_nothing_and_asks_to_be_filled() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::open(&dir.path().join("made/for/it"), tiny()).unwrap();
    assert_eq!((index.applied(), index.flushed(), index.stats()), (None, None, dedup::Stats::default()));
    assert_eq!(index.probe(&keys(0..3)).unwrap(), [None; 3]);
    assert_eq!(index.probe(&[]).unwrap(), []);
    index.insert(0, &[]).unwrap();
    assert_eq!((index.applied(), index.flushed()), (Some(0), None));
    index.flush().unwrap();
    assert_eq!(index.flushed(), Some(0));
}

#[test]
fn an_index_may_be_handed_from_thread_to_thread() {
    fn check<T: Send>() {}
    check::<Index>();
    check::<dedup::Rebuild>();
}

#[test]
fn one_process_at_a_time_has_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path(), tiny()).unwrap();
    let error = Index::open(dir.path(), tiny()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains("in use by another process"), "{error}");
    assert_eq!(Index::rebuild(dir.path(), tiny()).unwrap_err().kind(), ErrorKind::Locked);
    drop(index);
    Index::open(dir.path(), tiny()).unwrap();
}

#[test]
fn an_index_of_another_lake_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::open(dir.path(), tiny()).unwrap();
    insert(&mut index, 0..1_000, 50);
    index.flush().unwrap();
    drop(index);
    let mut other = Index::open(dir.path(), Options { lake_id: "another".to_owned(), ..tiny() }).unwrap();
    assert_eq!((other.applied(), other.stats().identities), (None, 0));
    assert_eq!(other.probe(&keys(0..1)).unwrap(), [None]);
    assert_eq!(files(dir.path()), ["lock", "manifest"]);
}

#[test]
fn bounds_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { limits: Limits { memtable_entries_max: 0, ..Limits::default() }, ..Options::default() };
    assert_eq!(Index::open(dir.path(), options.clone()).unwrap_err().kind(), ErrorKind::Misconfigured);
    assert_eq!(Index::rebuild(dir.path(), options).unwrap_err().kind(), ErrorKind::Misconfigured);
    assert_eq!(files(dir.path()), [""; 0]);
}

#[test]
fn the_first_content_stays_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::open(dir.path(), tiny()).unwrap();
    index.insert(0, &[entry(1, 10), entry(1, 11), entry(2, 20)]).unwrap();
    index.flush().unwrap();
    index.insert(1, &[entry(1, 12), entry(3, 30)]).unwrap();
    index.insert(2, &[entry(3, 31)]).unwrap();
    assert_eq!(index.probe(&keys([3, 2, 1, 0])).unwrap(), [Some(30), Some(20), Some(10), None]);
    assert_eq!(index.stats().identities, 3);
}

#[test]
fn merges_go_on_beside_inserts_and_bound_the_number_of_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::open(dir.path(), tiny()).unwrap();
    let (mut most_runs, mut most_merges) = (0, 0);
    for round in 0..400 {
        insert(&mut index, round * 50..(round + 1) * 50, 25);
        let stats = index.stats();
        (most_runs, most_merges) = (most_runs.max(stats.runs), most_merges.max(stats.merges));
    }
    // 20,000 identities: size classes of 3^3 to 3^9, at most 6 runs of each.
    assert!(most_runs <= 6 * 7, "{most_runs} runs");
    assert!(most_merges >= 2, "{most_merges} merges at a time");
    assert_eq!(index.probe(&keys(0..20_000)).unwrap(), (0..20_000).map(Some).collect::<Vec<_>>());
    assert_eq!(index.probe(&keys(20_000..30_000)).unwrap(), vec![None; 10_000]);
    // Merged runs are gone from the folder: beside runs, merges and what is waiting to be removed, there are the lock and the manifest.
    let stats = index.stats();
    assert_eq!(files(dir.path()).len(), stats.runs + stats.merges + 2);
    drop(index);
    assert_eq!(files(dir.path()).len(), stats.runs + 2);
}

#[test]
fn restarts_that_break_off_every_merge_still_bound_the_number_of_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut most_runs = 0;
    for round in 0..100 {
        let mut index = Index::open(dir.path(), tiny()).unwrap();
        insert(&mut index, round * 70..(round + 1) * 70, 70);
        index.flush().unwrap();
        most_runs = most_runs.max(index.stats().runs);
    }
    assert!(most_runs <= 6 * 6, "{most_runs} runs");
}

#[test]
fn after_a_failure_of_the_medium_the_same_call_may_be_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::open(dir.path(), tiny()).unwrap();
    // Where a file is to be made, a directory is in the way.
    let (run, manifest) = (dir.path().join("00000000000000000001.run"), dir.path().join("manifest.new"));
    fs::create_dir(&run).unwrap();
    fs::create_dir(&manifest).unwrap();
    let entries: Vec<_> = (0..64).map(|number| entry(number, u64::from(number))).collect();
    let expected: Vec<_> = (0..64).map(Some).collect();
    for file in ["00000000000000000001.run", "manifest", "manifest"] {
        let error = index.insert(0, &entries).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains(file), "{error}");
        assert_eq!(index.probe(&keys(0..64)).unwrap(), expected);
        assert_eq!(index.stats().identities, 64);
    }
    fs::remove_dir(&manifest).unwrap();
    index.flush().unwrap();
    drop(index);
    fs::remove_dir(&run).unwrap();
    let mut index = Index::open(dir.path(), tiny()).unwrap();
    assert_eq!((index.applied(), index.stats().identities), (Some(0), 64));
    assert_eq!(index.probe(&keys(0..64)).unwrap(), expected);
}

#[test]
fn what_a_crash_left_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::open(dir.path(), tiny()).unwrap();
    insert(&mut index, 0..64, 64);
    drop(index);
    let before = files(dir.path());
    fs::write(dir.path().join("00000000000000000077.run"), b"half a run").unwrap();
    fs::write(dir.path().join("manifest.new"), b"half a manifest").unwrap();
    fs::write(dir.path().join("notes.txt"), b"somebody's").unwrap();
    let mut index = Index::open(dir.path(), tiny()).unwrap();
    assert_eq!(index.probe(&keys(0..1)).unwrap(), [Some(0)]);
    index.insert(9, &[entry(1_000, 0)]).unwrap();
    index.flush().unwrap();
    let after = files(dir.path());
    assert!(after.contains(&"notes.txt".to_owned()) && !after.contains(&"00000000000000000077.run".to_owned()), "{after:?}");
    assert_eq!(after.len(), before.len() + 2, "{after:?}");
}

#[test]
fn a_rebuild_that_is_broken_off_leaves_an_empty_index() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::open(dir.path(), tiny()).unwrap();
    insert(&mut index, 0..1_000, 50);
    index.flush().unwrap();
    drop(index);
    let mut rebuild = Index::rebuild(dir.path(), tiny()).unwrap();
    rebuild.push(&(0..500).map(|number| entry(number, 0)).collect::<Vec<_>>()).unwrap();
    drop(rebuild);
    let index = Index::open(dir.path(), tiny()).unwrap();
    assert_eq!((index.applied(), index.stats().identities), (None, 0));
    assert_eq!(files(dir.path()), ["lock", "manifest"]);
}

#[test]
fn a_rebuild_of_many_parts_keeps_the_first_content() {
    let dir = tempfile::tempdir().unwrap();
    let mut rebuild = Index::rebuild(dir.path(), tiny()).unwrap();
    for content in [0, 1] {
        // 150 parts of 100, which are merged in two rounds.
        let entries: Vec<Entry> = (0..7_500).map(|number| entry(number, content + u64::from(number))).collect();
        rebuild.push(&entries).unwrap();
    }
    let mut index = rebuild.finish(41).unwrap();
    assert_eq!((index.applied(), index.stats().identities, index.stats().runs), (Some(41), 7_500, 1));
    assert_eq!(files(dir.path()).len(), 3);
    drop(index);
    index = Index::open(dir.path(), tiny()).unwrap();
    assert_eq!(index.probe(&keys(0..7_500)).unwrap(), (0..7_500).map(Some).collect::<Vec<_>>());
    assert_eq!(index.probe(&[key(7_500)]).unwrap(), [None]);
}

#[test]
fn a_rebuild_of_nothing_is_an_empty_index_that_is_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::rebuild(dir.path(), tiny()).unwrap().finish(3).unwrap();
    assert_eq!((index.applied(), index.stats().identities), (Some(3), 0));
}
