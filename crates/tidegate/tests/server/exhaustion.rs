//! What runs out: files of a disk, the right to write to it, memory, connections. The server survives it or is started again, says why, and has every event that it said yes to.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::process::{KEY, Place, Server, client};
use crate::traffic::{Load, Traffic, check_silver};

const PATIENCE: Duration = Duration::from_secs(60);
const LOAD: Load = Load { batch: 50, rate: 2_000, events: 24_000 };
/// `TIDEGATE_TEST_KEYS` sets another number.
const KEYS: u64 = 50_000;
const CONNECTIONS: u64 = 8;
/// More than any server has places for.
const SLOW: usize = 10_000;
const MISSED_MAX: usize = 20;

/// Starts a server whose data folder is a file system of its own, which only it sees, and tells where this test sees it.
fn mounted(place: &Place, unshare: &[&str], mount: &str) -> (Server, PathBuf) {
    let folder = place.data().join("own");
    fs::create_dir_all(&folder).unwrap();
    let script = format!(
        "{mount} {folder} && exec {program} serve --data {folder} --listen 127.0.0.1:{port}",
        folder = folder.display(),
        program = env!("CARGO_BIN_EXE_tidegate"),
        port = place.port
    );
    let mut command = Command::new("unshare");
    command.args(unshare).args(["sh", "-c", &script]).current_dir(place.data());
    command.env("TIDEGATE_SERVER__KEY_FILE", place.data().join("sources.json")).env("TIDEGATE_JOURNAL__DISK_FREE_BYTES_MIN", "1000000");
    let server = place.started(command);
    let seen = Path::new("/proc").join(server.pid().to_string()).join("root").join(folder.strip_prefix("/").unwrap());
    (server, seen)
}

