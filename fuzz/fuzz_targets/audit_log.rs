//! The log of administrative acts, in which something was changed: it is seen, nothing is added to an end that is not this program's, and nothing is lost when that is refused.
//!
//! An input is a list of damages to the lines of a log, with which digests may be made to fit anew; or, from a `{` on, the whole file.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use audit_log::{Act, AuditLog, Error};
use contract::Timestamp;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use serde_json::{Map, json};
use tempfile::TempDir;
use tidegate_fuzz::Damage;

const CONTEXT: &str = "tidegate 2026-11 audit log v1";
const NOW: Timestamp = Timestamp(1_795_428_000_000_000);

static FOLDER: LazyLock<TempDir> = LazyLock::new(tidegate_fuzz::folder);
/// The lines of a sound log, each without its end.
static LINES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let log = AuditLog::at(FOLDER.path().join("sound.log"));
    for number in 0..4 {
        log.add(act(number), NOW).expect("room");
    }
    let text = fs::read(log.path()).expect("the log");
    text.strip_suffix(b"\n").expect("an end").split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
});

fn act(number: u32) -> Act {
    let detail = Map::from_iter([("event_types".to_owned(), json!(["a", number]))]);
    Act { by: "anna".to_owned(), act: "source.add".to_owned(), on: format!("s{number}"), detail }
}

fuzz_target!(|input: &[u8]| {
    let log = AuditLog::at(FOLDER.path().join("audit.log"));
    let bytes = if input.first() == Some(&b'{') { input.to_vec() } else { damaged(&Damage::all(input)) };
    fs::write(log.path(), &bytes).expect("room");

    let mut told = 0;
    let before = log.verify(None, |entry, digest| {
        told += 1;
        assert_eq!((entry.number, digest.len()), (told, 64));
    });
    let before = match before {
        Ok(before) => Some(before),
        // A line may say that a later program wrote it, and what is before it was told.
        Err(Error::Newer { found, line, .. }) => {
            assert!(found > 1 && line.is_some_and(|line| line == told + 1));
            None
        }
        Err(error) => panic!("it can be read: {error}"),
    };
    if let Some(before) = &before {
        assert_eq!((before.head.number, before.is_sound()), (told, before.broken.is_none()));
    }
    let is_sound = before.as_ref().is_some_and(audit_log::Verified::is_sound);

    match log.add(act(9), NOW) {
        Ok(head) => {
            let after = log.verify(Some(&head.digest), |_, _| {});
            assert!(after.is_ok() || before.is_none(), "{after:?}");
            if is_sound {
                assert!(after.is_ok_and(|after| after.is_sound() && after.head == head && head.number == told + 1));
            }
            // What was whole is whole still.
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            assert!(fs::read(log.path()).expect("the log").starts_with(&bytes[..whole]));
        }
        Err(_) => {
            assert!(!is_sound, "a sound log takes no more: {before:?}");
            assert!(fs::read(log.path()).expect("the log") == bytes, "a log that is not added to was changed");
        }
    }
});

fn damaged(damages: &[Damage<'_>]) -> Vec<u8> {
    let mut lines = LINES.clone();
    for damage in damages {
        let place = damage.which % lines.len().max(1);
        let Some(line) = lines.get_mut(place) else { break };
        if damage.removes() {
            lines.remove(place);
        } else if damage.is_sealed() {
            // What comes is put in the entry, and the digest is made of that.
            let Some(entry) = entry(line) else { continue };
            let mut entry = entry.into_bytes();
            damage.to(&mut entry);
            *line = [br#"{"entry":"#, entry.as_slice(), br#","digest":""#, digest(&entry).as_bytes(), br#""}"#].concat();
        } else {
            damage.to(line);
        }
    }
    let mut bytes: Vec<u8> = lines.join(&b'\n');
    // An end that is cut off: one damage with nothing to do stands for a last line without its end.
    if damages.len() % 2 == 0 {
        bytes.push(b'\n');
    }
    bytes
}

fn entry(line: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Line {
        entry: Box<RawValue>,
    }
    serde_json::from_slice::<Line>(line).ok().map(|line| line.entry.get().to_owned())
}

fn digest(entry: &[u8]) -> String {
    blake3::Hash::from_bytes(blake3::derive_key(CONTEXT, entry)).to_hex().to_string()
}
