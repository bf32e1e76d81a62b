//! The processes and links of a setup while they run, and what is done to them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use faults::{Fault, Process, Proxy};
use rand::RngExt as _;
use rand::rngs::StdRng;

use super::setup::{Declared, Setup};

/// A process that is not there by then will not be there: recovery of a large journal, or a start of Kafka, on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(180);
/// Ours brings all that is in the journal to the tables before it ends.
const STOP_TIMEOUT: Duration = Duration::from_secs(180);
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of a torn write.
const TORN_BYTES_MAX: usize = 4096;

/// What runs.
#[derive(Debug)]
pub(super) struct Crew {
    setup: Setup,
    program: PathBuf,
    logs: PathBuf,
    running: BTreeMap<String, Process>,
    links: BTreeMap<String, Proxy>,
}

impl Crew {
    /// Nothing runs yet but the links.
    ///
    /// # Errors
    ///
    /// When a link cannot listen where it is to.
    pub(super) fn new(setup: Setup, program: PathBuf, logs: PathBuf) -> anyhow::Result<Self> {
        let mut links = BTreeMap::new();
        for link in &setup.links {
            links.insert(link.name.clone(), Proxy::start_at(&link.listen, &link.to)?);
        }
        Ok(Self { setup, program, logs, running: BTreeMap::new(), links })
    }

    pub(super) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Starts those of which it is true, each once the one before is ready.
    ///
    /// # Errors
    ///
    /// When one does not start; the text ends with its log.
    pub(super) fn start_all(&mut self, which: impl Fn(&Declared) -> bool) -> anyhow::Result<()> {
        let names: Vec<String> = self.setup.processes.iter().filter(|process| which(process)).map(|process| process.name.clone()).collect();
        names.iter().try_for_each(|name| self.start(name, &[]))
    }

    /// Starts one, with more arguments, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// As [`Crew::start_all`].
    pub(super) fn start(&mut self, name: &str, more: &[String]) -> anyhow::Result<()> {
        let declared = self.setup.process(name).with_context(|| format!("there is no process {name}"))?.clone();
        let mut command = self.command(&declared.command, &self.setup.environment_of(&declared))?;
        command.args(more);
        let log = self.logs.join(format!("{name}.log"));
        let mut process = Process::start(name, &mut command, &log)?;
        process.wait_until(START_TIMEOUT, || is_ready(&declared.ready))?;
        self.running.insert(name.to_owned(), process);
        Ok(())
    }

    fn command(&self, words: &[String], environment: &BTreeMap<String, String>) -> anyhow::Result<Command> {
        let (program, arguments) = words.split_first().context("a command without a program")?;
        let program = if program == "tidegate" { self.program.as_path() } else { Path::new(program) };
        let mut command = Command::new(program);
        // Its log is a file.
        command.args(arguments).envs(environment).env("NO_COLOR", "1");
        Ok(command)
    }

    fn running(&mut self, name: &str) -> anyhow::Result<&mut Process> {
        self.running.get_mut(name).with_context(|| format!("{name} is not running"))
    }

