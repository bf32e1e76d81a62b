//! The gate's own keys: of the hashes that stand for personal data, and of the secrets that requests are signed with.
//!
//! Each is a file with 64 hexadecimal digits for its owner's eyes only: the one that the settings name, else one in the data folder, which is drawn at random when there is none yet. It must outlive
//! everything that was made with it.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use contract::erasure::from_hex;
use contract::mask::Key;
use ingest::signature::SigningKey;

use crate::settings::Settings;

/// The key of hashes. With another one a person has another hash.
///
/// # Errors
///
/// A file that cannot be read or made, or that holds no key.
pub(crate) fn pii(settings: &Settings) -> anyhow::Result<Key> {
    of(settings, settings.ingest.pii_key_file.as_deref(), "pii").map(Key::new)
}

/// The key of secrets. With another one no client's secret is right any more.
///
/// # Errors
///
/// As [`pii`].
pub(crate) fn signing(settings: &Settings) -> anyhow::Result<SigningKey> {
    of(settings, settings.ingest.signing_key_file.as_deref(), "signing").map(SigningKey::new)
}

fn of(settings: &Settings, named: Option<&Path>, what: &str) -> anyhow::Result<[u8; 32]> {
    match named {
        Some(path) => read(path)
            .with_context(|| format!("cannot read the key {} (ingest.{what}_key_file); `openssl rand -hex 32` makes one", path.display())),
        None => {
            let path = settings.data.join(format!("{what}.key"));
            kept(&path).with_context(|| format!("cannot read or make the key {}", path.display()))
        }
    }
}

fn read(path: &Path) -> anyhow::Result<[u8; 32]> {
    match from_hex(fs::read_to_string(path)?.trim()) {
        Some(bytes) => Ok(bytes),
        None => bail!("it does not hold 64 hexadecimal digits"),
    }
}

/// The key in this file, which is made where it is missing.
fn kept(path: &Path) -> anyhow::Result<[u8; 32]> {
    if !path.try_exists()? {
        make(path)?;
    }
    read(path)
}

fn make(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let bytes: [u8; 32] = rand::random();
    let digits = blake3::Hash::from_bytes(bytes).to_hex();
    // For its owner's eyes only from the first byte on, and whole when it is there.
    let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(fresh, "{digits}")?;
    fresh.as_file().sync_all()?;
    match fresh.persist_noclobber(path) {
        Ok(_) => fs::File::open(folder)?.sync_all(),
        // Another process was faster, and its key is the one.
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/pii.key");
        let made = kept(&path).unwrap();
        assert!(made == kept(&path).unwrap() && made != kept(&folder.path().join("other")).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "0123\n").unwrap();
        assert!(kept(&path).unwrap_err().to_string().contains("64 hexadecimal digits"));
        let settings = |pii_key_file: &Path| {
            let mut settings = Settings { data: folder.path().to_owned(), ..Settings::default() };
            settings.ingest.pii_key_file = Some(pii_key_file.to_owned());
            settings
        };
        let text = pii(&settings(&folder.path().join("missing"))).unwrap_err().to_string();
        assert!(text.contains("ingest.pii_key_file") && text.contains("openssl rand -hex 32"), "{text}");
        fs::write(folder.path().join("given"), format!("{}\n", "ab".repeat(32))).unwrap();
        assert!(pii(&settings(&folder.path().join("given"))).unwrap() == Key::new([0xab; 32]));
        let signing = signing(&settings(&folder.path().join("given"))).unwrap();
        assert!(signing == super::signing(&settings(&folder.path().join("given"))).unwrap() && folder.path().join("signing.key").exists());
    }
}
