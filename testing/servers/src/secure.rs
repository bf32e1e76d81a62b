//! A listener of Kafka that asks for TLS and a password (SASL_SSL with SCRAM-SHA-256).

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Of the store that holds the certificate of a broker on loopback.
const STORE_PASSWORD: &str = "for-tests-only";
const USER: &str = "tidegate";

/// What a client needs to know to connect.
#[derive(Debug, Clone)]
pub struct Secure {
    /// `127.0.0.1:PORT`.
    pub address: String,
    /// A PEM file with the certificate that signed the broker's: its own.
    pub authority: PathBuf,
    /// The name of the account.
    pub user: String,
    /// The password of the account.
    pub password: String,
    /// Further accounts; none of them may do anything until it is allowed.
    accounts: Vec<String>,
    store: PathBuf,
}

impl Secure {
    /// Makes a certificate, unless the folder has one, and thinks of an account.
    pub(crate) fn make(folder: &Path, accounts: &[String]) -> Result<Self> {
        let (store, authority) = (folder.join("broker.p12"), folder.join("authority.pem"));
        if !authority.exists() {
            // Left half made, it would be taken for another's.
            if store.exists() {
                fs::remove_file(&store).with_context(|| format!("{} cannot be removed", store.display()))?;
            }
            let name = ["-dname", "CN=localhost", "-ext", "san=ip:127.0.0.1,dns:localhost", "-ext", "bc=ca:true"];
            run(keytool("-genkeypair", &store).args(["-keyalg", "EC", "-groupname", "secp256r1", "-validity", "30"]).args(name))?;
            run(keytool("-exportcert", &store).args(["-rfc", "-file"]).arg(&authority))?;
        }
        let address = format!("127.0.0.1:{}", faults::free_port()?);
        let password = Self::password_of(USER);
        Ok(Self { address, authority, user: USER.to_owned(), password, accounts: accounts.to_vec(), store })
    }

    /// The password of any account here.
    pub fn password_of(account: &str) -> String {
        format!("{account}-for-tests")
    }

    /// The accounts as `StorageTool format` takes them.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = String> {
        let all = std::iter::once(&self.user).chain(&self.accounts);
        all.map(|account| format!("SCRAM-SHA-256=[name={account},password={}]", Self::password_of(account)))
    }

    /// What a Java client is told to come here as an account.
    pub(crate) fn client(&self, account: &str) -> String {
        let password = Self::password_of(account);
        format!(
            "security.protocol=SASL_SSL
ssl.truststore.type=PEM
ssl.truststore.location={}
sasl.mechanism=SCRAM-SHA-256
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{account}\" password=\"{password}\";
",
            self.authority.display()
        )
    }

    pub(crate) fn properties(&self) -> Result<String> {
        let mut text = format!(
            "sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PKCS12
ssl.keystore.location={}
ssl.keystore.password={STORE_PASSWORD}
",
            self.store.display()
        );
        if !self.accounts.is_empty() {
            // Whoever comes by the other listener, as the broker itself does, is nobody in particular, and may do everything.
            let authorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
            writeln!(text, "authorizer.class.name={authorizer}\nsuper.users=User:ANONYMOUS;User:{}", self.user)?;
        }
        Ok(text)
    }
}

fn keytool(command: &str, store: &Path) -> Command {
    let mut keytool = Command::new("keytool");
    keytool.args([command, "-noprompt", "-alias", "broker", "-storetype", "PKCS12", "-storepass", STORE_PASSWORD, "-keystore"]).arg(store);
    keytool
}

/// Runs a tool to its end; what it said is in the error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().display().to_string();
    let done = command.output().with_context(|| format!("{program} cannot be started: is a Java runtime installed?"))?;
    if !done.status.success() {
        let said = [done.stdout, done.stderr].concat();
        bail!("{program} ended with {}: {}", done.status, String::from_utf8_lossy(&said).trim());
    }
    Ok(())
}
