//! The machine that was measured, and what was measured on it, as far as they say.

use std::fs;
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::place::Place;
use crate::step::output;

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) cores: u32,
    pub(crate) memory: String,
    pub(crate) processor: String,
    pub(crate) kernel: String,
}

impl Machine {
    /// This one.
    pub(crate) fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            cores: cores(),
            memory: field(&read("/proc/meminfo"), "MemTotal").unwrap_or("unknown").to_owned(),
            processor: processor().unwrap_or_else(|| "unknown".to_owned()),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({"cores": self.cores, "memory": self.memory, "processor": self.processor, "kernel": self.kernel})
    }
}

/// The name of the CPU; `None` where the system does not say, as on ARM.
pub(crate) fn processor() -> Option<String> {
    field(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default(), "model name").map(str::to_owned)
}

/// The cores that this process may use.
pub(crate) fn cores() -> u32 {
    thread::available_parallelism().ok().and_then(|cores| u32::try_from(cores.get()).ok()).unwrap_or(1)
}

/// The time, RFC 3339 in seconds.
///
/// # Errors
///
/// When there is no program `date`.
pub(crate) fn now() -> Result<String> {
    let text = output(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]))?.context("there is no program `date`")?;
    Ok(text.trim().to_owned())
}

/// The commit that was measured, and whether something was changed since.
pub(crate) fn commit(place: &Place) -> String {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty", "--abbrev=12"]).current_dir(place.root());
    output(&mut git).ok().flatten().map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let text = "processor\t: 0\nmodel name\t: A 3.5 GHz: fast\n";
        assert_eq!(field(text, "model name"), Some("A 3.5 GHz: fast"));
        assert_eq!(field(text, "model"), None);
        assert!(Machine::here().cores >= 1);
    }
}
