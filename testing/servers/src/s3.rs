//! An S3 server: Versity S3 Gateway, which keeps objects as plain files below a folder.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use faults::Process;

use crate::installed;

/// The gateway's program.
pub const PROGRAM_VARIABLE: &str = "TIDEGATE_TEST_S3_PROGRAM";

const START_PATIENCE: Duration = Duration::from_secs(30);
const STOP_PATIENCE: Duration = Duration::from_secs(15);
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
const ACCESS_KEY: &str = "tidegate";
const SECRET_KEY: &str = "tidegate-on-loopback";
const REGION: &str = "us-east-1";
/// The folder of the accounts, where there are any.
const ACCOUNTS: &str = "accounts";

/// How a server is to be.
#[derive(Debug, Clone)]
pub struct S3Options {
    /// The gateway's program.
    pub program: PathBuf,
    /// Where it listens on 127.0.0.1; a free port where unset.
    pub port: Option<u16>,
}

impl S3Options {
    /// The program as the environment names it, a free port.
    ///
    /// # Errors
    ///
    /// When the program is not there; the text says how to get it.
    pub fn from_environment() -> Result<Self> {
        Ok(Self { program: installed(PROGRAM_VARIABLE, "an S3 gateway")?, port: None })
    }
}

/// A running server. Killed when dropped.
#[derive(Debug)]
pub struct S3 {
    folder: PathBuf,
    program: PathBuf,
    port: u16,
    url: String,
    process: Option<Process>,
}

impl S3 {
    /// Starts a server with its objects below a folder, and waits until it answers.
    ///
    /// # Errors
    ///
    /// When the gateway is not installed or does not start; the text ends with its log.
    pub fn start(folder: &Path) -> Result<Self> {
        Self::start_with(folder, &S3Options::from_environment()?)
    }

    /// The same with accounts beside the one that may do everything. They may do what [`S3::policy`] allows them and nothing else.
    ///
    /// # Errors
    ///
    /// As [`S3::start`].
    pub fn start_with_accounts(folder: &Path, accounts: &[&str]) -> Result<Self> {
        let accounts: Vec<String> = accounts.iter().map(|account| entry(account)).collect();
        let file = folder.join(ACCOUNTS).join("users.json");
        fs::create_dir_all(folder.join(ACCOUNTS)).with_context(|| format!("{} cannot be made", folder.display()))?;
        fs::write(&file, format!("{{\"accessAccounts\":{{{}}}}}", accounts.join(",")))
            .with_context(|| format!("{} cannot be written", file.display()))?;
        Self::start(folder)
    }

