//! Processes that are measured: servers, which are gone when their owner is, and programs that run to their end within bounds.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use servers::Guard;

use super::usage::Usage;

const LOOK: Duration = Duration::from_millis(10);
/// How often it is looked what a program uses.
const LOOK_AT_USAGE: Duration = Duration::from_millis(50);
/// How long a process may take to end in order, before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a log that an error shows.
const TAIL_BYTES: usize = 2_000;

/// A process, in a group of its own with all that it starts. Dropped, the group is asked to end, and killed where it does not.
#[derive(Debug)]
pub(crate) struct Running {
    name: String,
    child: Child,
    /// Asks it to end where this process is killed before it can. Gone before the process is: its id may be another's then.
    guard: Option<Guard>,
    log: PathBuf,
}

impl Running {
    /// Starts a program whose output, both kinds, goes to the end of a log.
    ///
    /// # Errors
    ///
    /// When the program or the folder of its log is not there.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log).with_context(|| format!("{} cannot be written", log.display()))?;
        Self::start_with(name, command, file, log)
    }

    /// The same with the standard output in a file of its own.
    fn start_with(name: &str, command: &mut Command, out: File, log: &Path) -> Result<Self> {
        let errors = File::options().create(true).append(true).open(log).with_context(|| format!("{} cannot be written", log.display()))?;
        let started = command.process_group(0).stdin(Stdio::null()).stdout(out).stderr(errors).spawn();
        let child =
            started.with_context(|| format!("{name} cannot be started: is there a program {}?", command.get_program().display()))?;
        let mut running = Self { name: name.to_owned(), child, guard: None, log: log.to_owned() };
        running.guard = Some(Guard::over(running.id(), "TERM")?);
        Ok(running)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until something has come true of it.
    ///
    /// # Errors
    ///
    /// When it ends before that, or takes longer than `patience`; the text ends with its log.
    pub(crate) fn wait_until(&mut self, patience: Duration, mut come_true: impl FnMut() -> bool) -> Result<()> {
        let began = Instant::now();
        while !come_true() {
            self.check()?;
            if began.elapsed() > patience {
                let (name, log) = (&self.name, self.log.display());
                bail!("{name} was not so far within {} s; its log, {log}, ends with\n{}", patience.as_secs(), tail(&self.log));
            }
            sleep(LOOK);
        }
        Ok(())
    }

    /// That it runs.
    ///
    /// # Errors
    ///
    /// When it has ended; the text ends with its log.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}; its log, {}, ends with\n{}", self.name, self.log.display(), tail(&self.log)),
        }
    }

    /// Sends a signal to all of the group.
    fn signal(&self, signal: &str) {
        let mut kill = Command::new("kill");
        kill.args([format!("-{signal}"), "--".to_owned(), format!("-{}", self.id())]).stderr(Stdio::null());
        // Fails where all have ended, which is what is wanted.
        drop(kill.status());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.guard = None;
        self.signal("TERM");
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && began.elapsed() < STOP_PATIENCE {
            sleep(LOOK);
        }
        // Also what it has left behind.
        self.signal("KILL");
        if let Err(error) = self.child.wait() {
            eprintln!("{} is left behind: {error}", self.name);
        }
    }
}

/// A program that has run to its end.
#[derive(Debug)]
pub(crate) struct Ended {
    /// What it printed.
    pub(crate) out: PathBuf,
    pub(crate) seconds: f64,
    pub(crate) usage: Usage,
}

impl Ended {
    /// What it printed, as text.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub(crate) fn text(&self) -> Result<String> {
        let bytes = fs::read(&self.out).with_context(|| format!("{} cannot be read", self.out.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Runs a program to its end, its standard output in one file, `FILES.out`, and its log in another, `FILES.log`.
///
/// # Errors
///
/// When it fails, or takes longer than `patience` and is stopped; the text ends with its log.
pub(crate) fn to_end(name: &str, command: &mut Command, files: &Path, patience: Duration) -> Result<Ended> {
    let (out, log) = (files.with_extension("out"), files.with_extension("log"));
    let file = File::create(&out).with_context(|| format!("{} cannot be written", out.display()))?;
    let began = Instant::now();
    let mut running = Running::start_with(name, command, file, &log)?;
    let mut usage = Usage::default();
    let mut looked = began;
    let status: ExitStatus = loop {
        if looked.elapsed() >= LOOK_AT_USAGE {
            usage = usage.or_more(Usage::of(running.id()));
            looked = Instant::now();
        }
        if let Some(status) = running.child.try_wait()? {
            break status;
        }
        if began.elapsed() > patience {
            bail!(
                "{name} took longer than {} s and was stopped; its log, {}, ends with\n{}",
                patience.as_secs(),
                log.display(),
                tail(&log)
            );
        }
        sleep(LOOK);
    };
    let seconds = began.elapsed().as_secs_f64();
    if !status.success() {
        bail!("{name} ended with {status}; its log, {}, ends with\n{}", log.display(), tail(&log));
    }
    Ok(Ended { out, seconds, usage })
}

fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(bytes.get(bytes.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("xtask-bench-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_program_is_run_to_its_end_or_stopped() {
        let run = |name: &str, script: &str, patience| {
            to_end(name, Command::new("sh").args(["-c", script]), &files(name), Duration::from_millis(patience))
        };
        let ended = run("sound", "echo told; echo log >&2", 10_000).unwrap();
        assert_eq!(ended.text().unwrap(), "told\n");
        let failed = run("failing", "echo why >&2; exit 3", 10_000).unwrap_err().to_string();
        assert!(failed.contains("exit status: 3") && failed.ends_with("why\n"), "{failed}");
        let began = Instant::now();
        let slow = run("slow", "sleep 60 & wait", 300).unwrap_err().to_string();
        assert!(slow.contains("took longer") && began.elapsed() < Duration::from_secs(30), "{slow}");
    }
}
