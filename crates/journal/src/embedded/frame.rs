//! How records lie in a segment file: pure functions over bytes.
//!
//! A frame is a header and whole records; the frames of one group commit are written with one write and one sync:
//!
//! ```text
//! frame   magic u32 | header crc u32 | records crc u32 | group u32 | length u32 | count u32 | records (length bytes, count of them)
//! record  partition u32 | offset u64 | key [u8; 16] | header length u32 | value length u32 | header | value
//! ```
//!
//! All numbers are little endian. `group` is the distance from the first byte of the group to the frame: a sound frame proves that all before its group had been made
//! durable when it was written, which tells damage from a torn end (see [`tear`]).
//!
//! The checksums are CRC-32C. That of the header begins with the segment's secret salt and the frame's place in the file, so a frame that stands where it was
//! not written is not sound, and nobody who sends an event can put a sound frame inside it.

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};

use crate::Record;

/// Bytes before the records of a frame.
pub(super) const HEADER_BYTES: usize = 24;
/// Bytes before the header and value of a record.
pub(super) const RECORD_BYTES: usize = 36;
/// A frame that has reached this many bytes is closed. It is what has to be read and checked to serve one record.
const FRAME_BYTES: usize = 128 * 1024;

const MAGIC: u32 = u32::from_le_bytes(*b"TGf1");

/// The CRC-32C of what is given.
pub(super) fn crc(parts: &[&[u8]]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for part in parts {
        digest.update(part);
    }
    digest.finalize() as u32
}

/// The most bytes that records of this many and so long take when encoded.
pub(super) fn encoded_bytes_max(records: usize, payload_bytes: usize) -> usize {
    let records_bytes = payload_bytes.saturating_add(records.saturating_mul(RECORD_BYTES));
    let frames = (records_bytes / FRAME_BYTES).saturating_add(1);
    records_bytes.saturating_add(frames.saturating_mul(HEADER_BYTES))
}

/// The frames of one group commit, as they are made.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    buffer: Vec<u8>,
    salt: u64,
    /// Where in the file the buffer begins.
    at: u64,
    /// The frame that is open: where it begins in the buffer, and its records.
    open: Option<(usize, u32)>,
}

impl Encoder {
    /// Begins a group at this place of the segment with this salt.
    pub(super) fn begin(&mut self, salt: u64, at: u64) {
        self.buffer.clear();
        self.salt = salt;
        self.at = at;
        self.open = None;
    }

    /// Where in the file the next record opens a frame, if it does.
    pub(super) fn next_frame(&self) -> Option<u64> {
        self.open.is_none().then_some(self.at + self.buffer.len() as u64)
    }

    /// Adds a record.
    pub(super) fn push(&mut self, partition: u32, offset: u64, record: &Record) {
        let (begin, count) = self.open.take().unwrap_or_else(|| self.open_frame());
        self.buffer.extend_from_slice(&partition.to_le_bytes());
        self.buffer.extend_from_slice(&offset.to_le_bytes());
        self.buffer.extend_from_slice(&record.key);
        self.buffer.extend_from_slice(&(record.header.len() as u32).to_le_bytes());
        self.buffer.extend_from_slice(&(record.value.len() as u32).to_le_bytes());
        self.buffer.extend_from_slice(&record.header);
        self.buffer.extend_from_slice(&record.value);
        self.open = Some((begin, count + 1));
        if self.buffer.len() - begin >= FRAME_BYTES {
            self.close_frame();
        }
    }

    /// Ends the group: the bytes to write. A group of no records is one empty frame, which only proves what lies before it.
    pub(super) fn finish(&mut self) -> &[u8] {
        if self.buffer.is_empty() {
            self.open = Some(self.open_frame());
        }
        self.close_frame();
        &self.buffer
    }

    /// The bytes of the group that was finished.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Gives memory back that only an unusually large group needed.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        self.buffer.clear();
        self.buffer.shrink_to(bytes);
    }

    fn open_frame(&mut self) -> (usize, u32) {
        let begin = self.buffer.len();
        self.buffer.extend_from_slice(&[0; HEADER_BYTES]);
        (begin, 0)
    }

    fn close_frame(&mut self) {
        let Some((begin, count)) = self.open.take() else { return };
        let at = self.at + begin as u64;
        let (_, frame) = self.buffer.split_at_mut(begin);
        let Some((header, body)) = frame.split_first_chunk_mut::<HEADER_BYTES>() else { return };
        *header = sealed_header(self.salt, at, begin as u32, count, body);
    }
}

fn sealed_header(salt: u64, at: u64, group: u32, count: u32, body: &[u8]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let (front, facts) = header.split_at_mut(8);
    for (field, value) in facts.chunks_exact_mut(4).zip([crc(&[body]), group, body.len() as u32, count]) {
        field.copy_from_slice(&value.to_le_bytes());
    }
    let sum = crc(&[&salt.to_le_bytes(), &at.to_le_bytes(), facts]);
    for (field, value) in front.chunks_exact_mut(4).zip([MAGIC, sum]) {
        field.copy_from_slice(&value.to_le_bytes());
    }
    header
}

