//! What is done to a setup: files of steps, those that come with the program and anybody's own.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

/// A file of a scenario is small.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Scenarios that come with the program: name and text.
const OWN: [(&str, &str); 14] = [
    ("kill", include_str!("scenarios/kill.yaml")),
    ("restart", include_str!("scenarios/restart.yaml")),
    ("freeze", include_str!("scenarios/freeze.yaml")),
    ("clock", include_str!("scenarios/clock.yaml")),
    ("torn-journal", include_str!("scenarios/torn-journal.yaml")),
    ("damaged-index", include_str!("scenarios/damaged-index.yaml")),
    ("disk-full", include_str!("scenarios/disk-full.yaml")),
    ("worker-kill", include_str!("scenarios/worker-kill.yaml")),
    ("worker-freeze", include_str!("scenarios/worker-freeze.yaml")),
    ("kafka-kill", include_str!("scenarios/kafka-kill.yaml")),
    ("kafka-cut", include_str!("scenarios/kafka-cut.yaml")),
    ("s3-away", include_str!("scenarios/s3-away.yaml")),
    ("s3-slow", include_str!("scenarios/s3-slow.yaml")),
    ("s3-lost-answers", include_str!("scenarios/s3-lost-answers.yaml")),
];

/// One file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    /// The file's name without its ending.
    #[serde(skip)]
    pub(super) name: String,
    /// What happens, in a sentence.
    pub(super) about: String,
    /// The law that holds against it.
    pub(super) law: String,
    /// Where is said how to do it by hand, what an operator sees, and what to do.
    pub(super) runbook: String,
    /// What is done, one after the other; between two of them everything recovers.
    pub(super) steps: Vec<Step>,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    /// What is done.
    pub(super) fault: Kind,
    /// Of whom: a process or a link of the setup, by its name, or one of those that are numbered (`worker` is `worker-1` or `worker-2`, as chance has it).
    pub(super) at: String,
    /// How long it lasts.
    #[serde(rename = "for", default = "no_time", with = "humantime_serde")]
    pub(super) lasts: Duration,
    /// How much: of `slow` what each chunk takes longer, of the clock how wrong it is.
    #[serde(default = "no_time", with = "humantime_serde")]
    pub(super) by: Duration,
}

fn no_time() -> Duration {
    Duration::ZERO
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// SIGKILL; started again after a while.
    Kill,
    /// SIGTERM, and an end in order; started again after a while.
    Stop,
    /// SIGSTOP, and SIGCONT after a while.
    Freeze,
    /// Killed, and started again with a clock that is ahead; killed after a while, and started with the right one.
    ClockAhead,
    /// The same with one that is behind.
    ClockBehind,
    /// Killed; bytes that mean nothing are added to the newest segment of its journal, as a write that was under way may leave them; started.
    TearJournal,
    /// Stopped in order; a bit in the middle of the largest file of its index is turned over; started.
    DamageIndex,
    /// Its disk is filled to the last byte. Only with a disk of its own: `--disk`.
    FillDisk,
    /// Connections of a link are refused, and those there are closed.
    Refuse,
    /// Nothing passes a link; connections stay open.
    Hang,
    /// Each chunk takes longer on a link.
    Slow,
    /// Requests pass a link, their answers do not.
    LoseAnswers,
    /// Each request on a link is answered with `503 Slow Down`, as S3 does under load.
    Unavailable,
}

impl Kind {
    /// Whether it is done to a link, not to a process.
    pub(super) fn is_of_links(self) -> bool {
        matches!(self, Self::Refuse | Self::Hang | Self::Slow | Self::LoseAnswers | Self::Unavailable)
    }

    /// Whether it needs to be told how much.
    fn wants_amount(self) -> bool {
        matches!(self, Self::Slow | Self::ClockAhead | Self::ClockBehind)
    }
}

impl Step {
    /// In words, of whom it is done to.
    pub(super) fn told(&self, whom: &str) -> String {
        let (lasts, by) = (humantime::format_duration(self.lasts), humantime::format_duration(self.by));
        match self.fault {
            Kind::Kill => format!("kill {whom}, down for {lasts}"),
            Kind::Stop => format!("stop {whom}, down for {lasts}"),
            Kind::Freeze => format!("freeze {whom} for {lasts}"),
            Kind::ClockAhead => format!("clock of {whom} {by} ahead for {lasts}"),
            Kind::ClockBehind => format!("clock of {whom} {by} behind for {lasts}"),
            Kind::TearJournal => format!("kill {whom}, tear its journal"),
            Kind::DamageIndex => format!("stop {whom}, damage its index"),
            Kind::FillDisk => format!("fill the disk of {whom} for {lasts}"),
            Kind::Refuse => format!("refuse connections to {whom} for {lasts}"),
            Kind::Hang => format!("let nothing pass to {whom} for {lasts}"),
            Kind::Slow => format!("slow {whom} by {by} a chunk for {lasts}"),
            Kind::LoseAnswers => format!("lose the answers of {whom} for {lasts}"),
            Kind::Unavailable => format!("answer 503 for {whom} for {lasts}"),
        }
    }
}

