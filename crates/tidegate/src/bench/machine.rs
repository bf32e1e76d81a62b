//! What the machine is, and what processes on it use. Read from `/proc`: where there is none, nothing is known.

use std::fs;
use std::thread;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// What `/proc` counts time in: the same on every Linux with x86 or ARM.
const TICKS_PER_SECOND: f64 = 100.0;

/// The machine that was measured, as far as it says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Machine {
    /// That this process may use.
    pub(super) cores: usize,
    pub(super) memory_bytes: Option<u64>,
    pub(super) kernel: Option<String>,
    pub(super) processor: Option<String>,
}

impl Machine {
    /// This one.
    pub(super) fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let some = |text: String| (!text.is_empty()).then_some(text);
        Self {
            cores: cores(),
            memory_bytes: kibibytes(&read("/proc/meminfo"), "MemTotal"),
            kernel: some(read("/proc/sys/kernel/osrelease").trim().to_owned()),
            processor: some(field(&read("/proc/cpuinfo"), "model name").unwrap_or_default().to_owned()),
        }
    }
}

/// The cores that this process may use.
pub(super) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Which process: this one, or one by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    This,
    Other(u32),
}

impl Process {
    fn file(self, name: &str) -> String {
        match self {
            Self::This => format!("/proc/self/{name}"),
            Self::Other(id) => format!("/proc/{id}/{name}"),
        }
    }

    /// The seconds of CPU that it has used, with those of threads that have ended; to a hundredth.
    ///
    /// # Errors
    ///
    /// No such process, or a system without `/proc`.
    pub(super) fn cpu_seconds(self) -> anyhow::Result<f64> {
        let file = self.file("stat");
        let text = fs::read_to_string(&file).with_context(|| format!("{file} cannot be read; does the process run, on Linux?"))?;
        cpu_seconds(&text).with_context(|| format!("{file} is not what was expected"))
    }

    /// The most memory that it has had resident.
    ///
    /// # Errors
    ///
    /// As [`Process::cpu_seconds`].
    pub(super) fn rss_peak_bytes(self) -> anyhow::Result<u64> {
        let file = self.file("status");
        let text = fs::read_to_string(&file).with_context(|| format!("{file} cannot be read; does the process run, on Linux?"))?;
        kibibytes(&text, "VmHWM").with_context(|| format!("{file} does not say the peak of the memory"))
    }
}

/// Begins anew with the peak of this process's memory: what was before is of no account. Where the system does not let it, the peak stays that of the whole run.
pub(super) fn forget_peak() {
    drop(fs::write("/proc/self/clear_refs", "5"));
}

/// The 14th and the 15th field: in user mode and in the kernel. The second is a name in parentheses, in which anything may stand.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, behind) = stat.rsplit_once(')')?;
    let mut ticks = behind.split_ascii_whitespace().skip(11).map(|field| field.parse::<u64>().ok());
    Some((ticks.next()?? + ticks.next()??) as f64 / TICKS_PER_SECOND)
}

/// A field in lines such as `MemTotal:  16384 kB`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
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
    fn what_the_system_tells_is_read() {
        let stat = "42 (a ) name) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 8 0 1000 1000000 500";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("42 (x) S 1"), None);
        assert_eq!(kibibytes("MemFree: 1 kB\nMemTotal:       16384 kB\n", "MemTotal"), Some(16_777_216));
        assert_eq!(kibibytes("VmHWM: many\n", "VmHWM"), None);
        assert_eq!(field("processor\t: 0\nmodel name\t: A 3.5 GHz\n", "model name"), Some("A 3.5 GHz"));
    }

    #[test]
    fn this_process_is_told_of() {
        assert!(Machine::here().cores >= 1);
        if cfg!(target_os = "linux") {
            assert!(Process::This.cpu_seconds().unwrap() >= 0.0 && Process::This.rss_peak_bytes().unwrap() > 0);
        }
        assert!(Process::Other(u32::MAX).cpu_seconds().is_err());
    }
}
