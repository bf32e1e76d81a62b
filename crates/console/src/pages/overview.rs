//! The path as a picture, with its numbers and the balance of its books.

use maud::{Markup, html};

use super::{Page, Place, duration, grouped, size};
use crate::picture;

/// What is known of the path.
#[derive(Debug, Clone, Default)]
pub struct Overview {
    /// When that was, as text.
    pub at: String,
    /// All sources together.
    pub total: Line,
    /// By source.
    pub sources: Vec<(String, Line)>,
    /// Events a second over the last few seconds; `None` until there were two looks.
    pub rates: Option<Rates>,
    /// Events received a second, at even times, oldest first.
    pub history: Vec<f64>,
    /// Seconds that the history goes back.
    pub history_seconds: u64,
    /// Records in the journal that Bronze does not have yet; `None` where this process does not know.
    pub journal_lag: Option<u64>,
    /// How long ago the newest event that can be queried was received, in microseconds.
    pub behind: Option<i64>,
    /// The watermark, as text.
    pub watermark: Option<String>,
    /// What hinders a stage, by its name.
    pub hindrances: Vec<(String, String)>,
    /// What does not agree in the books.
    pub findings: Vec<String>,
    /// The tables that are there.
    pub tables: Vec<Table>,
    /// What is unusual, in words.
    pub unusual: Vec<String>,
    /// What could not be found out, and why.
    pub unknown: Option<String>,
}

/// Counts of events.
#[derive(Debug, Clone, Copy, Default)]
pub struct Line {
    /// Accepted or refused.
    pub received: u64,
    /// Into Bronze.
    pub accepted: u64,
    /// Not taken.
    pub refused: u64,
    /// Rows of Silver.
    pub silver: u64,
    /// Copies.
    pub duplicates: u64,
    /// Of Bronze, those that became dead letters.
    pub dead_letters: u64,
    /// Without content any more.
    pub erased: u64,
    /// That Silver has not come to.
    pub pending: u64,
    /// Of Silver, those that were late.
    pub late: u64,
}

/// Events a second.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    /// Into Bronze, or refused.
    pub received: f64,
    /// Decided about by Silver.
    pub silver: f64,
}

/// A table.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// Its data files.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Its version.
    pub version: i64,
    /// For a table of Gold: how long the newest event that is in it was received before the newest of Silver, in microseconds.
    pub behind: Option<i64>,
}

/// Where the parts come from that are sent again and again.
pub const STREAM_PATH: &str = "/overview/stream";

/// The page.
pub fn page(overview: &Overview) -> Page {
    let body = html! {
        h1 { "Overview" }
        div #live data-stream=(STREAM_PATH) aria-busy="false" { (part(overview)) }
    };
    Page::new(Some(Place::Overview), "Overview", body)
}

/// What changes on it.
pub fn part(overview: &Overview) -> Markup {
    let Overview { total, .. } = overview;
    html! {
        (books(overview))
        ol.path aria-label="The path of the events" {
            (stage("Gate", "took or refused", total.received, &[("refused", total.refused, "/dead-letters?stage=gate")]))
            (arrow(&[
                rate(overview.rates.map(|rates| rates.received)),
                match overview.journal_lag { Some(lag) => format!("{} in the journal", grouped(lag)), None => "journal elsewhere".to_owned() },
            ], total.received == total.accepted + total.refused))
            (stage("Bronze", "as they came", total.accepted, &[]))
            (arrow(&[
                rate(overview.rates.map(|rates| rates.silver)),
                format!("{} pending", grouped(total.pending)),
            ], overview.findings.is_empty()))
            (stage("Silver", "each once", total.silver, &[
                ("duplicates", total.duplicates, ""), ("dead letters", total.dead_letters, "/dead-letters?stage=silver"), ("erased", total.erased, ""), ("late", total.late, ""),
            ]))
            (arrow(&[overview.behind.map_or_else(|| "nothing yet".to_owned(), |behind| format!("newest {} ago", duration(behind)))], true))
            (stage("Gold", "tables", overview.tables.iter().filter(|table| table.name.starts_with("gold.")).count() as u64, &[]))
        }
        @if !overview.history.is_empty() {
            figure {
                figcaption { "Events received a second, over the last " (duration(i64::try_from(overview.history_seconds).unwrap_or_default() * 1_000_000)) }
                (picture::sparkline(&overview.history, "events received a second"))
            }
        }
        p.facts {
            "As of " (overview.at) ". "
            @match &overview.watermark {
                Some(watermark) => { "The watermark is at " (watermark) ": aggregates of what happened before are final but for what comes late." }
                None => { "There is no watermark before the first event." }
            }
        }
        (sources(overview))
        (tables(overview))
    }
}

