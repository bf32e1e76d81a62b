//! Write keys: what they are, the file they are kept in, and the gate's live view of that file.
//!
//! A key itself is stored nowhere: the file holds its BLAKE3 digest. A key that this program makes has 160 random bits, so its digest cannot be
//! turned back by trying; a key that a person chose is only as good as it is hard to guess.

use contract::SourceName;

mod file;
mod keyring;
mod scope;
#[cfg(test)]
mod tests;

pub use file::{Entry, KeyFile};
pub use keyring::{Keyring, Lookup, Source};
pub use scope::Scope;

/// The longest write key, in characters.
pub const KEY_CHARS_MAX: usize = 200;

/// A write key: 1 to [`KEY_CHARS_MAX`] visible ASCII characters without `:`. It is never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct WriteKey(String);

impl WriteKey {
    /// A new key with 160 random bits.
    pub fn generate() -> Self {
        let random: [u8; 20] = rand::random();
        let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("tg_{hex}"))
    }

    /// The key as text, to be shown once to the person it is made for.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What stands for the key at rest.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of(&self.0)
    }
}

impl std::fmt::Debug for WriteKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WriteKey(…)")
    }
}

impl TryFrom<String> for WriteKey {
    type Error = Error;

    fn try_from(key: String) -> Result<Self, Error> {
        let sound = (1..=KEY_CHARS_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
        if sound { Ok(Self(key)) } else { Err(Error::InvalidKey) }
    }
}

impl std::str::FromStr for WriteKey {
    type Err = Error;

    fn from_str(key: &str) -> Result<Self, Error> {
        Self::try_from(key.to_owned())
    }
}

/// The BLAKE3 digest of a write key. Keys are compared by it, so how long a comparison takes tells nothing about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    fn of(key: &str) -> Self {
        Self(blake3::derive_key("tidegate 2026-11 write key v1", key.as_bytes()))
    }

    /// A short name for the key, to tell the keys of a source apart: 8 hexadecimal digits.
    pub fn short(&self) -> String {
        self.to_hex().chars().take(8).collect()
    }

    /// Its bytes.
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn to_hex(self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

impl serde::Serialize for KeyDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> serde::Deserialize<'de> for KeyDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let hex: std::borrow::Cow<'de, str> = serde::Deserialize::deserialize(deserializer)?;
        let hash = blake3::Hash::from_hex(hex.as_bytes()).map_err(serde::de::Error::custom)?;
        Ok(Self(*hash.as_bytes()))
    }
}

/// What can go wrong with write keys and their file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text cannot be a key.
    #[error("a write key is 1 to {KEY_CHARS_MAX} visible ASCII characters without ':' and spaces")]
    InvalidKey,
    /// The text cannot be an origin.
    #[error("{0:?} is no origin; give scheme and host, such as https://www.example.com")]
    InvalidOrigin(String),
    /// The text cannot be a type of events, nor the beginning of some.
    #[error("{0:?} is no type of events; give a name, or the beginning of names and *, such as checkout_*")]
    InvalidEventType(String),
    /// A rate at which nothing can be sent.
    #[error("a rate of 0 lets nothing through; give 1 or more events a second, or revoke the key")]
    InvalidRate,
    /// More than is looked through for each event.
    #[error("a key names at most {max} types of events, and as many origins; give the beginning of names and *, or use more keys")]
    ScopeTooLarge {
        /// So many.
        max: usize,
    },
    /// Another source has the key.
    #[error("source {0} has this key already; give each source its own")]
    TakenKey(SourceName),
    /// The key was revoked.
    #[error("this key of source {0} was revoked; make a new one")]
    RevokedKey(SourceName),
    /// No such source, or none of its keys is live.
    #[error("no live key of a source named {0}; `tidegate source list` shows them all")]
    NoSuchSource(SourceName),
    /// The file cannot be read, understood or written.
    #[error(transparent)]
    File(#[from] secrets::Error),
}
