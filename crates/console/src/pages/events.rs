//! Events as they come, and one of them whole.

use contract::Verdict;
use maud::{Markup, PreEscaped, html};
use serde_json::Value;

use super::{Page, Place, encoded, grouped, size};
use crate::live::{Asked, Seen, Show, Slice};

/// Rows that one part has at most, and the page keeps.
pub const ROWS_MAX: usize = 200;
/// Where the parts come from.
pub const STREAM_PATH: &str = "/events/stream";

/// The page, with what there is.
pub fn page(asked: &Asked, query: &str, slice: &Slice) -> Page {
    let stream = format!("{STREAM_PATH}?{}after={}", if query.is_empty() { String::new() } else { format!("{query}&") }, slice.mark);
    let body = html! {
        h1 { "Live events" }
        (form(asked))
        p.facts {
            span #events-state role="status" { "Waiting for what comes." }
            " " button #pause type="button" aria-pressed="false" { "Pause" }
        }
        div.wide tabindex="0" role="region" aria-label="Events, newest first" {
            table.events {
                thead { tr { th scope="col" { "received" } th scope="col" { "source" } th scope="col" { "type" } th scope="col" { "user" } th scope="col" { "verdict" } th scope="col" { "event" } } }
                tbody #events data-stream=(stream) data-rows-max=(ROWS_MAX) { (rows(slice)) }
            }
        }
        @if slice.events.is_empty() { p.note { "Nothing has come that this would show. Events are shown from a little before the page was opened on; " a href="/explore" { "what is in the tables" } " can be asked for." } }
        aside #event aria-label="The event" hidden {}
    };
    Page::new(Some(Place::Events), "Live events", body)
}

fn form(asked: &Asked) -> Markup {
    let choice = |show: Show, value: &str, text: &str| {
        html! { option value=(value) selected[asked.show == show] { (text) } }
    };
    html! {
        form.filter method="get" action="/events" role="search" {
            label { "Search" input type="search" name="q" value=(asked.text) placeholder="id, user, property, fault" data-search; }
            label { "Source" input type="text" name="source" value=(asked.source) size="10"; }
            label { "Type" input type="text" name="type" value=(asked.event_type) size="14"; }
            label { "Show" select name="show" { (choice(Show::All, "all", "all")) (choice(Show::Valid, "valid", "valid")) (choice(Show::Invalid, "invalid", "invalid")) } }
            button type="submit" { "Filter" }
            a href="/events" { "All" }
        }
    }
}

/// The rows of a slice, newest first.
pub fn rows(slice: &Slice) -> Markup {
    html! { @for seen in slice.events.iter().rev() { (PreEscaped(seen.row(|| row(seen).into_string()))) } }
}

/// What a slice leaves out, in words; nothing where it is all there.
pub fn left_out(slice: &Slice) -> Option<String> {
    let more = (slice.more > 0).then(|| format!("{} more came at once than are shown: filter to see them", grouped(slice.more)));
    let gone =
        (slice.gone > 0).then(|| format!("{} came faster than they could be kept here; they are in the tables", grouped(slice.gone)));
    let all: Vec<String> = more.into_iter().chain(gone).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

fn row(seen: &Seen) -> Markup {
    let received = seen.received_at().to_rfc3339();
    // The time of day, to the millisecond.
    let time = received.get(11..23).unwrap_or(&received).to_owned();
    html! {
        tr class=(if seen.is_invalid() { "failed" } else { "passed" }) data-mark=(seen.mark) {
            td { time datetime=(received) { (time) } }
            td { (seen.receipt.source.as_str()) }
            td { (seen.event_type.as_deref().unwrap_or("–")) @if let Some(name) = &seen.name { span.role { (name) } } }
            td { (seen.subject.as_deref().unwrap_or("–")) }
            td {
                span.sign aria-hidden="true" { (sign(seen.receipt.verdict)) } (seen.receipt.verdict.as_str())
                @if let Some(first) = seen.receipt.violations.first() {
                    span.role { code { (first.field) } " " (first.message) @if seen.receipt.violations.len() > 1 { " and " (seen.receipt.violations.len() - 1) " more" } }
                }
            }
            td { a.open href={ "/events/" (seen.mark) } { (seen.receipt.event_id.as_str()) } }
        }
    }
}

fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accepted => "✓",
        Verdict::Flagged => "!",
        Verdict::Quarantined | Verdict::Refused => "✕",
    }
}

/// One event as a page of its own.
pub fn detail_page(seen: &Seen) -> Page {
    Page::new(Some(Place::Events), seen.receipt.event_id.as_str(), html! { p { a href="/events" { "Live events" } } (detail(seen, true)) })
}

/// One event that is kept no more.
pub fn gone_page(mark: &str) -> Page {
    let body = html! {
        h1 { "This event is not kept here any more" }
        p { "The console keeps the newest events only while somebody looks (" code { (mark) } "). What was accepted is in the tables: " a href="/explore" { "ask for it" } " or " a href="/trace" { "trace it by its id" } "." }
    };
    Page::new(Some(Place::Events), "Not kept any more", body)
}

