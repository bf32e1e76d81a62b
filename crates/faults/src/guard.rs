//! Ends a process when the one that guards it is no more, however that one ended: also where it was killed and could not.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

/// Waits for its input to end, which the system sees to when the owner of the other end is gone.
const SCRIPT: &str = r#"read -r line; kill "-$1" "$0" 2>/dev/null"#;

/// A guard over a process. Dropped, it goes and leaves the process alone.
#[derive(Debug)]
pub struct Guard(Child);

impl Guard {
    /// Sends a signal, such as `TERM`, to a process once this process has ended.
    ///
    /// # Errors
    ///
    /// When there is no shell.
    pub fn over(process: u32, signal: &str) -> Result<Self> {
        let mut guard = Command::new("sh");
        guard.args(["-c", SCRIPT, &process.to_string(), signal]).process_group(0);
        let started = guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        started.map(Self).context("a process cannot be watched over: there is no `sh`")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            eprintln!("a guard is left behind: {error}");
        }
    }
}
