//! `cargo xtask`: the commands that people and CI use to check the repository.
//!
//! It runs tools and says what is missing. It writes only below the target folder, and changes no tracked file unless it is told to: `instructions --write`,
//! `bench --write-figures`.

mod bench;
mod chaos;
mod clients;
mod dist;
mod docs;
mod fuzz;
mod instructions;
mod lint;
mod place;
mod rust;
mod sbom;
mod servers;
mod spark;
mod step;
mod up;
mod upgrade;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::place::Place;

const USAGE: &str = "\
Checks the repository, and runs what is in it.

Usage: cargo xtask <COMMAND>

Commands:
  test           all tests: Rust, then Spark, then the SDK and the real clients of Python, then those of Node
  test rust      the tests of all crates, the Rust SDK's against the product; then instructions, where valgrind is installed
  test spark     the Spark job, on a cluster of its own, beside the workers
  test python    the Python SDK, the Python clients, the converters in examples/, the commands of the documents and what is in deploy/; the statistics beside other packages
  test node      the TypeScript SDK and the Node clients, against the product
  simulate       the whole path by seeds, with processes that die and stores that fail; what can be added: simulate --help
  chaos          faults for minutes on end, on Kafka, an S3 server, a gate and two workers, every event counted; what can be added: chaos --help
  bench          the product beside FastAPI, Kafka's own tools, Spark and the limits of this machine; what can be added: bench --help
  fuzz           the decoders under random input, for a minute each; needs a nightly compiler and cargo-fuzz; what can be added: fuzz --help
  instructions   the instructions that an event takes in each inner loop, held to those of before; needs valgrind; what can be added: instructions --help
  up             Kafka, an S3 server and the product on them, until Ctrl-C; --data DIR keeps the data there, not below the target folder
  screenshots    the pictures of the console, of a demo that runs, below the target folder
  docs           the documents as a site, by mdbook, below the target folder
  lint           format, clippy, the repository's own rules, and cargo-deny and typos where they are installed
  check          lint, then test
  sbom           the bill of materials of the product as CycloneDX, below the target folder, where cargo-cyclonedx is installed
  dist           all that a release consists of, below the target folder, tried out; what can be left out: dist --help
  upgrade        the program of a release and that of this clone in turns on the same data; --from NAME is the former, its folder or its tarball
  help           this text";

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Command {
    /// With how which of them is used.
    Help(&'static str),
    Lint,
    Test(Suite),
    Check,
    Docs,
    Sbom,
    Screenshots,
    /// With what is left out.
    Dist(Vec<String>),
    /// With the program of the release before, or where it is; without one, this one stands in for it.
    Upgrade(Option<PathBuf>),
    /// With the folder for its data, where one is given.
    Up(Option<PathBuf>),
    /// With what the simulation is told.
    Simulate(Vec<String>),
    /// With what the product's command is told.
    Chaos(Vec<String>),
    /// With the targets, and for how long.
    Fuzz(Vec<String>),
    /// With the loops, and whether the figures are to be written.
    Instructions(Vec<String>),
    /// With the scenarios, and how often and how long.
    Bench(Vec<String>),
}

/// Which tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suite {
    All,
    Rust,
    Spark,
    Python,
    Node,
}

impl Command {
    fn parse(arguments: &[&str]) -> Option<Self> {
        Some(match arguments {
            ["bench", rest @ ..] => Self::unless_help(rest, bench::USAGE, Self::Bench),
            ["chaos", rest @ ..] => Self::Chaos(owned(rest)),
            ["dist", rest @ ..] => Self::unless_help(rest, dist::USAGE, Self::Dist),
            ["fuzz", rest @ ..] => Self::unless_help(rest, fuzz::USAGE, Self::Fuzz),
            ["instructions", rest @ ..] => Self::unless_help(rest, instructions::USAGE, Self::Instructions),
            ["simulate", rest @ ..] => Self::Simulate(owned(rest)),
            [] | ["help" | "-h" | "--help"] | [_, "-h" | "--help"] => Self::Help(USAGE),
            ["lint"] => Self::Lint,
            ["check"] => Self::Check,
            ["docs"] => Self::Docs,
            ["sbom"] => Self::Sbom,
            ["screenshots"] => Self::Screenshots,
            ["upgrade"] => Self::Upgrade(None),
            ["upgrade", "--from", from] => Self::Upgrade(Some(PathBuf::from(from))),
            ["up"] => Self::Up(None),
            ["up", "--data", folder] => Self::Up(Some(PathBuf::from(folder))),
            ["test"] => Self::Test(Suite::All),
            ["test", "rust"] => Self::Test(Suite::Rust),
            ["test", "spark"] => Self::Test(Suite::Spark),
            ["test", "python"] => Self::Test(Suite::Python),
            ["test", "node"] => Self::Test(Suite::Node),
            _ => return None,
        })
    }

    /// A command that reads what it is told itself. Those that hand it on to another program leave `--help` to that.
    fn unless_help(rest: &[&str], usage: &'static str, command: fn(Vec<String>) -> Self) -> Self {
        if rest.iter().any(|argument| matches!(*argument, "-h" | "--help")) { Self::Help(usage) } else { command(owned(rest)) }
    }