    /// Starts a server as the options say, on the objects that the folder has.
    ///
    /// # Errors
    ///
    /// As [`S3::start`].
    pub fn start_with(folder: &Path, options: &S3Options) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let folder = folder.canonicalize().with_context(|| format!("{} cannot be found", folder.display()))?;
        let port = options.port.map_or_else(faults::free_port, Ok)?;
        let mut s3 = Self { folder, program: options.program.clone(), port, url: format!("http://127.0.0.1:{port}"), process: None };
        for folder in [s3.buckets(), s3.metadata()] {
            fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        }
        if s3.answers() {
            bail!("something else answers on port {port} already: stop it, or choose another port");
        }
        s3.restart()?;
        Ok(s3)
    }

    /// Where it listens: `http://127.0.0.1:PORT`, the same after a restart.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Makes a bucket, unless it is there.
    ///
    /// # Errors
    ///
    /// When its folder cannot be made.
    pub fn bucket(&self, name: &str) -> Result<()> {
        let folder = self.buckets().join(name);
        fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))
    }

    /// Puts a policy on a bucket, in place of the one it has. It is believed to be sound: what the server would refuse to take is not found out here.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn policy(&self, bucket: &str, policy: &str) -> Result<()> {
        let folder = self.metadata().join(bucket).join("meta");
        fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        // A bucket that was made as a folder has no owner, and the gateway fails where anybody but root copies an object of such a one.
        let owner = format!("{{\"Owner\":\"{ACCESS_KEY}\",\"Grantees\":[]}}");
        for (name, text) in [("acl", owner.as_str()), ("policy", policy)] {
            // As a whole: requests are judged by it at the same time.
            let (next, file) = (folder.join("next"), folder.join(name));
            fs::write(&next, text)
                .and_then(|()| fs::rename(&next, &file))
                .with_context(|| format!("{} cannot be written", file.display()))?;
        }
        Ok(())
    }

    /// The variables by which every S3 client knows how to come here, as who may do everything.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.variables(ACCESS_KEY, SECRET_KEY)
    }

    /// The same as one of the accounts.
    pub fn environment_of(&self, account: &str) -> Vec<(String, String)> {
        self.variables(account, &secret(account))
    }

    fn variables(&self, access_key: &str, secret_key: &str) -> Vec<(String, String)> {
        let variables = [
            ("AWS_ACCESS_KEY_ID", access_key),
            ("AWS_SECRET_ACCESS_KEY", secret_key),
            ("AWS_REGION", REGION),
            ("AWS_ENDPOINT_URL", &self.url),
            ("AWS_ALLOW_HTTP", "true"),
        ];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// The id of the process; 0 while there is none.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Process::id)
    }

    /// Kills it at once, as a crash would. What it wrote stays.
    ///
    /// # Errors
    ///
    /// When it was not running, or ended otherwise.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the S3 gateway is not running")?.kill()
    }

    /// Starts it again on the same objects and port, and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it runs already or does not start; the text ends with its log.
    pub fn restart(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("the S3 gateway runs already: kill or stop it first");
        }
        mend(&self.metadata(), &self.buckets()).context("what a kill left of objects cannot be removed")?;
        let mut process = Process::start("the S3 gateway", &mut self.command(), &self.folder.join("s3.log"))?;
        process.wait_until(START_PATIENCE, || self.answers())?;
        self.process = Some(process);
        Ok(())
    }

    /// What starts it on its objects and port, for those who start and stop it themselves from now on. They may not kill it: [`S3::restart`] mends what that leaves.
    pub fn command(&self) -> Command {
        let mut gateway = Command::new(&self.program);
        // Keys by the environment: every user of the machine can read a command line.
        gateway.env("ROOT_ACCESS_KEY", ACCESS_KEY).env("ROOT_SECRET_KEY", SECRET_KEY);
        gateway.arg("--port").arg(format!("127.0.0.1:{}", self.port)).args(["--region", REGION, "--quiet", "--keep-alive"]);
        let accounts = self.folder.join(ACCOUNTS);
        if accounts.is_dir() {
            gateway.arg("--iam-dir").arg(accounts);
        }
        gateway.arg("posix");
        // Not every file system of a temporary folder knows extended attributes.
        gateway.arg("--sidecar").arg(self.metadata()).arg(self.buckets());
        gateway
    }

    /// Lets it end in order. Nothing to do where it is not running.
    ///
    /// # Errors
    ///
    /// When it had to be killed.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.stop(STOP_PATIENCE))
    }

    /// Lets it stand still: connections stay open, nothing answers.
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub fn freeze(&self) -> Result<()> {
        self.process.as_ref().context("the S3 gateway is not running")?.freeze()
    }

    /// Lets it go on after [`S3::freeze`].
    ///
    /// # Errors
    ///
    /// When it is not running.
    pub fn thaw(&self) -> Result<()> {
        self.process.as_ref().context("the S3 gateway is not running")?.thaw()
    }

    fn buckets(&self) -> PathBuf {
        self.folder.join("buckets")
    }

    fn metadata(&self) -> PathBuf {
        self.folder.join("metadata")
    }

    /// Any answer to a request that nobody signed is one.
    fn answers(&self) -> bool {
        let ask = || -> std::io::Result<[u8; 5]> {
            let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)), ANSWER_PATIENCE)?;
            stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
            let mut answer = [0; 5];
            stream.read_exact(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer == *b"HTTP/")
    }
}

fn secret(account: &str) -> String {
    format!("{account}-on-loopback")
}

/// An account as the gateway keeps it.
fn entry(account: &str) -> String {
    format!("\"{account}\":{{\"access\":\"{account}\",\"secret\":\"{}\",\"role\":\"user\"}}", secret(account))
}

/// Removes what a kill left of objects half made. The gateway writes what it has to say of an object before it puts the object in its place; a key that has only the former is
/// missing to who reads it and taken to who would make it, for ever. S3 itself puts objects in their place whole.
fn mend(metadata: &Path, objects: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(metadata)? {
        let entry = entry?;
        // What it has to say of a folder itself.
        if entry.file_name() == "meta" {
            continue;
        }
        let object = objects.join(entry.file_name());
        if !object.exists() {
            fs::remove_dir_all(entry.path())?;
        } else if object.is_dir() {
            mend(&entry.path(), &object)?;
        }
    }
    Ok(())
}