    /// Whether all that were started still run.
    ///
    /// # Errors
    ///
    /// Which one ended by itself, and how: that is a finding.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        for process in self.running.values_mut() {
            if let Some(ended) = process.ended()? {
                bail!("{ended}");
            }
        }
        Ok(())
    }

    /// Starts those that do not run, however they ended.
    ///
    /// # Errors
    ///
    /// As [`Crew::start_all`].
    pub(super) fn revive(&mut self) -> anyhow::Result<()> {
        let mut ended = Vec::new();
        for (name, process) in &mut self.running {
            if process.ended()?.is_some() {
                ended.push(name.clone());
            }
        }
        for name in &ended {
            self.running.remove(name);
        }
        let missing: Vec<String> =
            self.setup.processes.iter().map(|process| process.name.clone()).filter(|name| !self.running.contains_key(name)).collect();
        missing.iter().try_for_each(|name| self.start(name, &[]))
    }

    /// SIGKILL, and the proof that it was that which ended it.
    ///
    /// # Errors
    ///
    /// When it had ended by itself: that is a finding.
    pub(super) fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        self.running(name)?.kill()?;
        self.running.remove(name);
        Ok(())
    }

    /// SIGTERM, and a sound end.
    ///
    /// # Errors
    ///
    /// When it does not end in time.
    pub(super) fn stop(&mut self, name: &str) -> anyhow::Result<()> {
        self.running(name)?.stop(STOP_TIMEOUT)?;
        self.running.remove(name);
        Ok(())
    }

    /// Stops all that run of which it is true, the last one that was started first.
    ///
    /// # Errors
    ///
    /// When one does not end in time.
    pub(super) fn stop_all(&mut self, which: impl Fn(&Declared) -> bool) -> anyhow::Result<()> {
        let all: Vec<String> =
            self.setup.processes.iter().rev().filter(|process| which(process)).map(|process| process.name.clone()).collect();
        all.iter().filter(|name| self.running.contains_key(*name)).cloned().collect::<Vec<_>>().iter().try_for_each(|name| self.stop(name))
    }

    /// SIGSTOP, and the proof that it stands still.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub(super) fn freeze(&mut self, name: &str) -> anyhow::Result<()> {
        self.running(name)?.freeze()
    }

    /// SIGCONT.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub(super) fn thaw(&mut self, name: &str) -> anyhow::Result<()> {
        self.running(name)?.thaw()
    }

    /// Breaks a link, or mends it. Tells how often faults have struck it so far.
    ///
    /// # Errors
    ///
    /// When there is no such link.
    pub(super) fn set_link(&self, name: &str, fault: Fault) -> anyhow::Result<u64> {
        let link = self.links.get(name).with_context(|| format!("there is no link {name}"))?;
        link.set(fault);
        Ok(link.struck())
    }

    fn data(&self, name: &str) -> anyhow::Result<&Path> {
        let declared = self.setup.process(name).with_context(|| format!("there is no process {name}"))?;
        declared.data.as_deref().with_context(|| format!("the setup does not say where the data folder of {name} is (`data`)"))
    }

    /// Adds bytes that mean nothing to the newest segment of the journal of a process that does not run.
    ///
    /// # Errors
    ///
    /// When it has no journal of its own.
    pub(super) fn tear_journal(&self, name: &str, random: &mut StdRng) -> anyhow::Result<String> {
        let path = pick(&self.data(name)?.join("journal"), "segment", |path, _| path.as_os_str().to_owned())?;
        let bytes: Vec<u8> = (0..random.random_range(1..TORN_BYTES_MAX)).map(|_| random.random()).collect();
        let mut file = File::options().append(true).open(&path).with_context(|| path.display().to_string())?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).with_context(|| path.display().to_string())?;
        Ok(format!("{} bytes added to {}", bytes.len(), path.display()))
    }

    /// Turns a bit over in the middle of the largest file of the index of a process that does not run.
    ///
    /// # Errors
    ///
    /// When it has no index, or one that is in memory only so far.
    pub(super) fn damage_index(&self, name: &str, random: &mut StdRng) -> anyhow::Result<String> {
        let path = pick(&self.data(name)?.join("index"), "run", |_, bytes| bytes)?;
        let mut damage = || -> std::io::Result<u64> {
            let mut file = File::options().read(true).write(true).open(&path)?;
            let at = file.metadata()?.len() / 2;
            let mut byte = [0];
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(&mut byte)?;
            byte[0] ^= 1 << random.random_range(0..8);
            file.seek(SeekFrom::Start(at))?;
            file.write_all(&byte)?;
            file.sync_all()?;
            Ok(at)
        };
        let at = damage().with_context(|| path.display().to_string())?;
        Ok(format!("a bit turned over at byte {at} of {}", path.display()))
    }

    /// Where a process has its data.
    ///
    /// # Errors
    ///
    /// When the setup does not say.
    pub(super) fn data_folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        self.data(name).map(Path::to_owned)
    }

    /// A command of this program on the setup's tables.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(super) fn ask(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        self.asking(arguments)?.stdin(Stdio::null()).output().context("this program cannot be started again")
    }

    /// The same, not started yet.
    ///
    /// # Errors
    ///
    /// None that a setup that was read can have.
    pub(super) fn asking(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let as_whom = self.setup.process(&self.setup.commands_as).context("commands_as names no process")?;
        let words: Vec<String> = std::iter::once("tidegate").chain(arguments.iter().copied()).map(str::to_owned).collect();
        self.command(&words, &self.setup.environment_of(as_whom))
    }

    /// What a command that must succeed prints.
    ///
    /// # Errors
    ///
    /// What it says where it does not.
    pub(super) fn told(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.ask(arguments)?;
        if !output.status.success() {
            bail!("`tidegate {}` ended with {}: {}", arguments.join(" "), output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        String::from_utf8(output.stdout).map_err(|_| anyhow!("`tidegate {}` printed no text", arguments.join(" ")))
    }
}

/// The file with this ending that has the most of something.
fn pick<K: Ord>(folder: &Path, ending: &str, key: impl Fn(&Path, u64) -> K) -> anyhow::Result<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == ending) {
            found.push((key(&path, entry.metadata()?.len()), path));
        }
    }
    let found = found.into_iter().max_by(|one, other| one.0.cmp(&other.0));
    found.map(|(_, path)| path).with_context(|| format!("{} has no file that ends in .{ending}", folder.display()))
}

/// Whether a process is there: a connection and, of a URL, an answer with 200.
fn is_ready(ready: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let (host, path) = match ready.strip_prefix("http://") {
            Some(rest) => rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path))),
            None => (ready, None),
        };
        let address: SocketAddr = host.to_socket_addrs()?.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
        let mut connection = TcpStream::connect_timeout(&address, ASK_TIMEOUT)?;
        let Some(path) = path else { return Ok(true) };
        connection.set_read_timeout(Some(ASK_TIMEOUT))?;
        write!(connection, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut status = [0; 12];
        connection.read_exact(&mut status)?;
        Ok(&status == b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_picked_by_what_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [("1.run", 10), ("2.run", 30), ("3.run", 20), ("4.other", 90)] {
            std::fs::write(folder.path().join(name), vec![0; bytes]).unwrap();
        }
        let named = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(named(pick(folder.path(), "run", |_, bytes| bytes).unwrap()), "2.run");
        assert_eq!(named(pick(folder.path(), "run", |path, _| path.to_owned()).unwrap()), "3.run");
        assert!(pick(folder.path(), "segment", |_, bytes| bytes).unwrap_err().to_string().contains(".segment"));
    }

    #[test]
    fn nothing_is_ready_where_nothing_listens() {
        assert!(!is_ready("127.0.0.1:1") && !is_ready("http://127.0.0.1:1/readyz") && !is_ready("no address"));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(is_ready(&listener.local_addr().unwrap().to_string()));
    }
}
