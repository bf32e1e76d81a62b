//! Builds the product and runs the tests of all crates.

use std::process::Command;

use anyhow::Result;

use crate::place::{Place, cargo};
use crate::step::{run, step};

/// Builds what `cargo run --release` runs.
///
/// # Errors
///
/// When it does not compile.
pub(crate) fn build_product(place: &Place) -> Result<()> {
    step("build the product", || run(Command::new(cargo()).args(["build", "--release", "--package", "tidegate"]).current_dir(place.root())))
}

/// Runs the tests of the workspace, documentation included.
///
/// # Errors
///
/// When a test fails.
pub(crate) fn test(place: &Place) -> Result<()> {
    step("build the tests", || {
        run(Command::new(cargo()).args(["test", "--release", "--workspace", "--no-run"]).current_dir(place.root()))
    })?;
    step("Rust tests", || run(Command::new(cargo()).args(["test", "--release", "--workspace"]).current_dir(place.root())))
}
