//! Lines of files, plain or packed, within a bound.

use std::io::{self, BufRead, BufReader, Read};

use flate2::read::MultiGzDecoder;

/// The longest line in bytes: the largest body that a gate takes by default.
pub(crate) const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;
const READ_BUFFER_BYTES: usize = 256 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// RFC 8878, 3.1.1.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What a file holds, unpacked where it is gzip or Zstandard.
pub(crate) fn unpacked(raw: impl Read + 'static) -> io::Result<Box<dyn BufRead>> {
    let mut raw = BufReader::with_capacity(READ_BUFFER_BYTES, raw);
    let front = raw.fill_buf()?;
    let (is_gzip, is_zstd) = (front.starts_with(&GZIP_MAGIC), front.starts_with(&ZSTD_MAGIC));
    Ok(match (is_gzip, is_zstd) {
        (true, _) => Box::new(BufReader::with_capacity(READ_BUFFER_BYTES, MultiGzDecoder::new(raw))),
        (_, true) => Box::new(BufReader::with_capacity(READ_BUFFER_BYTES, zstd::stream::read::Decoder::with_buffer(raw)?)),
        _ => Box::new(raw),
    })
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Whole,
    /// It was read over, the buffer holds its start.
    TooLong,
    End,
}

/// The next line, within [`LINE_BYTES_MAX`].
pub(crate) fn next_line(lines: &mut impl BufRead, buffer: &mut Vec<u8>) -> io::Result<Line> {
    buffer.clear();
    let bound = LINE_BYTES_MAX as u64 + 1;
    if lines.by_ref().take(bound).read_until(b'\n', buffer)? == 0 {
        return Ok(Line::End);
    }
    if buffer.len() <= LINE_BYTES_MAX || buffer.ends_with(b"\n") {
        return Ok(Line::Whole);
    }
    skip_line(lines)?;
    Ok(Line::TooLong)
}

fn skip_line(lines: &mut impl BufRead) -> io::Result<()> {
    loop {
        let available = lines.fill_buf()?;
        let end = available.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(available.len(), |end| end + 1);
        let is_over = end.is_some() || available.is_empty();
        lines.consume(used);
        if is_over {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_a_long_one_spoils_only_itself() {
        let mut input = b"a\n".to_vec();
        input.extend(std::iter::repeat_n(b'x', LINE_BYTES_MAX + 10));
        input.extend(b"\nb");
        let mut lines = BufReader::with_capacity(1000, input.as_slice());
        let mut buffer = Vec::new();
        let mut next = || (next_line(&mut lines, &mut buffer).unwrap(), buffer.len());
        assert_eq!(next(), (Line::Whole, 2));
        assert_eq!(next(), (Line::TooLong, LINE_BYTES_MAX + 1));
        assert_eq!(next(), (Line::Whole, 1));
        assert_eq!(next(), (Line::End, 0));
    }
}
