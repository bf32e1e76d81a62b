use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use telemetry::clock::ManualClock;
use tempfile::TempDir;
use tokio_rustls::rustls::ServerConfig;

use super::{Files, Keeper, SECOND_MICROS, Tls};

/// 2026-11-23.
const NOW: i64 = 1_795_392_000;

/// A folder with the files of `[server.tls]`.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.0.path().join(name), content).unwrap();
    }

    fn put_pair(&self, pair: &(String, String)) {
        self.put("certificate.pem", &pair.0);
        self.put("key.pem", &pair.1);
    }

    fn files(&self, with_client_ca: bool) -> Files {
        let at = |name: &str| self.0.path().join(name);
        Files { certificate: at("certificate.pem"), key: at("key.pem"), client_ca: with_client_ca.then(|| at("ca.pem")) }
    }

    fn opened(&self) -> (Keeper, Tls) {
        Keeper::open(self.files(false), Arc::new(ManualClock::at(NOW * SECOND_MICROS))).unwrap()
    }

    fn error(&self, with_client_ca: bool) -> String {
        let files = self.files(with_client_ca);
        let error = files.read().and_then(|texts| texts.pair(&files)).unwrap_err();
        error.to_string().replace(&format!("{}/", self.0.path().display()), "")
    }
}

/// A certificate until the begin of a year, and its key.
fn pair_until(year: i32, key: &KeyPair) -> (String, String) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    (params.self_signed(key).unwrap().pem(), key.serialize_pem())
}

fn pair() -> (String, String) {
    pair_until(2030, &KeyPair::generate().unwrap())
}

/// The key that PKCS#8 has inside, by itself: its last octet string.
fn bare(key: &KeyPair, label: &str) -> String {
    let der = key.serialize_der();
    let inner = (0..der.len()).find_map(|at| match der.get(at..)? {
        [0x04, 0x82, high, low, inner @ ..] if usize::from(u16::from_be_bytes([*high, *low])) == inner.len() => Some(inner),
        [0x04, 0x81, length, inner @ ..] | [0x04, length, inner @ ..] if usize::from(*length) == inner.len() => Some(inner),
        _ => None,
    });
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(inner.unwrap()))
}

fn served(tls: &Tls) -> Arc<ServerConfig> {
    Arc::clone(tls.acceptor().config())
}

#[test]
fn keys_are_taken_in_each_form() {
    let (ec, rsa) = (KeyPair::generate().unwrap(), KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap());
    let ed = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    for (key, text) in [
        (&ec, ec.serialize_pem()),
        (&ec, bare(&ec, "EC PRIVATE KEY")),
        (&rsa, rsa.serialize_pem()),
        (&rsa, bare(&rsa, "RSA PRIVATE KEY")),
        (&ed, ed.serialize_pem()),
    ] {
        let folder = Folder::new();
        folder.put_pair(&(pair_until(2030, key).0, text.clone()));
        let files = folder.files(false);
        let pair = files.read().unwrap().pair(&files).unwrap();
        assert_eq!((pair.valid_from, pair.valid_until), (1_577_836_800, 1_893_456_000), "{text}");
        assert_eq!(pair.config.alpn_protocols, [b"http/1.1"]);
    }
}

