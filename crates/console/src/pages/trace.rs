//! The way of one event through the tables.

use maud::html;

use super::{Page, Place};

/// One place where it is.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// The table.
    pub table: String,
    /// The event's source.
    pub source: String,
    /// Where in the journal its record is.
    pub journal: Option<String>,
    /// When that was received.
    pub received_at: Option<String>,
    /// What is there, in words.
    pub what: String,
}

/// The page: of this id, or with nothing but the question.
pub fn page(id: Option<&str>, steps: &[Step]) -> Page {
    let body = html! {
        h1 { "Where is an event?" }
        form.filter method="get" action="/trace" role="search" {
            label { "Event id" input type="search" name="id" value=(id.unwrap_or_default()) required maxlength="100" size="40" data-search; }
            button type="submit" { "Trace" }
        }
        @if let Some(id) = id {
            @if steps.is_empty() {
                p role="status" { "The tables have no event with the id " code { (id) } ". One that was just sent comes within a second or two; one that the gate refused is among the " a href="/dead-letters" { "dead letters" } "." }
            } @else {
                div.wide tabindex="0" role="region" aria-label="Places" {
                    table {
                        thead { tr { th scope="col" { "table" } th scope="col" { "source" } th scope="col" { "journal" } th scope="col" { "received" } th scope="col" { "what is there" } } }
                        tbody {
                            @for step in steps {
                                tr { th scope="row" { (step.table) } td { (step.source) } td { (step.journal.as_deref().unwrap_or("")) } td { (step.received_at.as_deref().unwrap_or("")) } td { (step.what) } }
                            }
                        }
                    }
                }
            }
        }
    };
    Page::new(Some(Place::Events), "Where is an event?", body)
}
