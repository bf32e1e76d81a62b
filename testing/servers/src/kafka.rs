//! Apache Kafka: a broker that is its own controller, in one process.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use faults::Process;

use crate::installed;
use crate::secure::{self, Secure};

/// The folder with Kafka's jars.
pub const JARS_VARIABLE: &str = "TIDEGATE_TEST_KAFKA_JARS";

/// Far longer than a start takes on a busy machine of two cores.
const START_PATIENCE: Duration = Duration::from_secs(90);
const STOP_PATIENCE: Duration = Duration::from_secs(30);
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
const HEAP: &str = "384m";
/// What `kafka-server-start.sh` gives to Java.
const AS_ITS_SCRIPTS_DO: [&str; 7] = [
    "-Xms1g",
    "-Xmx1g",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
];
/// `ApiVersions` in version 0 with the correlation 7 and no client id: its length, then its head.
const QUESTION: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
const CORRELATION: [u8; 4] = [0, 0, 0, 7];

/// How a broker is to be.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// The folder with Kafka's jars.
    pub jars: PathBuf,
    /// Where it listens on 127.0.0.1; a free port where unset.
    pub port: Option<u16>,
    /// The address it tells clients to come to, such as a [`Proxy`](crate::Proxy)'s; its own where unset.
    pub advertised: Option<String>,
    /// Whether there is a second listener, with TLS and passwords.
    pub secure: bool,
    /// Accounts of that listener beside [`Secure::user`]. Where there are any, they may do what [`Kafka::acls`] allows them and nothing else.
    pub accounts: Vec<String>,
    /// Further lines of `server.properties`; they win over the ones set here.
    pub properties: Vec<(String, String)>,
    /// Whether it is there to be measured, and so runs as Kafka's own scripts run it: with the heap and the compiler that make it fast, which cost memory and a slower start.
    pub fast: bool,
}

impl KafkaOptions {
    /// Jars as the environment names them, a free port, nothing special.
    ///
    /// # Errors
    ///
    /// When the jars are not there; the text says how to get them.
    pub fn from_environment() -> Result<Self> {
        let jars = installed(JARS_VARIABLE, "Kafka")?;
        Ok(Self { jars, port: None, advertised: None, secure: false, accounts: Vec::new(), properties: Vec::new(), fast: false })
    }
}

/// A running broker. Killed when dropped.
#[derive(Debug)]
pub struct Kafka {
    folder: PathBuf,
    jars: PathBuf,
    port: u16,
    bootstrap: String,
    secure: Option<Secure>,
    fast: bool,
    process: Option<Process>,
}

impl Kafka {
    /// Starts a broker with its data below a folder, and waits until it answers.
    ///
    /// # Errors
    ///
    /// When Kafka is not installed or does not start; the text ends with its log.
    pub fn start(folder: &Path) -> Result<Self> {
        Self::start_with(folder, &KafkaOptions::from_environment()?)
    }

    /// The same with a second listener, for clients that use TLS and SCRAM: see [`Kafka::secure`].
    ///
    /// # Errors
    ///
    /// As [`Kafka::start`].
    pub fn start_secure(folder: &Path) -> Result<Self> {
        Self::start_with(folder, &KafkaOptions { secure: true, ..KafkaOptions::from_environment()? })
    }

    /// The same with accounts that may do what [`Kafka::acls`] allows them and nothing else.
    ///
    /// # Errors
    ///
    /// As [`Kafka::start`].
    pub fn start_authorized(folder: &Path, accounts: &[&str]) -> Result<Self> {
        let accounts = accounts.iter().map(|account| (*account).to_owned()).collect();
        Self::start_with(folder, &KafkaOptions { secure: true, accounts, ..KafkaOptions::from_environment()? })
    }

