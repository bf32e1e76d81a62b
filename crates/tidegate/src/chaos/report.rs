//! What a run is told as: JSON for programs, a page with a picture and tables for people, and a table on the terminal.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use console::picture::{self, Span};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Serialize;
use serde_json::{Value, json};

use super::ledger::{self, Sums};
use super::play::Incident;
use super::verdict::Verdict;
use crate::output::{self, Format};

pub(super) const PAGE: &str = "report.html";
pub(super) const DOCUMENT: &str = "report.json";
/// Columns of the picture: of a longer run each is more than a second.
const COLUMNS_MAX: usize = 520;
const TICKS: u32 = 6;
const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1d2733; --paper: #ffffff; --line: #c9d2dc; --yes: #2f6f9f; --fault: #d9822b; --good: #1f7a4d; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e9f0; --paper: #12181f; --line: #3a4653; --yes: #7db8e6; --fault: #e0a060; --good: #6fce9e; --bad: #ff8a80; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1140px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.verdict { border-left: 6px solid var(--good); padding: .2rem 1rem; font-size: 1.15rem; } .verdict.bad { border-color: var(--bad); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; } th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; } .wide { overflow-x: auto; } .note { opacity: .8; } pre { overflow-x: auto; }
svg { width: 100%; height: auto; } svg text { fill: var(--ink); font-size: 12px; } .bar { fill: var(--yes); } .fault { fill: var(--fault); opacity: .3; } .after { fill: var(--fault); opacity: .12; } .axis { stroke: var(--line); }
";

/// How far the run was at a time.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Sample {
    /// Seconds after the beginning.
    pub(super) at: f64,
    /// Events acknowledged so far.
    pub(super) acknowledged: u64,
}

/// A scenario that was not played.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Skipped {
    pub(super) scenario: String,
    pub(super) why: String,
}

/// The whole run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) version: &'static str,
    pub(super) setup: String,
    /// When it began, RFC 3339.
    pub(super) began: String,
    pub(super) seconds: f64,
    pub(super) rate: u64,
    pub(super) seed: u64,
    pub(super) copies: u64,
    pub(super) requests_in_vain: u64,
    pub(super) incidents: Vec<Incident>,
    pub(super) skipped: Vec<Skipped>,
    /// What ended it before its time.
    pub(super) problem: Option<String>,
    /// Absent where it did not come to that.
    pub(super) verdict: Option<Verdict>,
    pub(super) samples: Vec<Sample>,
}

impl Report {
    pub(super) fn count(&mut self, sums: Sums) {
        (self.copies, self.requests_in_vain) = (sums.copies, sums.failed);
    }

    /// Whether nothing was lost or doubled, and everything recovered.
    pub(super) fn is_sound(&self) -> bool {
        self.problem.is_none() && self.verdict.as_ref().is_some_and(Verdict::is_sound) && self.incidents.iter().all(Incident::has_recovered)
    }

