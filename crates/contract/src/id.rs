//! Newtypes for the names of things: sources, events, places in the journal.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The longest event id, in characters (what Segment's clients are held to).
pub const EVENT_ID_CHARS_MAX: usize = 100;

/// The name of a source: what a write key belongs to. 1 to 64 characters of `a-z A-Z 0-9 _ - .`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SourceName(String);

/// Why a text is no [`SourceName`]. Holds the start of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a source name is 1 to 64 characters of a-z, A-Z, 0-9, '_', '-' and '.', not {0:?}")]
pub struct InvalidSourceName(pub String);

impl SourceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SourceName {
    type Error = InvalidSourceName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if (1..=64).contains(&name.len()) && name.chars().all(allowed) {
            Ok(Self(name))
        } else {
            Err(InvalidSourceName(name.chars().take(80).collect()))
        }
    }
}

impl std::str::FromStr for SourceName {
    type Err = InvalidSourceName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::try_from(name.to_owned())
    }
}

impl From<SourceName> for String {
    fn from(name: SourceName) -> Self {
        name.0
    }
}

impl std::fmt::Display for SourceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id a client gave an event (or the gate, where the client gave none): 1 to [`EVENT_ID_CHARS_MAX`] characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventId(String);

/// Why a text is no [`EventId`]. Holds its length in characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an event id is 1 to {EVENT_ID_CHARS_MAX} characters, this one has {0}")]
pub struct InvalidEventId(pub usize);

impl EventId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for EventId {
    type Error = InvalidEventId;

    fn try_from(id: String) -> Result<Self, Self::Error> {
        let chars = id.chars().count();
        if (1..=EVENT_ID_CHARS_MAX).contains(&chars) { Ok(Self(id)) } else { Err(InvalidEventId(chars)) }
    }
}

impl std::str::FromStr for EventId {
    type Err = InvalidEventId;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        Self::try_from(id.to_owned())
    }
}

impl From<EventId> for String {
    fn from(id: EventId) -> Self {
        id.0
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id the gate gives an event that came without one: a UUIDv7 of the time it was received (cut to milliseconds, and to 1970 at the earliest) and 74 of these
/// random bits.
pub fn uuid_v7(now: Timestamp, random: [u8; 10]) -> EventId {
    let millis = u64::try_from(now.micros().div_euclid(1_000)).unwrap_or(0);
    EventId(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().hyphenated().to_string())
}

/// What makes two events the same event: the source that sent them and the id it gave them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity<'a> {
    /// The source that sent the event.
    pub source: &'a str,
    /// The id of the event within its source.
    pub event_id: &'a str,
}

impl Identity<'_> {
    /// 128 bits that stand for this identity everywhere: the journal's partition key and the deduplication key.
    ///
    /// BLAKE3 in key-derivation mode over the source's length, the source and the id. Two of 10 billion identities share a digest with a
    /// probability of about 1.5e-19 (n²/2^129).
    pub fn digest(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_derive_key("tidegate 2026-11 event identity v1");
        hasher.update(&(self.source.len() as u64).to_le_bytes());
        hasher.update(self.source.as_bytes());
        hasher.update(self.event_id.as_bytes());
        let mut digest = [0u8; 16];
        digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        digest
    }
}

/// A place in the journal. Positions are ordered, and the smallest wins among copies of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Which making of the journal: grows when a topic is made again or its number of partitions changes.
    pub generation: u32,
    /// The partition within the generation.
    pub partition: u32,
    /// The offset within the partition.
    pub offset: u64,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.generation, self.partition, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn source_names() {
        let check = |name: &str, sound: bool| assert_eq!(name.parse::<SourceName>().is_ok(), sound, "{name:?}");
        for name in ["a", "web-shop_2.eu", &"x".repeat(64)] {
            check(name, true);
        }
        for name in ["", " ", "a b", "a/b", "é", "a\n", &"x".repeat(65)] {
            check(name, false);
        }
        assert!("x".repeat(100_000).parse::<SourceName>().unwrap_err().to_string().len() < 200, "an error stays small");
    }

    #[test]
    fn event_ids_are_counted_in_characters() {
        assert!("é".repeat(100).parse::<EventId>().is_ok());
        assert_eq!("é".repeat(101).parse::<EventId>(), Err(InvalidEventId(101)));
        assert_eq!("".parse::<EventId>(), Err(InvalidEventId(0)));
    }

    #[test]
    fn made_ids_are_uuids_of_their_time() {
        let check = |micros: i64, random: [u8; 10], expected: &str| assert_eq!(uuid_v7(Timestamp(micros), random).as_str(), expected);
        check(1_795_428_000_123_999, [0; 10], "01a207d9-217b-7000-8000-000000000000");
        check(1_795_428_000_123_999, [0xff; 10], "01a207d9-217b-7fff-bfff-ffffffffffff");
        check(-1, [0; 10], "00000000-0000-7000-8000-000000000000");
    }

    #[test]
    fn a_digest_never_changes() {
        // It is in journals and indexes on disk.
        let digest = Identity { source: "web", event_id: "1" }.digest();
        assert_eq!(u128::from_be_bytes(digest), 0xbd59_ec07_7093_7b2a_e6f2_96ff_b2b0_feca);
    }

    #[test]
    fn a_digest_knows_where_the_source_ends() {
        let digest = |source, event_id| Identity { source, event_id }.digest();
        assert_ne!(digest("ab", "c"), digest("a", "bc"));
    }

    #[test]
    fn the_smaller_position_is_the_earlier() {
        let position = |generation, partition, offset| Position { generation, partition, offset };
        let ordered = [position(0, 1, 9), position(1, 0, 5), position(1, 0, 6), position(1, 1, 0)];
        assert!(ordered.is_sorted());
    }

    proptest! {
        #[test]
        fn names_survive_json(name in "[a-zA-Z0-9_.-]{1,64}", id in ".{1,100}") {
            let (name, id) = (name.parse::<SourceName>().unwrap(), id.parse::<EventId>().unwrap());
            prop_assert_eq!(serde_json::from_str::<SourceName>(&serde_json::to_string(&name).unwrap()).unwrap(), name);
            prop_assert_eq!(serde_json::from_str::<EventId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
        }
    }
}
