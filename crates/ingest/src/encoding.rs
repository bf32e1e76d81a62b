//! Unpacks bodies, within bounds on size and growth.

use std::io::{self, Read};

use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use bytes::Bytes;

use crate::Error;
use crate::admission::Share;

#[cfg(test)]
mod tests;

/// How many encodings may lie on top of one another.
const CODINGS_MAX: usize = 2;
/// Up to here growth does not matter: short and even texts grow a lot and hurt no one.
const RATIO_FREE_BYTES: usize = 1024 * 1024;
/// The largest window a zstd body may ask for, as a power of two: 8 MiB, what RFC 9659 allows for HTTP.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
const CHUNK_BYTES: usize = 64 * 1024;

/// An encoding of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// Bounds on what a body becomes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caps {
    pub(crate) bytes_max: usize,
    pub(crate) ratio_max: usize,
}

/// The encodings that the headers name, in the order they were applied.
pub(crate) fn named(headers: &HeaderMap) -> Result<Vec<Coding>, Error> {
    let mut codings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        for name in String::from_utf8_lossy(value.as_bytes()).split(',') {
            let coding = match name.trim().to_ascii_lowercase().as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Coding::Gzip,
                "deflate" => Coding::Deflate,
                "br" => Coding::Brotli,
                "zstd" => Coding::Zstd,
                other => return Err(Error::UnsupportedEncoding(other.chars().take(64).collect())),
            };
            if codings.len() == CODINGS_MAX {
                return Err(Error::UnsupportedEncoding(format!("more than {CODINGS_MAX} encodings")));
            }
            codings.push(coding);
        }
    }
    Ok(codings)
}

/// The encoding that the first bytes show. JSON begins with none of these bytes.
pub(crate) fn sniffed(body: &[u8]) -> Option<Coding> {
    match body {
        [0x1f, 0x8b, ..] => Some(Coding::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Coding::Zstd),
        _ => None,
    }
}

/// Undoes the encodings, the last one first. Each step stops at its cap, so memory is the caps' and not the sender's choice.
pub(crate) fn unpack(mut body: Bytes, codings: &[Coding], caps: Caps, share: &mut Share) -> Result<Bytes, Error> {
    for coding in codings.iter().rev() {
        body = coding.unpack(&body, caps, share)?;
    }
    Ok(body)
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    fn unpack(self, packed: &[u8], caps: Caps, share: &mut Share) -> Result<Bytes, Error> {
        let mut unpacked = Unpacked { bytes: Vec::new(), packed_bytes: packed.len(), caps, share };
        match self {
            Self::Gzip => unpacked.fill(self, &mut flate2::bufread::MultiGzDecoder::new(packed))?,
            Self::Deflate if is_zlib(packed) => {
                let mut decoder = flate2::bufread::ZlibDecoder::new(packed);
                unpacked.fill(self, &mut decoder)?;
                self.all_read(decoder.into_inner())?;
            }
            Self::Deflate => {
                let mut decoder = flate2::bufread::DeflateDecoder::new(packed);
                unpacked.fill(self, &mut decoder)?;
                self.all_read(decoder.into_inner())?;
            }
            Self::Brotli => unpacked.fill(self, &mut brotli_decompressor::Decompressor::new(packed, 4096))?,
            Self::Zstd => {
                // A frame that states its size needs no reading to be found too large.
                let stated = zstd::zstd_safe::get_frame_content_size(packed).ok().flatten();
                if stated.is_some_and(|bytes| bytes > caps.bytes_max as u64) {
                    return Err(Error::BodyTooLarge { bytes_max: caps.bytes_max });
                }
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(|error| self.broken(&error))?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|error| self.broken(&error))?;
                unpacked.fill(self, &mut decoder)?;
            }
        }
        Ok(Bytes::from(unpacked.bytes))
    }

    fn all_read(self, rest: &[u8]) -> Result<(), Error> {
        if rest.is_empty() {
            return Ok(());
        }
        Err(Error::InvalidEncoding { encoding: self.name(), problem: format!("{} bytes follow its end", rest.len()) })
    }

    fn broken(self, error: &io::Error) -> Error {
        let problem = match (self, error.kind()) {
            (_, io::ErrorKind::UnexpectedEof) => "it is cut off".to_owned(),
            // This decoder does not tell the one from the other.
            (Self::Brotli, _) => "it is cut off or damaged".to_owned(),
            (Self::Gzip | Self::Deflate | Self::Zstd, _) => error.to_string(),
        };
        Error::InvalidEncoding { encoding: self.name(), problem }
    }
}

/// What the header of a zlib stream (RFC 1950) looks like. Some clients send `deflate` without it.
fn is_zlib(packed: &[u8]) -> bool {
    match packed {
        [method, flags, ..] => method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0,
        _ => false,
    }
}

struct Unpacked<'a> {
    bytes: Vec<u8>,
    packed_bytes: usize,
    caps: Caps,
    share: &'a mut Share,
}

impl Unpacked<'_> {
    fn fill(&mut self, coding: Coding, decoder: &mut dyn Read) -> Result<(), Error> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = match decoder.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(coding.broken(&error)),
            };
            self.take(chunk.get(..read).unwrap_or_default())?;
        }
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), Error> {
        let bytes = self.bytes.len() + piece.len();
        if bytes > self.caps.bytes_max {
            return Err(Error::BodyTooLarge { bytes_max: self.caps.bytes_max });
        }
        if bytes > RATIO_FREE_BYTES && bytes / self.packed_bytes.max(1) > self.caps.ratio_max {
            return Err(Error::ExpandsTooMuch { ratio_max: self.caps.ratio_max });
        }
        self.share.grow(piece.len())?;
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}
