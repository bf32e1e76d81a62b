//! The settings of the program: what there is, with defaults under which it runs on a laptop.
//!
//! They are layered: defaults, then `tidegate.toml`, then the environment, then flags ([`layers`]); what came from where is remembered and can be shown
//! ([`show`]). Each crate owns its section; nothing here knows what a bound of the gate means.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use audit_log::AuditLog;
use console::access::TokenFile;
use console::postgres::ReaderFile;
use ingest::KeyFile;
use journal::{embedded, kafka, spool};
use serde::{Deserialize, Serialize};
use telemetry::logging;

mod error;
mod json;
mod known;
mod layers;
mod role;
mod show;
mod sources;
#[cfg(test)]
mod tests;

pub(crate) use error::Error;
pub(crate) use layers::{Flag, Loaded};
pub(crate) use role::Role;
pub(crate) use show::{to_json, to_toml};
pub(crate) use sources::{EXPERIMENTS, read};

/// All settings. Relative paths are relative to the folder the program is started in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    /// The data folder: the journal, the lake, the index and the write keys.
    pub(crate) data: PathBuf,
    /// The journal.
    pub(crate) journal: Journal,
    /// The lake.
    pub(crate) lake: Lake,
    /// The gate.
    pub(crate) ingest: ingest::Config,
    /// The stages.
    pub(crate) pipeline: pipeline::Config,
    /// Statements over the tables.
    pub(crate) query: console::Config,
    /// The port for Postgres clients.
    pub(crate) postgres: console::postgres::Config,
    /// The console's pages.
    pub(crate) console: Console,
    /// The process.
    pub(crate) server: Server,
    /// The tracking plan.
    pub(crate) plan: Plan,
    /// The log.
    pub(crate) log: Log,
    /// The traces.
    pub(crate) traces: Traces,
    /// The file that was read, if any: for a process that is to run with the same settings.
    #[serde(skip)]
    pub(crate) file: Option<PathBuf>,
}

/// `[journal]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Journal {
    /// Which journal it is.
    pub(crate) kind: JournalKind,
    #[serde(flatten)]
    pub(crate) embedded: embedded::Config,
    /// For the kind `kafka`: the cluster and the topic.
    pub(crate) kafka: kafka::Config,
    /// For the kind `kafka`: what takes records while Kafka does not.
    pub(crate) spool: spool::Config,
}

/// The journals there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JournalKind {
    /// In local files below the data folder.
    #[default]
    Embedded,
    /// In Kafka.
    Kafka,
}

/// `[lake]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Lake {
    /// A folder or a URL; without it the folder `lake` in the data folder.
    pub(crate) location: Option<String>,
    #[serde(flatten)]
    pub(crate) options: lake::Options,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Server {
    /// Host and port to listen on; port 0 takes a free one.
    pub(crate) listen: String,
    /// What this process does.
    pub(crate) roles: Vec<Role>,
    /// The file of the write keys; without it `sources.json` in the data folder. Several gates may share one.
    pub(crate) key_file: Option<PathBuf>,
    /// Connections open at a time; more wait in the system's queue.
    pub(crate) connections_max: usize,
    /// Connections that one address may have open at a time, by IPv6 one network of 64 bits; more are closed at once. 0 is no bound: behind a proxy all come from its address.
    pub(crate) connections_per_address_max: usize,
    /// How long a handshake of TLS may take.
    #[serde(with = "humantime_serde")]
    pub(crate) handshake_timeout: Duration,
    /// How long the head of a request may take to arrive, and how long a connection may be idle.
    #[serde(with = "humantime_serde")]
    pub(crate) header_timeout: Duration,
    /// How long a stop may take: requests in work, and all that the journal holds brought to Gold. After that the process ends with code 1; nothing is
    /// lost, the next start goes on there.
    #[serde(with = "humantime_serde")]
    pub(crate) shutdown_timeout: Duration,
    /// TLS of gate and console.
    pub(crate) tls: Tls,
}

/// `[server.tls]`: without a certificate there is no TLS. The files are looked at while it runs, and what they have then holds for new connections.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Tls {
    /// The server's certificate, and after it those that signed it, PEM.
    pub(crate) certificate_file: Option<PathBuf>,
    /// Its key, PEM: PKCS#8, PKCS#1 or SEC1.
    pub(crate) key_file: Option<PathBuf>,
    /// Those who sign the certificates of clients, PEM; with it a client without such a certificate is refused.
    pub(crate) client_ca_file: Option<PathBuf>,
}

impl Tls {
    /// The files of it; nothing where there is no TLS.
    pub(crate) fn files(&self) -> Option<listener::tls::Files> {
        let (certificate, key) = (self.certificate_file.clone()?, self.key_file.clone()?);
        Some(listener::tls::Files { certificate, key, client_ca: self.client_ca_file.clone() })
    }
}

