//! Builds the product and runs the tests of all crates.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use servers::PROMETHEUS_VARIABLE;

use crate::place::{Place, cargo};
use crate::servers::Installed;
use crate::step::{run, step};

/// Builds what `cargo run --release` runs.
///
/// # Errors
///
/// When it does not compile.
pub(crate) fn build_product(place: &Place) -> Result<()> {
    step("build the product", || run(cargo(place).args(["build", "--release", "--package", "tidegate"])))
}

/// Builds an example of a crate, with the features that everything of the workspace has; where it is.
///
/// # Errors
///
/// When it does not compile.
pub(crate) fn build_example(place: &Place, name: &str) -> Result<PathBuf> {
    step(&format!("build {name}"), || run(cargo(place).args(["build", "--release", "--workspace", "--example", name])))?;
    Ok(place.example(name))
}

/// Builds the simulation, with the features that everything of the workspace has, and runs it.
///
/// # Errors
///
/// When it does not compile, or a law was broken.
pub(crate) fn simulate(place: &Place, arguments: &[String]) -> Result<()> {
    run(cargo(place).args(["build", "--release", "--quiet", "--workspace", "--bin", "simulation"]))?;
    run(Command::new(place.simulation()).args(arguments))
}

/// Runs the tests of the workspace, documentation included.
///
/// # Errors
///
/// When a test fails.
pub(crate) fn test(place: &Place, servers: &Installed, prometheus: &Path) -> Result<()> {
    step("build the tests", || run(cargo(place).args(["test", "--release", "--workspace", "--no-run"])))?;
    step("Rust tests", || {
        let mut tests = cargo(place);
        tests.args(["test", "--release", "--workspace", "--no-fail-fast"]).envs(servers.variables());
        tests.env(PROMETHEUS_VARIABLE, prometheus);
        // The SDK is tested with the product.
        run(tests.env("TIDEGATE_BIN", place.product()))
    })
}