fn may(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not within {} s: {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A copy of the lake of a server that sees its data folder elsewhere, once Silver has so many events.
fn copied(seen: &Path, events: u64) -> Place {
    let mut copy = None;
    wait_until("all of it is in Silver", || {
        let folder = tempfile::tempdir().unwrap();
        // Its files come and go meanwhile: then it is no whole lake, and another copy is made.
        drop(Command::new("cp").arg("-r").arg(seen.join("lake")).arg(folder.path()).output());
        let place = Place::of(folder, Vec::new());
        let told = place.run(&["query", "SELECT count(*) AS n FROM silver.events", "--format", "json"]);
        let is_whole = serde_json::from_slice::<Value>(&told.stdout).is_ok_and(|rows| rows[0]["n"] == events);
        copy = is_whole.then_some(place);
        is_whole
    });
    copy.unwrap()
}

async fn status(place: &Place, number: u64) -> u16 {
    let event = json!({"event_id": format!("probe-{number}"), "event_type": "page_view", "anonymous_id": "a"});
    let request = client().post(format!("{}/v1/events", place.url())).basic_auth(KEY, Some("")).json(&event);
    request.send().await.map_or(0, |answer| answer.status().as_u16())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_without_room_for_files_stops_the_tables_and_no_client() {
    if !may("unshare", &["-rm", "true"]) {
        eprintln!("left out: this system lets nobody mount a file system of their own (unshare -rm)");
        return;
    }
    let place = Place::new();
    let (server, seen) = mounted(&place, &["-rm"], "mount -t tmpfs -o size=1g,nr_inodes=3000 tmpfs");
    let traffic = Traffic::start(vec![place.url()], LOAD);
    wait_until("something is in the tables", || seen.join("lake").exists() && traffic.acknowledged() > 5_000);
    let filler = seen.join("filler");
    fs::create_dir(&filler).unwrap();
    // Until not one more fits, and again for what others leave free meanwhile.
    let fill = |from: u64| (from..).take_while(|number| File::create(filler.join(number.to_string())).is_ok()).count() as u64;
    let mut files = fill(0);
    wait_until("it is said why", || {
        files += fill(files);
        let log = place.log();
        log.contains("No space left on device") || log.contains("os error 28")
    });
    // The journal has its files: what comes is taken.
    let (before, count) = (traffic.acknowledged(), files);
    wait_until("events are taken without a file to be had", || traffic.acknowledged() > before + 2_000);
    assert!(count > 100 && File::create(filler.join("one-more")).is_err(), "there was room");
    fs::remove_dir_all(&filler).unwrap();
    let told = traffic.finish().await;
    let acknowledged: u64 = told.iter().map(|told| told.acknowledged).sum();
    assert_eq!(acknowledged, LOAD.events);
    check_silver(&copied(&seen, acknowledged), &told);
    server.stop(&place);
}

/// A disk in a file of its own, of which the kernel lets nobody write once it met a fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_system_that_turns_read_only_takes_the_yes_and_nothing_else() {
    let place = Place::new();
    let image = place.data().join("disk.img");
    File::create(&image).unwrap().set_len(512 << 20).unwrap();
    let made = may("mkfs.ext4", &["-q", image.to_str().unwrap()]);
    let probe = format!("mount -o loop {} /mnt", image.display());
    if !made || !may("unshare", &["-m", "sh", "-c", &probe]) {
        eprintln!("left out: this system lets nobody mount a disk in a file (unshare -m, mkfs.ext4, mount -o loop)");
        return;
    }
    let mount = format!("mount -o loop {}", image.display());
    let (server, seen) = mounted(&place, &["-m"], &mount);
    let traffic = Traffic::start(vec![place.url()], LOAD);
    wait_until("events are taken", || traffic.acknowledged() > 5_000);
    let inside = place.data().join("own");
    let abort = ["-t", &server.pid().to_string(), "-m", "mount", "-o", "remount,abort", inside.to_str().unwrap()];
    assert!(may("nsenter", &abort), "the fault could not be made");
    assert!(File::create(seen.join("one")).is_err(), "it can be written all the same");
    let failed = traffic.failed();
    traffic.wait_for_failure(failed).await;
    let refused = status(&place, 1).await;
    assert!(refused == 429 || refused == 503, "{refused}");
    wait_until("it is said why", || place.log().contains("Read-only file system") || place.log().contains("os error 30"));
    let ready = reqwest::get(format!("{}/readyz", place.url())).await.unwrap();
    assert_eq!(ready.status().as_u16(), 503, "{}", ready.text().await.unwrap());
    // Such a disk is mounted anew, which it cannot be while somebody has its files open.
    server.kill();
    let (server, seen) = mounted(&place, &["-m"], &mount);
    let told = traffic.finish().await;
    let acknowledged: u64 = told.iter().map(|told| told.acknowledged).sum();
    check_silver(&copied(&seen, acknowledged), &told);
    server.stop(&place);
}

/// A group of processes whose memory the kernel bounds. Removed at the end.
struct Bounded(PathBuf);

impl Bounded {
    /// Where the system lets us have one.
    fn new() -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = own.lines().find_map(|line| line.split_once(":memory:"))?.1.to_owned();
        let folder = Path::new("/sys/fs/cgroup/memory").join(path.trim_start_matches('/')).join(format!("tidegate-{}", std::process::id()));
        let root = Path::new("/sys/fs/cgroup/memory").join(format!("tidegate-{}", std::process::id()));
        let made = [folder, root].into_iter().find(|folder| fs::create_dir(folder).is_ok())?;
        let bounded = Self(made);
        bounded.set("memory.limit_in_bytes", &(8_u64 << 30).to_string()).then_some(bounded)
    }

    fn set(&self, name: &str, value: &str) -> bool {
        fs::write(self.0.join(name), value).is_ok()
    }

    fn used(&self) -> u64 {
        fs::read_to_string(self.0.join("memory.usage_in_bytes")).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_ended_for_want_of_memory_comes_back_with_everything() {
    let Some(bounded) = Bounded::new() else {
        eprintln!("left out: this system lets nobody bound the memory of processes (cgroup memory)");
        return;
    };
    let place = Place::new();
    let mut server = place.start();
    assert!(bounded.set("cgroup.procs", &server.pid().to_string()));
    let traffic = Traffic::start(vec![place.url()], LOAD);
    wait_until("events are taken", || traffic.acknowledged() > 5_000);
    // Another one takes what is left, and the kernel is told whom to end for it.
    fs::write(format!("/proc/{}/oom_score_adj", server.pid()), "1000").unwrap();
    assert!(bounded.set("memory.limit_in_bytes", &(bounded.used() + (64 << 20)).to_string()));
    let greedy = format!("echo $$ > {} && exec tail /dev/zero", bounded.0.join("cgroup.procs").display());
    let mut greedy = Command::new("sh").args(["-c", &greedy]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the kernel ended it", || !server.is_running());
    drop(greedy.kill());
    greedy.wait().unwrap();
    server.check_killed();
    let server = place.start();
    let told = traffic.finish().await;
    let acknowledged: u64 = told.iter().map(|told| told.acknowledged).sum();
    place.wait_for("SELECT count(*) FROM silver.events", acknowledged);
    check_silver(&place, &told);
    server.stop(&place);
    place.run_sound(&["audit"]);
}

/// Whether this process may have so many connections, and a server of it as many.
fn may_open(connections: usize) -> bool {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let may = files.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX) > connections + 1_000;
    if !may {
        eprintln!("left out: this system lets a process have too few files open (ulimit -n {})", connections + 1_001);
    }
    may
}

/// Connections that begin a request and do not go on with it, from another address of this machine.
async fn slow(place: &Place) -> Vec<tokio::net::TcpStream> {
    let to: SocketAddr = format!("127.0.0.1:{}", place.port).parse().unwrap();
    let mut open = Vec::with_capacity(SLOW);
    let mut missed = 0;
    for number in 0..SLOW {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap_or_else(|error| panic!("connection {number}: {error}"));
        // One that waits with the system is a connection too, as far as its client can tell.
        let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(200), socket.connect(to)).await else {
            missed += 1;
            // The system takes no more of them, and would take none of the rest.
            if missed == MISSED_MAX {
                break;
            }
            continue;
        };
        drop(stream.try_write(b"POST /v1/events HTTP/1.1\r\nhost: x\r\nx-slow: "));
        open.push(stream);
    }
    open
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_slow_connections_hold_up_nobody_else() {
    if !may_open(SLOW) {
        return;
    }
    let limited = Place::with(vec![("TIDEGATE_SERVER__CONNECTIONS_PER_ADDRESS_MAX".to_owned(), "500".to_owned())]);
    let server = limited.start();
    let open = slow(&limited).await;
    assert!(open.len() > SLOW / 2, "{} connections", open.len());
    for number in 0..50 {
        let began = Instant::now();
        assert_eq!(status(&limited, number).await, 200);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    assert!(server.resident_bytes() < 600 << 20, "{} bytes", server.resident_bytes());
    drop(open);
    server.stop(&limited);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_connections_that_take_all_places_are_told_of_and_end() {
    if !may_open(SLOW) {
        return;
    }
    let place = Place::with(vec![("TIDEGATE_SERVER__HEADER_TIMEOUT".to_owned(), "10s".to_owned())]);
    let server = place.start();
    let mut open = slow(&place).await;
    assert!(open.len() > 4_096, "{} connections", open.len());
    wait_until("it is said why", || place.log().contains("server.connections_max connections are open"));
    // They are cut after the time for the head of a request, and who waits gets a place.
    let began = Instant::now();
    assert_eq!(status(&place, 1).await, 200, "{:?}", began.elapsed());
    open.clear();
    for number in 2..20 {
        assert_eq!(status(&place, number).await, 200);
    }
    assert!(server.resident_bytes() < 600 << 20, "{} bytes", server.resident_bytes());
    server.stop(&place);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_names_without_end_take_no_memory() {
    let keys: u64 = std::env::var("TIDEGATE_TEST_KEYS").map_or(KEYS, |keys| keys.parse().unwrap());
    let place = Place::new();
    let server = place.start();
    // So that what every server has once is there.
    for number in 0..100 {
        assert_eq!(status(&place, number).await, 200);
    }
    let before = server.resident_bytes();
    // Keys that nobody has, many in one go on each connection.
    let senders = (0..CONNECTIONS).map(|sender| {
        let port = place.port;
        std::thread::spawn(move || unknown_keys(port, sender * keys / CONNECTIONS..(sender + 1) * keys / CONNECTIONS))
    });
    let senders: Vec<_> = senders.collect();
    let refused: u64 = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
    assert_eq!(refused, keys);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 200 << 20, "{grown} bytes more");
    assert_eq!(status(&place, 1_000).await, 200);
    // Neither do names of properties, of persons and of types.
    let names = |batch: u64| -> Value {
        (0..1_000)
            .map(|number| {
                let name = format!("n{}", batch * 1_000 + number);
                json!({"event_id": format!("k-{name}"), "event_type": format!("type_{name}"), "user_id": name, "properties": {name.clone(): 1}})
            })
            .collect()
    };
    let http = client();
    for batch in 0..keys / 1_000 {
        let request = http.post(format!("{}/v1/events", place.url())).basic_auth(KEY, Some("")).json(&names(batch));
        assert_eq!(request.send().await.unwrap().status().as_u16(), 200);
    }
    place.wait_for("SELECT count(*) FROM silver.events", keys / 1_000 * 1_000 + 101);
    let metrics = reqwest::get(format!("{}/metrics", place.url())).await.unwrap().text().await.unwrap();
    assert!(metrics.len() < 1 << 20 && !metrics.contains("type_n"), "{} bytes of metrics", metrics.len());
    server.stop(&place);
}

/// Sends a request with each of these keys, and counts the refusals.
fn unknown_keys(port: u16, keys: std::ops::Range<u64>) -> u64 {
    use std::io::Read as _;
    const AT_ONCE: u64 = 100;
    const REFUSED: &[u8] = b"HTTP/1.1 401";
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (mut refused, mut next, mut rest) = (0, keys.start, Vec::new());
    let mut buffer = vec![0; 64 * 1024];
    while next < keys.end {
        let end = keys.end.min(next + AT_ONCE);
        let requests: String = (next..end)
            .map(|key| format!("POST /v1/events HTTP/1.1\r\nhost: x\r\nx-write-key: nobodys-{key}\r\ncontent-length: 2\r\n\r\n[]"))
            .collect();
        stream.write_all(requests.as_bytes()).unwrap();
        let mut awaited = end - next;
        while awaited > 0 {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the connection was closed");
            rest.extend_from_slice(buffer.get(..count).unwrap());
            let found: Vec<usize> =
                rest.windows(REFUSED.len()).enumerate().filter(|(_, part)| *part == REFUSED).map(|(at, _)| at).collect();
            // The end of one may be the beginning of the next.
            rest.drain(..found.last().map_or(0, |at| at + 1));
            refused += found.len() as u64;
            awaited -= found.len() as u64;
        }
        next = end;
    }
    refused
}