impl Server {
    /// What its listener is told.
    pub(crate) fn listener(&self) -> listener::Options {
        listener::Options {
            listen: self.listen.clone(),
            connections_max: self.connections_max,
            connections_per_address_max: self.connections_per_address_max,
            handshake_timeout: self.handshake_timeout,
            header_timeout: self.header_timeout,
        }
    }

    /// How gate and console are reached: `https` or `http`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.certificate_file.is_some() { "https" } else { "http" }
    }

    fn check(&self) -> Result<(), String> {
        if self.roles.is_empty() {
            return Err("roles names none: give at least one of ingest, pipeline, console".to_owned());
        }
        if !(1..=listener::CONNECTIONS_MAX).contains(&self.connections_max) {
            return Err("connections_max must be at least 1".to_owned());
        }
        if self.handshake_timeout.is_zero() {
            return Err("handshake_timeout must be longer than nothing".to_owned());
        }
        match (&self.tls.certificate_file, &self.tls.key_file) {
            (Some(_), None) => Err("tls.certificate_file needs its key: set tls.key_file too".to_owned()),
            (None, Some(_)) => Err("tls.key_file needs its certificate: set tls.certificate_file too".to_owned()),
            (None, None) if self.tls.client_ca_file.is_some() => {
                Err("tls.client_ca_file asks for certificates of clients, which needs TLS: set tls.certificate_file and tls.key_file too"
                    .to_owned())
            }
            (None, None) | (Some(_), Some(_)) => Ok(()),
        }
    }
}

/// `[console]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Console {
    /// Host and port of the console's pages; without it there are none. Port 0 takes a free one. Beyond this machine only where people have to sign in.
    pub(crate) listen: Option<String>,
    /// The address that people know it by, such as `https://tidegate.example.com`, with TLS of `[server.tls]` or of a proxy in front of it.
    pub(crate) public_url: Option<String>,
    /// The file of the tokens to sign in with; without it `tokens.json` in the data folder. As long as it has none, and there is no provider, nobody has to sign in, and nothing can be changed.
    pub(crate) token_file: Option<PathBuf>,
    /// How long somebody stays signed in.
    #[serde(with = "humantime_serde")]
    pub(crate) session_timeout: Duration,
    /// The provider that knows the people here.
    pub(crate) oidc: Oidc,
}

impl Default for Console {
    fn default() -> Self {
        Self { listen: None, public_url: None, token_file: None, session_timeout: Duration::from_secs(12 * 3600), oidc: Oidc::default() }
    }
}

/// `[console.oidc]`: OpenID Connect, by the authorization code flow with PKCE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Oidc {
    /// The provider, such as `https://accounts.example.com`; without it there is none.
    pub(crate) issuer: Option<String>,
    /// As what the provider knows this console.
    pub(crate) client_id: Option<String>,
    /// The file with the secret that the provider gave it; without it the console is a public client.
    pub(crate) client_secret_file: Option<PathBuf>,
    /// The claim that people are called by.
    pub(crate) name_claim: String,
    /// The claim that says what somebody belongs to: a text or a list of them.
    pub(crate) role_claim: String,
    /// Values of that claim that make somebody an admin.
    pub(crate) admin: Vec<String>,
    /// Values of it that let somebody read; without any, whoever the provider signs in may.
    pub(crate) read: Vec<String>,
}

impl Default for Oidc {
    fn default() -> Self {
        Self {
            issuer: None,
            client_id: None,
            client_secret_file: None,
            name_claim: "email".to_owned(),
            role_claim: "groups".to_owned(),
            admin: Vec::new(),
            read: Vec::new(),
        }
    }
}

/// `[traces]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Traces {
    /// Where traces are sent by OTLP over HTTP, such as `http://127.0.0.1:4318/v1/traces`; without it there are none.
    pub(crate) endpoint: Option<String>,
}

impl Console {
    fn check(&self) -> Result<(), String> {
        let is_here = |listen: &str| listen.rsplit_once(':').is_some_and(|(host, _)| is_loopback(host));
        if let Some(listen) = self.listen.as_deref().filter(|listen| !is_here(listen) && self.public_url.is_none()) {
            return Err(format!(
                "listen: {listen} is no loopback address such as 127.0.0.1:8097; beyond this machine, give it TLS (server.tls, or a proxy in front) and set public_url to the address that people know it by"
            ));
        }
        let is_web =
            |url: &String| url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
        if let Some(url) = self.public_url.as_ref().filter(|url| !is_web(url)) {
            return Err(format!("public_url: {url} is no address such as https://tidegate.example.com"));
        }
        if let Some(issuer) = self.oidc.issuer.as_ref().filter(|issuer| !is_web(issuer)) {
            return Err(format!("oidc.issuer: {issuer} is no address such as https://accounts.example.com"));
        }
        if self.oidc.issuer.is_some() && self.oidc.client_id.is_none() {
            return Err("oidc.client_id: the provider knows this console under an id; set it".to_owned());
        }
        if self.session_timeout.is_zero() {
            return Err("session_timeout must be longer than nothing".to_owned());
        }
        Ok(())
    }
}

