//! Ids of rows that bring none: made of what the files hold, so that the same row has the same id each time, wherever the file lies and however it is packed.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use blake3::Hasher;

use super::rows::Format;
use crate::send::lines;

/// What hashes of rows' places are made for (BLAKE3's `derive_key`, section 2.3 of its paper).
const OF_PLACE: &str = "tidegate 2026-11-27 event ids of rows of a file by their number";
/// What hashes of rows' contents are made for.
const OF_CONTENT: &str = "tidegate 2026-11-27 event ids of rows of a file by their content";
const READ_BYTES: usize = 256 * 1024;

/// What the ids are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ids {
    /// Of the digest of the whole file, unpacked, and the row's number: rows that are alike are different events. A file that has grown is another file.
    Row,
    /// Of the row: rows that are alike are one event, also in different files.
    Content,
}

/// The digest of what a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content([u8; 32]);

impl Content {
    /// Reads all of it; unpacked, where it is text.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) fn of(path: &Path, format: Format) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut content: Box<dyn Read> = if format == Format::Parquet { Box::new(file) } else { lines::unpacked(file)? };
        let (mut hasher, mut buffer) = (Hasher::new(), vec![0; READ_BYTES]);
        loop {
            match content.read(&mut buffer)? {
                0 => return Ok(Self(*hasher.finalize().as_bytes())),
                read => hasher.update(buffer.get(..read).unwrap_or_default()),
            };
        }
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Ids {
    /// The id of a row, whose number begins at 1.
    pub(crate) fn of(self, content: &Content, number: u64, row: &[u8]) -> String {
        let hasher = match self {
            Self::Row => {
                let mut hasher = Hasher::new_derive_key(OF_PLACE);
                hasher.update(&content.0).update(&number.to_le_bytes());
                hasher
            }
            Self::Content => {
                let mut hasher = Hasher::new_derive_key(OF_CONTENT);
                hasher.update(row);
                hasher
            }
        };
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        format!("bf_{:032x}", u128::from_be_bytes(id))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_same_content_has_the_same_ids_however_it_is_packed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a"), "one\ntwo\n").unwrap();
        let mut gzip = flate2::write::GzEncoder::new(File::create(at("b")).unwrap(), flate2::Compression::fast());
        gzip.write_all(b"one\ntwo\n").unwrap();
        gzip.finish().unwrap();
        std::fs::write(at("c"), zstd::encode_all(&b"one\ntwo\n"[..], 1).unwrap()).unwrap();
        let content = |name: &str| Content::of(&at(name), Format::Ndjson).unwrap();
        assert!(content("a") == content("b") && content("a") == content("c"));
        std::fs::write(at("d"), "one\ntwo\nthree\n").unwrap();
        let (a, d) = (content("a"), content("d"));
        let id = |ids: Ids, content: &Content, number: u64, row: &str| ids.of(content, number, row.as_bytes());
        assert_ne!(id(Ids::Row, &a, 1, "x"), id(Ids::Row, &a, 2, "x"));
        assert_ne!(id(Ids::Row, &a, 1, "x"), id(Ids::Row, &d, 1, "x"));
        assert_eq!(id(Ids::Content, &a, 1, "x"), id(Ids::Content, &d, 2, "x"));
        assert_ne!(id(Ids::Content, &a, 1, "x"), id(Ids::Content, &a, 1, "y"));
        assert_eq!(id(Ids::Row, &a, 1, "x").len(), 35);
    }
}
