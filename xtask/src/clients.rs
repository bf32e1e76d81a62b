//! The tests that drive the product with the clients people already have.

pub(crate) mod node;
pub(crate) mod python;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// The name of the file that says what a folder was made from.
const STAMP: &str = "made-from.txt";

/// Makes a folder anew unless it was made from the same inputs before. A folder that was left half made has no stamp, and is made anew.
pub(crate) fn made_once(folder: &Path, from: &str, make: impl FnOnce() -> Result<()>) -> Result<()> {
    let stamp = folder.join(STAMP);
    if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == from) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    make()?;
    fs::write(&stamp, from).with_context(|| format!("{} cannot be written", stamp.display()))
}

/// The major and minor number in such a text as `v20.11.1` or `3.11.7`.
pub(crate) fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let check = |text, expect| assert_eq!(version(text), expect, "{text}");
        check("v20.11.1\n", Some((20, 11)));
        check("3.13.0rc1", Some((3, 13)));
        check("3", None);
        check("unknown", None);
    }

    #[test]
    fn what_was_made_is_kept_until_its_inputs_change() {
        let folder = std::env::temp_dir().join(format!("xtask-made-once-{}", std::process::id()));
        let mut made = 0;
        let mut check = |from: &str, sound: bool, expect: u32| {
            let outcome = made_once(&folder, from, || {
                made += 1;
                if sound { Ok(()) } else { anyhow::bail!("not made") }
            });
            assert_eq!((outcome.is_ok(), made), (sound, expect), "{from}");
        };
        check("one", true, 1);
        check("one", true, 1);
        check("two", false, 2);
        check("two", true, 3);
        check("two", true, 3);
        fs::remove_dir_all(&folder).unwrap();
    }
}
