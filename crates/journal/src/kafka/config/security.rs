//! How to reach the brokers safely, and as whom. Secrets are never shown.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};

use super::super::OpenError;

/// `[journal.kafka.security]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Security {
    /// How the connection is protected.
    pub protocol: Protocol,
    /// The certificates that brokers are checked against, PEM; without it those of the system.
    pub ca_file: Option<PathBuf>,
    /// The certificate that we show to brokers, PEM.
    pub certificate_file: Option<PathBuf>,
    /// The key of that certificate, PEM.
    pub key_file: Option<PathBuf>,
    /// The password of that key.
    pub key_password: Option<Secret>,
    /// How we prove who we are, with one of the `sasl` protocols.
    pub mechanism: Option<Mechanism>,
    /// Who we are.
    pub username: Option<String>,
    /// The password of that user.
    pub password: Option<Secret>,
    /// A file that holds the password, in place of `password`; white space at its end does not count.
    pub password_file: Option<PathBuf>,
}

/// How the connection is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Not at all.
    #[default]
    Plaintext,
    /// With TLS.
    Ssl,
    /// Not at all, and we prove who we are.
    SaslPlaintext,
    /// With TLS, and we prove who we are.
    SaslSsl,
}

/// How we prove who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mechanism {
    /// The password is sent as it is.
    #[serde(rename = "plain")]
    Plain,
    /// The password is never sent.
    #[serde(rename = "scram_sha_256")]
    ScramSha256,
    /// The password is never sent.
    #[serde(rename = "scram_sha_512")]
    ScramSha512,
}

/// A text that is neither shown nor written anywhere.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }

    fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    fn has_user(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

impl Mechanism {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl Security {
    /// What of this cannot be used.
    pub(super) fn complaint(&self) -> Option<String> {
        let protocol = self.protocol.name();
        let of_tls =
            [&self.ca_file, &self.certificate_file, &self.key_file].into_iter().any(Option::is_some) || self.key_password.is_some();
        if of_tls && !self.protocol.has_tls() {
            return Some(format!("journal.kafka.security has files for TLS, but its protocol is {protocol}: set it to ssl or sasl_ssl"));
        }
        if self.certificate_file.is_some() != self.key_file.is_some() {
            return Some("set both journal.kafka.security.certificate_file and key_file, or neither".into());
        }
        if !self.protocol.has_user() {
            let of_user = self.mechanism.is_some() || self.username.is_some() || self.password.is_some() || self.password_file.is_some();
            let what = "journal.kafka.security.mechanism, username and password need protocol sasl_ssl or sasl_plaintext";
            return of_user.then(|| format!("{what}; it is {protocol}"));
        }
        if self.mechanism.is_none() {
            return Some(format!("set journal.kafka.security.mechanism: protocol {protocol} needs one, such as scram_sha_512"));
        }
        if self.username.is_none() {
            return Some(format!("set journal.kafka.security.username: protocol {protocol} needs one"));
        }
        if self.password.is_some() == self.password_file.is_some() {
            return Some("set either journal.kafka.security.password or password_file".into());
        }
        None
    }

    /// What librdkafka is told. Reads the file of the password.
    pub(in super::super) fn properties(&self) -> Result<Vec<(&'static str, String)>, OpenError> {
        let mut properties = vec![("security.protocol", self.protocol.name().to_owned())];
        let path = |path: &Path| path.to_str().map(str::to_owned).ok_or_else(|| unusable(path, "its name is not UTF-8"));
        for (name, file) in
            [("ssl.ca.location", &self.ca_file), ("ssl.certificate.location", &self.certificate_file), ("ssl.key.location", &self.key_file)]
        {
            if let Some(file) = file {
                properties.push((name, path(file)?));
            }
        }
        let others = [
            ("ssl.key.password", self.key_password.as_ref().map(|secret| secret.0.clone())),
            ("sasl.mechanism", self.mechanism.map(|mechanism| mechanism.name().to_owned())),
            ("sasl.username", self.username.clone()),
            ("sasl.password", self.password()?),
        ];
        properties.extend(others.into_iter().filter_map(|(name, value)| Some((name, value?))));
        Ok(properties)
    }

    /// What a Java client is told, which has other names for the same. Reads the files: the client may run where they are not.
    pub(in super::super) fn java_properties(&self) -> Result<Vec<(&'static str, String)>, OpenError> {
        let mut properties = vec![("security.protocol", self.protocol.name().to_uppercase())];
        let read = |path: &PathBuf| std::fs::read_to_string(path).map_err(|error| unusable(path, &error.to_string()));
        if let Some(file) = &self.ca_file {
            properties.extend([("ssl.truststore.type", "PEM".to_owned()), ("ssl.truststore.certificates", read(file)?)]);
        }
        if let (Some(certificate), Some(key)) = (&self.certificate_file, &self.key_file) {
            properties.extend([("ssl.keystore.type", "PEM".to_owned()), ("ssl.keystore.certificate.chain", read(certificate)?)]);
            properties.push(("ssl.keystore.key", read(key)?));
        }
        if let Some(secret) = &self.key_password {
            properties.push(("ssl.key.password", secret.0.clone()));
        }
        if let (Some(mechanism), Some(user), Some(password)) = (self.mechanism, &self.username, self.password()?) {
            let module = match mechanism {
                Mechanism::Plain => "org.apache.kafka.common.security.plain.PlainLoginModule",
                Mechanism::ScramSha256 | Mechanism::ScramSha512 => "org.apache.kafka.common.security.scram.ScramLoginModule",
            };
            let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            let login = format!("{module} required username=\"{}\" password=\"{}\";", quoted(user), quoted(&password));
            properties.extend([("sasl.mechanism", mechanism.name().to_owned()), ("sasl.jaas.config", login)]);
        }
        Ok(properties)
    }

    fn password(&self) -> Result<Option<String>, OpenError> {
        match &self.password_file {
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|error| unusable(file, &error.to_string()))?;
                Ok(Some(text.trim_end().to_owned()))
            }
            None => Ok(self.password.as_ref().map(|secret| secret.0.clone())),
        }
    }
}

