//! Apache Spark: what spark-submit needs, and a standalone cluster of a master and workers, each a process of its own.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use faults::Process;

use crate::installed;

/// The folder `bin` of the Python environment that has Spark and the package `tidegate`.
pub const SPARK_VARIABLE: &str = "TIDEGATE_TEST_SPARK";
/// The folder of the jars that Spark lacks.
pub const SPARK_JARS_VARIABLE: &str = "TIDEGATE_TEST_SPARK_JARS";

const START_PATIENCE: Duration = Duration::from_secs(60);
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// Spark, installed.
#[derive(Debug, Clone)]
pub struct Spark {
    bin: PathBuf,
    jars: PathBuf,
}

impl Spark {
    /// As the environment names it.
    ///
    /// # Errors
    ///
    /// When it is not there; the text says how to get it.
    pub fn from_environment() -> Result<Self> {
        Ok(Self { bin: installed(SPARK_VARIABLE, "Spark")?, jars: installed(SPARK_JARS_VARIABLE, "the jars of the Spark job")? })
    }

    /// The folder of the jars.
    pub fn jars(&self) -> &Path {
        &self.jars
    }

    /// The interpreter that has Spark.
    pub fn python(&self) -> PathBuf {
        self.bin.join("python")
    }

    /// The variables with which `tidegate spark submit` finds it, and with which its processes are on loopback only.
    pub fn environment(&self) -> Vec<(String, String)> {
        let path = env::var("PATH").unwrap_or_default();
        let text = |path: &Path| path.display().to_string();
        [
            ("PATH", format!("{}:{path}", text(&self.bin))),
            ("PYSPARK_PYTHON", text(&self.python())),
            ("TIDEGATE_SPARK_JARS", text(&self.jars)),
            ("SPARK_LOCAL_IP", "127.0.0.1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// A class of Spark's as a process.
    fn class(&self, class: &str, arguments: &[String]) -> Result<Command> {
        // spark-class lies beside spark-submit in the package, and asks where that is.
        let home = Command::new(self.python()).args(["-c", "import os, pyspark; print(os.path.dirname(pyspark.__file__))"]).output();
        let home = home.context("the Python environment of Spark cannot be used")?;
        let home = String::from_utf8_lossy(&home.stdout).trim().to_owned();
        let mut command = Command::new(Path::new(&home).join("bin/spark-class"));
        command.arg(class).args(arguments).env("SPARK_HOME", home).envs(self.environment());
        Ok(command)
    }
}

/// A master with its workers. Killed when dropped.
#[derive(Debug)]
pub struct SparkCluster {
    url: String,
    _processes: Vec<Process>,
}

impl SparkCluster {
    /// Starts a master and so many workers with one core each; waits until all of them answer. `variables` are the workers', and so their executors'.
    ///
    /// # Errors
    ///
    /// When Spark does not start; the text ends with its log.
    pub fn start(spark: &Spark, folder: &Path, workers: usize, variables: &[(String, String)]) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let (port, page) = (faults::free_port()?, faults::free_port()?);
        let url = format!("spark://127.0.0.1:{port}");
        let arguments = text(&["--host", "127.0.0.1", "--port", &port.to_string(), "--webui-port", &page.to_string()]);
        let mut command = spark.class("org.apache.spark.deploy.master.Master", &arguments)?;
        let mut master = Process::start("the Spark master", command.env("SPARK_DAEMON_MEMORY", "384m"), &folder.join("master.log"))?;
        master.wait_until(START_PATIENCE, || answers(port) && answers(page))?;
        let mut processes = vec![master];
        for number in 0..workers {
            let page = faults::free_port()?;
            let place = folder.join(format!("worker-{number}"));
            let place = place.to_str().context("the folder's name is not UTF-8")?.to_owned();
            let arguments = text(&[
                "--host",
                "127.0.0.1",
                "--webui-port",
                &page.to_string(),
                "--cores",
                "1",
                "--memory",
                "1g",
                "--work-dir",
                &place,
                &url,
            ]);
            let mut command = spark.class("org.apache.spark.deploy.worker.Worker", &arguments)?;
            command.env("SPARK_DAEMON_MEMORY", "256m").envs(variables.iter().map(|(name, value)| (name, value)));
            let mut worker = Process::start("a Spark worker", &mut command, &folder.join(format!("worker-{number}.log")))?;
            worker.wait_until(START_PATIENCE, || answers(page))?;
            processes.push(worker);
        }
        Ok(Self { url, _processes: processes })
    }

    /// What `--master` is to be.
    pub fn url(&self) -> &str {
        &self.url
    }
}

fn answers(port: u16) -> bool {
    std::net::TcpStream::connect_timeout(&(std::net::Ipv4Addr::LOCALHOST, port).into(), ANSWER_PATIENCE).is_ok()
}
