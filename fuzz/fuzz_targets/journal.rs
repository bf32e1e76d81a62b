//! The embedded journal over files in which something was changed: opened, read through, and appended to. What is damaged is an error; nothing is made up; and what it takes afterwards it keeps.
//!
//! An input is a list of damages to the description of the journal and its segments. Checksums may be made to fit anew, as nobody but who may write the folder can.
#![no_main]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::LazyLock;

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use journal::embedded::{Config, Embedded};
use journal::{Ancestor, Journal as _, Offsets, ReadLimit, Record, Stored};
use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::Damage;
use tokio::runtime::Runtime;

const PARTITIONS: usize = 2;
const LIMIT: ReadLimit = ReadLimit { records_max: 7, bytes_max: 1 << 10 };
const HEADER_BYTES: usize = 48 + 8 * PARTITIONS;
const META: &str = "journal.meta";

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));
/// The files of a sound journal of several segments, by name, and what is in it.
static SOUND: LazyLock<(BTreeMap<String, Vec<u8>>, HashMap<(u32, u64), Record>)> = LazyLock::new(|| {
    RUNTIME.block_on(async {
        let folder = tidegate_fuzz::folder();
        let mut records = HashMap::new();
        let mut journal = Embedded::open(folder.path(), config()).await.expect("a new journal");
        for number in 0..9 {
            let group: Vec<Record> = (0..=number % 3).map(|part| record(number * 3 + part)).collect();
            let places = journal.append(group.clone()).await.expect("room");
            records.extend(places.into_iter().zip(group));
        }
        journal.close().await;
        drop(journal);
        let paths = fs::read_dir(folder.path()).expect("the folder").map(|entry| entry.expect("a file").path());
        let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let files = paths.map(|path| (name(&path), fs::read(&path).expect("a file"))).filter(|(name, _)| name != "lock").collect();
        (files, records)
    })
});

fn config() -> Config {
    Config { partitions: PARTITIONS as u32, segment_bytes: 400, disk_free_bytes_min: 0, ..Config::default() }
}

fn record(number: u8) -> Record {
    Record { key: [number; 16], header: Bytes::from(vec![number; 5]), value: Bytes::from(vec![number; 30 + usize::from(number)]) }
}

fuzz_target!(|input: &[u8]| {
    let damages = Damage::all(input);
    let (mut files, records) = SOUND.clone();
    let mut any_sealed = false;
    for damage in &damages {
        let Some(name) = files.keys().nth(damage.which % files.len().max(1)).cloned() else { break };
        if damage.removes() {
            files.remove(&name);
            continue;
        }
        let Some(file) = files.get_mut(&name) else { break };
        damage.to(file);
        if damage.is_sealed() {
            any_sealed = true;
            if name == META { seal_meta(file) } else { seal_segment(file) }
        }
    }
    let folder = tidegate_fuzz::folder();
    for (name, bytes) in &files {
        write(&folder.path().join(name), bytes, damages.first().is_none_or(|damage| damage.which.is_multiple_of(2)));
    }
    RUNTIME.block_on(look(folder.path(), (!any_sealed).then_some(&records)));
});

/// Writes a file. The description knows the file that it stands in, and is that of a copy everywhere else.
fn write(path: &Path, bytes: &[u8], is_original: bool) {
    fs::write(path, bytes).expect("room");
    if is_original && path.ends_with(META) && bytes.len() == 36 && sound_meta(bytes) {
        let inode = fs::metadata(path).expect("the file").ino();
        let mut bytes = bytes.to_vec();
        bytes.splice(28.., inode.to_le_bytes());
        seal_meta(&mut bytes);
        fs::write(path, bytes).expect("room");
    }
}

