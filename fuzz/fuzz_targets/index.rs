//! The index of identities over files in which something was changed: it says that it is damaged, is begun anew, or answers what it answered before. A rebuild mends it, whatever there is.
//!
//! An input is a list of damages to the pieces of an index: its manifest, and of each run the blocks, the guides and the footer. Checksums may be made to fit anew, as nobody but who may write the
//! folder can; then answers may be wrong, and still each call comes to its end.
#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::LazyLock;

use crc_fast::CrcAlgorithm;
use dedup::{Entry, ErrorKind, Index, Limits, Options, Shard};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tidegate_fuzz::Damage;

const ENTRIES: u64 = 1_000;
const MANIFEST: &str = "manifest";

/// The files of an index, by name, and the pieces that they are made of.
#[derive(Clone)]
struct Files {
    files: BTreeMap<String, Vec<u8>>,
    pieces: Vec<(String, Piece)>,
}

#[derive(Clone)]
enum Piece {
    Manifest,
    /// Ends with its checksum.
    Sealed(Range<usize>),
    /// From here to the end of the file; its checksum is in the manifest.
    Footer(usize),
}

static SOUND: LazyLock<Files> = LazyLock::new(|| {
    let folder = tidegate_fuzz::folder();
    fill(folder.path());
    let paths = fs::read_dir(folder.path()).expect("the folder").map(|entry| entry.expect("a file").path());
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    let files: BTreeMap<String, Vec<u8>> =
        paths.map(|path| (name(&path), fs::read(&path).expect("a file"))).filter(|(name, _)| name != "lock").collect();
    let mut pieces = vec![(MANIFEST.to_owned(), Piece::Manifest)];
    for run in manifest(&files[MANIFEST]).expect("a manifest")["runs"].as_array().expect("runs") {
        let name = format!("{:020}.run", run["id"].as_u64().expect("a number"));
        let footer_at = run["footer_at"].as_u64().expect("a number") as usize;
        let number = |at: usize| u32::from_le_bytes(files[&name][at..at + 4].try_into().expect("four bytes")) as usize;
        for segment in 0..number(footer_at + 16) {
            // Of each: where u64, first block u32, entries u32, bytes of the guide u32, first key (18 bytes).
            let facts = footer_at + 32 + segment * 38;
            let (at, blocks, guide_bytes) = (number(facts), number(facts + 12).div_ceil(170), number(facts + 16));
            pieces.extend((0..blocks).map(|block| (name.clone(), Piece::Sealed(at + block * 4096..at + (block + 1) * 4096))));
            let guide_at = at + blocks * 4096;
            pieces.push((name.clone(), Piece::Sealed(guide_at..guide_at + guide_bytes)));
        }
        pieces.push((name, Piece::Footer(footer_at)));
    }
    Files { files, pieces }
});

fn options() -> Options {
    let limits = Limits { memtable_entries_max: 400, segment_entries_max: 340, runs_per_level_max: 3, ..Limits::default() };
    Options { lake_id: "lake".to_owned(), limits }
}

