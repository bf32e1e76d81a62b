//! Numbers and keys as bytes, and the checksum that every stored piece ends with.

use crate::Shard;
use crate::key::Key;

const SEAL_BYTES: usize = 8;

/// The checksum of stored bytes.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes)
}

/// Appends the checksum of what is there.
pub(crate) fn seal(bytes: &mut Vec<u8>) {
    let sum = checksum(bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
}

/// What was sealed; `None` where the checksum does not fit.
pub(crate) fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (body, sum) = bytes.split_last_chunk::<SEAL_BYTES>()?;
    (checksum(body) == u64::from_le_bytes(*sum)).then_some(body)
}

pub(crate) fn put_key(out: &mut Vec<u8>, key: Key) {
    out.extend_from_slice(&key.shard.number().to_le_bytes());
    out.extend_from_slice(&key.digest());
}

/// Takes numbers and keys off the front of bytes; `None` where they end too soon.
#[derive(Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    pub(crate) fn shard(&mut self) -> Option<Shard> {
        Shard::from_number(self.u16()?)
    }

    pub(crate) fn key(&mut self) -> Option<Key> {
        Some(Key::new(self.shard()?, self.take()?))
    }
}
