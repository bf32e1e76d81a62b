//! Prometheus: it scrapes, evaluates rules, and tells which alerts fire.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use faults::Process;

use crate::installed;

/// The folder with `prometheus` and `promtool`.
pub const PROMETHEUS_VARIABLE: &str = "TIDEGATE_TEST_PROMETHEUS";

const START_PATIENCE: Duration = Duration::from_secs(60);
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// The name of what is scraped, as the rules have it.
const JOB: &str = "tidegate";

/// A running server. Killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    port: u16,
    _process: Process,
}

impl Prometheus {
    /// Checks these rules with `promtool`, and starts a server below a folder that scrapes these addresses (host and port, with `https://` before them where there is TLS, whose certificates are not checked) each second and
    /// evaluates the rules as often.
    ///
    /// # Errors
    ///
    /// When Prometheus is not installed, does not take the rules or does not start.
    pub fn start(folder: &Path, targets: &[String], rules: &str) -> Result<Self> {
        let programs = installed(PROMETHEUS_VARIABLE, "Prometheus")?;
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let (config, alerts) = (folder.join("prometheus.yml"), folder.join("alerts.yml"));
        let mut text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\nrule_files: [alerts.yml]\nscrape_configs:\n  - job_name: {JOB}\n    tls_config: {{insecure_skip_verify: true}}\n    static_configs:\n"
        );
        for target in targets {
            let (scheme, address) = target.split_once("://").unwrap_or(("http", target));
            writeln!(text, "      - {{targets: [{address:?}], labels: {{__scheme__: {scheme}}}}}")?;
        }
        fs::write(&alerts, rules).with_context(|| format!("{} cannot be written", alerts.display()))?;
        fs::write(&config, text).with_context(|| format!("{} cannot be written", config.display()))?;
        check(&programs, &config)?;
        let port = faults::free_port()?;
        let mut command = Command::new(programs.join("prometheus"));
        command.arg(format!("--config.file={}", config.display())).arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let mut process = Process::start("Prometheus", &mut command, &folder.join("prometheus.log"))?;
        process.wait_until(START_PATIENCE, || {
            get(port, "/-/ready").is_ok_and(|answer| answer.lines().next().is_some_and(|status| status.contains(" 200 ")))
        })?;
        Ok(Self { port, _process: process })
    }

    /// What it says of a path of its API, such as `/api/v1/alerts`: JSON.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn ask(&self, path: &str) -> Result<String> {
        let answer = get(self.port, path)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("the answer has no body")?;
        Ok(body.to_owned())
    }
}

fn check(programs: &Path, config: &Path) -> Result<()> {
    let checked =
        Command::new(programs.join("promtool")).args(["check", "config"]).arg(config).output().context("promtool cannot be started")?;
    if !checked.status.success() {
        bail!(
            "promtool refuses {}: {}{}",
            config.display(),
            String::from_utf8_lossy(&checked.stdout),
            String::from_utf8_lossy(&checked.stderr)
        );
    }
    Ok(())
}

/// A request by hand: tests need no HTTP client of this crate.
fn get(port: u16, path: &str) -> Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut connection = TcpStream::connect_timeout(&address, ANSWER_PATIENCE)?;
    connection.set_read_timeout(Some(ANSWER_PATIENCE))?;
    // HTTP/1.0: the answer is not in pieces, and ends with the connection.
    write!(connection, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}
