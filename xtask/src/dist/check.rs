//! What was made, as whoever gets it begins: unpacked or installed in an empty folder, away from the repository.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::packages::{NODE, PYTHON, find};
use super::{Part, Release, list, renew};
use crate::clients::node::npm;
use crate::clients::python;
use crate::place::VERSION;
use crate::step::{output, run, step};

/// Each is told the version as its argument.
const SDK_OF_PYTHON: &str = "import sys, tidegate; assert tidegate.__version__ == sys.argv[1], tidegate.__version__; tidegate.Client";
const JOB_OF_SPARK: &str =
    "import sys, tidegate_spark, tidegate_spark.steps; assert tidegate_spark.__version__ == sys.argv[1], tidegate_spark.__version__";
const SDK_OF_NODE: &str = "\
import { Tidegate, VERSION } from 'tidegate'
import * as browser from 'tidegate/browser'
import 'tidegate/testing'
if (typeof Tidegate !== 'function' || VERSION !== process.argv[1] || browser.VERSION !== VERSION) throw new Error(`it says that it is ${VERSION}`)";

/// Tries all of the parts that can be tried.
pub(super) fn all(release: &Release<'_>, parts: &[Part]) -> Result<()> {
    step("sums", || run(Command::new("sha256sum").args(["--check", "--strict", list::SUMS]).current_dir(&release.folder)))?;
    for part in parts {
        match part {
            Part::Program => step("the program, unpacked", || program(release))?,
            Part::Python => step("the Python SDK, installed", || installed(release, "tidegate-", SDK_OF_PYTHON))?,
            Part::Spark => step("the Spark job, installed", || installed(release, "tidegate_spark-", JOB_OF_SPARK))?,
            Part::Node => step("the TypeScript SDK, installed", || node(release))?,
            // Cargo has compiled its packages when it made them, and the bill was held against what cargo says.
            Part::Rust | Part::Sbom => {}
        }
    }
    Ok(())
}

fn program(release: &Release<'_>) -> Result<()> {
    let folder = empty(release, "program")?;
    run(Command::new("tar").args(["--extract", "--gzip", "--file"]).arg(release.tarball()).arg("--directory").arg(&folder))?;
    let program = folder.join(release.name()).join("tidegate");
    let version = output(alone(&program, &folder).arg("--version"))?.context("there is no program in the tarball")?;
    if version.trim() != format!("tidegate {VERSION}") {
        bail!("it says that it is {version:?}");
    }
    run(alone(&program, &folder).args(["demo", "--once"]))
}

/// The program, without any setting of this machine.
fn alone(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEGATE_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder);
    command
}

/// A wheel with what it depends on, in an environment of its own.
fn installed(release: &Release<'_>, name: &str, script: &str) -> Result<()> {
    let wheel = find(&release.folder.join(PYTHON), name, ".whl")?;
    let folder = empty(release, name.trim_end_matches('-'))?;
    let interpreter = python::empty_environment(&folder.join("environment"))?;
    run(Command::new(&interpreter).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).arg(wheel))?;
    // Isolated: neither this folder nor PYTHONPATH has anything that could be taken for it.
    run(Command::new(&interpreter).args(["-I", "-c", script, VERSION]).current_dir(&folder))
}

fn node(release: &Release<'_>) -> Result<()> {
    let package = find(&release.folder.join(NODE), "tidegate-", ".tgz")?;
    let folder = empty(release, "npm")?;
    let mut install = Command::new(npm());
    // Without a prefix it would take the next folder above that has packages.
    install.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"]).arg(&folder).arg(package);
    run(install.current_dir(&folder))?;
    run(Command::new("node").args(["--input-type=module", "--eval", SDK_OF_NODE, VERSION]).current_dir(&folder))
}

fn empty(release: &Release<'_>, name: &str) -> Result<PathBuf> {
    let folder = release.work.join("check").join(name);
    renew(&folder)?;
    Ok(folder)
}
