//! Whom a client of a gate trusts over TLS, and by what the gate knows it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::{Certificate, Client, ClientBuilder, Identity};

/// How a gate with TLS is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct TrustArgs {
    /// Certificates to check the gate by, PEM, where it has one of a private authority [default: those of the system]
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// Our certificate, PEM, for a gate that asks for one
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CLIENT_CERT_FILE", requires = "client_key_file")]
    client_cert_file: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", env = "TIDEGATE_CLIENT_KEY_FILE", requires = "client_cert_file")]
    client_key_file: Option<PathBuf>,
}

impl TrustArgs {
    /// What the files hold.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or does not have what it should.
    pub(crate) fn read(&self) -> anyhow::Result<Trust> {
        let authorities = match &self.ca_file {
            Some(file) => authorities(file)?,
            None => Vec::new(),
        };
        let identity = match self.client_cert_file.as_deref().zip(self.client_key_file.as_deref()) {
            Some((certificate, key)) => Some(identity(certificate, key)?),
            None => None,
        };
        Ok(Trust { authorities, identity })
    }
}

/// Whom to trust, and who we are. By default those that the system trusts, and nobody.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trust {
    authorities: Vec<Certificate>,
    identity: Option<Identity>,
}

impl Trust {
    /// The beginning of a client that does so.
    pub(crate) fn client(&self) -> ClientBuilder {
        let mut builder = Client::builder();
        if !self.authorities.is_empty() {
            builder = builder.tls_built_in_root_certs(false);
        }
        for authority in &self.authorities {
            builder = builder.add_root_certificate(authority.clone());
        }
        match &self.identity {
            Some(identity) => builder.identity(identity.clone()),
            None => builder,
        }
    }
}

fn read(file: &Path, flag: &str) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {} ({flag})", file.display()))
}

fn authorities(file: &Path) -> anyhow::Result<Vec<Certificate>> {
    let found = Certificate::from_pem_bundle(&read(file, "--ca-file")?);
    let found = found.with_context(|| format!("{} (--ca-file) cannot be read as PEM", file.display()))?;
    if found.is_empty() {
        bail!("{} (--ca-file) has no certificate in PEM (-----BEGIN CERTIFICATE-----)", file.display());
    }
    Ok(found)
}

fn identity(certificate: &Path, key: &Path) -> anyhow::Result<Identity> {
    let pem = [read(certificate, "--client-cert-file")?, read(key, "--client-key-file")?].join(&b'\n');
    Identity::from_pem(&pem).with_context(|| {
        let (certificate, key) = (certificate.display(), key.display());
        format!("{certificate} (--client-cert-file) and {key} (--client-key-file) are no certificate and key in PEM, without a password")
    })
}
