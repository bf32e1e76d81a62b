//! A gate for an application's own tests: `tidegate micro` in a process of its own, asked for what it got.
//!
//! ```no_run
//! # fn sign_up(client: &tidegate_sdk::Client) {}
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! let micro = tidegate_sdk::testing::Micro::start()?;
//! let client = tidegate_sdk::Client::builder("any").url(micro.url()).build()?;
//! sign_up(&client);
//! client.close(Duration::from_secs(10));
//! assert!(micro.bad()?.is_empty());
//! assert_eq!(micro.good()?[0]["event_type"], "signup");
//! # Ok(())
//! # }
//! ```

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::clock::Deadline;

const ANSWER: Duration = Duration::from_secs(30);
const PROGRAM_VARIABLE: &str = "TIDEGATE_BIN";

/// A running gate that keeps what it gets in memory, until it is dropped. The program `tidegate` is what the variable `TIDEGATE_BIN` names, or else in `PATH`.
#[derive(Debug)]
pub struct Micro {
    process: Child,
    url: String,
    agent: ureq::Agent,
}

impl Micro {
    /// Takes every event type.
    ///
    /// # Errors
    ///
    /// Where the program is not found, or does not start.
    pub fn start() -> io::Result<Self> {
        Self::run(None)
    }

    /// With a tracking plan.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), also where the plan cannot be read.
    pub fn with_plan(plan: impl AsRef<Path>) -> io::Result<Self> {
        Self::run(Some(plan.as_ref()))
    }

    fn run(plan: Option<&Path>) -> io::Result<Self> {
        let program = env::var_os(PROGRAM_VARIABLE).unwrap_or_else(|| OsString::from("tidegate"));
        let mut command = Command::new(&program);
        command.args(["micro", "--listen", "127.0.0.1:0"]);
        if let Some(plan) = plan {
            command.arg("--plan").arg(plan);
        }
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| {
            let program = Path::new(&program).display();
            io::Error::new(
                error.kind(),
                format!("{program} cannot be run ({error}); put tidegate in PATH, or name it with {PROGRAM_VARIABLE}"),
            )
        })?;
        let mut url = String::new();
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut url)?;
        }
        let mut stderr = process.stderr.take();
        if url.trim().is_empty() {
            let mut said = String::new();
            if let Some(stderr) = &mut stderr {
                stderr.read_to_string(&mut said)?;
            }
            process.wait()?;
            return Err(io::Error::other(format!("tidegate micro did not start: {}", said.trim())));
        }
        if let Some(mut stderr) = stderr {
            // What is not read would stop it one day.
            thread::spawn(move || drop(io::copy(&mut stderr, &mut io::sink())));
        }
        // Not through a proxy that the environment names.
        let agent = ureq::Agent::config_builder().proxy(None).timeout_global(Some(ANSWER)).build().new_agent();
        Ok(Self { process, url: url.trim().to_owned(), agent })
    }

    /// Where clients send to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many events came: `total`, `good`, `bad`, and `duplicates`, which are copies of good ones.
    ///
    /// # Errors
    ///
    /// Where it does not answer.
    pub fn all(&self) -> io::Result<Value> {
        self.ask("all")
    }

    /// The events that would be in Silver, in the native shape, each once, in the order they came.
    ///
    /// # Errors
    ///
    /// Where it does not answer.
    pub fn good(&self) -> io::Result<Vec<Value>> {
        let mut kept: Vec<Value> = self.ask("good")?;
        Ok(kept.iter_mut().map(|kept| kept["event"].take()).collect())
    }

    /// What would not: each with `violations` (`code`, `field`, `message`) and its `payload`.
    ///
    /// # Errors
    ///
    /// Where it does not answer.
    pub fn bad(&self) -> io::Result<Vec<Value>> {
        self.ask("bad")
    }

    /// Forgets all of it.
    ///
    /// # Errors
    ///
    /// Where it does not answer.
    pub fn reset(&self) -> io::Result<()> {
        self.ask::<Value>("reset").map(drop)
    }

    /// Waits until there are so many good events.
    ///
    /// # Errors
    ///
    /// Where there are not in time, with what there is; or where it does not answer.
    pub fn wait_for(&self, good: usize, timeout: Duration) -> io::Result<Vec<Value>> {
        let deadline = Deadline::after(timeout);
        loop {
            let found = self.good()?;
            if found.len() >= good {
                return Ok(found);
            }
            if deadline.left().is_zero() {
                let message = format!("{good} good events expected, there are {}; bad ones: {:?}", found.len(), self.bad()?);
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn ask<T: DeserializeOwned>(&self, what: &str) -> io::Result<T> {
        let mut answer = self.agent.get(format!("{}/micro/{what}", self.url)).call().map_err(io::Error::other)?;
        let body = answer.body_mut().with_config().limit(u64::MAX).read_to_vec().map_err(io::Error::other)?;
        Ok(serde_json::from_slice(&body)?)
    }
}

impl Drop for Micro {
    fn drop(&mut self) {
        // It has nothing to lose.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
