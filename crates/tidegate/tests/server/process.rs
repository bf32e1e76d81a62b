//! A `tidegate serve` of our own, and the commands beside it.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) const KEY: &str = "tg_test_key_of_the_server_tests";
/// The program that is tested.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");
const READY_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(120);

/// A data folder with one source, `web`, a port that was free a moment ago, and the settings that all processes there are started with.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) port: u16,
    settings: Vec<(String, String)>,
    program: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with(Vec::new())
    }

    pub(crate) fn with(settings: Vec<(String, String)>) -> Self {
        let place = Self::of(tempfile::tempdir().unwrap(), settings);
        place.run_sound(&["source", "add", "web", "--key", KEY]);
        place
    }

    /// A data folder that is there already.
    pub(crate) fn of(folder: tempfile::TempDir, settings: Vec<(String, String)>) -> Self {
        Self { folder, port: free_port(), settings, program: PathBuf::from(PROGRAM) }
    }

    /// From now on another program runs there.
    pub(crate) fn put(&mut self, program: &Path) {
        self.program = program.to_owned();
    }

    pub(crate) fn data(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Runs a command on this data folder.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, &[])
    }

    /// The same with more settings.
    pub(crate) fn run_with(&self, arguments: &[&str], settings: &[(String, String)]) -> Output {
        let mut command = self.command();
        command.args(arguments).arg("--data").arg(self.data()).envs(settings.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// The same for a command that must succeed, and what it printed.
    pub(crate) fn run_sound(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    pub(crate) fn query(&self, sql: &str) -> Vec<Value> {
        serde_json::from_str(&self.run_sound(&["query", sql, "--format", "json"])).unwrap()
    }

    /// The number that a query of one row and column gives.
    pub(crate) fn number(&self, sql: &str) -> u64 {
        let rows = self.query(sql);
        rows[0].as_object().unwrap().values().next().unwrap().as_u64().unwrap()
    }

    /// Waits until a query gives this number. The table may not be there yet.
    pub(crate) fn wait_for(&self, sql: &str, expected: u64) {
        let began = Instant::now();
        loop {
            let output = self.run(&["query", sql, "--format", "json"]);
            let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let found = rows.first().and_then(|row| row.as_object()?.values().next()?.as_u64());
            if found == Some(expected) {
                return;
            }
            assert!(began.elapsed() < READY_MAX, "{sql}: expected {expected}, found {found:?} {}", text(&output.stderr));
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    pub(crate) fn start(&self) -> Server {
        self.start_with(&[])
    }

    pub(crate) fn start_with(&self, settings: &[(&str, &str)]) -> Server {
        self.ready(self.spawn(settings))
    }

    /// Starts what is a server in the end, and listens on the port of this place.
    pub(crate) fn started(&self, mut command: Command) -> Server {
        let log = File::options().create(true).append(true).open(self.data().join("serve.log")).unwrap();
        command.env("NO_COLOR", "1").stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.ready(Server { child: command.spawn().unwrap() })
    }

    fn ready(&self, mut server: Server) -> Server {
        let began = Instant::now();
        while !is_ready(self.port) {
            assert!(server.child.try_wait().unwrap().is_none(), "it ended: {}", self.log());
            assert!(began.elapsed() < READY_MAX, "not ready: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// Starts it and does not wait until it is ready.
    pub(crate) fn spawn(&self, settings: &[(&str, &str)]) -> Server {
        let log = self.data().join("serve.log");
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = self.command();
        command.arg("serve").arg("--data").arg(self.data()).args(["--listen", &format!("127.0.0.1:{}", self.port)]);
        command.envs(settings.iter().copied()).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Server { child: command.spawn().unwrap() }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.data().join("serve.log")).unwrap_or_default()
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // Away from any tidegate.toml of whoever runs the tests.
        command.current_dir(self.data()).env("NO_COLOR", "1").envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A running server; killed when a test ends before it.
pub(crate) struct Server {
    child: Child,
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and the proof that it was that which ended it.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        assert_eq!(self.child.wait().unwrap().signal(), Some(9), "it had ended before it was killed");
    }

    /// The proof that somebody else ended it by SIGKILL, such as the kernel.
    pub(crate) fn check_killed(mut self) {
        assert_eq!(self.child.wait().unwrap().signal(), Some(9), "it ended in another way");
    }

    /// SIGSTOP: it stands still until it is thawed.
    pub(crate) fn freeze(&self) {
        servers::freeze(self.pid()).unwrap();
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        servers::thaw(self.pid()).unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGTERM, and a sound end.
    pub(crate) fn stop(mut self, place: &Place) {
        assert!(Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().unwrap().success());
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < STOP_MAX, "it does not end: {}", place.log());
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(status.code(), Some(0), "{}", place.log());
    }

    /// The memory it holds now, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A client that waits for no answer longer than the server may take.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap()
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn is_ready(port: u16) -> bool {
    use std::io::{Read as _, Write as _};
    let Ok(mut connection) = std::net::TcpStream::connect(("127.0.0.1", port)) else { return false };
    let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut answer = String::new();
    connection.write_all(request).is_ok() && connection.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
}
