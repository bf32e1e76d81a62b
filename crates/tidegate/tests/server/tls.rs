//! TLS of gate and console: who is let in, certificates that are renewed under traffic, and clients that do not play along.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::header::SET_COOKIE;
use reqwest::tls::TlsInfo;
use reqwest::{Certificate, Identity, StatusCode, Version};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::process::{KEY, Place, Server, free_port, text};

const READY_MAX: Duration = Duration::from_secs(60);
/// More than the server takes to see that its files have changed.
const SEEN_MAX: Duration = Duration::from_secs(30);

/// 2096, in seconds since 1970.
const LONG: u64 = 4_000_000_000;

/// Somebody who signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
    der: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pair(&self) -> Pair {
        self.pair_until(LONG)
    }

    /// One that expires so many seconds after 1970.
    pub(crate) fn pair_until(&self, seconds: u64) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        let signed = params.signed_by(&key, &self.0).unwrap();
        Pair { certificate: signed.pem(), key: key.serialize_pem(), der: signed.der().to_vec() }
    }

    /// A client that trusts this one, and whom the server may know by a pair.
    pub(crate) fn client(&self, own: Option<&Pair>) -> reqwest::ClientBuilder {
        let builder = reqwest::Client::builder().timeout(Duration::from_secs(20)).tls_built_in_root_certs(false).tls_info(true);
        let builder = builder.add_root_certificate(Certificate::from_pem(self.0.pem().as_bytes()).unwrap());
        match own {
            Some(own) => builder.identity(Identity::from_pem(format!("{}{}", own.certificate, own.key).as_bytes()).unwrap()),
            None => builder,
        }
    }
}

/// A place with TLS, and who signed its certificate.
pub(crate) struct Secured {
    pub(crate) place: Place,
    pub(crate) authority: Authority,
    first: Pair,
    files: tempfile::TempDir,
}

