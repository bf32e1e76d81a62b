//! The file of write keys.

use std::path::{Path, PathBuf};

use contract::{SourceName, Timestamp};
use secrets::PrivateFile;
use serde::{Deserialize, Serialize};

use super::{Error, KeyDigest, WriteKey};

/// One write key of a source. A source may have several, so that a new key can be rolled out before the old one is revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The source that the key belongs to.
    pub name: SourceName,
    /// What stands for the key.
    pub digest: KeyDigest,
    /// When it was added.
    #[serde(with = "rfc3339")]
    pub created_at: Timestamp,
    /// Since when it no longer counts.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// The origins of web pages that may send with it, such as `https://www.example.com`; with none, any may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Contents {
    keys: Vec<Entry>,
}

/// The file of write keys, `sources.json` by custom.
#[derive(Debug, Clone)]
pub struct KeyFile(PrivateFile<Contents>);

impl KeyFile {
    /// The file at this path. It need not exist: then there are no keys yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(PrivateFile::at(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// All keys, revoked ones too, in the order they were added.
    ///
    /// # Errors
    ///
    /// [`Error::File`]. A file that is not there holds no keys.
    pub fn list(&self) -> Result<Vec<Entry>, Error> {
        Ok(self.0.read()?.keys)
    }

    /// Gives a source a key. Giving it a live key that it has already changes nothing but the origins.
    ///
    /// # Errors
    ///
    /// [`Error::TakenKey`], [`Error::RevokedKey`], [`Error::InvalidOrigin`], and what the file may come to.
    pub fn add(&self, name: SourceName, key: &WriteKey, allowed_origins: Vec<String>, now: Timestamp) -> Result<Entry, Error> {
        if let Some(wrong) = allowed_origins.iter().find(|origin| !is_origin(origin)) {
            return Err(Error::InvalidOrigin(wrong.clone()));
        }
        let digest = key.digest();
        self.0.change(|Contents { keys }| match keys.iter_mut().find(|entry| entry.digest == digest) {
            Some(other) if other.name != name => Err(Error::TakenKey(other.name.clone())),
            Some(same) if same.revoked_at.is_some() => Err(Error::RevokedKey(name)),
            Some(same) => {
                same.allowed_origins = allowed_origins;
                Ok(same.clone())
            }
            None => {
                let entry = Entry { name, digest, created_at: now, revoked_at: None, allowed_origins };
                keys.push(entry.clone());
                Ok(entry)
            }
        })
    }

    /// Revokes all live keys of a source and tells how many they were. A gate that runs sees it within a second.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSource`] when it has none, and what the file may come to.
    pub fn revoke(&self, name: &SourceName, now: Timestamp) -> Result<usize, Error> {
        self.0.change(|Contents { keys }| {
            let live = keys.iter_mut().filter(|entry| entry.name == *name && entry.revoked_at.is_none());
            let revoked = live.map(|entry| entry.revoked_at = Some(now)).count();
            if revoked == 0 { Err(Error::NoSuchSource(name.clone())) } else { Ok(revoked) }
        })
    }
}

/// Whether it is what a browser sends as `Origin`: scheme, host and maybe a port, nothing else.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let scheme_is_sound =
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte));
    let host_is_sound =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@*".contains(&byte) && !byte.is_ascii_uppercase());
    scheme_is_sound && host_is_sound
}

/// Times as people read them.
mod rfc3339 {
    use std::borrow::Cow;

    use contract::{Timestamp, time};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&at.to_rfc3339())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        time::parse_text(&text).map_err(D::Error::custom)
    }

    pub(super) mod option {
        use std::borrow::Cow;

        use contract::{Timestamp, time};
        use serde::{Deserialize, Deserializer, Serializer, de::Error};

        pub(in super::super) fn serialize<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
            match at {
                Some(at) => super::serialize(at, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
            let text = Option::<Cow<'de, str>>::deserialize(deserializer)?;
            text.map(|text| time::parse_text(&text).map_err(D::Error::custom)).transpose()
        }
    }
}