    /// Writes the page and the document.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))
        };
        write(DOCUMENT, serde_json::to_string_pretty(&self.document())?)?;
        write(PAGE, self.page().into_string())
    }

    fn document(&self) -> Value {
        json!({"sound": self.is_sound(), "run": self})
    }

    /// Prints what was done and what became of it.
    ///
    /// # Errors
    ///
    /// When nobody takes it.
    pub(super) fn print(&self, format: Format) -> anyhow::Result<()> {
        let heads =
            output::heads(format, ["at, s", "scenario", "fault", "no yes, s", "first yes after, s", "in Silver after, s", "in vain"]);
        let mut rows = output::stdout(format, heads)?;
        for incident in &self.incidents {
            let row = [
                json!(tenths(incident.began)),
                json!(incident.scenario),
                json!(incident.what),
                json!(tenths(incident.silence)),
                json!(incident.answered_after.map(tenths)),
                json!(incident.caught_up_after.map(tenths)),
                json!(incident.failed),
            ];
            rows.write(row.to_vec())?;
        }
        rows.finish()?;
        Ok(())
    }

    /// The verdict in a sentence.
    pub(super) fn sentence(&self) -> String {
        if let Some(problem) = &self.problem {
            return format!("Not sound: {problem}");
        }
        let Some(verdict) = &self.verdict else { return "It ended before there was a verdict.".to_owned() };
        let faults = self.incidents.len();
        let counted = format!(
            "{} events acknowledged under {faults} faults, {} lost, {} doubled",
            grouped(verdict.acknowledged),
            grouped(verdict.lost),
            grouped(verdict.doubled)
        );
        let unknown = if verdict.unknown > 0 { format!(", {} that nobody sent", grouped(verdict.unknown)) } else { String::new() };
        let books = if verdict.balanced { "the books balance" } else { "the books do not balance" };
        format!("{counted}{unknown}; {books}.")
    }

    fn page(&self) -> Markup {
        let sound = self.is_sound();
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width";
                    title { "Tidegate under faults" }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    h1 { "Tidegate under faults" }
                    p class={ "verdict" @if !sound { " bad" } } { (self.sentence()) }
                    p.note {
                        (self.setup) ". Begun " (self.began) ", " (minutes(self.seconds)) ", " (grouped(self.rate)) " events a second asked for, seed " (self.seed) ", version " (self.version) ". "
                        (grouped(self.copies)) " events were sent twice, " (grouped(self.requests_in_vain)) " requests came to nothing and were sent again. "
                        "Each yes is a line in " code { (ledger::FILE) } "."
                    }
                    h2 { "Events acknowledged a second" }
                    (self.picture())
                    p.note { "Orange: while a fault lasts; lighter: until Silver has all that was acknowledged by its end." }
                    @if let Some(verdict) = &self.verdict {
                        @if !verdict.examples.is_empty() { h2 { "What is wrong" } ul { @for example in &verdict.examples { li { (example) } } } }
                    }
                    h2 { "Faults" }
                    div.wide { (self.summary()) }
                    h2 { "One by one" }
                    div.wide { (self.one_by_one()) }
                    @if !self.skipped.is_empty() {
                        h2 { "Not played" }
                        ul { @for skipped in &self.skipped { li { (skipped.scenario) ": " (skipped.why) } } }
                    }
                    @if let Some(verdict) = &self.verdict { h2 { "What the audit says" } pre { (verdict.audit) } }
                }
            }
        }
    }

    /// By kind of fault: how often, and the middle and the longest of each time.
    fn summary(&self) -> Markup {
        let mut kinds: Vec<(&str, &str, Vec<&Incident>)> = Vec::new();
        for incident in &self.incidents {
            match kinds.iter_mut().find(|(scenario, what, _)| *scenario == incident.scenario && *what == incident.what) {
                Some((_, _, all)) => all.push(incident),
                None => kinds.push((&incident.scenario, &incident.what, vec![incident])),
            }
        }
        kinds.sort_by_key(|(scenario, what, _)| (*scenario, *what));
        html! {
            table {
                thead { tr { th { "scenario" } th { "fault" } th { "law" } th.n { "times" } th.n { "no yes, s" } th.n { "first yes after, s" } th.n { "in Silver after, s" } } }
                tbody {
                    @for (scenario, what, all) in &kinds {
                        tr {
                            td { (scenario) } td { (what) } td { (all.first().map_or("", |incident| incident.law.as_str())) } td.n { (all.len()) }
                            td.n { (spread(all.iter().map(|incident| Some(incident.silence)))) }
                            td.n { (spread(all.iter().map(|incident| incident.answered_after))) }
                            td.n { (spread(all.iter().map(|incident| incident.caught_up_after))) }
                        }
                    }
                }
            }
            p.note { "Median, and the longest. “No yes” is the longest time in which no client was told yes; the other two count from the end of the fault, when every process was ready again." }
        }
    }

    fn one_by_one(&self) -> Markup {
        let told = |seconds: Option<f64>| seconds.map_or_else(|| "never".to_owned(), |seconds| format!("{seconds:.1}"));
        html! {
            table {
                thead { tr { th.n { "at, s" } th { "fault" } th.n { "lasted, s" } th.n { "no yes, s" } th.n { "first yes after, s" } th.n { "in Silver after, s" } th.n { "in vain" } th { "" } } }
                tbody {
                    @for incident in &self.incidents {
                        tr {
                            td.n { (format!("{:.0}", incident.began)) }
                            td { (incident.what) }
                            td.n { (format!("{:.1}", incident.ended - incident.began)) }
                            td.n { (format!("{:.1}", incident.silence)) }
                            td.n { (told(incident.answered_after)) }
                            td.n { (told(incident.caught_up_after)) }
                            td.n { (grouped(incident.failed)) }
                            td { (incident.detail.as_deref().unwrap_or_default()) " " small { (incident.runbook) } }
                        }
                    }
                }
            }
        }
    }

    fn picture(&self) -> Markup {
        let share = |seconds: f64| seconds / self.seconds.max(1.0);
        let spans = self.incidents.iter().flat_map(|incident| {
            let recovered = incident.ended + incident.caught_up_after.unwrap_or_default();
            let span = |class, from, to| Span { class, from: share(from), to: share(to), title: incident.what.clone() };
            [span("fault", incident.began, incident.ended), span("after", incident.ended, recovered)]
        });
        let labels: Vec<String> = (0..=TICKS).map(|tick| minutes(self.seconds * f64::from(tick) / f64::from(TICKS))).collect();
        let about = "events acknowledged a second, with the faults";
        picture::columns(&columns(&self.samples, self.seconds), &spans.collect::<Vec<_>>(), &labels, about)
    }
}

