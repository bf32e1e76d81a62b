//! Runs a tool as a step that one sees: what begins, its own output, how long it took.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

/// Runs the work of a step under its name.
///
/// # Errors
///
/// The error of the work, with the name of the step.
pub(crate) fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    eprintln!("\n=== {name}");
    let began = Instant::now();
    work().with_context(|| format!("{name} failed"))?;
    eprintln!("=== {name}: done in {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a tool, its output shown, to its end.
///
/// # Errors
///
/// When it cannot be started or says that it failed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("{} cannot be started", program.display()))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

/// What a tool prints to its standard output; `None` when there is no such tool.
///
/// # Errors
///
/// When it is there and fails.
pub(crate) fn output(command: &mut Command) -> Result<Option<String>> {
    let done = match command.stdin(Stdio::null()).output() {
        Ok(done) => done,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be started", shown(command))),
    };
    if !done.status.success() {
        bail!("{} ended with {}: {}", shown(command), done.status, String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(Some(String::from_utf8_lossy(&done.stdout).into_owned()))
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