/// Uses the journal in a folder. What is in it is known unless checksums were made to fit: then only each call has to come to its end.
async fn look(folder: &Path, records: Option<&HashMap<(u32, u64), Record>>) {
    let Ok(mut journal) = Embedded::open(folder, config()).await else { return };
    let start = journal.start().await.expect("it is open");
    let end = journal.end().await.expect("it is open");
    if records.is_some() {
        let is_before = |ancestor: &Ancestor| {
            ancestor.generation < journal.generation() && ancestor.end.iter().all(|(partition, at)| end.get(partition) >= Some(at))
        };
        assert!(journal.ancestors().iter().all(is_before), "{:?}", journal.ancestors());
    }
    let found = read_through(&journal, start.clone(), records.is_some()).await;
    if let (Some(found), Some(records)) = (&found, records) {
        for stored in found {
            let place = (stored.partition, stored.offset);
            assert_eq!(records.get(&place), Some(&stored.record), "a record was made up at {place:?}");
        }
        // All that is said to be there is there.
        let expect: u64 = end.iter().map(|(partition, end)| end - start.get(partition).unwrap_or(end)).sum();
        assert_eq!(found.len() as u64, expect, "from {start:?} to {end:?}");
    }
    let new = record(200);
    let Ok(places) = journal.append(vec![new.clone()]).await else { return };
    let place = *places.first().expect("one record, one place");
    assert!(end.get(&place.0).is_some_and(|end| *end == place.1), "{place:?} is not behind {end:?}");
    let is_there = |read: Vec<Stored>| read.iter().any(|stored| (stored.partition, stored.offset) == place && stored.record == new);
    let read = journal.read(&Offsets::from([place]), LIMIT).await;
    assert!(records.is_none() || is_there(read.expect("it was durable")));
    journal.close().await;
    drop(journal);
    match Embedded::open(folder, config()).await {
        Ok(journal) => {
            let read = journal.read(&Offsets::from([place]), LIMIT).await;
            assert!(records.is_none() || is_there(read.expect("it is durable")));
            let end = journal.end().await.expect("it is open");
            journal.trim(&end).await.expect("nothing is needed any more");
        }
        Err(error) => assert!(records.is_none(), "what it took did it harm: {error}"),
    }
}

/// All records, as somebody reads them who goes on where they were; `None` where something is damaged.
async fn read_through(journal: &Embedded, mut next: Offsets, is_sound: bool) -> Option<Vec<Stored>> {
    let mut all = Vec::new();
    loop {
        let read = journal.read(&next, LIMIT).await.ok()?;
        if read.is_empty() {
            return Some(all);
        }
        assert!(read.len() <= LIMIT.records_max);
        for stored in &read {
            let expect = next.insert(stored.partition, stored.offset + 1);
            assert!(expect.is_some_and(|expect| expect == stored.offset || (!is_sound && expect < stored.offset)), "offsets are dense");
        }
        all.extend(read);
    }
}

fn crc(parts: &[&[u8]]) -> [u8; 4] {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for part in parts {
        digest.update(part);
    }
    (digest.finalize() as u32).to_le_bytes()
}

fn put(bytes: &mut [u8], at: usize, sum: [u8; 4]) {
    bytes.iter_mut().skip(at).zip(sum).for_each(|(old, new)| *old = new);
}

fn sound_meta(bytes: &[u8]) -> bool {
    bytes.get(8..12) == Some(&crc(&[b"TGmeta01", &bytes[12..]]))
}

fn seal_meta(bytes: &mut [u8]) {
    if let Some(facts) = bytes.get(12..) {
        let sum = crc(&[b"TGmeta01", facts]);
        put(bytes, 8, sum);
    }
}

/// Makes the checksums of the header and of each frame fit, as far as frames can be told.
fn seal_segment(bytes: &mut [u8]) {
    let Some(facts) = bytes.get(12..HEADER_BYTES) else { return };
    let sum = crc(&[b"TGsegm01", facts]);
    put(bytes, 8, sum);
    let salt: [u8; 8] = bytes[40..48].try_into().expect("eight bytes");
    let mut at = HEADER_BYTES;
    while let Some(frame) = bytes.get(at..at + 24) {
        let length = u32::from_le_bytes(frame[16..20].try_into().expect("four bytes")) as usize;
        let end = at + 24 + length;
        if let Some(body) = bytes.get(at + 24..end) {
            let sum = crc(&[body]);
            put(bytes, at + 8, sum);
        }
        let sum = crc(&[&salt, &(at as u64).to_le_bytes(), &bytes[at + 8..at + 24]]);
        put(bytes, at + 4, sum);
        at = end;
    }
}
