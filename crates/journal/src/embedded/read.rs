//! Serving reads: find the earliest place, walk from there.

use std::io;
use std::sync::Arc;

use super::frame::Entry;
use super::log::Log;
use super::scan::{CHUNK_BYTES, Scan};
use super::segment::{Mark, Segment, holding};
use crate::{Error, Offsets, ReadLimit, Record, Stored};

/// A read goes through at most so many times the bytes it may return, once it has found something; what it returns keeps what it went through in memory.
const SCANNED_PER_RETURNED: u64 = 4;

/// Reads from the given offsets on. Blocks on the disk; holds no lock of the log while it does.
pub(super) fn read(log: &Log, from: &Offsets, limit: ReadLimit) -> Result<Vec<Stored>, Error> {
    loop {
        let end = log.end();
        let segments = log.segments();
        match read_in(&segments, &end, from, limit) {
            // A file that was trimmed meanwhile: what is asked for may lie in those that are left, or be trimmed itself.
            Err(error) if is_missing(&error) && !Arc::ptr_eq(&segments, &log.segments()) => {}
            outcome => return outcome,
        }
    }
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Unavailable { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

fn read_in(segments: &[Arc<Segment>], end: &[u64], from: &Offsets, limit: ReadLimit) -> Result<Vec<Stored>, Error> {
    let start: &[u64] = segments.first().map_or(&[], |first| &first.header.start);
    let mut wanted = Wanted::new(from, start, end, limit)?;
    let mut places = Vec::new();
    for (partition, offset) in wanted.open() {
        let number = holding(segments, partition, offset);
        let Some(segment) = segments.get(number) else { continue };
        places.push((number, segment.seek(partition, offset)?));
    }
    let Some((first, mark)) = places.into_iter().min_by_key(|(number, mark)| (*number, mark.at)) else { return Ok(Vec::new()) };
    let mut mark = Some(mark);
    for segment in segments.iter().skip(first) {
        let begin = mark.take().unwrap_or_else(|| segment.beginning());
        match walk(segment, begin, &mut wanted) {
            Ok(()) => {}
            // What lies before the damage is good; who reads on from there meets the damage first.
            Err(_) if !wanted.found.is_empty() => break,
            Err(error) => return Err(error),
        }
        if wanted.is_done() {
            break;
        }
    }
    Ok(wanted.found)
}

/// Walks one segment from this mark on.
fn walk(segment: &Segment, from: Mark, wanted: &mut Wanted) -> Result<(), Error> {
    let (begin, scanned) = (from.at, wanted.scanned);
    let mut scan = Scan::begin(segment, from, segment.bytes()).map_err(|fault| fault.on(segment))?;
    while let Some(entries) = scan.next_frame().map_err(|fault| fault.on(segment))? {
        wanted.scanned = scanned + (scan.mark().at - begin);
        for entry in entries {
            wanted.offer(entry);
        }
        if wanted.is_done() {
            break;
        }
    }
    Ok(())
}

/// What a read is after, and what it has found.
#[derive(Debug)]
struct Wanted {
    /// The next offset to return and where to stop looking, by partition.
    spans: Vec<(u64, u64)>,
    limit: ReadLimit,
    found: Vec<Stored>,
    found_bytes: usize,
    scanned: u64,
}

impl Wanted {
    fn new(from: &Offsets, start: &[u64], end: &[u64], limit: ReadLimit) -> Result<Self, Error> {
        let mut spans = Vec::with_capacity(end.len());
        for ((partition, start), end) in (0..).zip(start).zip(end) {
            // What is not asked for has nothing to return.
            let asked = *from.get(&partition).unwrap_or(end);
            if asked < *start {
                return Err(Error::Trimmed { partition, asked, start: *start });
            }
            spans.push((asked, *end));
        }
        Ok(Self { spans, limit, found: Vec::new(), found_bytes: 0, scanned: 0 })
    }

    /// The partitions that have something to return, and the offset it begins with.
    fn open(&self) -> impl Iterator<Item = (usize, u64)> {
        let is_open = |(_, (next, end)): &(usize, (u64, u64))| self.limit.records_max > 0 && next < end;
        self.spans.iter().copied().enumerate().filter(is_open).map(|(partition, (next, _))| (partition, next))
    }

    fn offer(&mut self, entry: Entry) {
        if self.is_over_limit() {
            return;
        }
        let Some((next, _)) = self.spans.get_mut(entry.partition as usize).filter(|(next, _)| *next <= entry.offset) else { return };
        *next = entry.offset + 1;
        self.found_bytes = self.found_bytes.saturating_add(entry.header.len() + entry.value.len());
        let record = Record { key: entry.key, header: entry.header, value: entry.value };
        self.found.push(Stored { partition: entry.partition, offset: entry.offset, record });
    }

    fn is_over_limit(&self) -> bool {
        self.found.len() >= self.limit.records_max || (!self.found.is_empty() && self.found_bytes >= self.limit.bytes_max)
    }

    fn is_done(&self) -> bool {
        let scanned_max = (self.limit.bytes_max as u64).saturating_mul(SCANNED_PER_RETURNED).saturating_add(CHUNK_BYTES as u64);
        self.is_over_limit() || (!self.found.is_empty() && self.scanned >= scanned_max) || self.open().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn offered(from: &[(u32, u64)], end: &[u64], limit: ReadLimit, scanned: u64) -> (Vec<(u32, u64)>, bool) {
        let mut wanted = Wanted::new(&from.iter().copied().collect(), &[0, 0], end, limit).unwrap();
        wanted.scanned = scanned;
        for (partition, offset) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            wanted.offer(Entry { partition, offset, key: [0; 16], header: Bytes::new(), value: Bytes::from_static(&[0; 100]) });
        }
        let is_done = wanted.is_done();
        (wanted.found.iter().map(|stored| (stored.partition, stored.offset)).collect(), is_done)
    }

    #[test]
    fn a_read_ends_when_it_has_enough_or_there_can_be_no_more() {
        let limit = |records_max, bytes_max| ReadLimit { records_max, bytes_max };
        let much = limit(100, 100_000);
        assert_eq!(offered(&[(0, 0), (1, 0)], &[9, 9], much, 0), (vec![(0, 0), (1, 0), (0, 1), (1, 1)], false));
        assert_eq!(offered(&[(0, 1), (1, 0)], &[9, 9], much, 0), (vec![(1, 0), (0, 1), (1, 1)], false));
        assert_eq!(offered(&[(0, 0), (1, 0)], &[9, 9], limit(3, 100_000), 0), (vec![(0, 0), (1, 0), (0, 1)], true));
        assert_eq!(offered(&[(0, 0), (1, 0)], &[9, 9], limit(100, 101), 0), (vec![(0, 0), (1, 0)], true));
        // All partitions are read to their ends; one is not wanted at all.
        assert!(offered(&[(0, 0), (1, 0)], &[2, 2], much, 0).1);
        assert_eq!(offered(&[(0, 0), (1, 9)], &[2, 9], much, 0), (vec![(0, 0), (0, 1)], true));
        assert_eq!(offered(&[(0, 0)], &[2, 9], much, 0), (vec![(0, 0), (0, 1)], true));
        assert_eq!(offered(&[], &[9, 9], much, 0), (vec![], true));
        // What is wanted lies far apart.
        assert!(offered(&[(0, 0), (1, 9)], &[9, 9], much, 400_000 + CHUNK_BYTES as u64).1);
        assert_eq!(offered(&[(0, 5), (1, 5)], &[9, 9], much, u64::MAX), (vec![], false));
    }
}
