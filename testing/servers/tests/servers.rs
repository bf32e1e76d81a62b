//! That the servers start, die, come back and are spoiled as the tests of others count on.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use servers::{Fault, Kafka, Proxy, S3};

/// A folder that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("servers-{name}-{}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap_or_else(|error| eprintln!("{} stays: {error}", self.0.display()));
    }
}

/// The first line of the answer to a request; empty where the connection ended without one.
fn ask(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut answer = Vec::new();
    // What a closed connection says depends on who was faster: the end, or an error.
    let asked =
        stream.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").and_then(|()| stream.read_to_end(&mut answer));
    let text = String::from_utf8_lossy(&answer);
    asked.map(|_| text.lines().next().unwrap_or_default().to_owned()).unwrap_or_default()
}

#[test]
fn a_proxy_does_to_requests_what_it_is_told() {
    let folder = Folder::new("proxy");
    let s3 = S3::start(&folder.0).unwrap();
    let proxy = Proxy::start(s3.url().trim_start_matches("http://")).unwrap();
    let refused_for_want_of_a_signature = "HTTP/1.1 403 Forbidden";
    let check = |fault: Fault, expect: &str, strikes: bool| {
        let before = proxy.struck();
        proxy.set(fault);
        assert_eq!(ask(&proxy.address()), expect, "{fault:?}");
        assert_eq!(proxy.struck() > before, strikes, "{fault:?}");
    };
    check(Fault::None, refused_for_want_of_a_signature, false);
    check(Fault::Http503, "HTTP/1.1 503 Slow Down", true);
    check(Fault::LoseAnswers, "", true);
    check(Fault::Refuse, "", true);
    check(Fault::Slow(Duration::from_millis(20)), refused_for_want_of_a_signature, true);
    check(Fault::None, refused_for_want_of_a_signature, false);
}

#[test]
fn an_s3_server_comes_back_where_it_was() {
    let folder = Folder::new("s3");
    let mut s3 = S3::start(&folder.0).unwrap();
    let address = s3.url().trim_start_matches("http://").to_owned();
    s3.kill().unwrap();
    assert!(TcpStream::connect(&address).is_err());
    assert!(s3.kill().is_err(), "a kill that kills nothing is an error");
    // Half an object: what there is to say of it, and not the object.
    let (half, whole) = (folder.0.join("metadata/b/half/meta"), folder.0.join("metadata/b/deep/whole/meta"));
    for meta in [&half, &whole] {
        std::fs::create_dir_all(meta).unwrap();
        std::fs::write(meta.join("etag"), "x").unwrap();
    }
    std::fs::create_dir_all(folder.0.join("buckets/b/deep")).unwrap();
    std::fs::write(folder.0.join("buckets/b/deep/whole"), "object").unwrap();
    s3.restart().unwrap();
    assert!(!half.exists() && whole.join("etag").exists());
    s3.freeze().unwrap();
    let asked = std::thread::spawn(move || (ask(&address), Instant::now()));
    std::thread::sleep(Duration::from_millis(300));
    assert!(!asked.is_finished(), "a frozen server answers");
    let thawed = Instant::now();
    s3.thaw().unwrap();
    let (answer, answered) = asked.join().unwrap();
    assert!(answer.starts_with("HTTP/1.1 ") && answered > thawed, "{answer}");
    s3.stop().unwrap();
}

#[test]
fn kafka_comes_back_where_it_was() {
    let folder = Folder::new("kafka");
    let mut kafka = Kafka::start_secure(&folder.0).unwrap();
    let (bootstrap, pid) = (kafka.bootstrap().to_owned(), kafka.pid());
    assert!(kafka.secure().is_some_and(|secure| secure.authority.is_file()));
    kafka.kill().unwrap();
    assert!(TcpStream::connect(&bootstrap).is_err());
    kafka.restart().unwrap();
    assert!(kafka.pid() != pid && kafka.bootstrap() == bootstrap);
    kafka.stop().unwrap();
}