fn books(overview: &Overview) -> Markup {
    html! {
        @if let Some(why) = &overview.unknown {
            p.state.warning role="status" { span.sign aria-hidden="true" { "!" } strong { "Not known" } " " (why) }
        } @else if overview.findings.is_empty() {
            p.state.passed role="status" {
                span.sign aria-hidden="true" { "✓" } strong { "The books balance" }
                " " (grouped(overview.total.received)) " received = " (grouped(overview.total.accepted)) " accepted + " (grouped(overview.total.refused)) " refused; "
                (grouped(overview.total.accepted)) " in Bronze = " (grouped(overview.total.silver)) " in Silver + " (grouped(overview.total.duplicates)) " duplicates + "
                (grouped(overview.total.dead_letters)) " dead letters"
                @if overview.total.erased > 0 { " + " (grouped(overview.total.erased)) " erased" }
                @if overview.total.pending > 0 { " + " (grouped(overview.total.pending)) " pending" }
                "."
            }
        } @else {
            div.state.failed role="alert" {
                span.sign aria-hidden="true" { "✕" } strong { "The books do not balance" }
                ul { @for finding in &overview.findings { li { (finding) } } }
                p { code { "tidegate audit" } " tells which events it is about." }
            }
        }
        @for (stage, what) in &overview.hindrances {
            p.state.warning role="status" { span.sign aria-hidden="true" { "!" } strong { (stage) " cannot go on" } " " (what) }
        }
        @if !overview.unusual.is_empty() {
            div.state.warning role="status" {
                span.sign aria-hidden="true" { "!" } strong { "Unusual" }
                ul { @for what in &overview.unusual { li { (what) } } }
            }
        }
    }
}

fn stage(name: &str, what: &str, count: u64, parts: &[(&str, u64, &str)]) -> Markup {
    html! {
        li.stage {
            h2 { (name) }
            p.count { (grouped(count)) }
            p.note { (what) }
            @for (part, count, link) in parts.iter().filter(|(_, count, _)| *count > 0) {
                p.part { (grouped(*count)) " " @if link.is_empty() { (part) } @else { a href=(link) { (part) } } }
            }
        }
    }
}

fn arrow(facts: &[String], balances: bool) -> Markup {
    html! {
        li class=(if balances { "arrow" } else { "arrow failed" }) {
            span.line aria-hidden="true" {}
            @for fact in facts { span.fact { (fact) } }
            span.sign { @if balances { "✓" } @else { "✕" } span.hidden { @if balances { " balances" } @else { " does not balance" } } }
        }
    }
}

fn rate(rate: Option<f64>) -> String {
    let Some(rate) = rate else { return "…".to_owned() };
    if rate < 10.0 { format!("{rate:.1}/s") } else { format!("{}/s", grouped(rate.round() as u64)) }
}