/// Whether a host is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `[plan]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Plan {
    /// The tracking plan, YAML or JSON; without it the built-in one.
    pub(crate) file: Option<PathBuf>,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Log {
    /// `text` or `json`.
    pub(crate) format: logging::Format,
    /// What is logged, such as `info` or `warn,ingest=debug`.
    pub(crate) filter: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data: PathBuf::from("./tidegate-data"),
            journal: Journal::default(),
            lake: Lake::default(),
            ingest: ingest::Config::default(),
            pipeline: pipeline::Config::default(),
            query: console::Config::default(),
            postgres: console::postgres::Config::default(),
            console: Console::default(),
            server: Server::default(),
            plan: Plan::default(),
            log: Log::default(),
            traces: Traces::default(),
            file: None,
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8099".to_owned(),
            roles: vec![Role::Ingest, Role::Pipeline, Role::Console],
            key_file: None,
            connections_max: 4_096,
            connections_per_address_max: 0,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(60),
            shutdown_timeout: Duration::from_secs(60),
            tls: Tls::default(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: logging::Format::default(), filter: logging::FILTER_DEFAULT.to_owned() }
    }
}

impl Settings {
    /// Where the embedded journal is.
    pub(crate) fn journal_folder(&self) -> PathBuf {
        self.data.join("journal")
    }

    /// Where the spool in front of Kafka is.
    pub(crate) fn spool_folder(&self) -> PathBuf {
        self.data.join("spool")
    }

    /// Where the index of identities is.
    pub(crate) fn index_folder(&self) -> PathBuf {
        self.data.join("index")
    }

    /// Where the write keys are.
    pub(crate) fn key_file(&self) -> KeyFile {
        KeyFile::at(self.server.key_file.clone().unwrap_or_else(|| self.data.join("sources.json")))
    }

    /// Where those are who may read.
    pub(crate) fn reader_file(&self) -> ReaderFile {
        ReaderFile::at(self.postgres.reader_file.clone().unwrap_or_else(|| self.data.join("readers.json")))
    }

    /// Where the console's tokens are.
    pub(crate) fn token_file(&self) -> TokenFile {
        TokenFile::at(self.console.token_file.clone().unwrap_or_else(|| self.data.join("tokens.json")))
    }

    /// Where administrative acts are told.
    pub(crate) fn audit_log(&self) -> AuditLog {
        AuditLog::at(self.data.join("audit.log"))
    }

    /// Where the lake is: a folder or a URL.
    pub(crate) fn lake_location(&self) -> String {
        self.lake.location.clone().unwrap_or_else(|| self.data.join("lake").display().to_string())
    }

    /// The folder that the lake is in; `None` where it is in a store behind a URL.
    pub(crate) fn lake_folder(&self) -> Option<PathBuf> {
        let location = self.lake_location();
        match location.split_once("://") {
            Some(("file", path)) => Some(PathBuf::from(path)),
            Some(_) => None,
            None => Some(Path::new(&location).to_owned()),
        }
    }

    /// Whether this process does that.
    pub(crate) fn has(&self, role: Role) -> bool {
        self.server.roles.contains(&role)
    }

    /// Refuses settings that contradict each other, as far as that can be told without opening anything.
    fn check(&self) -> Result<(), Error> {
        let contradiction = |section: &'static str, problem: String| Err(Error::Contradiction { section, problem });
        if let Err(invalid) = self.ingest.check() {
            return contradiction("ingest", invalid.to_string());
        }
        if let Err(invalid) = self.pipeline.check() {
            return contradiction("pipeline", invalid.to_string());
        }
        if let Err(invalid) = self.query.check() {
            return contradiction("query", invalid);
        }
        if let Err(invalid) = self.postgres.check() {
            return contradiction("postgres", invalid);
        }
        if let Err(invalid) = self.console.check() {
            return contradiction("console", invalid);
        }
        if self.server.roles == [Role::Console] && self.postgres.listen.is_none() && self.console.listen.is_none() {
            return contradiction("postgres", "the role console alone needs a port: set listen, such as 127.0.0.1:8098".to_owned());
        }
        if self.journal.kind == JournalKind::Kafka
            && let Err(invalid) = self.journal.kafka.check()
        {
            return contradiction("journal.kafka", invalid.to_string());
        }
        if let Err(invalid) = self.server.check() {
            return contradiction("server", invalid);
        }
        let is_plain = |url: &&String| url::Url::parse(url).is_ok_and(|url| url.scheme() == "http");
        if let Some(url) = self.console.public_url.as_ref().filter(is_plain).filter(|_| self.server.scheme() == "https") {
            return contradiction(
                "console",
                format!("public_url: {url} is asked for without TLS, and server.tls has the console speak it; write https://"),
            );
        }
        Ok(())
    }
}