/// What a sound header says of its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    records_crc: u32,
    group: u32,
    length: u32,
    count: u32,
}

impl Head {
    /// Whether a header of another version of frames was written at this place of the segment with this salt. There is none in a segment of our version, so it is no write that
    /// was left unfinished.
    pub(super) fn is_of_another_version(salt: u64, at: u64, bytes: &[u8; HEADER_BYTES]) -> bool {
        let magic = MAGIC.to_le_bytes();
        let (Some((name, _)), Some((found, rest))) = (magic.split_first_chunk::<3>(), bytes.split_first_chunk::<4>()) else { return false };
        let is_one = found.starts_with(name) && found.last().is_some_and(u8::is_ascii_digit) && *found != magic;
        let mut as_ours = [0; HEADER_BYTES];
        let (front, behind) = as_ours.split_at_mut(magic.len());
        front.copy_from_slice(&magic);
        behind.copy_from_slice(rest);
        is_one && Self::read(salt, at, &as_ours).is_some()
    }

    /// Reads a header; `None` unless one was written at this place of the segment with this salt.
    pub(super) fn read(salt: u64, at: u64, bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (front, facts) = bytes.split_first_chunk::<8>()?;
        let mut fields =
            front.chunks_exact(4).chain(facts.chunks_exact(4)).map(|field| field.first_chunk().map(|field| u32::from_le_bytes(*field)));
        let mut next = || fields.next().flatten();
        let is_sound = next()? == MAGIC && next()? == crc(&[&salt.to_le_bytes(), &at.to_le_bytes(), facts]);
        if !is_sound {
            return None;
        }
        Some(Self { records_crc: next()?, group: next()?, length: next()?, count: next()? })
    }

    /// The bytes of the records.
    pub(super) fn body_bytes(self) -> usize {
        self.length as usize
    }

    /// How many records there are.
    pub(super) fn records(self) -> u32 {
        self.count
    }

    /// Whether these are the records that were written behind the header.
    pub(super) fn covers(self, body: &[u8]) -> bool {
        body.len() == self.body_bytes() && self.records_crc == crc(&[body])
    }
}

/// A record in a sound frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) partition: u32,
    pub(super) offset: u64,
    pub(super) key: [u8; 16],
    pub(super) header: Bytes,
    pub(super) value: Bytes,
}

/// Takes the next record off the front of a frame's records; `None` when they do not begin with a whole one.
pub(super) fn take_entry(body: &mut Bytes) -> Option<Entry> {
    let (partition, rest) = body.split_first_chunk()?;
    let (offset, rest) = rest.split_first_chunk()?;
    let (key, rest) = rest.split_first_chunk()?;
    let (header_bytes, rest) = rest.split_first_chunk()?;
    let (value_bytes, rest) = rest.split_first_chunk()?;
    let header_bytes = u32::from_le_bytes(*header_bytes) as usize;
    let value_bytes = u32::from_le_bytes(*value_bytes) as usize;
    if rest.len() < header_bytes.checked_add(value_bytes)? {
        return None;
    }
    let (partition, offset, key) = (u32::from_le_bytes(*partition), u64::from_le_bytes(*offset), *key);
    let mut payload = body.split_to(RECORD_BYTES + header_bytes + value_bytes).split_off(RECORD_BYTES);
    let header = payload.split_to(header_bytes);
    Some(Entry { partition, offset, key, header, value: payload })
}

/// Decides what a frame that is not sound means, from all that lies behind it in the segment that was written last. `rest` begins at the unsound frame, at place
/// `at` of the file.
///
/// Returns `None` for a torn end: nothing behind it was written in a later group, so no caller was told that it is durable once the group it belongs to was. Returns
/// the place of a later sound frame otherwise: then what is here had been made durable, and has been damaged since.
pub(super) fn tear(salt: u64, at: u64, rest: &[u8]) -> Option<u64> {
    let magic = MAGIC.to_le_bytes();
    for (distance, _) in rest.windows(magic.len()).enumerate().skip(1).filter(|(_, window)| *window == magic) {
        let frame_at = at + distance as u64;
        let (_, frame) = rest.split_at(distance);
        let Some((header, behind)) = frame.split_first_chunk() else { continue };
        let Some(head) = Head::read(salt, frame_at, header) else { continue };
        let Some(body) = behind.get(..head.body_bytes()) else { continue };
        let is_of_a_later_group = frame_at.saturating_sub(u64::from(head.group)) > at;
        if is_of_a_later_group && head.covers(body) {
            return Some(frame_at);
        }
    }
    None
}

#[cfg(test)]
mod tests;
