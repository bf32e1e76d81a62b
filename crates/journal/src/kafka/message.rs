//! A record as a Kafka message and back.
//!
//! The key is the 16 bytes of the record's key, the value is the value as it came, so that other consumers read payloads as they were sent. What the
//! gate says about them is in a header beside.

use bytes::Bytes;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};

use crate::{Record, Stored};

/// The header that holds a record's header.
const HEADER: &str = "tidegate";

/// Says in the message itself where it came from, so that it can be found out later whether it has been sent already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The name of the header.
    pub(crate) name: &'static str,
    /// Where it came from.
    pub(crate) value: String,
}

/// A record on its way to Kafka.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) record: Record,
    pub(crate) mark: Option<Mark>,
}

impl From<Record> for Outgoing {
    fn from(record: Record) -> Self {
        Self { record, mark: None }
    }
}

impl Outgoing {
    /// Bytes of header and value, which the bound of a record counts.
    pub(super) fn payload_bytes(&self) -> usize {
        self.record.header.len().saturating_add(self.record.value.len())
    }

    pub(super) fn headers(&self) -> OwnedHeaders {
        let headers = OwnedHeaders::new_with_capacity(2).insert(Header { key: HEADER, value: Some(&self.record.header[..]) });
        match &self.mark {
            Some(mark) => headers.insert(Header { key: mark.name, value: Some(mark.value.as_bytes()) }),
            None => headers,
        }
    }
}

/// The record of a message. Others may have written to the topic: what they left out is zero or empty, and whoever reads the record decides what it is.
pub(super) fn stored(message: &BorrowedMessage<'_>) -> Option<Stored> {
    let record = Record {
        key: message.key().and_then(|key| key.try_into().ok()).unwrap_or_default(),
        header: Bytes::copy_from_slice(header(message, HEADER).unwrap_or_default()),
        value: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
    };
    Some(Stored { partition: u32::try_from(message.partition()).ok()?, offset: u64::try_from(message.offset()).ok()?, record })
}

/// The value of a header of a message.
pub(super) fn header<'m>(message: &'m BorrowedMessage<'_>, name: &str) -> Option<&'m [u8]> {
    message.headers()?.iter().find(|header| header.key == name)?.value
}