impl Secured {
    pub(crate) fn new(settings: &[(&str, &str)]) -> Self {
        let (files, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        let at = |name: &str| files.path().join(name).display().to_string();
        let own = [
            ("TIDEGATE_SERVER__TLS__CERTIFICATE_FILE".to_owned(), at("certificate.pem")),
            ("TIDEGATE_SERVER__TLS__KEY_FILE".to_owned(), at("key.pem")),
        ];
        let settings =
            settings.iter().map(|(name, value)| ((*name).to_owned(), value.replace("FILES", &files.path().display().to_string())));
        let (place, first) = (Place::with(own.into_iter().chain(settings).collect()), authority.pair());
        let secured = Self { place, first, files, authority };
        secured.put("ca.pem", &secured.authority.0.pem());
        secured.put("certificate.pem", &secured.first.certificate);
        secured.put("key.pem", &secured.first.key);
        secured
    }

    fn at(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Replaces a file as a whole, as those do who renew certificates.
    pub(crate) fn put(&self, name: &str, content: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let next = self.at("next");
        std::fs::write(&next, content).unwrap();
        std::fs::set_permissions(&next, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(next, self.at(name)).unwrap();
    }

    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.place.port)
    }

    pub(crate) async fn start(&self, http: &reqwest::Client) -> Server {
        let mut server = self.place.spawn(&[]);
        let began = Instant::now();
        while !http.get(self.url("/readyz")).send().await.is_ok_and(|answer| answer.status() == StatusCode::OK) {
            assert!(server.is_running(), "it ended: {}", self.place.log());
            assert!(began.elapsed() < READY_MAX, "not ready: {}", self.place.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server
    }

    async fn metric(&self, http: &reqwest::Client, name: &str) -> Option<f64> {
        let text = http.get(self.url("/metrics")).send().await.unwrap().text().await.unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// Waits until a metric has a value.
    async fn wait_for(&self, http: &reqwest::Client, name: &str, expect: f64) {
        let began = Instant::now();
        while self.metric(http, name).await != Some(expect) {
            assert!(began.elapsed() < SEEN_MAX, "{name} is not {expect}: {}", self.place.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The certificate that a new connection is shown.
    async fn shown(&self) -> Vec<u8> {
        let http = self.authority.client(None).build().unwrap();
        let answer = http.get(self.url("/healthz")).send().await.unwrap();
        answer.extensions().get::<TlsInfo>().unwrap().peer_certificate().unwrap().to_vec()
    }

    /// A connection on which bytes are sent as one likes.
    async fn connection(&self) -> TlsStream<tokio::net::TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.0.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider())).with_safe_default_protocol_versions();
        let connector = TlsConnector::from(Arc::new(config.unwrap().with_root_certificates(roots).with_no_client_auth()));
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", self.place.port)).await.unwrap();
        connector.connect("localhost".try_into().unwrap(), stream).await.unwrap()
    }
}

fn view(id: &str) -> Value {
    json!({"event_id": id, "event_type": "page_view", "anonymous_id": "a1", "properties": {"url": "/"}})
}

/// One line for `tidegate send`.
fn lines(secured: &Secured, id: &str) -> String {
    secured.put("events.ndjson", &format!("{}\n", view(id)));
    secured.at("events.ndjson").display().to_string()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_and_people_come_over_tls() {
    let console = free_port();
    let listen = format!("127.0.0.1:{console}");
    let secured = Secured::new(&[("TIDEGATE_CONSOLE__LISTEN", &listen)]);
    let place = &secured.place;
    let http = secured.authority.client(None).redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let server = secured.start(&http).await;

    let request = http.post(secured.url("/v1/events")).basic_auth(KEY, Some("")).json(&json!([view("e1")]));
    let answer = request.send().await.unwrap();
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_11));
    let told: Value = http.get(secured.url(&format!("/v1/projects/{KEY}/settings"))).send().await.unwrap().json().await.unwrap();
    assert_eq!(told["integrations"]["Segment.io"]["protocol"], "https");
    let expires = secured.metric(&http, "tidegate_tls_certificate_expires_timestamp_seconds").await.unwrap();
    assert!(expires == LONG as f64 && secured.metric(&http, "tidegate_tls_files_unusable").await == Some(0.0), "{expires}");

    // The commands that send, with the authority and without.
    let (url, ca) = (secured.url(""), shown(&secured.at("ca.pem")));
    let send = |id: &str, more: &[&str]| {
        let file = lines(&secured, id);
        let arguments = ["send", &file, "--url", &url, "--key", KEY].into_iter().chain(more.iter().copied());
        place.command().args(arguments).output().unwrap()
    };
    let sent = send("e2", &["--ca-file", &ca]);
    assert!(sent.status.success(), "{}{}", text(&sent.stdout), text(&sent.stderr));
    let began = Instant::now();
    let refused = send("e3", &[]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("--ca-file") && began.elapsed() < SEEN_MAX, "{}", text(&refused.stderr));
    assert_eq!(send("e3", &["--ca-file", &shown(&secured.at("key.pem"))]).status.code(), Some(2));
    place.wait_for("SELECT count(*) FROM silver.events", 2);

    // The console, with a cookie that goes over TLS only.
    let token = place.run_sound(&["token", "add", "anna", "--role", "admin"]).trim().to_owned();
    let base = format!("https://127.0.0.1:{console}");
    let form = http.post(format!("{base}/sign-in")).header("content-type", "application/x-www-form-urlencoded");
    let answer = form.header("origin", &base).body(format!("token={token}&next=/")).send().await.unwrap();
    let cookie = answer.headers().get(SET_COOKIE).unwrap().to_str().unwrap().to_owned();
    assert!(answer.status() == StatusCode::SEE_OTHER && cookie.ends_with("; Secure"), "{cookie}");
    let page = http.get(&base).header("cookie", cookie.split(';').next().unwrap()).send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);

    let checks: Value = serde_json::from_str(&place.run_sound(&["doctor", "--format", "json"])).unwrap();
    let check = checks.as_array().unwrap().iter().find(|check| check["check"] == "certificate").unwrap();
    assert_eq!(check["state"], "passed", "{check}");
    server.stop(place);
    let log = place.log();
    assert!(log.contains(&format!("https://127.0.0.1:{}", place.port)) && log.contains(&format!("{base}/")), "{log}");
    assert!(!log.contains("can be read by others"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_certificate_of_its_own_no_client_is_let_in() {
    let secured = Secured::new(&[("TIDEGATE_SERVER__TLS__CLIENT_CA_FILE", "FILES/ca.pem")]);
    let (own, strange) = (secured.authority.pair(), Authority::new().pair());
    secured.put("own.pem", &own.certificate);
    secured.put("own-key.pem", &own.key);
    let http = secured.authority.client(Some(&own)).build().unwrap();
    let server = secured.start(&http).await;
    for stranger in [None, Some(&strange)] {
        let refused = secured.authority.client(stranger).build().unwrap();
        assert!(refused.get(secured.url("/healthz")).send().await.is_err(), "{}", stranger.is_some());
    }
    let refused = "tidegate_tls_handshakes_failed_total{reason=\"client_certificate\"}";
    assert!(secured.metric(&http, refused).await.is_some_and(|count| count >= 2.0), "{}", secured.place.log());

    let (url, ca) = (secured.url(""), shown(&secured.at("ca.pem")));
    let file = lines(&secured, "e1");
    let send = |more: &[&str]| {
        let arguments = ["send", &file, "--url", &url, "--key", KEY, "--ca-file", &ca].into_iter().chain(more.iter().copied());
        secured.place.command().args(arguments).output().unwrap()
    };
    let began = Instant::now();
    let turned_away = send(&[]);
    assert_eq!(turned_away.status.code(), Some(1));
    assert!(text(&turned_away.stderr).contains("--client-cert-file") && began.elapsed() < SEEN_MAX, "{}", text(&turned_away.stderr));
    let (certificate, key) = (shown(&secured.at("own.pem")), shown(&secured.at("own-key.pem")));
    let sent = send(&["--client-cert-file", &certificate, "--client-key-file", &key]);
    assert!(sent.status.success(), "{}{}", text(&sent.stdout), text(&sent.stderr));
    assert_eq!(send(&["--client-cert-file", &certificate]).status.code(), Some(2));
    secured.place.wait_for("SELECT count(*) FROM silver.events", 1);
    server.stop(&secured.place);
}

/// Clients that send without end until they are told to stop, each event over a connection of its own.
struct Traffic {
    going: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Traffic {
    fn start(secured: &Secured) -> Self {
        let (going, sent) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let client = |number: usize| {
            let (going, sent, url) = (Arc::clone(&going), Arc::clone(&sent), secured.url("/v1/events"));
            let http = secured.authority.client(None).pool_max_idle_per_host(0).build().unwrap();
            tokio::spawn(async move {
                for event in 0.. {
                    if !going.load(Ordering::SeqCst) {
                        return;
                    }
                    let request = http.post(&url).basic_auth(KEY, Some("")).json(&view(&format!("c{number}-{event}")));
                    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
                    sent.fetch_add(1, Ordering::SeqCst);
                }
            })
        };
        Self { clients: (0..4).map(client).collect(), going, sent }
    }

    /// Goes on until so many more were sent.
    async fn more(&self, events: u64) {
        let until = self.sent.load(Ordering::SeqCst) + events;
        while self.sent.load(Ordering::SeqCst) < until {
            assert!(!self.clients.iter().any(tokio::task::JoinHandle::is_finished), "a request failed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn finish(self) -> u64 {
        self.going.store(false, Ordering::SeqCst);
        for client in self.clients {
            client.await.unwrap();
        }
        self.sent.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_renewed_under_traffic_and_a_broken_pair_keeps_the_old_one() {
    let secured = Secured::new(&[]);
    let http = secured.authority.client(None).build().unwrap();
    let mut server = secured.start(&http).await;
    assert_eq!(secured.shown().await, secured.first.der);
    let traffic = Traffic::start(&secured);
    traffic.more(50).await;

    // Renewed: key and certificate, one after the other.
    let second = secured.authority.pair();
    secured.put("key.pem", &second.key);
    secured.put("certificate.pem", &second.certificate);
    let began = Instant::now();
    while secured.shown().await != second.der {
        assert!(began.elapsed() < SEEN_MAX, "{}", secured.place.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    traffic.more(50).await;

    // Half of a third pair, then no certificate at all: what was served is served on.
    let third = secured.authority.pair();
    secured.put("certificate.pem", &third.certificate);
    secured.wait_for(&http, "tidegate_tls_files_unusable", 1.0).await;
    assert_eq!(secured.shown().await, second.der);
    secured.put("certificate.pem", "-----BEGIN CERTIFICATE-----\n");
    std::fs::remove_file(secured.at("key.pem")).unwrap();
    traffic.more(50).await;
    assert!(std::process::Command::new("kill").args(["-HUP", &server.pid().to_string()]).status().unwrap().success());
    traffic.more(50).await;
    assert_eq!(secured.shown().await, second.der);
    assert!(server.is_running());

    secured.put("certificate.pem", &third.certificate);
    secured.put("key.pem", &third.key);
    secured.wait_for(&http, "tidegate_tls_files_unusable", 0.0).await;
    assert_eq!(secured.shown().await, third.der);
    traffic.more(50).await;
    let sent = traffic.finish().await;
    secured.place.wait_for("SELECT count(*) FROM silver.events", sent);
    server.stop(&secured.place);
    let log = secured.place.log();
    assert!(log.contains("does not belong to the certificate in") && log.contains("SIGHUP"), "{log}");
    assert!(log.matches("the files of server.tls cannot be used").count() <= 4, "each problem is told once: {log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_stall_or_speak_no_tls_hold_up_nobody() {
    let secured = Secured::new(&[
        ("TIDEGATE_SERVER__CONNECTIONS_MAX", "8"),
        ("TIDEGATE_SERVER__HANDSHAKE_TIMEOUT", "6s"),
        ("TIDEGATE_SERVER__HEADER_TIMEOUT", "2s"),
        ("TIDEGATE_INGEST__BODY_IDLE_TIMEOUT", "1s"),
    ]);
    let http = secured.authority.client(None).build().unwrap();
    let server = secured.start(&http).await;
    let port = secured.place.port;
    let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();

    // One that speaks HTTP without TLS is told so, and its connection ends.
    let mut plain = connect();
    plain.set_read_timeout(Some(SEEN_MAX)).unwrap();
    plain.write_all(b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n[]").unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("tls_required"), "{answer}");
    let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(body["success"], false);
    drop(plain);

    // Some that say nothing, and one that says half of a handshake: others are served beside them.
    let mut stalled: Vec<TcpStream> = (0..5).map(|_| connect()).collect();
    stalled[0].write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    let began = Instant::now();
    let fresh = secured.authority.client(None).build().unwrap();
    assert_eq!(fresh.get(secured.url("/healthz")).send().await.unwrap().status(), StatusCode::OK);
    assert!(began.elapsed() < Duration::from_secs(6), "it waited for the others: {:?}", began.elapsed());
    for stream in &mut stalled {
        stream.set_read_timeout(Some(SEEN_MAX)).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "its time is over");
    }
    let failed = |reason: &str| format!("tidegate_tls_handshakes_failed_total{{reason=\"{reason}\"}}");
    assert_eq!(secured.metric(&http, &failed("plain_text")).await, Some(1.0));
    secured.wait_for(&http, &failed("too_slow"), 5.0).await;
    // As many as there may be: the next one waits until their time is over, and no longer.
    let held: Vec<TcpStream> = (0..8).map(|_| connect()).collect();
    let fresh = secured.authority.client(None).build().unwrap();
    assert_eq!(fresh.get(secured.url("/healthz")).send().await.unwrap().status(), StatusCode::OK);
    drop(held);

    // The bounds of heads and bodies hold over TLS.
    let mut slow = secured.connection().await;
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: loc").await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(SEEN_MAX, slow.read_to_end(&mut answer)).await;
    assert!(ended.is_ok() && !answer.starts_with(b"HTTP/1.1 200"), "{}", text(&answer));
    let mut slow = secured.connection().await;
    let head = format!("POST /v1/events?writeKey={KEY} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n[");
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(SEEN_MAX, slow.read_to_end(&mut answer)).await;
    assert!(ended.is_ok() && text(&answer).contains("body_too_slow"), "{}", text(&answer));
    server.stop(&secured.place);
}

#[test]
fn one_address_has_no_more_connections_than_it_may_have() {
    let place = Place::with(vec![("TIDEGATE_SERVER__CONNECTIONS_PER_ADDRESS_MAX".to_owned(), "2".to_owned())]);
    let server = place.start();
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", place.port)).unwrap();
        stream.set_read_timeout(Some(SEEN_MAX)).unwrap();
        stream
    };
    let asked = |stream: &mut TcpStream| {
        let mut answer = [0; 12];
        let written = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        written.and_then(|()| stream.read_exact(&mut answer)).is_ok_and(|()| answer == *b"HTTP/1.1 200")
    };
    let began = Instant::now();
    // Those of whoever looked whether it is ready may still be there.
    let (first, second) = loop {
        let (mut first, mut second) = (connect(), connect());
        if asked(&mut first) && asked(&mut second) {
            break (first, second);
        }
        assert!(began.elapsed() < SEEN_MAX);
    };
    let mut third = connect();
    assert!(!asked(&mut third), "a third connection is served");
    drop(first);
    let began = Instant::now();
    while !asked(&mut connect()) {
        assert!(began.elapsed() < SEEN_MAX, "the place of one that left stays taken");
    }
    drop(second);
    server.stop(&place);
}

#[test]
fn what_cannot_be_served_is_told_at_the_start() {
    let secured = Secured::new(&[]);
    let check = |expect: &str| {
        let output = secured.place.run(&["serve", "--listen", "127.0.0.1:0"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(expect), "{}", text(&output.stderr));
        let checks = text(&secured.place.run(&["doctor", "--format", "json"]).stdout);
        let checks: Value = serde_json::from_str(&checks).unwrap();
        let check = checks.as_array().unwrap().iter().find(|check| check["check"] == "certificate").unwrap();
        assert!(check["state"] == "failed" && check["found"].as_str().unwrap().contains(expect), "{check}");
    };
    secured.put("key.pem", &secured.authority.pair().key);
    check("does not belong to the certificate in");
    std::fs::remove_file(secured.at("certificate.pem")).unwrap();
    check("certificate.pem (server.tls.certificate_file): No such file");
}