/// Events a second, in as many columns as can be told apart.
fn columns(samples: &[Sample], seconds: f64) -> Vec<f64> {
    let count = (seconds.ceil().max(1.0) as usize).min(COLUMNS_MAX);
    let each = seconds.max(1.0) / count as f64;
    let mut columns = vec![0.0; count];
    for pair in samples.windows(2) {
        let [one, other] = pair else { continue };
        let column = ((other.at / each).ceil() as usize).clamp(1, count) - 1;
        if let Some(column) = columns.get_mut(column) {
            *column += (other.acknowledged - one.acknowledged) as f64 / each;
        }
    }
    columns
}

/// The middle one and the longest.
fn spread(values: impl Iterator<Item = Option<f64>>) -> String {
    let mut known: Vec<f64> = Vec::new();
    for value in values {
        let Some(value) = value else { return "never".to_owned() };
        known.push(value);
    }
    known.sort_by(f64::total_cmp);
    match (known.get(known.len().saturating_sub(1) / 2), known.last()) {
        (Some(middle), Some(longest)) if known.len() > 1 => format!("{middle:.1} … {longest:.1}"),
        (Some(only), _) => format!("{only:.1}"),
        (None, _) => String::new(),
    }
}

fn minutes(seconds: f64) -> String {
    let whole = seconds.round().max(0.0) as u64;
    format!("{}:{:02} min", whole / 60, whole % 60)
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// With a space between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let incident = |began, caught_up_after| Incident {
            scenario: "kill".to_owned(),
            law: "A yes is durable".to_owned(),
            runbook: "docs/chaos.md#kill".to_owned(),
            what: "kill <gate>".to_owned(),
            detail: None,
            began,
            ended: began + 1.0,
            silence: 1.2,
            answered_after: Some(0.1),
            caught_up_after,
            failed: 3,
        };
        Report {
            version: "1",
            setup: "embedded".to_owned(),
            began: "2026-01-01T00:00:00Z".to_owned(),
            seconds: 60.0,
            rate: 1_000,
            seed: 1,
            copies: 10,
            requests_in_vain: 6,
            incidents: vec![incident(10.0, Some(2.0)), incident(30.0, Some(4.0))],
            skipped: vec![Skipped { scenario: "s3-away".to_owned(), why: "no link".to_owned() }],
            problem: None,
            verdict: Some(Verdict { acknowledged: 1_234_567, rows: 1_234_567, balanced: true, ..Verdict::default() }),
            samples: (0..=60).map(|second| Sample { at: f64::from(second), acknowledged: u64::from(second as u32) * 1_000 }).collect(),
        }
    }

    #[test]
    fn a_page_and_a_document_tell_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let report = report();
        report.write(folder.path()).unwrap();
        let page = fs::read_to_string(folder.path().join(PAGE)).unwrap();
        for expected in ["0 lost, 0 doubled", "kill &lt;gate&gt;", "2.0 … 4.0", "1:00 min", "s3-away: no link"] {
            assert!(page.contains(expected), "{expected}: {page}");
        }
        assert!(!page.contains("NaN") && !page.contains("verdict bad"));
        let document: Value = serde_json::from_str(&fs::read_to_string(folder.path().join(DOCUMENT)).unwrap()).unwrap();
        assert_eq!((document["sound"].clone(), document["run"]["verdict"]["acknowledged"].clone()), (json!(true), json!(1_234_567)));
    }

    #[test]
    fn anything_that_is_wrong_makes_it_unsound() {
        assert!(report().is_sound());
        let mut never = report();
        never.incidents[1].caught_up_after = None;
        let lost = Report { verdict: Some(Verdict { lost: 1, balanced: true, ..Verdict::default() }), ..report() };
        let unasked = Report { verdict: None, ..report() };
        let broken = Report { problem: Some("it fell over".to_owned()), ..report() };
        for report in [never, lost, unasked, broken] {
            assert!(!report.is_sound(), "{report:?}");
            assert!(report.page().into_string().contains("verdict bad"));
        }
        let empty = Report { incidents: Vec::new(), samples: Vec::new(), seconds: 0.0, ..report() };
        assert!(!empty.page().into_string().contains("NaN"));
    }

    #[test]
    fn numbers_are_told_shortly() {
        assert_eq!((grouped(0), grouped(999), grouped(1_000)), ("0".to_owned(), "999".to_owned(), "1\u{202f}000".to_owned()));
        let samples = [(0.0, 0), (1.0, 10), (2.0, 30)].map(|(at, acknowledged)| Sample { at, acknowledged });
        assert_eq!(columns(&samples, 2.0), [10.0, 20.0]);
        assert_eq!(columns(&samples, 4_000.0).len(), COLUMNS_MAX);
        assert_eq!(spread([Some(1.0), None].into_iter()), "never");
    }
}
