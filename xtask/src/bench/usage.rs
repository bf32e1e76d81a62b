//! What processes use: seconds of CPU, and the most memory they have had. Read from `/proc`.

use std::fs;

/// What `/proc` counts time in: the same on every Linux with x86 or ARM.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process and all that it has started have used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    /// The sum of each process's own most, which they need not have had at the same time.
    pub(crate) rss_peak_bytes: f64,
}

impl Usage {
    /// Of a process with its family, of which those that have ended count no more.
    pub(crate) fn of(process: u32) -> Self {
        let mut usage = Self::default();
        for member in family(process) {
            let read = |file: &str| fs::read_to_string(format!("/proc/{member}/{file}")).unwrap_or_default();
            usage.cpu_seconds += stat(&read("stat")).map_or(0.0, |stat| stat.cpu_seconds);
            usage.rss_peak_bytes += rss_peak_bytes(&read("status")).unwrap_or_default();
        }
        usage
    }

    /// What came later, where it is more: what has ended meanwhile is not forgotten.
    pub(crate) fn or_more(self, later: Self) -> Self {
        Self { cpu_seconds: self.cpu_seconds.max(later.cpu_seconds), rss_peak_bytes: self.rss_peak_bytes.max(later.rss_peak_bytes) }
    }
}

/// A process and all that it has started, directly or not.
pub(crate) fn family(process: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let text = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        parents.extend(stat(&text).map(|stat| (id, stat.parent)));
    }
    descendants(process, &parents)
}

/// Of pairs of a process and its parent.
fn descendants(process: u32, parents: &[(u32, u32)]) -> Vec<u32> {
    let mut family = vec![process];
    let mut at = 0;
    while let Some(&member) = family.get(at) {
        family.extend(parents.iter().filter(|(id, parent)| *parent == member && *id != member).map(|(id, _)| *id));
        at += 1;
    }
    family
}

#[derive(Debug, PartialEq)]
struct Stat {
    parent: u32,
    cpu_seconds: f64,
}

/// The second field is a name in parentheses, in which anything may stand; the 4th is the parent, the 14th and 15th are ticks in user mode and in the kernel.
fn stat(text: &str) -> Option<Stat> {
    let (_, behind) = text.rsplit_once(')')?;
    let fields: Vec<&str> = behind.split_ascii_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some(Stat { parent: fields.get(1)?.parse().ok()?, cpu_seconds: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND })
}

fn rss_peak_bytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_tells_is_read() {
        let text = "42 (a ) name) S 7 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 8 0 1000 1000000 500";
        assert_eq!(stat(text), Some(Stat { parent: 7, cpu_seconds: 3.0 }));
        assert_eq!(stat("42 (x) S 1"), None);
        assert_eq!(rss_peak_bytes("Name:\tx\nVmHWM:\t    2 kB\n"), Some(2048.0));
        assert_eq!(rss_peak_bytes("VmHWM: many\n"), None);
    }

    #[test]
    fn a_family_has_children_of_children() {
        let parents = [(0, 0), (1, 0), (5, 1), (6, 5), (7, 5), (8, 7), (9, 1)];
        assert_eq!(descendants(5, &parents), [5, 6, 7, 8]);
        assert_eq!(descendants(8, &parents), [8]);
    }

    #[test]
    fn this_process_is_told_of() {
        if cfg!(target_os = "linux") {
            assert!(Usage::of(std::process::id()).rss_peak_bytes > 0.0);
        }
        assert_eq!(Usage::of(u32::MAX), Usage::default());
    }
}