    /// Starts a broker as the options say, on the data that the folder has.
    ///
    /// # Errors
    ///
    /// As [`Kafka::start`].
    pub fn start_with(folder: &Path, options: &KafkaOptions) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let folder = folder.canonicalize().with_context(|| format!("{} cannot be found", folder.display()))?;
        let port = options.port.map_or_else(faults::free_port, Ok)?;
        let secure = options.secure.then(|| Secure::make(&folder, &options.accounts)).transpose()?;
        let bootstrap = options.advertised.clone().unwrap_or_else(|| format!("127.0.0.1:{port}"));
        let properties = properties(&folder, port, &bootstrap, secure.as_ref(), &options.properties)?;
        let file = properties_file(&folder);
        fs::write(&file, properties).with_context(|| format!("{} cannot be written", file.display()))?;
        let mut kafka = Self { folder, jars: options.jars.clone(), port, bootstrap, secure, fast: options.fast, process: None };
        if kafka.answers() {
            bail!("something else answers on port {port} already: stop it, or choose another port");
        }
        if !kafka.folder.join("log/meta.properties").exists() {
            kafka.format()?;
        }
        kafka.restart()?;
        Ok(kafka)
    }

    /// Where clients begin: `127.0.0.1:PORT`, the same after a restart.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The listener with TLS and passwords, where there is one.
    pub fn secure(&self) -> Option<&Secure> {
        self.secure.as_ref()
    }

    /// Runs Kafka's own `kafka-acls.sh`, as somebody who may do everything.
    ///
    /// # Errors
    ///
    /// When it fails; what it said is in the text.
    pub fn acls(&self, arguments: &str) -> Result<()> {
        let mut tool = self.tool("org.apache.kafka.tools.AclCommand");
        tool.args(["--bootstrap-server", &self.bootstrap]).args(arguments.split_whitespace());
        secure::run(&mut tool)
    }

    /// One of Kafka's own tools as an account of the second listener, ready for its other arguments.
    ///
    /// # Errors
    ///
    /// When there is no such listener, or the file with the account cannot be written.
    pub fn tool_of(&self, account: &str, class: &str) -> Result<Command> {
        let secure = self.secure.as_ref().context("this broker has no accounts")?;
        let file = self.folder.join(format!("{account}.properties"));
        fs::write(&file, secure.client(account)).with_context(|| format!("{} cannot be written", file.display()))?;
        let mut tool = self.tool(class);
        tool.args(["--bootstrap-server", &secure.address]).arg("--command-config").arg(file);
        Ok(tool)
    }

    /// The id of the process; 0 while there is none.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Process::id)
    }

    /// Kills it at once, as a crash would. What it wrote stays.
    ///
    /// # Errors
    ///
    /// When it was not running, or ended otherwise.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("Kafka is not running")?.kill()
    }

    /// Starts it again on the same data and ports, and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it runs already or does not start; the text ends with its log.
    pub fn restart(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("Kafka runs already: kill or stop it first");
        }
        let mut process = Process::start("Kafka", &mut self.command(), &self.folder.join("kafka.log"))?;
        process.wait_until(START_PATIENCE, || self.answers())?;
        self.process = Some(process);
        Ok(())
    }

    /// What starts it on its data and ports, for those who start and stop it themselves from now on.
    pub fn command(&self) -> Command {
        let mut java = self.java();
        if self.fast {
            java.args(AS_ITS_SCRIPTS_DO);
        } else {
            // A start costs two thirds of the time where code is compiled quickly rather than well.
            java.args([format!("-Xms{HEAP}"), format!("-Xmx{HEAP}")]).args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        }
        java.arg("-XX:+ExitOnOutOfMemoryError");
        java.args(["-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS"]);
        java.arg("kafka.Kafka").arg(properties_file(&self.folder));
        java
    }

    /// Lets it end in order. Nothing to do where it is not running.
    ///
    /// # Errors
    ///
    /// When it had to be killed.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.stop(STOP_PATIENCE))
    }

    /// Lets it stand still: connections stay open, nothing answers.
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub fn freeze(&self) -> Result<()> {
        self.process.as_ref().context("Kafka is not running")?.freeze()
    }

    /// Lets it go on after [`Kafka::freeze`].
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub fn thaw(&self) -> Result<()> {
        self.process.as_ref().context("Kafka is not running")?.thaw()
    }

    fn java(&self) -> Command {
        let mut java = Command::new("java");
        java.env("CLASSPATH", self.jars.join("*")).arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
        java
    }

    /// A program among Kafka's jars that is soon done.
    fn tool(&self, class: &str) -> Command {
        let mut java = self.java();
        java.args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", class]);
        java
    }

    /// Prepares the folder of a new broker.
    fn format(&self) -> Result<()> {
        let mut java = self.tool("kafka.tools.StorageTool");
        java.args(["format", "--standalone", "--config"]).arg(properties_file(&self.folder)).args(["--cluster-id", &cluster_id()]);
        for account in self.secure.iter().flat_map(Secure::accounts) {
            java.args(["--add-scram", &account]);
        }
        secure::run(&mut java)
    }

    /// Whether a broker answers. That costs a connection, and no JVM.
    fn answers(&self) -> bool {
        let ask = || -> std::io::Result<[u8; 8]> {
            let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)), ANSWER_PATIENCE)?;
            stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
            stream.write_all(&QUESTION)?;
            let mut answer = [0; 8];
            stream.read_exact(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.ends_with(&CORRELATION))
    }
}

fn properties_file(folder: &Path) -> PathBuf {
    folder.join("server.properties")
}

/// Twenty-two characters of the alphabet that Kafka's ids have; the last one holds fewer bits.
fn cluster_id() -> String {
    let mut id = format!("{:016x}{:016x}", faults::random(), faults::random());
    id.truncate(21);
    id + "A"
}

fn properties(folder: &Path, port: u16, bootstrap: &str, secure: Option<&Secure>, more: &[(String, String)]) -> Result<String> {
    let controller = faults::free_port()?;
    let log = folder.join("log");
    let mut text = format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
controller.listener.names=CONTROLLER
log.dirs={}
num.partitions=3
auto.create.topics.enable=false
# One node: every internal topic has one replica.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
# A start after a kill waits until the session of the killed broker has ended.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=1000
# A small machine.
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
log.cleaner.dedupe.buffer.size=16777216
",
        log.display()
    );
    let mut listeners = format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}");
    let mut advertised = format!("PLAINTEXT://{bootstrap}");
    let mut protocols = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_owned();
    if let Some(secure) = secure {
        let listener = format!(",SASL_SSL://{}", secure.address);
        listeners += &listener;
        advertised += &listener;
        protocols += ",SASL_SSL:SASL_SSL";
        text += &secure.properties()?;
    }
    writeln!(text, "listeners={listeners}\nadvertised.listeners={advertised}\nlistener.security.protocol.map={protocols}")?;
    for (key, value) in more {
        writeln!(text, "{key}={value}")?;
    }
    Ok(text)
}
