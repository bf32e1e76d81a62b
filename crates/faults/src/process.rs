//! A server as a process of its own: started, waited for, signalled, and gone when its owner is.

use std::fs::File;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::freeze::{self, signal};
use crate::guard::Guard;

/// How often is looked whether something has come true.
const LOOK: Duration = Duration::from_millis(20);
/// Lines of the log that an error shows.
const TAIL_LINES: usize = 30;

/// A running server. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    /// Kills the server where this process is killed before it can. Gone before the server is: its id may be another's then.
    guard: Option<Guard>,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a server in a process group of its own, so that Ctrl-C reaches its owner only; what it prints goes to the end of a file.
    ///
    /// # Errors
    ///
    /// When the program or the folder of its log is not there.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log).with_context(|| format!("{} cannot be written", log.display()))?;
        let errors = file.try_clone().context("a file cannot be shared")?;
        let started = command.process_group(0).stdin(Stdio::null()).stdout(file).stderr(errors).spawn();
        let mut child = started.with_context(|| format!("{name} cannot be started: {} is missing", command.get_program().display()))?;
        match Guard::over(child.id(), "KILL") {
            Ok(guard) => Ok(Self { name: name.to_owned(), guard: Some(guard), child, log: log.to_owned() }),
            Err(error) => {
                child.kill().and_then(|()| child.wait()).with_context(|| format!("{name} cannot be killed"))?;
                Err(error)
            }
        }
    }

    /// Its id with the system.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it has ended, and the end of its log. `None`: it runs.
    ///
    /// # Errors
    ///
    /// When the system does not tell.
    pub fn ended(&mut self) -> Result<Option<String>> {
        let status = self.child.try_wait().with_context(|| format!("the end of {} cannot be asked for", self.name))?;
        Ok(status.map(|status| format!("{} ended with {status}; its log, {}, ends with\n{}", self.name, self.log.display(), self.tail())))
    }

    /// Waits until the server answers.
    ///
    /// # Errors
    ///
    /// When it ends before that, or takes longer than `patience`; the text ends with its log.
    pub fn wait_until(&mut self, patience: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let began = Instant::now();
        while !ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status} before it answered; its log, {}, ends with\n{}", self.name, self.log.display(), self.tail());
            }
            if began.elapsed() > patience {
                let (name, log) = (&self.name, self.log.display());
                bail!("{name} did not answer within {} s; its log, {log}, ends with\n{}", patience.as_secs(), self.tail());
            }
            sleep(LOOK);
        }
        Ok(())
    }

    /// Lets it stand still until it is thawed.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn freeze(&self) -> Result<()> {
        freeze::freeze(self.id()).with_context(|| format!("{} cannot be frozen", self.name))
    }

    /// Lets it go on.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn thaw(&self) -> Result<()> {
        freeze::thaw(self.id()).with_context(|| format!("{} cannot be thawed", self.name))
    }

    /// SIGKILL.
    ///
    /// # Errors
    ///
    /// Unless this is what ended it: a crash that was none proves nothing.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("{} cannot be killed", self.name))?;
        let status = self.child.wait().with_context(|| format!("the end of {} cannot be waited for", self.name))?;
        if status.signal() != Some(9) {
            bail!("{} had ended with {status} before it was killed; its log ends with\n{}", self.name, self.tail());
        }
        Ok(())
    }

    /// SIGTERM, and SIGKILL where that did not help within `patience`. Nothing to do where it has ended.
    ///
    /// # Errors
    ///
    /// When it had to be killed; the text ends with its log.
    pub fn stop(&mut self, patience: Duration) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        signal(self.id(), "TERM").with_context(|| format!("{} cannot be stopped", self.name))?;
        let began = Instant::now();
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > patience {
                self.kill()?;
                bail!("{} did not stop within {} s and was killed; its log ends with\n{}", self.name, patience.as_secs(), self.tail());
            }
            sleep(LOOK);
        }
        Ok(())
    }

    fn tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.guard = None;
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("{} is left behind: {error}", self.name);
        }
    }
}
