//! The file of write keys.

use std::path::{Path, PathBuf};

use contract::{SourceName, Timestamp};
use secrets::PrivateFile;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Error, KeyDigest, Scope, WriteKey};

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
    /// From when on it no longer counts: a time that has passed, or one that is to come while a new key is rolled out.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// What it may do.
    #[serde(flatten)]
    pub scope: Scope,
    /// What a later program added to it, kept as it is.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Entry {
    /// Whether it counts at this time.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none_or(|revoked_at| now < revoked_at)
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Contents {
    keys: Vec<Entry>,
    /// What a later program added to it, kept as it is.
    #[serde(flatten)]
    rest: Map<String, Value>,
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

    /// Gives a source a key. Giving it a live key that it has already changes nothing but the scope.
    ///
    /// # Errors
    ///
    /// [`Error::TakenKey`], [`Error::RevokedKey`], those of [`Scope::check`], and what the file may come to.
    pub fn add(&self, name: SourceName, key: &WriteKey, scope: Scope, now: Timestamp) -> Result<Entry, Error> {
        scope.check()?;
        let digest = key.digest();
        self.0.change(|Contents { keys, .. }| match keys.iter_mut().find(|entry| entry.digest == digest) {
            Some(other) if other.name != name => Err(Error::TakenKey(other.name.clone())),
            Some(same) if !same.is_live(now) => Err(Error::RevokedKey(name)),
            Some(same) => {
                same.scope = scope;
                Ok(same.clone())
            }
            None => {
                let entry = Entry { name, digest, created_at: now, revoked_at: None, scope, rest: Map::new() };
                keys.push(entry.clone());
                Ok(entry)
            }
        })
    }

    /// Gives a source a new key with the scope of its newest live one, and lets those it has end at a time that is to come: until then both are taken. A key that ends before that does so still.
    /// Tells what was added, and how many keys end.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSource`] when it has no live key, [`Error::TakenKey`], [`Error::RevokedKey`], and what the file may come to.
    pub fn rotate(&self, name: &SourceName, key: &WriteKey, now: Timestamp, until: Timestamp) -> Result<(Entry, usize), Error> {
        let digest = key.digest();
        self.0.change(|Contents { keys, .. }| {
            if let Some(same) = keys.iter().find(|entry| entry.digest == digest) {
                return Err(if same.is_live(now) { Error::TakenKey(same.name.clone()) } else { Error::RevokedKey(same.name.clone()) });
            }
            let mut ending = 0;
            let mut scope = None;
            for entry in keys.iter_mut().filter(|entry| entry.name == *name && entry.is_live(now)) {
                entry.revoked_at = Some(entry.revoked_at.map_or(until, |already| already.min(until)));
                scope = Some(entry.scope.clone());
                ending += 1;
            }
            let scope = scope.ok_or_else(|| Error::NoSuchSource(name.clone()))?;
            let entry = Entry { name: name.clone(), digest, created_at: now, revoked_at: None, scope, rest: Map::new() };
            keys.push(entry.clone());
            Ok((entry, ending))
        })
    }

    /// Revokes the live keys of a source, or the one that is named by the start of its digest, and tells how many they were. A gate that runs sees it within a second.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSource`] when it has none, and what the file may come to.
    pub fn revoke(&self, name: &SourceName, which: Option<&str>, now: Timestamp) -> Result<usize, Error> {
        self.0.change(|Contents { keys, .. }| {
            let meant =
                |entry: &&mut Entry| entry.name == *name && entry.is_live(now) && which.is_none_or(|short| entry.digest.short() == short);
            let revoked = keys.iter_mut().filter(meant).map(|entry| entry.revoked_at = Some(now)).count();
            if revoked == 0 { Err(Error::NoSuchSource(name.clone())) } else { Ok(revoked) }
        })
    }
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
