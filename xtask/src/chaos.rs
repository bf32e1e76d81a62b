//! `cargo xtask chaos`: the product's faults on Kafka and S3, which are started here once to be made, and then belong to the product.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use servers::{Kafka, KafkaOptions, S3, S3Options, free_port};

use crate::place::Place;
use crate::step::{run as run_tool, step};
use crate::{rust, servers as installing};

const BUCKET: &str = "tidegate";
const WORKERS: u32 = 2;
/// The settings of gate and workers alike, beside addresses.
const SETTINGS: [(&str, &str); 4] = [
    ("TIDEGATE_JOURNAL__KIND", "kafka"),
    // The shortest that a broker grants.
    ("TIDEGATE_JOURNAL__KAFKA__SESSION_TIMEOUT", "6s"),
    ("TIDEGATE_LAKE__LOCATION", "s3://tidegate/lake"),
    ("TIDEGATE_PIPELINE__RETRY_PAUSE_MAX", "2s"),
];

/// Makes Kafka and an S3 server ready, says in a setup file how they and the product are started, and plays faults on all of it.
///
/// # Errors
///
/// When something cannot be installed, built or started, or something was lost.
pub(crate) fn run(place: &Place, arguments: &[String]) -> Result<()> {
    let tools = installing::find()?;
    let installed = installing::install(place, &tools)?;
    rust::build_product(place)?;
    let folder = place.chaos();
    let file = folder.join("setup.yaml");
    step("make Kafka and the S3 server ready", || {
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
        }
        let link = format!("127.0.0.1:{}", free_port()?);
        let options = KafkaOptions {
            jars: installed.jars.clone(),
            port: Some(free_port()?),
            advertised: Some(link.clone()),
            secure: false,
            accounts: Vec::new(),
            properties: Vec::new(),
            fast: false,
        };
        let mut kafka = Kafka::start_with(&folder.join("kafka"), &options)?;
        kafka.stop()?;
        let mut s3 = S3::start_with(&folder.join("s3"), &S3Options { program: installed.gateway.clone(), port: Some(free_port()?) })?;
        s3.bucket(BUCKET)?;
        s3.stop()?;
        let text = setup(&folder, &kafka, &link, options.port.unwrap_or_default(), &s3)?;
        fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))
    })?;
    run_tool(Command::new(place.product()).arg("chaos").arg("--setup").arg(&file).args(arguments))
}

/// The setup file. Texts are quoted as JSON has it, which YAML reads too.
fn setup(folder: &Path, kafka: &Kafka, kafka_link: &str, kafka_port: u16, s3: &S3) -> Result<String> {
    let (s3_link, gate) = (format!("127.0.0.1:{}", free_port()?), format!("127.0.0.1:{}", free_port()?));
    let s3_address = s3.url().trim_start_matches("http://").to_owned();
    let mut variables: Vec<(String, String)> = s3.environment();
    variables.retain(|(name, _)| name != "AWS_ENDPOINT_URL");
    variables.push(("AWS_ENDPOINT_URL".to_owned(), format!("http://{s3_link}")));
    variables.push(("TIDEGATE_JOURNAL__KAFKA__BROKERS".to_owned(), kafka_link.to_owned()));
    variables.extend(SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())));

    let mut text = format!(
        "about: Kafka, S3, a gate and {WORKERS} workers\ncommands_as: gate\ngates: [{:?}]\nenvironment:\n{}",
        format!("http://{gate}"),
        lines("  ", &variables)
    );
    writeln!(text, "links:\n  - {{name: kafka, listen: {kafka_link:?}, to: {:?}}}", format!("127.0.0.1:{kafka_port}"))?;
    writeln!(text, "  - {{name: s3, listen: {s3_link:?}, to: {s3_address:?}}}")?;
    text += "processes:\n";
    text += &server("kafka", &kafka.command(), &format!("127.0.0.1:{kafka_port}"));
    text += &server("s3", &s3.command(), &s3_address);
    text += &ours("gate", "ingest", &gate, &folder.join("gate"));
    for number in 1..=WORKERS {
        let (name, address) = (format!("worker-{number}"), format!("127.0.0.1:{}", free_port()?));
        text += &ours(&name, "pipeline", &address, &folder.join(&name));
    }
    Ok(text)
}

fn lines(indent: &str, variables: &[(String, String)]) -> String {
    variables.iter().map(|(name, value)| format!("{indent}{name}: {value:?}\n")).collect()
}

/// A process of someone else's.
fn server(name: &str, command: &Command, ready: &str) -> String {
    let words: Vec<String> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(|word| word.to_string_lossy().into_owned()).collect();
    let variables: Vec<(String, String)> = command
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_string_lossy().into_owned(), value?.to_string_lossy().into_owned())))
        .collect();
    let environment = if variables.is_empty() { String::new() } else { format!("    environment:\n{}", lines("      ", &variables)) };
    format!("  - name: {name}\n    command: {words:?}\n    ready: {ready:?}\n{environment}")
}

/// A process of the product.
fn ours(name: &str, role: &str, address: &str, data: &Path) -> String {
    let words = ["tidegate", "serve", "--roles", role, "--listen", address];
    format!(
        "  - name: {name}\n    command: {words:?}\n    ready: {:?}\n    environment: {{TIDEGATE_DATA: {data:?}}}\n",
        format!("http://{address}/readyz")
    )
}
