//! Kafka, an S3 server and the Spark job as processes, and places of our own on them.

use std::fs::File;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use servers::{Guard, Kafka, S3, Spark};

use crate::process::{Place, text};

const BUCKET: &str = "tidegate";
/// Far longer than a driver takes on a busy machine of two cores.
const JOB_PATIENCE: Duration = Duration::from_secs(900);
/// The slowest that a driver may be, where a test was asked for many events.
const EVENTS_A_SECOND_MIN: usize = 100;
const LOOK: Duration = Duration::from_millis(200);
/// Of a driver's log that a failure shows.
const TAIL_LINES: usize = 60;

/// How many events a test sends: so many, or what `TIDEGATE_TEST_EVENTS` says.
pub(crate) fn events_or(usual: usize) -> usize {
    std::env::var("TIDEGATE_TEST_EVENTS").map_or(usual, |number| number.parse().unwrap())
}

/// How long a driver may take for anything.
pub(crate) fn patience() -> Duration {
    JOB_PATIENCE.max(Duration::from_secs((events_or(0) / EVENTS_A_SECOND_MIN) as u64))
}

/// The servers of a test.
pub(crate) struct Servers {
    pub(crate) kafka: Kafka,
    pub(crate) s3: S3,
    pub(crate) spark: Spark,
    pub(crate) folder: tempfile::TempDir,
}

impl Servers {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kafka = Kafka::start(&folder.path().join("kafka")).unwrap();
        let s3 = S3::start(&folder.path().join("s3")).unwrap();
        s3.bucket(BUCKET).unwrap();
        Self { kafka, s3, spark: Spark::from_environment().unwrap(), folder }
    }

    /// A place whose journal is a topic and whose lake is a prefix of the bucket.
    pub(crate) fn place(&self, lake: &str, own: &[(&str, &str)]) -> Place {
        let mut settings = self.s3.environment();
        settings.extend(self.spark.environment());
        let common = [
            ("TIDEGATE_JOURNAL__KIND", "kafka"),
            ("TIDEGATE_JOURNAL__KAFKA__BROKERS", self.kafka.bootstrap()),
            ("TIDEGATE_JOURNAL__KAFKA__SESSION_TIMEOUT", "6s"),
            ("TIDEGATE_PIPELINE__RETRY_PAUSE_MAX", "2s"),
        ];
        settings.extend(common.iter().chain(own).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        settings.push(("TIDEGATE_LAKE__LOCATION".to_owned(), format!("s3://{BUCKET}/{lake}")));
        Place::with(settings)
    }
}

/// A driver, with everything that it started on this machine.
pub(crate) struct Job {
    child: Child,
    log: PathBuf,
    _guard: Guard,
}

impl Job {
    /// Starts it with `tidegate spark submit`.
    pub(crate) fn submit(place: &Place, arguments: &[&str], further: &[&str]) -> Self {
        let log = place.data().join("spark.log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let mut command: Command = place.command();
        command.args(["spark", "submit", "--data"]).arg(place.data()).args(arguments).arg("--");
        command.args(["--driver-memory", "768m", "--conf", "spark.ui.enabled=false", "--conf", "spark.sql.shuffle.partitions=4"]);
        command.args(further).process_group(0).stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap();
        // The whole group: the driver's JVM has a Python process, and that has workers.
        let guard = Guard::over(child.id(), "KILL").unwrap();
        Self { child, log, _guard: guard }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of its log.
    pub(crate) fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Waits until it ends by itself; its exit code.
    pub(crate) fn wait(mut self) -> i32 {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(began.elapsed() < patience(), "it does not end: {}", self.tail());
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until something holds; it must not end before.
    pub(crate) fn wait_until(&mut self, what: &str, mut holds: impl FnMut() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(self.child.try_wait().unwrap().is_none(), "it ended before {what}: {}", self.tail());
            assert!(began.elapsed() < patience(), "not {what}: {}", self.tail());
            std::thread::sleep(LOOK);
        }
    }

    /// SIGKILL to all of its processes, and the proof that it was that which ended the driver.
    pub(crate) fn kill(mut self) {
        signal(self.child.id(), "KILL");
        assert_eq!(self.child.wait().unwrap().signal(), Some(9), "it had ended before it was killed: {}", self.tail());
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(self.child.id(), "KILL");
            drop(self.child.wait());
        }
    }
}

/// To a process group.
fn signal(group: u32, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), "--", &format!("-{group}")]).status().unwrap().success());
}

/// Hands the stream over.
pub(crate) fn hand_over(place: &Place, engine: &str) {
    let output = place.run(&["engine", engine]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}
