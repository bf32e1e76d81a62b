//! `cargo xtask up`: the product on Kafka and S3, on this machine, to try it out.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use servers::{Guard, Kafka, KafkaOptions, S3, S3Options};

use crate::place::Place;
use crate::step::step;
use crate::{rust, servers as installing};

const KAFKA_PORT: u16 = 9092;
const S3_PORT: u16 = 9000;
const GATE_PORT: u16 = 8099;
/// Ports after the usual one that are tried where it is taken.
const PORTS_TRIED: u16 = 100;
const BUCKET: &str = "tidegate";
/// Says that this process is the one that does not end at Ctrl-C.
const INNER: &str = "TIDEGATE_XTASK_UP_INNER";
/// Ctrl-C goes to all processes of the terminal. The product stops in order by it; this one has to stay until it has, and then stop the servers.
const WITHOUT_INTERRUPT: &str = r#"trap "" INT; exec "$0" "$@""#;

/// Runs Kafka, the S3 gateway and the product, until Ctrl-C. The data stays for the next time.
///
/// # Errors
///
/// When something cannot be installed, built or started, or ends by itself.
pub(crate) fn run(place: &Place, folder: Option<PathBuf>) -> Result<()> {
    if env::var_os(INNER).is_none() {
        let this = env::current_exe().context("where this program is cannot be found out")?;
        let mut shell = Command::new("sh");
        shell.args(["-c", WITHOUT_INTERRUPT]).arg(this).args(env::args_os().skip(1)).env(INNER, "1");
        return Err(shell.exec()).context("there is no `sh`");
    }
    let tools = installing::find()?;
    let installed = installing::install(place, &tools)?;
    rust::build_product(place)?;
    let folder = folder.unwrap_or_else(|| place.up());
    let (mut kafka, mut s3) = (None, None);
    step("start Kafka and the S3 gateway", || {
        let kafka_port = Some(port(KAFKA_PORT, "Kafka")?);
        let options = KafkaOptions {
            jars: installed.jars.clone(),
            port: kafka_port,
            advertised: None,
            secure: false,
            accounts: Vec::new(),
            properties: Vec::new(),
            fast: false,
        };
        kafka = Some(Kafka::start_with(&folder.join("kafka"), &options)?);
        let options = S3Options { program: installed.gateway.clone(), port: Some(port(S3_PORT, "the S3 gateway")?) };
        let started = S3::start_with(&folder.join("s3"), &options)?;
        started.bucket(BUCKET)?;
        s3 = Some(started);
        Ok(())
    })?;
    let (Some(mut kafka), Some(mut s3)) = (kafka, s3) else { bail!("the servers were not started") };
    let served = serve(place, &folder, &kafka, &s3);
    // The product has stopped; nobody uses them any more. Both are stopped, whatever comes of the other.
    let stopped = (s3.stop(), kafka.stop());
    eprintln!("\nstopped; the data stays in {}", folder.display());
    served.and(stopped.0).and(stopped.1)
}

/// Runs the product to its end.
fn serve(place: &Place, folder: &Path, kafka: &Kafka, s3: &S3) -> Result<()> {
    let listen = format!("127.0.0.1:{}", port(GATE_PORT, "the gate")?);
    let data = absolute(&folder.join("tidegate"))?;
    let mut variables = s3.environment();
    variables.extend(settings(kafka.bootstrap(), &data, &listen).map(|(name, value)| (name.to_owned(), value)));
    let file = absolute(&folder.join("environment.sh"))?;
    let lines: String = variables.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
    fs::write(&file, lines).with_context(|| format!("{} cannot be written", file.display()))?;
    eprintln!("{}", told(&place.product(), &file, kafka, s3, &listen));

    let mut product = Command::new(place.product());
    let mut child = product.arg("serve").envs(variables).spawn().context("the product cannot be started")?;
    let _guard = Guard::over(child.id(), "TERM")?;
    let status = child.wait().context("the product cannot be waited for")?;
    if !status.success() {
        bail!("`tidegate serve` ended with {status}");
    }
    Ok(())
}

/// What the product is told of where it runs.
fn settings(brokers: &str, data: &Path, listen: &str) -> [(&'static str, String); 5] {
    [
        ("TIDEGATE_DATA", data.display().to_string()),
        ("TIDEGATE_SERVER__LISTEN", listen.to_owned()),
        ("TIDEGATE_JOURNAL__KIND", "kafka".to_owned()),
        ("TIDEGATE_JOURNAL__KAFKA__BROKERS", brokers.to_owned()),
        ("TIDEGATE_LAKE__LOCATION", format!("s3://{BUCKET}/lake")),
    ]
}

fn told(product: &Path, file: &Path, kafka: &Kafka, s3: &S3, listen: &str) -> String {
    format!(
        "
Kafka      {kafka}
S3         {s3}, bucket {BUCKET}
the gate   http://{listen}

In another terminal, with the variables of all of these:

  . '{file}'
  alias tidegate='{product}'
  tidegate source add web           # prints a write key, once: KEY=…
  curl -u \"$KEY:\" http://{listen}/v1/events -d '{{\"event_type\":\"page_view\",\"event_time\":\"2026-11-23T10:00:00Z\",\"user_id\":\"u1\",\"properties\":{{\"url\":\"https://www.example.com/\",\"path\":\"/\"}}}}'
  tidegate send events.ndjson --url http://{listen} --key \"$KEY\"
  tidegate query 'SELECT event_type, count(*) FROM silver.events GROUP BY 1'
  tidegate audit

Ctrl-C stops everything in order; the data stays.
",
        kafka = kafka.bootstrap(),
        s3 = s3.url(),
        file = file.display(),
        product = product.display(),
    )
}

/// The usual port, or the next one that is free.
fn port(usual: u16, whose: &str) -> Result<u16> {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let found = (usual..usual.saturating_add(PORTS_TRIED)).find(free);
    let found = found.with_context(|| format!("no port from {usual} on is free for {whose}"))?;
    if found != usual {
        eprintln!("port {usual} is taken: {whose} listens on {found}");
    }
    Ok(found)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} has no absolute path", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_stepped_over() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let usual = taken.local_addr().unwrap().port();
        assert!(port(usual, "a test").unwrap() > usual);
    }
}