/// One event: what was noted about it, and its content with what is wrong marked.
pub fn detail(seen: &Seen, is_page: bool) -> Markup {
    let receipt = &seen.receipt;
    let id = receipt.event_id.as_str();
    html! {
        @if is_page { h1 { (id) } } @else { h2 tabindex="-1" { (id) } }
        dl.facts {
            dt { "received" } dd { (receipt.received_at.to_rfc3339()) }
            @if let Some(sent) = receipt.sent_at { dt { "sent" } dd { (sent.to_rfc3339()) } }
            dt { "source" } dd { (receipt.source.as_str()) }
            dt { "shape" } dd { (receipt.format.as_str()) ", " (size(seen.bytes as u64)) }
            dt { "plan" } dd { (receipt.plan_version) }
            dt { "verdict" } dd { (receipt.verdict.as_str()) }
            dt { "where it is" } dd { a href={ "/trace?id=" (encoded(id)) } { "trace it through the tables" } }
        }
        @if !receipt.violations.is_empty() {
            h3 { "What is wrong" }
            ul.checks {
                @for violation in &receipt.violations {
                    li.failed { code { (if violation.field.is_empty() { "the event" } else { &violation.field }) } " " (violation.message) " " span.role { (violation.code) } }
                }
            }
        }
        h3 { "As it came" }
        (payload(&seen.payload, &receipt.violations.iter().map(|violation| violation.field.as_str()).collect::<Vec<_>>()))
        @if seen.payload.len() < seen.bytes { p.note { "Of " (size(seen.bytes as u64)) " only the front is shown." } }
    }
}

/// A payload as JSON, with the fields at these pointers marked; as text where it is none.
pub(crate) fn payload(text: &str, marked: &[&str]) -> Markup {
    html! {
        pre.json tabindex="0" {
            @match serde_json::from_str::<Value>(text) {
                Ok(value) => (json(&value, "", marked, 0)),
                Err(_) => (text),
            }
        }
    }
}

/// The deepest that is told apart; what lies below stands on one line.
const DEPTH_MAX: usize = 32;

fn json(value: &Value, pointer: &str, marked: &[&str], depth: usize) -> Markup {
    let indent = |depth: usize| "  ".repeat(depth);
    let is_marked = !pointer.is_empty() && marked.contains(&pointer);
    let inner = match value {
        Value::Object(fields) if !fields.is_empty() && depth < DEPTH_MAX => html! {
            "{\n"
            @for (number, (name, value)) in fields.iter().enumerate() {
                (indent(depth + 1)) span.key { (Value::from(name.as_str()).to_string()) } ": "
                (json(value, &format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")), marked, depth + 1))
                (if number + 1 < fields.len() { ",\n" } else { "\n" })
            }
            (indent(depth)) "}"
        },
        Value::Array(items) if !items.is_empty() && depth < DEPTH_MAX => html! {
            "[\n"
            @for (number, value) in items.iter().enumerate() {
                (indent(depth + 1)) (json(value, &format!("{pointer}/{number}"), marked, depth + 1))
                (if number + 1 < items.len() { ",\n" } else { "\n" })
            }
            (indent(depth)) "]"
        },
        other => html! { (other.to_string()) },
    };
    html! { @if is_marked { mark title="this is what is wrong" { (inner) } } @else { (inner) } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::{Filter, Tail};

    fn seen() -> Tail {
        let tail = Tail::new(1, contract::json::Limits::default());
        let header = br#"{"source":"web","event_id":"<i>","received_at":1795428000000000,"format":"native","verdict":"flagged","plan_version":"1","violations":[{"code":"wrong_type","field":"/properties/price~1net","message":"must be a number"}]}"#;
        let payload = br#"{"event_id":"<i>","event_type":"order","event_time":"2026-11-23T10:00:00Z","properties":{"price/net":"twelve","list":[1,{}]}}"#;
        tail.extend([(&header[..], &payload[..])].into_iter());
        tail
    }

    #[test]
    fn the_field_that_is_wrong_is_marked() {
        let slice = seen().slice(None, &Filter::default(), 10);
        let page = detail_page(&slice.events[0]);
        let page = page.text();
        assert!(page.contains("<mark title=\"this is what is wrong\">&quot;twelve&quot;</mark>"), "{page}");
        assert_eq!(page.matches("<mark").count(), 1);
        assert!(page.contains("&lt;i&gt;") && !page.contains("<i>") && page.contains("/trace?id=%3Ci%3E"));
        let rows = rows(&slice).into_string();
        assert!(rows.contains("10:00:00.000") && rows.contains("must be a number") && rows.contains("/events/1-0"), "{rows}");
    }

    #[test]
    fn what_is_left_out_is_said() {
        assert_eq!(left_out(&Slice::default()), None);
        let told = left_out(&Slice { more: 1_200, gone: 3, ..Slice::default() }).unwrap_or_default();
        assert!(told.contains("1,200 more") && told.contains("3 came faster"), "{told}");
    }

    #[test]
    fn any_payload_can_be_shown() {
        let check = |text: &str, expect: &str| {
            assert_eq!(payload(text, &["/a"]).into_string(), format!("<pre class=\"json\" tabindex=\"0\">{expect}</pre>"))
        };
        check("no <json>", "no &lt;json&gt;");
        check("[]", "[]");
        check(r#"{"a":null}"#, "{\n  <span class=\"key\">&quot;a&quot;</span>: <mark title=\"this is what is wrong\">null</mark>\n}");
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        assert!(payload(&deep, &[]).into_string().contains("[[["));
    }
}
