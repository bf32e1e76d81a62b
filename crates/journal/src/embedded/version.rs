//! The version of a file's format, as its first bytes say: a name of six letters and two digits. They stand there in every version, so that a program knows a file of a
//! newer one for what it is.

/// The bytes that begin a file.
pub(super) type Magic = [u8; 8];

const NAME_BYTES: usize = 6;

/// The version that these bytes name, where they begin a file of the same kind as `known`.
fn of(found: &Magic, known: &Magic) -> Option<u32> {
    let (name, digits) = found.split_at(NAME_BYTES);
    if !known.starts_with(name) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
}

/// The version of a file of the same kind as `known` and of a newer version, and the version of `known`. `None` for any other file, and where the bytes would be sound if they
/// began as `known`: then it is a digit that is damaged.
pub(super) fn newer(bytes: &[u8], known: &Magic, is_sound: impl FnOnce(&[u8]) -> bool) -> Option<(u32, u32)> {
    let (magic, rest) = bytes.split_first_chunk()?;
    let (found, of_known) = (of(magic, known)?, of(known, known)?);
    let as_known = [known.as_slice(), rest].concat();
    (found > of_known && !is_sound(&as_known)).then_some((found, of_known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let check = |bytes: &[u8], is_sound: bool, expect| assert_eq!(newer(bytes, b"TGmeta01", |_| is_sound), expect, "{bytes:?}");
        check(b"TGmeta02 and more", false, Some((2, 1)));
        check(b"TGmeta99", false, Some((99, 1)));
        check(b"TGmeta02 and more", true, None);
        check(b"TGmeta01", false, None);
        check(b"TGmeta00", false, None);
        check(b"TGsegm02", false, None);
        check(b"TGmeta0x", false, None);
        check(b"TGmeta0", false, None);
        check(b"", false, None);
    }
}
