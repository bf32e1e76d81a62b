//! The file of those who may read.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use contract::Timestamp;
use datafusion_postgres::pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, gen_salted_password};
use secrets::PrivateFile;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

const NAME_CHARS_MAX: usize = 63;
const SALT_BYTES: usize = 16;
const PASSWORD_BYTES: usize = 24;

/// Someone who may read, and what their password is proved with: it cannot be had from this, but whoever has this can log in with it, so the file is for its owner's eyes
/// only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The user name.
    pub name: String,
    /// When it was added, RFC 3339.
    pub created_at: String,
    /// Base64.
    salt: String,
    /// `SaltedPassword` of RFC 5802, with SHA-256 and 4,096 iterations. Base64.
    salted_password: String,
    /// What a later program added to it, kept as it is.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// What is wrong with the file, or with what is to become of it.
#[derive(Debug, thiserror::Error)]
pub enum ReaderFileError {
    /// The name cannot be used.
    #[error("a reader's name is 1 to 63 characters of a-z, A-Z, 0-9, '_', '-' and '.', not {0:?}")]
    Name(String),
    /// It has none of that name.
    #[error("there is no reader {0}; `tidegate reader list` names those there are")]
    NoSuchReader(String),
    /// The password cannot be used.
    #[error("a password has 8 to 200 characters; leave it out to have one made")]
    Password,
    /// The file cannot be read, understood or written.
    #[error(transparent)]
    File(#[from] secrets::Error),
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Contents {
    readers: Vec<Entry>,
    /// What a later program added to it, kept as it is.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// The file of those who may read, `readers.json` by custom.
#[derive(Debug, Clone)]
pub struct ReaderFile(PrivateFile<Contents>);

impl Entry {
    /// One whose password nobody knows.
    pub(super) fn nobody() -> Self {
        Self::new(String::new(), &made_password(), Timestamp(0))
    }

    fn new(name: String, password: &str, now: Timestamp) -> Self {
        let salt: [u8; SALT_BYTES] = rand::random();
        let salted = gen_salted_password(password, &salt, SCRAM_ITERATIONS);
        Self { name, created_at: now.to_rfc3339(), salt: STANDARD.encode(salt), salted_password: STANDARD.encode(salted), rest: Map::new() }
    }

    /// Salt and salted password.
    pub(super) fn secret(&self) -> Result<(Vec<u8>, Vec<u8>), base64::DecodeError> {
        Ok((STANDARD.decode(&self.salt)?, STANDARD.decode(&self.salted_password)?))
    }
}

impl ReaderFile {
    /// The file at this path. It need not exist: then there are no readers yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(PrivateFile::at(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// All readers, in the order they were added.
    ///
    /// # Errors
    ///
    /// `File`. A file that is not there holds none.
    pub fn list(&self) -> Result<Vec<Entry>, ReaderFileError> {
        Ok(self.0.read()?.readers)
    }

    /// The reader of that name.
    ///
    /// # Errors
    ///
    /// As [`ReaderFile::list`].
    pub fn find(&self, name: &str) -> Result<Option<Entry>, ReaderFileError> {
        Ok(self.list()?.into_iter().find(|entry| entry.name == name))
    }

    /// Adds a reader, or gives one that is there another password, and tells the password. Without one, a random one is made.
    ///
    /// # Errors
    ///
    /// `Name`, `Password`, and what the file may come to.
    pub fn add(&self, name: &str, password: Option<String>, now: Timestamp) -> Result<String, ReaderFileError> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if !(1..=NAME_CHARS_MAX).contains(&name.len()) || !name.chars().all(is_allowed) {
            return Err(ReaderFileError::Name(name.chars().take(80).collect()));
        }
        let password = password.unwrap_or_else(made_password);
        if !(8..=200).contains(&password.chars().count()) {
            return Err(ReaderFileError::Password);
        }
        let entry = Entry::new(name.to_owned(), &password, now);
        self.0.change(|Contents { readers, .. }| {
            readers.retain(|reader| reader.name != name);
            readers.push(entry);
            Ok::<_, ReaderFileError>(())
        })?;
        Ok(password)
    }

    /// Removes a reader. A connection that is open stays open.
    ///
    /// # Errors
    ///
    /// `NoSuchReader`, and what the file may come to.
    pub fn revoke(&self, name: &str) -> Result<(), ReaderFileError> {
        self.0.change(|Contents { readers, .. }| {
            let before = readers.len();
            readers.retain(|reader| reader.name != name);
            if readers.len() == before { Err(ReaderFileError::NoSuchReader(name.to_owned())) } else { Ok(()) }
        })
    }
}

/// 192 random bits.
fn made_password() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; PASSWORD_BYTES]>())
}