fn sources(overview: &Overview) -> Markup {
    html! {
        section {
            h2 { "Sources" }
            @if overview.sources.is_empty() { p { "Nothing has come yet. " code { "tidegate source add NAME" } " makes a write key, " code { "tidegate demo" } " shows what it looks like." } }
            @else {
                div.wide tabindex="0" role="region" aria-label="Counts by source" {
                    table {
                        thead { tr {
                            th scope="col" { "source" } th.number scope="col" { "received" } th.number scope="col" { "accepted" } th.number scope="col" { "refused" } th.number scope="col" { "Silver" }
                            th.number scope="col" { "duplicates" } th.number scope="col" { "dead letters" } th.number scope="col" { "erased" } th.number scope="col" { "pending" } th.number scope="col" { "late" }
                        } }
                        tbody {
                            @for (source, line) in &overview.sources {
                                tr data-source=(source) {
                                    th scope="row" { a href={ "/events?source=" (super::encoded(source)) } { (source) } }
                                    @for (name, count) in cells(line) { td.number data-count=(name) { (grouped(count)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn cells(line: &Line) -> [(&'static str, u64); 9] {
    [
        ("received", line.received),
        ("accepted", line.accepted),
        ("refused", line.refused),
        ("silver", line.silver),
        ("duplicates", line.duplicates),
        ("dead_letters", line.dead_letters),
        ("erased", line.erased),
        ("pending", line.pending),
        ("late", line.late),
    ]
}

fn tables(overview: &Overview) -> Markup {
    html! {
        @if !overview.tables.is_empty() {
            section {
                h2 { "Tables" }
                div.wide tabindex="0" role="region" aria-label="Tables" {
                    table {
                        thead { tr {
                            th scope="col" { "table" } th.number scope="col" { "rows" } th.number scope="col" { "files" } th.number scope="col" { "size" } th.number scope="col" { "version" } th.number scope="col" { "behind Silver" }
                        } }
                        tbody {
                            @for table in &overview.tables {
                                tr data-table=(table.name) {
                                    th scope="row" { a href={ "/explore?sql=" (super::encoded(&format!("SELECT * FROM {} LIMIT 100", table.name))) } { (table.name) } }
                                    td.number data-count="rows" { (grouped(table.rows)) }
                                    td.number { (grouped(table.files)) }
                                    td.number { (size(table.bytes)) }
                                    td.number { (table.version) }
                                    td.number { (table.behind.map_or_else(String::new, duration)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Overview {
        let line = Line { received: 1_052, accepted: 1_051, refused: 1, silver: 1_040, duplicates: 10, dead_letters: 1, ..Line::default() };
        Overview { total: line, sources: vec![("we<b".to_owned(), line)], history: vec![0.0, 3.0], ..Overview::default() }
    }

    #[test]
    fn the_numbers_are_there_and_balance() {
        let page = page(&some());
        let page = page.text();
        assert!(page.contains("The books balance") && page.contains("1,052 received = 1,051 accepted + 1 refused"), "{page}");
        assert!(page.contains("we&lt;b") && page.contains("/events?source=we%3Cb") && !page.contains("we<b"));
        assert!(!page.contains("do not balance") && !page.contains("✕"));
    }

    #[test]
    fn what_is_wrong_stands_first() {
        let findings = vec!["rows of Silver: 3 expected, 2 found".to_owned()];
        let page = page(&Overview { findings, hindrances: vec![("bronze".to_owned(), "the store is away".to_owned())], ..some() });
        let page = page.text();
        let place = |text: &str| page.find(text).unwrap_or(usize::MAX);
        assert!(
            place("The books do not balance") < place("3 expected, 2 found") && place("3 expected") < place("class=\"path\""),
            "{page}"
        );
        assert!(place("the store is away") < place("class=\"path\"") && page.contains("✕"));
        assert!(
            super::page(&Overview { unusual: vec!["The source <web> is silent".to_owned()], ..some() })
                .text()
                .contains("source &lt;web&gt; is silent")
        );
        assert!(super::page(&Overview { unknown: Some("no lake".to_owned()), ..Overview::default() }).text().contains("no lake"));
    }
}