    fn run(self, place: &Place) -> Result<()> {
        match self {
            Self::Help(usage) => eprintln!("{usage}"),
            Self::Lint => lint::run_all(place)?,
            Self::Docs => docs::build(place)?,
            Self::Screenshots => {
                clients::node::find()?;
                rust::build_product(place)?;
                clients::node::screenshots(place)?;
            }
            Self::Sbom => drop(sbom::make(place)?),
            Self::Dist(arguments) => dist::run(place, &arguments)?,
            Self::Upgrade(from) => upgrade::run(place, from.as_deref())?,
            Self::Test(suite) => test(place, suite)?,
            Self::Up(folder) => up::run(place, folder)?,
            Self::Chaos(arguments) => chaos::run(place, &arguments)?,
            Self::Fuzz(arguments) => fuzz::run(place, &arguments)?,
            Self::Instructions(arguments) => instructions::run(place, &arguments)?,
            Self::Bench(arguments) => bench::run(place, &arguments)?,
            Self::Simulate(arguments) => rust::simulate(place, &arguments)?,
            Self::Check => {
                lint::run_all(place)?;
                test(place, Suite::All)?;
            }
        }
        Ok(())
    }
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().copied().map(str::to_owned).collect()
}

fn test(place: &Place, suite: Suite) -> Result<()> {
    let includes = |part| suite == Suite::All || suite == part;
    let needs_servers = suite != Suite::Node;
    // What would fail for want of an interpreter fails before half an hour of compiling.
    let tools = needs_servers.then(servers::find).transpose()?;
    let python = (suite != Suite::Node).then(clients::python::find).transpose()?;
    let node = includes(Suite::Node).then(clients::node::find).transpose()?;
    let servers = tools.map(|tools| servers::install(place, &tools)).transpose()?;
    let prometheus = includes(Suite::Rust).then(|| servers::prometheus(place)).transpose()?;
    rust::build_product(place)?;
    if let Some(servers) = &servers {
        if let Some(prometheus) = &prometheus {
            rust::test(place, servers, prometheus)?;
            instructions::run_if_possible(place)?;
        }
        if let Some(python) = &python {
            if includes(Suite::Spark) {
                let spark = spark::install(place, python)?;
                spark::test(place, servers, &spark)?;
            }
            if includes(Suite::Python) {
                clients::python::test_statistics(place, python)?;
                clients::python::test_sdk(place, python)?;
                clients::python::test(place, python, servers)?;
                clients::python::test_documents(place, python, servers)?;
                clients::python::test_deploy(place, python, servers)?;
            }
        }
    }
    if node.is_some() {
        clients::node::test_sdk(place)?;
        clients::node::test(place)?;
    }
    Ok(())
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match Command::parse(&arguments) {
        Some(command) => command.run(&Place::find()?),
        None => bail!("`cargo xtask {}` is no command of this repository\n\n{USAGE}", arguments.join(" ")),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read() {
        let check = |line: &str, expect| assert_eq!(Command::parse(&line.split_whitespace().collect::<Vec<_>>()), expect, "{line}");
        check("", Some(Command::Help(USAGE)));
        check("test --help", Some(Command::Help(USAGE)));
        check("lint", Some(Command::Lint));
        check("docs", Some(Command::Docs));
        check("check", Some(Command::Check));
        check("sbom", Some(Command::Sbom));
        check("screenshots", Some(Command::Screenshots));
        check("test", Some(Command::Test(Suite::All)));
        check("test rust", Some(Command::Test(Suite::Rust)));
        check("test spark", Some(Command::Test(Suite::Spark)));
        check("test python", Some(Command::Test(Suite::Python)));
        check("test node", Some(Command::Test(Suite::Node)));
        check("up", Some(Command::Up(None)));
        check("up --data x", Some(Command::Up(Some(PathBuf::from("x")))));
        check("up --data", None);
        check("simulate --seed 7", Some(Command::Simulate(vec!["--seed".to_owned(), "7".to_owned()])));
        check("simulate --help", Some(Command::Simulate(vec!["--help".to_owned()])));
        check("dist --without sbom", Some(Command::Dist(vec!["--without".to_owned(), "sbom".to_owned()])));
        check("upgrade", Some(Command::Upgrade(None)));
        check("upgrade --from x.tar.gz", Some(Command::Upgrade(Some(PathBuf::from("x.tar.gz")))));
        check("upgrade x.tar.gz", None);
        check("fuzz json --jobs 2", Some(Command::Fuzz(vec!["json".to_owned(), "--jobs".to_owned(), "2".to_owned()])));
        check("instructions parse-one --write", Some(Command::Instructions(vec!["parse-one".to_owned(), "--write".to_owned()])));
        check("instructions --help", Some(Command::Help(instructions::USAGE)));
        check("fuzz json -h", Some(Command::Help(fuzz::USAGE)));
        check("dist --help", Some(Command::Help(dist::USAGE)));
        check("bench --scenario silver --help", Some(Command::Help(bench::USAGE)));
        check("bench --scenario silver", Some(Command::Bench(vec!["--scenario".to_owned(), "silver".to_owned()])));
        check("bench", Some(Command::Bench(Vec::new())));
        check("test java", None);
        check("lint rust", None);
    }
}
