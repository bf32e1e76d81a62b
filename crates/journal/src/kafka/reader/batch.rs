//! What a read has found so far, and whether that is enough.

use crate::{ReadLimit, Stored};

#[derive(Debug)]
pub(super) struct Batch {
    pub(super) found: Vec<Stored>,
    found_bytes: usize,
    limit: ReadLimit,
}

impl Batch {
    pub(super) fn new(limit: ReadLimit) -> Self {
        Self { found: Vec::new(), found_bytes: 0, limit }
    }

    pub(super) fn push(&mut self, stored: Stored) {
        self.found_bytes = self.found_bytes.saturating_add(stored.record.header.len() + stored.record.value.len());
        self.found.push(stored);
    }

    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= self.limit.records_max || (!self.found.is_empty() && self.found_bytes >= self.limit.bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Record;

    #[test]
    fn a_batch_is_full_when_a_bound_is_reached() {
        let check = |records: usize, records_max, bytes_max, expect| {
            let mut batch = Batch::new(ReadLimit { records_max, bytes_max });
            for offset in 0..records as u64 {
                let record = Record { key: [0; 16], header: Bytes::from_static(b"head"), value: Bytes::from_static(b"values") };
                batch.push(Stored { partition: 0, offset, record });
            }
            assert_eq!(batch.is_full(), expect, "{records} of 10 bytes, {records_max} records, {bytes_max} bytes");
        };
        check(0, 0, 100, true);
        check(0, 1, 0, false);
        check(1, 9, 0, true);
        check(1, 9, 11, false);
        check(2, 9, 20, true);
        check(2, 3, usize::MAX, false);
        check(3, 3, usize::MAX, true);
    }
}
