//! What must hold of the sources: format, lints, the repository's own rules.

mod absences;
mod text;
mod versions;

use std::process::Command;

use anyhow::Result;

use crate::place::{Place, VERSION, cargo};
use crate::step::{output, run, step};

/// Runs every check; what is quick and needs no compiling comes first.
///
/// # Errors
///
/// The first check that fails.
pub(crate) fn run_all(place: &Place) -> Result<()> {
    step("rules on texts", || text::check(place.root()))?;
    step("one version", || versions::check(place.root(), VERSION))?;
    step("what crates must not depend on", || absences::check(place))?;
    step("format", || run(cargo(place).args(["fmt", "--all", "--check"])))?;
    step("spelling", || {
        if missing(Command::new("typos").arg("--version"))? {
            eprintln!("typos is not installed; to check spelling: cargo install --locked typos-cli");
            return Ok(());
        }
        run(Command::new("typos").current_dir(place.root()))
    })?;
    step("licences and sources of dependencies", || {
        if missing(Command::new("cargo-deny").arg("--version"))? {
            eprintln!("cargo-deny is not installed; to check dependencies: cargo install --locked cargo-deny");
            return Ok(());
        }
        // Not the advisories: what is published tomorrow must not fail what is unchanged. CI asks for them on a schedule.
        run(Command::new("cargo-deny").args(["check", "bans", "licenses", "sources"]).current_dir(place.root()))
    })?;
    step("clippy", || {
        let arguments = ["clippy", "--release", "--workspace", "--all-targets", "--", "--deny", "warnings"];
        run(cargo(place).args(arguments))
    })
}

fn missing(tool: &mut Command) -> Result<bool> {
    Ok(output(tool)?.is_none())
}
