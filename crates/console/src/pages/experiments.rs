//! The experiments.

use experiments::report::Report;
use maud::html;

use super::{Page, Place};
use crate::experiment;

/// A page of all experiments, each with whether it can be trusted and what was found. Links lead to the pages of each. Definitions that cannot be read are told first.
pub fn index(reports: &[Report], problem: Option<&str>) -> Page {
    let body = html! {
        h1 { "Experiments" }
        @if let Some(problem) = problem { p.state.failed role="alert" { span.sign aria-hidden="true" { "✕" } (problem) } }
        @else if reports.is_empty() { p { "None is defined. A definition is a file of YAML in the folder " code { "experiments" } " of the data folder, or in the one that " code { "pipeline.experiments" } " names." } }
        @else { (experiment::list(reports)) }
    };
    Page::new(Some(Place::Experiments), "Experiments", body)
}

/// The result of one.
pub fn page(report: &Report) -> Page {
    let key = &report.experiment;
    let body = html! {
        p { a href="/experiments" { "Experiments" } " · " a href={ "/experiments/" (key) "?format=html" } { "as one file" } " · " a href={ "/experiments/" (key) "?format=json" } { "as JSON" } }
        (experiment::body(report))
    };
    Page::new(Some(Place::Experiments), key, body)
}