#[test]
fn what_cannot_be_served_is_told_with_its_file() {
    let (one, other) = (pair(), pair());
    let check = |certificate: &str, key: &str, client_ca: Option<&str>, expect: &str| {
        let folder = Folder::new();
        folder.put_pair(&(certificate.to_owned(), key.to_owned()));
        if let Some(client_ca) = client_ca {
            folder.put("ca.pem", client_ca);
        }
        let error = folder.error(client_ca.is_some());
        assert!(error.starts_with(expect), "{error}");
    };
    check("", &one.1, None, "certificate.pem (server.tls.certificate_file) has no certificate in PEM");
    check(&one.1, &one.1, None, "certificate.pem (server.tls.certificate_file) has no certificate in PEM");
    check("-----BEGIN CERTIFICATE-----\n", &one.1, None, "certificate.pem (server.tls.certificate_file) cannot be read as PEM");
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    check(no_certificate, &one.1, None, "certificate.pem (server.tls.certificate_file) has a certificate that cannot be used");
    check(&one.0, &one.0, None, "key.pem (server.tls.key_file) has no key in PEM, as PKCS#8, PKCS#1 or SEC1");
    let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    check(&one.0, no_key, None, "key.pem (server.tls.key_file) has a key that cannot be used");
    let hidden = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    check(&one.0, hidden, None, "key.pem (server.tls.key_file) has a key behind a password");
    check(&one.0, &other.1, None, "the key in key.pem does not belong to the certificate in certificate.pem; put both there");
    check(&one.0, &one.1, Some("nothing"), "ca.pem (server.tls.client_ca_file) has no certificate in PEM");
    check(&one.0, &one.1, Some(no_certificate), "ca.pem (server.tls.client_ca_file) has a certificate that cannot be an authority");
    check(&"x".repeat(2 << 20), &one.1, None, "certificate.pem (server.tls.certificate_file) has more than 1048576 bytes");
    let folder = Folder::new();
    assert!(
        folder.error(false).starts_with("cannot read certificate.pem (server.tls.certificate_file): No such file"),
        "{}",
        folder.error(false)
    );
}

#[test]
fn a_new_pair_is_taken_and_half_of_one_is_not() {
    let folder = Folder::new();
    let (first, second) = (pair(), pair());
    folder.put_pair(&first);
    let (mut keeper, tls) = folder.opened();
    let of_first = served(&tls);
    keeper.look();
    assert!(Arc::ptr_eq(&of_first, &served(&tls)) && keeper.problem.is_none(), "nothing has changed");

    folder.put("certificate.pem", &second.0);
    keeper.look();
    assert!(Arc::ptr_eq(&of_first, &served(&tls)));
    assert!(keeper.problem.as_ref().is_some_and(|problem| problem.contains("does not belong")), "{:?}", keeper.problem);
    folder.put("key.pem", &second.1);
    keeper.look();
    let of_second = served(&tls);
    assert!(!Arc::ptr_eq(&of_first, &of_second) && keeper.problem.is_none());

    std::fs::remove_file(folder.0.path().join("key.pem")).unwrap();
    keeper.look();
    assert!(keeper.problem.as_ref().is_some_and(|problem| problem.contains("cannot read")), "{:?}", keeper.problem);
    folder.put("key.pem", &second.1);
    keeper.look();
    assert!(Arc::ptr_eq(&of_second, &served(&tls)) && keeper.problem.is_none(), "what is served came back");
}

#[test]
fn what_has_expired_replaces_nothing_and_is_served_where_there_is_nothing_else() {
    let folder = Folder::new();
    let key = KeyPair::generate().unwrap();
    folder.put_pair(&pair());
    let (mut keeper, tls) = folder.opened();
    let before = served(&tls);
    folder.put_pair(&pair_until(2026, &key));
    keeper.look();
    assert!(Arc::ptr_eq(&before, &served(&tls)));
    let problem = keeper.problem.unwrap();
    assert!(problem.ends_with("has a certificate that expired on 2026-01-01; put a renewed one there, no restart is needed"), "{problem}");

    let (mut keeper, tls) = folder.opened();
    let expired = served(&tls);
    folder.put_pair(&pair_until(2030, &key));
    keeper.look();
    assert!(!Arc::ptr_eq(&expired, &served(&tls)) && keeper.problem.is_none());
}

#[test]
fn a_key_that_others_can_read_is_noticed() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    folder.put_pair(&pair());
    let files = folder.files(false);
    for (mode, expect) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
        std::fs::set_permissions(folder.0.path().join("key.pem"), std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(files.is_key_open(), expect, "{mode:o}");
    }
}
