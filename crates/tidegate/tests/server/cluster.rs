//! The served setup with real processes: a Kafka broker, an S3 server behind a proxy that can be made to fail, gates and workers.

use std::time::{Duration, Instant};

use serde_json::Value;
use servers::{Kafka, Proxy, S3};

use crate::process::{Place, Server};

const BUCKET: &str = "tidegate";
const CAUGHT_UP_MAX: Duration = Duration::from_secs(240);

/// Everything that runs. What a test does not end itself ends with it.
pub(crate) struct Cluster {
    pub(crate) kafka: Kafka,
    _s3: S3,
    /// What all reach S3 through.
    pub(crate) proxy: Proxy,
    pub(crate) gates: Vec<Node>,
    pub(crate) workers: Vec<Node>,
    _folder: tempfile::TempDir,
}

/// A process of ours and its place.
pub(crate) struct Node {
    pub(crate) place: Place,
    settings: Vec<(&'static str, &'static str)>,
    pub(crate) server: Option<Server>,
}

impl Node {
    fn new(settings: &[(String, String)], own: &[(&'static str, &'static str)]) -> Self {
        Self { place: Place::with(settings.to_vec()), settings: own.to_vec(), server: None }
    }

    pub(crate) fn start(&mut self) {
        self.server = Some(self.place.start_with(&self.settings));
    }

    /// Starts it where it cannot be expected to be ready soon.
    pub(crate) fn spawn(&mut self) {
        self.server = Some(self.place.spawn(&self.settings));
    }

    /// kill -9, and up again at once.
    pub(crate) fn kill_and_start(&mut self) {
        self.server.take().unwrap().kill();
        self.spawn();
    }

    /// kill -9. It is down until it is started.
    pub(crate) fn kill(&mut self) {
        self.server.take().unwrap().kill();
    }

    pub(crate) fn running(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// A process that is to run for good must not have given up.
    pub(crate) fn check_running(&mut self) {
        assert!(self.server.as_mut().unwrap().is_running(), "it ended: {}", tail(&self.place.log()));
    }

    pub(crate) fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop(&self.place);
        }
    }
}

impl Cluster {
    /// Kafka and S3 run; gates and workers are there and wait to be started.
    pub(crate) fn new(gates: usize, workers: usize, settings: &[(&'static str, &'static str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kafka = Kafka::start(&folder.path().join("kafka")).unwrap();
        let s3 = S3::start(&folder.path().join("s3")).unwrap();
        s3.bucket(BUCKET).unwrap();
        let proxy = Proxy::start(s3.url().trim_start_matches("http://")).unwrap();
        let mut all = s3.environment();
        all.retain(|(name, _)| name != "AWS_ENDPOINT_URL");
        all.push(("AWS_ENDPOINT_URL".to_owned(), format!("http://{}", proxy.address())));
        let own = [
            ("TIDEGATE_JOURNAL__KIND", "kafka"),
            ("TIDEGATE_JOURNAL__KAFKA__BROKERS", kafka.bootstrap()),
            // The shortest that a broker grants.
            ("TIDEGATE_JOURNAL__KAFKA__SESSION_TIMEOUT", "6s"),
            ("TIDEGATE_LAKE__LOCATION", "s3://tidegate/lake"),
            ("TIDEGATE_PIPELINE__RETRY_PAUSE_MAX", "2s"),
        ];
        all.extend(own.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let gates = (0..gates).map(|_| Node::new(&all, &[("TIDEGATE_SERVER__ROLES", "ingest")])).collect();
        let workers = (0..workers).map(|_| Node::new(&all, &[("TIDEGATE_SERVER__ROLES", "pipeline")])).collect();
        Self { kafka, _s3: s3, proxy, gates, workers, _folder: folder }
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.gates.iter().map(|gate| gate.place.url()).collect()
    }

    /// Where commands can be run on the lake.
    pub(crate) fn place(&self) -> &Place {
        &self.gates[0].place
    }

    pub(crate) fn books(&self) -> Value {
        let audit = self.place().run(&["audit", "--format", "json"]);
        let books = String::from_utf8_lossy(&audit.stdout).into_owned();
        serde_json::from_str(&books).unwrap_or_else(|error| panic!("{error}: {books}{}", String::from_utf8_lossy(&audit.stderr)))
    }

    /// Waits until the workers have decided about everything that at least so many events are, and gives the books.
    pub(crate) fn caught_up(&self, accepted_min: u64) -> Value {
        let began = Instant::now();
        loop {
            let books = self.books();
            let total = |name: &str| books["total"][name].as_u64().unwrap();
            if total("accepted") >= accepted_min && total("pending") == 0 {
                return books;
            }
            assert!(began.elapsed() < CAUGHT_UP_MAX, "{accepted_min} expected: {books}\n{}", self.logs());
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// The ends of all logs.
    pub(crate) fn logs(&self) -> String {
        self.gates.iter().chain(&self.workers).map(|node| format!("--\n{}", tail(&node.place.log()))).collect()
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