fn unusable(file: &Path, what: &str) -> OpenError {
    OpenError::Settings(format!("journal.kafka.security: {} cannot be used: {what}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expect: Option<&str>) {
        let complaint = serde_json::from_str::<Security>(json).unwrap().complaint();
        match (&complaint, expect) {
            (None, None) => {}
            (Some(what), Some(part)) if what.contains(part) => {}
            _ => panic!("{complaint:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        check("{}", None);
        check(r#"{"protocol": "ssl", "ca_file": "ca.pem"}"#, None);
        check(r#"{"ca_file": "ca.pem"}"#, Some("its protocol is plaintext"));
        check(r#"{"protocol": "ssl", "key_file": "key.pem"}"#, Some("certificate_file and key_file"));
        check(r#"{"username": "u"}"#, Some("it is plaintext"));
        check(r#"{"protocol": "sasl_ssl"}"#, Some("security.mechanism"));
        check(r#"{"protocol": "sasl_ssl", "mechanism": "scram_sha_256"}"#, Some("security.username"));
        check(r#"{"protocol": "sasl_ssl", "mechanism": "scram_sha_256", "username": "u"}"#, Some("password or password_file"));
        check(r#"{"protocol": "sasl_ssl", "mechanism": "scram_sha_512", "username": "u", "password": "p"}"#, None);
        let both = r#"{"protocol": "sasl_ssl", "mechanism": "plain", "username": "u", "password": "p", "password_file": "f"}"#;
        check(both, Some("either"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let security =
            Security { password: Some(Secret::new("hunter2")), key_password: Some(Secret::new("hunter3")), ..Security::default() };
        for shown in [format!("{security:?}"), serde_json::to_string(&security).unwrap()] {
            assert!(shown.contains("***") && !shown.contains("hunter"), "{shown}");
        }
    }

    #[test]
    fn java_clients_have_their_own_names() {
        let json = r#"{"protocol": "sasl_ssl", "mechanism": "scram_sha_512", "username": "u", "password": "a\"b\\c"}"#;
        let security: Security = serde_json::from_str(json).unwrap();
        let expect = [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.jaas.config", r#"org.apache.kafka.common.security.scram.ScramLoginModule required username="u" password="a\"b\\c";"#),
        ];
        assert_eq!(security.java_properties().unwrap(), expect.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(Security::default().java_properties().unwrap(), [("security.protocol", "PLAINTEXT".to_owned())]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, "PEM of the authority").unwrap();
        let security = Security { protocol: Protocol::Ssl, ca_file: Some(file), ..Security::default() };
        assert!(security.java_properties().unwrap().contains(&("ssl.truststore.certificates", "PEM of the authority".to_owned())));
    }

    #[test]
    fn the_password_is_read_from_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "hunter2\n").unwrap();
        let security = Security { password_file: Some(file), ..Security::default() };
        assert!(security.properties().unwrap().contains(&("sasl.password", "hunter2".to_owned())));
        let missing = Security { password_file: Some(folder.path().join("none")), ..Security::default() };
        assert!(missing.properties().unwrap_err().to_string().contains("none"));
    }
}
