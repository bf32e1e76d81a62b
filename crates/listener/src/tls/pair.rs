//! A certificate and its key, read from PEM files.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{self, InconsistentKeys, RootCertStore, ServerConfig};
use x509_certificate::X509Certificate;

use super::day;

const CERTIFICATE: &str = "server.tls.certificate_file";
const KEY: &str = "server.tls.key_file";
const CLIENT_CA: &str = "server.tls.client_ca_file";
/// The largest file; a bundle of all public authorities has a fifth of it.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What hyper speaks here.
const ALPN: &[u8] = b"http/1.1";
/// Rights of a file that others than its owner have.
const OF_OTHERS: u32 = 0o077;

/// Why files cannot be served. Each text names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there, or may not be read.
    #[error("cannot read {file} ({setting}): {source}; name a file that this process may read", file = file.display())]
    Unreadable {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Nothing that is meant is so large.
    #[error("{file} ({setting}) has more than {FILE_BYTES_MAX} bytes; is it another file?", file = file.display())]
    TooLarge {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        file: PathBuf,
    },
    /// It does not have what it should.
    #[error("{file} ({setting}) {problem}", file = file.display())]
    Unusable {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Key and certificate are of two pairs.
    #[error(
        "the key in {key} does not belong to the certificate in {certificate}; put both there as they were issued together, the server's own certificate first",
        key = key.display(),
        certificate = certificate.display()
    )]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// It could not be told when the files are to be looked at.
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    /// rustls has no use for what was read.
    #[error("TLS cannot be set up with the files of server.tls: {0}")]
    Setup(rustls::Error),
}

/// The files of `[server.tls]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The server's certificate, and after it those that signed it, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
    /// Those who sign the certificates of clients, PEM; with it a client without such a certificate is refused.
    pub client_ca: Option<PathBuf>,
}

impl Files {
    /// All of them as they are now.
    ///
    /// # Errors
    ///
    /// The first that cannot be read, or is larger than any that is meant.
    pub fn read(&self) -> Result<Texts, Error> {
        Ok(Texts {
            certificate: read(CERTIFICATE, &self.certificate)?,
            key: read(KEY, &self.key)?,
            client_ca: self.client_ca.as_deref().map(|file| read(CLIENT_CA, file)).transpose()?,
        })
    }

    /// Whether others than its owner have rights to the key.
    pub fn is_key_open(&self) -> bool {
        std::fs::metadata(&self.key).is_ok_and(|found| found.permissions().mode() & OF_OTHERS != 0)
    }
}

fn read(setting: &'static str, file: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|opened| opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|source| Error::Unreadable { setting, file: file.to_owned(), source })?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::TooLarge { setting, file: file.to_owned() });
    }
    Ok(bytes)
}

/// What the files hold.
pub struct Texts {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// A secret is among it.
impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Texts").finish_non_exhaustive()
    }
}

impl Texts {
    /// The same for the same content, and for no other.
    pub(crate) fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for text in [&self.certificate, &self.key].into_iter().chain(&self.client_ca) {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text);
        }
        hasher.finalize()
    }

    /// The pair they hold.
    ///
    /// # Errors
    ///
    /// Which file is of no use, and why.
    pub fn pair(&self, files: &Files) -> Result<Pair, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let of_certificate = |problem: String| Error::Unusable { setting: CERTIFICATE, file: files.certificate.clone(), problem };
        let of_key = |problem: String| Error::Unusable { setting: KEY, file: files.key.clone(), problem };

        let chain = certificates(&self.certificate).map_err(of_certificate)?;
        let key = private_key(&self.key).map_err(of_key)?;
        let key = provider.key_provider.load_private_key(key);
        let key = key.map_err(|error| of_key(format!("has a key that cannot be used: {error}; give one of RSA, ECDSA or Ed25519")))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(Error::Mismatch { certificate: files.certificate.clone(), key: files.key.clone() });
            }
            Err(error) => return Err(of_certificate(format!("has a certificate that cannot be used: {error}"))),
        }
        let (valid_from, valid_until) = certified.cert.first().and_then(validity).ok_or_else(|| {
            of_certificate("has a certificate of which it cannot be told how long it is valid; have it issued anew".to_owned())
        })?;

        let config = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let config = config.map_err(Error::Setup)?;
        let config = match files.client_ca.as_ref().zip(self.client_ca.as_deref()) {
            Some((file, text)) => {
                let of_client_ca = |problem: String| Error::Unusable { setting: CLIENT_CA, file: file.clone(), problem };
                let roots = Arc::new(authorities(text).map_err(of_client_ca)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                config.with_client_cert_verifier(verifier.map_err(|error| of_client_ca(format!("cannot be used: {error}")))?)
            }
            None => config.with_no_client_auth(),
        };
        let mut config = config.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // What a client needs to come back cheaply is kept by the client, not here.
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(Error::Setup)?;
        Ok(Pair { config: Arc::new(config), valid_from, valid_until })
    }
}

/// A certificate and its key, which belong together.
#[derive(Debug)]
pub struct Pair {
    pub(crate) config: Arc<ServerConfig>,
    /// In seconds since 1970.
    pub valid_from: i64,
    /// In seconds since 1970.
    pub valid_until: i64,
}

impl Pair {
    /// Refuses a certificate that clients refuse at this time, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// From when or until when it is valid.
    pub fn check(&self, files: &Files, now: i64) -> Result<(), Error> {
        let problem = if now > self.valid_until {
            format!("has a certificate that expired on {}; put a renewed one there, no restart is needed", day(self.valid_until))
        } else if now < self.valid_from {
            format!("has a certificate that is valid from {} on; is this machine's clock right?", day(self.valid_from))
        } else {
            return Ok(());
        };
        Err(Error::Unusable { setting: CERTIFICATE, file: files.certificate.clone(), problem })
    }
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|error| format!("cannot be read as PEM: {error}"))?;
    if found.is_empty() {
        return Err("has no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned());
    }
    Ok(found)
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound if is_encrypted(text) => {
            "has a key behind a password; give it without one, in a file for its owner only".to_owned()
        }
        pem::Error::NoItemsFound => "has no key in PEM, as PKCS#8, PKCS#1 or SEC1 (-----BEGIN PRIVATE KEY-----)".to_owned(),
        // What the error says more may be a part of the key.
        _ => "cannot be read as PEM".to_owned(),
    })
}

fn is_encrypted(text: &[u8]) -> bool {
    const MARK: &[u8] = b"ENCRYPTED PRIVATE KEY";
    text.windows(MARK.len()).any(|part| part == MARK)
}

fn authorities(text: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(text)? {
        roots.add(certificate).map_err(|error| format!("has a certificate that cannot be an authority: {error}"))?;
    }
    Ok(roots)
}

/// From when and until when a certificate is valid, in seconds since 1970.
fn validity(certificate: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let read = X509Certificate::from_der(certificate).ok()?;
    Some((read.validity_not_before().timestamp(), read.validity_not_after().timestamp()))
}
