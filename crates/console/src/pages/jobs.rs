//! Replays, backfills and other work that takes long, with how far it is.

use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use super::{Page, Place, Visitor, duration, form_field};

/// Where the parts come from that are sent again and again.
pub const STREAM_PATH: &str = "/jobs/stream";
/// Where a form is sent that begins a replay.
pub const REPLAY_PATH: &str = "/jobs/replay";

/// How a piece of work stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It goes on.
    #[default]
    Running,
    /// It did what it was to do.
    Done,
    /// It could not.
    Failed,
    /// Its process is gone, and has said nothing.
    BrokenOff,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::BrokenOff => "broken off",
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Running => "…",
            Self::Done => "✓",
            Self::Failed | Self::BrokenOff => "✕",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Running => "",
            Self::Done => "passed",
            Self::Failed => "failed",
            Self::BrokenOff => "warning",
        }
    }
}

/// A piece of work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// The command.
    pub command: String,
    /// Who began it; nothing for whoever is at the machine.
    pub by: Option<String>,
    /// When it began, as text.
    pub began: String,
    /// How long it has taken, in microseconds.
    pub took: i64,
    /// How it stands.
    pub state: State,
    /// What it is at, or what came of it.
    pub what: String,
    /// How much of that is done, in millionths, where it can be told.
    pub done: Option<u32>,
}

/// The page; `problem`: why what was asked for was not begun.
pub fn page(jobs: &[Job], problem: Option<&str>, visitor: &Visitor) -> Page {
    let body = html! {
        h1 { "Jobs" }
        p.about { "Replays, backfills and dead letters put through: those begun here, and those of the command line with this data folder." }
        @if let Some(problem) = problem { p.state.failed role="alert" { span.sign aria-hidden="true" { "✕" } (problem) } }
        @if let Some(token) = visitor.form_token() { (replay(token)) }
        div #live data-stream=(STREAM_PATH) aria-busy="false" { (part(jobs)) }
    };
    Page::new(Some(Place::Jobs), "Jobs", body)
}

fn replay(token: &str) -> Markup {
    html! {
        details {
            summary { "Make Silver anew from Bronze" }
            form.filter method="post" action=(REPLAY_PATH) {
                (form_field(token))
                label { "As" input type="text" name="into" value="silver_rebuild" pattern="silver_[a-z0-9_]+" required size="16"; }
                label { "From" input type="date" name="from"; }
                label { "To, without it" input type="date" name="to"; }
                label { "Then" select name="then" {
                    option value="keep" { "keep it beside the live tables" }
                    option value="cut_over" { "put it in their place (all days)" }
                    option value="drop" { "only remove an earlier one of this name" }
                } }
                button type="submit" { "Begin" }
            }
            p.note { "The live tables go on all the time. " code { "tidegate diff" } " compares both. Broken off, the same replay goes on where it was." }
        }
    }
}

/// What changes on it.
pub fn part(jobs: &[Job]) -> Markup {
    html! {
        @if jobs.is_empty() { p { "There has been none yet. " code { "tidegate replay" } ", " code { "backfill" } " and " code { "recover" } " are seen here while they run." } }
        @else {
            div.wide tabindex="0" role="region" aria-label="Jobs, newest first" {
                table {
                    thead { tr { th scope="col" { "job" } th scope="col" { "began" } th scope="col" { "by" } th.number scope="col" { "took" } th scope="col" { "state" } th scope="col" { "at" } } }
                    tbody { @for job in jobs { (row(job)) } }
                }
            }
        }
    }
}

fn row(job: &Job) -> Markup {
    let percent = job.done.map(|done| done.min(1_000_000) / 10_000);
    html! {
        tr data-job=(job.id) data-state=(job.state.name()) {
            th scope="row" { code { (job.command) } }
            td { (job.began) }
            td { (job.by.as_deref().unwrap_or("command line")) }
            td.number { (duration(job.took)) }
            td.short { span class=(job.state.class()) { span.sign aria-hidden="true" { (job.state.sign()) } } (job.state.name()) }
            td {
                (job.what)
                @if let Some(percent) = percent.filter(|_| job.state == State::Running) {
                    " " progress max="100" value=(percent) aria-label=(job.what) {} " " (percent) " %"
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Role;

    #[test]
    fn a_job_says_how_far_it_is() {
        let job = Job {
            command: "replay <x>".to_owned(),
            what: "making Silver".to_owned(),
            done: Some(425_000),
            took: 61_000_000,
            ..Job::default()
        };
        let shown = page(std::slice::from_ref(&job), Some("no"), &Visitor::Open);
        let text = shown.text();
        assert!(
            text.contains("replay &lt;x&gt;") && text.contains("value=\"42\"") && text.contains("61.0 s") && !text.contains("<form"),
            "{text}"
        );
        let ended = part(&[Job { state: State::BrokenOff, ..job }]).into_string();
        assert!(ended.contains("broken off") && !ended.contains("<progress"), "{ended}");
        let admin = Visitor::Known { name: "anna".to_owned(), role: Role::Admin, form_token: "t1".to_owned() };
        assert!(page(&[], None, &admin).text().contains("Begin"));
    }
}