fn entry(number: u64) -> Entry {
    let mut digest = [0; 16];
    digest[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    Entry { digest, shard: Shard::from_number((number % 5) as u16).expect("there are five"), content: number }
}

fn entries(numbers: Range<u64>) -> Vec<Entry> {
    numbers.map(entry).collect()
}

fn fill(folder: &Path) {
    let mut index = Index::open(folder, options()).expect("a new index");
    for (version, part) in entries(0..ENTRIES).chunks(400).enumerate() {
        index.insert(version as i64, part).expect("room");
    }
    index.flush().expect("room");
}

fuzz_target!(|input: &[u8]| {
    let damages = Damage::all(input);
    let folder = tidegate_fuzz::folder();
    let mut sound = SOUND.clone();
    for damage in &damages {
        sound.damage(damage);
    }
    for (name, bytes) in &sound.files {
        fs::write(folder.path().join(name), bytes).expect("room");
    }
    let may_lie = damages.iter().any(Damage::is_sealed);
    match look(folder.path(), may_lie) {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
        Ok(()) if may_lie => {}
        Ok(()) => return,
    }
    let mut rebuild = Index::rebuild(folder.path(), options()).expect("whatever is there");
    rebuild.push(&entries(0..300)).expect("room");
    let mut index = rebuild.finish(7).expect("room");
    check(&mut index, 300, false, false).expect("it is new");
});

fn look(folder: &Path, may_lie: bool) -> Result<(), dedup::Error> {
    let mut index = Index::open(folder, options())?;
    let is_new = index.applied().is_none();
    check(&mut index, ENTRIES, is_new, may_lie)?;
    index.insert(9, &entries(ENTRIES..ENTRIES + 450))?;
    index.flush()?;
    check(&mut index, ENTRIES, is_new, may_lie)
}

fn check(index: &mut Index, count: u64, is_new: bool, may_lie: bool) -> Result<(), dedup::Error> {
    let keys: Vec<_> = (0..count).map(entry).map(|entry| (entry.shard, entry.digest)).collect();
    for (number, answer) in index.probe(&keys)?.into_iter().enumerate() {
        assert!(answer == Some(number as u64) || (is_new && answer.is_none()) || may_lie, "{number}: {answer:?}");
    }
    Ok(())
}

fn checksum(bytes: &[u8]) -> u64 {
    crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes)
}

fn manifest(bytes: &[u8]) -> Option<Value> {
    serde_json::from_str(str::from_utf8(bytes).ok()?.split_once('\n')?.1).ok()
}

fn manifest_of(body: &[u8]) -> Vec<u8> {
    let sum = checksum(&[b"1\n".as_slice(), body].concat());
    [format!("tidegate-index 1 {sum:016x}\n").as_bytes(), body].concat()
}

impl Files {
    fn damage(&mut self, damage: &Damage<'_>) {
        let Some((name, piece)) = self.pieces.get(damage.which % self.pieces.len().max(1)).cloned() else { return };
        if damage.removes() {
            self.files.remove(&name);
            return;
        }
        let Some(file) = self.files.get_mut(&name) else { return };
        match piece {
            _ if !damage.is_sealed() => {
                let (before, mut behind) = match piece {
                    Piece::Manifest => (Vec::new(), file.clone()),
                    Piece::Sealed(Range { start, .. }) | Piece::Footer(start) => {
                        let start = start.min(file.len());
                        (file[..start].to_vec(), file[start..].to_vec())
                    }
                };
                damage.to(&mut behind);
                *file = [before, behind].concat();
            }
            Piece::Manifest => {
                let at = file.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                let mut body = file.split_off(at);
                damage.to(&mut body);
                *file = manifest_of(&body);
            }
            Piece::Sealed(range) => {
                let Some((body, sum)) = file.get_mut(range).and_then(|piece| piece.split_last_chunk_mut::<8>()) else { return };
                damage.within(body);
                *sum = checksum(body).to_le_bytes();
            }
            Piece::Footer(at) => {
                let mut footer = file.split_off(at.min(file.len()));
                damage.to(&mut footer);
                file.extend_from_slice(&footer);
                let bytes = file.len();
                self.promise(&name, bytes, checksum(&footer));
            }
        }
    }

    /// Has the manifest say this of a run.
    fn promise(&mut self, name: &str, bytes: usize, footer_checksum: u64) {
        let Some(file) = self.files.get_mut(MANIFEST) else { return };
        let Some(mut manifest) = manifest(file) else { return };
        for run in manifest["runs"].as_array_mut().into_iter().flatten() {
            if run["id"].as_u64().is_some_and(|id| format!("{id:020}.run") == name) {
                run["bytes"] = bytes.into();
                run["footer_checksum"] = footer_checksum.into();
            }
        }
        *file = manifest_of(manifest.to_string().as_bytes());
    }
}
