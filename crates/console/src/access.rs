//! Who may use the console: tokens and what each lets one do.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contract::Timestamp;
use secrets::PrivateFile;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

const NAME_CHARS_MAX: usize = 63;
const TOKEN_BYTES: usize = 32;
/// The longest text that is taken for a token.
const TOKEN_CHARS_MAX: usize = 200;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// See everything.
    Read,
    /// And change what the console can change: write keys, replays, dead letters put through.
    Admin,
}

impl Role {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

/// Who may sign in with a token, and what proves that it is theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Whose it is.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// The token's BLAKE3 digest, in hexadecimal digits. The token has 256 random bits, so it cannot be turned back by trying.
    digest: String,
    /// What a later program added to it, kept as it is.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Entry {
    /// A short name for the token: the start of its digest.
    pub fn short(&self) -> &str {
        self.digest.get(..8).unwrap_or(&self.digest)
    }
}

/// What is wrong with the file, or with what is to become of it.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// The name cannot be used.
    #[error("a name is 1 to 63 characters of a-z, A-Z, 0-9, '_', '-', '.' and '@', not {0:?}")]
    Name(String),
    /// It has none of that name.
    #[error("there is no token of {0}; `tidegate token list` names those there are")]
    NoSuchToken(String),
    /// The file cannot be read, understood or written.
    #[error(transparent)]
    File(#[from] secrets::Error),
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Contents {
    tokens: Vec<Entry>,
    /// What a later program added to it, kept as it is.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// The file of tokens, `tokens.json` by custom.
#[derive(Debug, Clone)]
pub struct TokenFile(PrivateFile<Contents>);

impl TokenFile {
    /// The file at this path. It need not exist: then nobody has to sign in.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(PrivateFile::at(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// All tokens, in the order they were made.
    ///
    /// # Errors
    ///
    /// `File`. A file that is not there holds none.
    pub fn list(&self) -> Result<Vec<Entry>, TokenFileError> {
        Ok(self.0.read()?.tokens)
    }

    /// Makes a token for somebody; one they had ends with it. What is told is the token: it is kept nowhere.
    ///
    /// # Errors
    ///
    /// `Name`, and what the file may come to.
    pub fn add(&self, name: &str, role: Role, now: Timestamp) -> Result<String, TokenFileError> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@');
        if !(1..=NAME_CHARS_MAX).contains(&name.len()) || !name.chars().all(is_allowed) {
            return Err(TokenFileError::Name(name.chars().take(80).collect()));
        }
        let token = format!("tc_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; TOKEN_BYTES]>()));
        let (created_at, digest) = (now.to_rfc3339(), digest(&token).to_hex().to_string());
        let entry = Entry { name: name.to_owned(), role, created_at, digest, rest: Map::new() };
        self.0.change(|Contents { tokens, .. }| {
            tokens.retain(|known| known.name != name);
            tokens.push(entry);
            Ok::<_, TokenFileError>(())
        })?;
        Ok(token)
    }

    /// Ends somebody's token, and with it whoever is signed in by it.
    ///
    /// # Errors
    ///
    /// `NoSuchToken`, and what the file may come to.
    pub fn revoke(&self, name: &str) -> Result<(), TokenFileError> {
        self.0.change(|Contents { tokens, .. }| {
            let before = tokens.len();
            tokens.retain(|known| known.name != name);
            if tokens.len() == before { Err(TokenFileError::NoSuchToken(name.to_owned())) } else { Ok(()) }
        })
    }

    /// Whose token this is.
    ///
    /// # Errors
    ///
    /// As [`TokenFile::list`].
    pub fn find(&self, token: &str) -> Result<Option<Entry>, TokenFileError> {
        if token.len() > TOKEN_CHARS_MAX {
            return Ok(None);
        }
        let wanted = digest(token);
        // Hashes are compared in constant time.
        let is_it = |entry: &Entry| blake3::Hash::from_hex(&entry.digest).is_ok_and(|known| known == wanted);
        Ok(self.list()?.into_iter().find(is_it))
    }
}

fn digest(token: &str) -> blake3::Hash {
    blake3::Hash::from_bytes(blake3::derive_key("tidegate 2026-11 console token v1", token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_until_it_is_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::at(folder.path().join("tokens.json"));
        assert!(file.list().unwrap().is_empty() && file.find("").unwrap().is_none());
        let first = file.add("anna", Role::Read, Timestamp(0)).unwrap();
        let token = file.add("anna", Role::Admin, Timestamp(0)).unwrap();
        assert!(file.find(&first).unwrap().is_none(), "a new one ends the old one");
        let found = file.find(&token).unwrap().unwrap();
        assert_eq!((found.name.as_str(), found.role, file.list().unwrap().len()), ("anna", Role::Admin, 1));
        assert!(!std::fs::read_to_string(file.path()).unwrap().contains(&token), "kept as a digest only");
        file.revoke("anna").unwrap();
        assert!(file.find(&token).unwrap().is_none());
        assert!(matches!(file.revoke("anna"), Err(TokenFileError::NoSuchToken(_))));
        for bad in ["", "a b", &"x".repeat(64)] {
            assert!(matches!(file.add(bad, Role::Read, Timestamp(0)), Err(TokenFileError::Name(_))), "{bad}");
        }
        assert!(file.find(&"x".repeat(1_000)).unwrap().is_none());
    }
}