/// All that come with the program.
///
/// # Errors
///
/// None, as a test sees to.
pub(super) fn own() -> Result<Vec<Scenario>, String> {
    OWN.iter().map(|(name, text)| parse(name, text)).collect()
}

/// The one of this name that comes with the program, or the file of this path.
///
/// # Errors
///
/// What is wrong with it, and where.
pub(super) fn find(wanted: &str) -> Result<Scenario, String> {
    if let Some((name, text)) = OWN.iter().find(|(name, _)| *name == wanted) {
        return parse(name, text);
    }
    let path = Path::new(wanted);
    let size = std::fs::metadata(path).map(|file| file.len());
    match size {
        Ok(size) if size <= FILE_BYTES_MAX => {}
        Ok(size) => return Err(format!("{wanted} has {size} bytes; a scenario has {FILE_BYTES_MAX} at most")),
        Err(error) => {
            let names: Vec<&str> = OWN.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "there is no scenario {wanted}, and no such file ({error}); those that come with the program: {}",
                names.join(", ")
            ));
        }
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("{wanted}: {error}"))?;
    let name = path.file_stem().map_or_else(|| wanted.to_owned(), |name| name.to_string_lossy().into_owned());
    parse(&name, &text)
}

fn parse(name: &str, text: &str) -> Result<Scenario, String> {
    let scenario: Scenario = serde_saphyr::from_str(text).map_err(|error| format!("{name}: {error}"))?;
    if scenario.steps.is_empty() {
        return Err(format!("{name}: it has no steps"));
    }
    for (number, step) in scenario.steps.iter().enumerate() {
        if step.fault.wants_amount() && step.by.is_zero() {
            return Err(format!("{name}: step {} does not say how much: give `by`, such as `by: 100ms`", number + 1));
        }
    }
    Ok(Scenario { name: name.to_owned(), ..scenario })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The headings of a document, as their anchors.
    fn anchors(document: &str) -> HashSet<String> {
        let heads = document.lines().filter_map(|line| line.strip_prefix("## "));
        heads.map(|head| head.to_lowercase().replace(' ', "-")).collect()
    }

    #[test]
    fn each_that_comes_with_the_program_can_be_read_and_has_its_page() {
        let page = anchors(include_str!("../../../../docs/chaos.md"));
        let scenarios = own().unwrap();
        assert_eq!(scenarios.len(), OWN.len());
        for scenario in &scenarios {
            let anchor = scenario.runbook.strip_prefix("docs/chaos.md#").unwrap();
            assert!(page.contains(anchor), "{}: {} is no heading", scenario.name, scenario.runbook);
            assert_eq!(find(&scenario.name).unwrap().steps, scenario.steps);
            for step in &scenario.steps {
                let words = step.told("it");
                assert!(words.contains("it"), "{words}");
            }
        }
        let kinds: HashSet<Kind> = scenarios.iter().flat_map(|scenario| &scenario.steps).map(|step| step.fault).collect();
        assert_eq!(kinds.len(), 13, "each kind of fault is in one of them: {kinds:?}");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let head = "about: a\nlaw: b\nrunbook: c\nsteps:\n";
        for (text, expected) in [
            ("about: a\nlaw: b\nrunbook: c\nsteps: []\n".to_owned(), "no steps"),
            (format!("{head}  - {{fault: explode, at: gate}}\n"), "explode"),
            (format!("{head}  - {{fault: slow, at: s3, for: 1s}}\n"), "step 1 does not say how much"),
            (format!("{head}  - {{fault: kill, at: gate, for: soon}}\n"), "soon"),
            (format!("{head}  - {{fault: kill, whom: gate}}\n"), "whom"),
        ] {
            let error = parse("mine", &text).unwrap_err();
            assert!(error.starts_with("mine: ") && error.contains(expected), "{error}");
        }
        assert!(find("no-such").unwrap_err().contains("torn-journal"));
    }
}
