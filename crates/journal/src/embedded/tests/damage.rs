//! What stands in the files may be torn, flipped, cut or lost: only a torn end is mended, everything else is named.

use std::fs::OpenOptions;
use std::io::Write;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::super::scan::Scan;
use super::super::segment::Segment;
use super::*;

/// Where each frame of a segment ends, and how many records are before that.
fn frame_ends(path: &Path) -> Vec<(usize, usize)> {
    let segment = Segment::open(path.to_owned(), 2).unwrap();
    let mut scan = Scan::begin(&segment, segment.beginning(), fs::metadata(path).unwrap().len()).unwrap();
    let (mut ends, mut records) = (Vec::new(), 0);
    while let Some(entries) = scan.next_frame().unwrap() {
        records += entries.len();
        ends.push((scan.mark().at as usize, records));
    }
    ends
}

/// Writes the bytes into the file as it is, so that it stays the same file.
fn overwrite(path: &Path, bytes: &[u8]) {
    OpenOptions::new().write(true).truncate(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[tokio::test]
async fn an_end_torn_at_any_byte_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config { segment_bytes: 1 << 20, ..small() };
    let journal = reopen(&directory, &config).unwrap();
    for turn in 0..3 {
        append(&journal, turn..turn + 1).await.unwrap();
    }
    journal.append(vec![record(3, 40), record(4, 40)]).await.unwrap();
    drop(journal);
    let path = segments(&directory)[0].clone();
    let whole = fs::read(&path).unwrap();
    let ends = frame_ends(&path);
    let [.., (before, 3), (last, 5), (proof, 5)] = ends[..] else { panic!("{ends:?}") };
    assert_eq!(proof, whole.len(), "a journal that was closed ends with a frame that proves the rest");
    for cut in before..last {
        for tail in [vec![], vec![0; last - cut], vec![0; 5000], vec![0xAB; 100]] {
            let torn = [&whole[..cut], &tail].concat();
            let expected = if torn.get(..last) == whole.get(..last) { 5 } else { 3 };
            overwrite(&path, &torn);
            let journal = reopen(&directory, &config).unwrap();
            assert_eq!(numbers(&all(&journal).await.unwrap()), (0..expected).collect::<Vec<_>>(), "cut at {cut}");
        }
        // Offsets go on from what is left, and the next opening finds a whole journal.
        overwrite(&path, &whole[..cut]);
        append(&reopen(&directory, &config).unwrap(), 3..4).await.unwrap();
        let journal = reopen(&directory, &config).unwrap();
        assert_eq!(numbers(&all(&journal).await.unwrap()), [0, 1, 2, 3]);
        drop(journal);
        // Back to one segment: as it was before the append sealed it.
        fs::remove_file(&segments(&directory)[1]).unwrap();
        meta::Meta { generation: 1, partitions: 2, sequence: 1 }.save(&Disk, directory.path()).unwrap();
    }
}

/// Some sealed segments and a last one, closed; and which records there are.
async fn filled(directory: &TempDir) -> Vec<u64> {
    let journal = reopen(directory, &small()).unwrap();
    for turn in 0..40 {
        append(&journal, turn * 3..turn * 3 + 3).await.unwrap();
    }
    assert!(segments(directory).len() > 5);
    (0..120).collect()
}

/// The error an opening or reading meets.
async fn damage_met(directory: &TempDir) -> Option<(PathBuf, u64)> {
    let error = match reopen(directory, &small()) {
        Ok(journal) => match all(&journal).await {
            Ok(_) => return None,
            Err(error) => error,
        },
        Err(OpenError::Journal(error)) => error,
        Err(error) => panic!("{error}"),
    };
    match error {
        Error::Corrupt { file, at, .. } => Some((file, at)),
        error => panic!("damage is {error}"),
    }
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let expected = filled(&directory).await;
    let files = segments(&directory);
    let mut random = SmallRng::seed_from_u64(3);
    for turn in 0..400 {
        let path = &files[turn % files.len()];
        let whole = fs::read(path).unwrap();
        let at = random.random_range(0..whole.len());
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << random.random_range(0..8);
        overwrite(path, &flipped);
        let is_proof = path == files.last().unwrap() && at >= whole.len() - frame::HEADER_BYTES;
        match damage_met(&directory).await {
            Some((file, named)) => {
                assert_eq!(&file, path, "byte {at}");
                let ends = frame_ends_of(path, &whole);
                let begin = ends.iter().rev().find(|end| **end <= at).copied().unwrap_or(0);
                assert_eq!(named, begin as u64, "the frame with byte {at} begins there");
            }
            // The frame that proves the rest holds nothing itself.
            None if is_proof => {}
            None => panic!("a flipped bit at byte {at} of {} is not seen", path.display()),
        }
        overwrite(path, &whole);
    }
    assert_eq!(numbers(&all(&reopen(&directory, &small()).unwrap()).await.unwrap()), expected);
}

fn frame_ends_of(path: &Path, whole: &[u8]) -> Vec<usize> {
    overwrite(path, whole);
    let beginning = segment::Header::bytes(2) as usize;
    std::iter::once(beginning).chain(frame_ends(path).into_iter().map(|(end, _)| end)).collect()
}

#[tokio::test]
async fn what_lies_before_damage_can_be_read() {
    for limit in [ReadLimit { records_max: 2, bytes_max: 5000 }, ALL] {
        let directory = tempfile::tempdir().unwrap();
        filled(&directory).await;
        let files = segments(&directory);
        let before = files[..3].iter().map(|path| frame_ends(path).last().unwrap().1).sum::<usize>();
        let [_, (begin, records), ..] = frame_ends(&files[3])[..] else { panic!("the segment has several frames") };
        let mut bytes = fs::read(&files[3]).unwrap();
        bytes[begin + 50] ^= 1;
        overwrite(&files[3], &bytes);

        let journal = reopen(&directory, &small()).unwrap();
        let mut from = journal.start().await.unwrap();
        let mut found = Vec::new();
        let error = loop {
            match journal.read(&from, limit).await {
                Ok(some) => {
                    assert!(!some.is_empty());
                    from.extend(some.iter().map(|stored| (stored.partition, stored.offset + 1)));
                    found.extend(some);
                }
                Err(error) => break error,
            }
        };
        assert!(matches!(&error, Error::Corrupt { file, at, .. } if *file == files[3] && *at == begin as u64), "{error}");
        assert_eq!(numbers(&found), (0..(before + records) as u64).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_lost_or_shortened_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    filled(&directory).await;
    let files = segments(&directory);
    for lost in [files.len() - 1, files.len() - 2, 3] {
        let whole = fs::read(&files[lost]).unwrap();
        let aside = directory.path().join("aside");
        fs::rename(&files[lost], &aside).unwrap();
        assert_eq!(damage_met(&directory).await, Some((files[lost].clone(), 0)));
        fs::rename(&aside, &files[lost]).unwrap();
        if lost < files.len() - 1 {
            overwrite(&files[lost], &whole[..whole.len() - 1]);
            assert_eq!(damage_met(&directory).await, Some((files[lost].clone(), whole.len() as u64 - 1)));
            overwrite(&files[lost], &[&whole[..], b"more"].concat());
            assert_eq!(damage_met(&directory).await, Some((files[lost].clone(), whole.len() as u64)));
            overwrite(&files[lost], &whole);
        }
    }
    // Two files that changed places.
    let aside = directory.path().join("aside");
    for (from, to) in [(&files[2], &aside), (&files[3], &files[2]), (&aside, &files[3])] {
        fs::rename(from, to).unwrap();
    }
    assert_eq!(damage_met(&directory).await, Some((files[2].clone(), 0)));
    for (from, to) in [(&files[2], &aside), (&files[3], &files[2]), (&aside, &files[3])] {
        fs::rename(from, to).unwrap();
    }
    let meta = directory.path().join("journal.meta");
    overwrite(&meta, b"TGmeta01");
    assert_eq!(damage_met(&directory).await, Some((meta.clone(), 0)));
    fs::remove_file(&meta).unwrap();
    assert_eq!(damage_met(&directory).await, Some((files[0].clone(), 0)), "a journal is not begun anew over records");
}

#[tokio::test]
async fn damage_under_a_journal_that_is_open_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let journal = reopen(&directory, &small()).unwrap();
    append(&journal, 0..5).await.unwrap();
    append(&journal, 5..10).await.unwrap();
    let path = segments(&directory)[0].clone();
    let whole = fs::read(&path).unwrap();
    for damaged in [&whole[..whole.len() - 1], &whole[..10], b""] {
        overwrite(&path, damaged);
        let error = journal.read(&journal.start().await.unwrap(), ReadLimit { records_max: 1, bytes_max: 1 }).await.unwrap_err();
        assert!(matches!(&error, Error::Corrupt { file, .. } if *file == path), "{error}");
    }
}
