//! What became of what was acknowledged: each event of the ledger beside the rows of Silver, and what the platform's own audit says.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use anyhow::{Context as _, bail};
use serde::Serialize;

use super::crew::Crew;
use super::load::parse_id;

/// Examples of what is wrong that are kept.
const EXAMPLES_MAX: usize = 5;
/// The most of what an audit says that is kept.
const AUDIT_CHARS_MAX: usize = 4_000;

/// The verdict.
#[derive(Debug, Default, Serialize)]
pub(super) struct Verdict {
    /// Events that clients were told yes for.
    pub(super) acknowledged: u64,
    /// Rows of Silver.
    pub(super) rows: u64,
    /// Acknowledged, and in no row.
    pub(super) lost: u64,
    /// Rows of an event that has one already.
    pub(super) doubled: u64,
    /// Rows of events that nobody sent.
    pub(super) unknown: u64,
    pub(super) examples: Vec<String>,
    /// Whether `tidegate audit` finds that the books balance.
    pub(super) balanced: bool,
    /// What it says.
    pub(super) audit: String,
}

impl Verdict {
    /// Asks for every identity in Silver.
    ///
    /// # Errors
    ///
    /// When the tables cannot be read.
    pub(super) fn ask(crew: &Crew, acknowledged: &[u64]) -> anyhow::Result<Self> {
        let mut command = crew.asking(&["query", "SELECT event_id FROM silver.events", "--format", "csv"])?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let out = child.stdout.take().context("a process without output")?;
        let mut count = Count::new(acknowledged);
        for line in BufReader::new(out).lines().skip(1) {
            count.row(&line.context("the identities in Silver cannot be read")?);
        }
        let mut said = String::new();
        child.stderr.take().context("a process without errors")?.read_to_string(&mut said)?;
        let status = child.wait()?;
        if !status.success() {
            bail!("the identities in Silver cannot be read: {}", said.trim());
        }
        let mut verdict = count.verdict();
        let audit = crew.ask(&["audit"])?;
        verdict.balanced = audit.status.success();
        let text = format!("{}{}", String::from_utf8_lossy(&audit.stdout), String::from_utf8_lossy(&audit.stderr));
        verdict.audit = text.chars().take(AUDIT_CHARS_MAX).collect();
        Ok(verdict)
    }

    /// Whether nothing was lost, doubled or made up, and the books balance.
    pub(super) fn is_sound(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.unknown == 0 && self.balanced
    }
}

/// How often each event was seen: a byte each.
struct Count {
    seen: Vec<Vec<u8>>,
    verdict: Verdict,
}

impl Count {
    fn new(acknowledged: &[u64]) -> Self {
        let seen = acknowledged.iter().map(|events| vec![0; usize::try_from(*events).unwrap_or(usize::MAX)]).collect();
        Self { seen, verdict: Verdict { acknowledged: acknowledged.iter().sum(), ..Verdict::default() } }
    }

    fn row(&mut self, id: &str) {
        self.verdict.rows += 1;
        let place = parse_id(id).and_then(|(client, number)| self.seen.get_mut(client)?.get_mut(usize::try_from(number).ok()?));
        match place {
            Some(times) => {
                *times = times.saturating_add(1);
                if *times > 1 {
                    self.verdict.doubled += 1;
                    self.example(format!("{id} has more than one row"));
                }
            }
            None => {
                self.verdict.unknown += 1;
                self.example(format!("{id} was never acknowledged"));
            }
        }
    }

    fn example(&mut self, text: String) {
        if self.verdict.examples.len() < EXAMPLES_MAX {
            self.verdict.examples.push(text);
        }
    }

    fn verdict(mut self) -> Verdict {
        let seen = std::mem::take(&mut self.seen);
        for (client, events) in seen.iter().enumerate() {
            for (number, _) in events.iter().enumerate().filter(|(_, times)| **times == 0) {
                self.verdict.lost += 1;
                self.example(format!("c{client}-{number} was acknowledged and has no row"));
            }
        }
        self.verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(acknowledged: &[u64], rows: &[&str]) -> Verdict {
        let mut count = Count::new(acknowledged);
        rows.iter().for_each(|row| count.row(row));
        Verdict { balanced: true, ..count.verdict() }
    }

    #[test]
    fn one_loss_and_one_double_are_two_findings() {
        let sound = of(&[2, 1], &["c1-0", "c0-0", "c0-1"]);
        assert!(sound.is_sound() && sound.examples.is_empty() && (sound.acknowledged, sound.rows) == (3, 3));
        for (rows, expected) in [
            (vec!["c1-0", "c0-0", "c0-0"], (1, 1, 0)),
            (vec!["c1-0", "c0-0"], (1, 0, 0)),
            (vec!["c1-0", "c0-0", "c0-1", "c0-1", "c0-1"], (0, 2, 0)),
            (vec!["c1-0", "c0-0", "c0-1", "c0-2", "c9-0", "other"], (0, 0, 3)),
        ] {
            let verdict = of(&[2, 1], &rows);
            assert_eq!((verdict.lost, verdict.doubled, verdict.unknown), expected, "{rows:?}");
            assert!(!verdict.is_sound() && !verdict.examples.is_empty());
        }
        assert!(!Verdict { balanced: false, ..of(&[], &[]) }.is_sound());
        assert_eq!(of(&[100], &[]).examples.len(), EXAMPLES_MAX);
    }
}
