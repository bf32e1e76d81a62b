//! A process that stands still: its connections stay open, and nothing of it runs.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How long a process may take to come to a stand.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(2);

/// Lets a process stand still, and returns when it does: SIGSTOP reaches a process's threads one after the other, after `kill` has returned.
///
/// # Errors
///
/// When the process is gone, or one of its threads still runs after ten seconds.
pub fn freeze(process: u32) -> Result<()> {
    signal(process, "STOP")?;
    let began = Instant::now();
    while !stands_still(process)? {
        if began.elapsed() > PATIENCE {
            bail!("process {process} still runs {} s after SIGSTOP", PATIENCE.as_secs());
        }
        sleep(LOOK);
    }
    Ok(())
}

/// Lets a process go on after [`freeze`].
///
/// # Errors
///
/// When the process is gone.
pub fn thaw(process: u32) -> Result<()> {
    signal(process, "CONT")
}

/// Sends a signal by its name, such as `TERM`.
pub(crate) fn signal(process: u32, signal: &str) -> Result<()> {
    let sent = Command::new("kill").arg(format!("-{signal}")).arg(process.to_string()).stderr(Stdio::null()).status();
    if !sent.context("there is no program `kill`")?.success() {
        bail!("process {process} is gone, SIG{signal} did not reach it");
    }
    Ok(())
}

/// Whether all threads of a process are stopped (proc(5): the state after the name, which stands in parentheses and may hold any).
fn stands_still(process: u32) -> Result<bool> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).with_context(|| format!("process {process} is gone"))?;
    for thread in threads {
        let thread = thread.with_context(|| format!("the threads of process {process} cannot be listed"))?;
        // A thread that has ended since runs no more either.
        let Ok(state) = std::fs::read_to_string(thread.path().join("stat")) else { continue };
        if !state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T')) {
            return Ok(false);
        }
    }
    Ok(true)
}
