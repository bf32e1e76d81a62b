//! What could not be taken, by reason, with examples.

use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Page, Place, Visitor, encoded, events, explore, grouped, shell};
use crate::events::literal;
use crate::picture::{self, Series};

/// Where a form is sent that puts them through again.
pub const RECOVER_PATH: &str = "/dead-letters/recover";
/// Days back that the page shows unless it is asked for others.
const DAYS_DEFAULT: u32 = 7;
/// The most days that it goes back.
const DAYS_MAX: u32 = 400;
/// Reasons that are listed.
const REASONS_MAX: usize = 200;
/// Examples that are shown.
const EXAMPLES_MAX: usize = 25;
/// Characters of an example that are shown.
const PAYLOAD_CHARS_MAX: usize = 16 << 10;

/// Which dead letters somebody asks for, as it stands in the address of the page. What is empty holds for all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// Of this source.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Kept by this stage.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stage: String,
    /// For this reason.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// With this field at fault.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// Received within so many days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
}

/// The rows of the three statements, in the order of their columns.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Of [`Asked::reasons`].
    pub reasons: Vec<Vec<Value>>,
    /// Of [`Asked::by_day`].
    pub by_day: Vec<Vec<Value>>,
    /// Of [`Asked::examples`].
    pub examples: Vec<Vec<Value>>,
}

/// What would come of it if these dead letters came again now.
#[derive(Debug, Clone, Default)]
pub struct Again {
    /// How many there are of those asked for.
    pub letters: u64,
    /// Of these, how many Silver has meanwhile.
    pub in_silver: u64,
    /// How many would pass.
    pub passed: u64,
    /// How many would still fail.
    pub failed: u64,
    /// How many cannot be put through again, whatever the plan says.
    pub hopeless: u64,
    /// Why not, for example.
    pub why: Vec<String>,
    /// Whether there are more than were looked at.
    pub has_more: bool,
}

impl Asked {
    /// How many days it goes back.
    pub fn days(&self) -> u32 {
        self.days.unwrap_or(DAYS_DEFAULT).clamp(1, DAYS_MAX)
    }

    fn conditions(&self) -> String {
        let texts = [("source", &self.source), ("stage", &self.stage), ("code", &self.code), ("field", &self.field)];
        let wanted = texts.into_iter().filter(|(_, value)| !value.is_empty());
        let equal = wanted.map(|(column, value)| format!("{column} = {}", literal(value)));
        let since = format!("ingest_date > current_date() - INTERVAL '{}' DAY", self.days());
        std::iter::once(since).chain(equal).collect::<Vec<_>>().join(" AND ")
    }

    /// Counted by source, stage, reason and field, most first.
    pub fn reasons(&self) -> String {
        format!(
            "SELECT source, stage, code, field, count(*) AS letters, CAST(max(received_at) AS VARCHAR) AS newest, min(message) AS message FROM dead_letters WHERE {} GROUP BY source, \
             stage, code, field ORDER BY letters DESC, source, stage, code, field LIMIT {REASONS_MAX}",
            self.conditions()
        )
    }

    /// Counted by day.
    pub fn by_day(&self) -> String {
        format!(
            "SELECT CAST(ingest_date AS VARCHAR) AS day, count(*) AS letters FROM dead_letters WHERE {} GROUP BY ingest_date ORDER BY ingest_date",
            self.conditions()
        )
    }

    /// The newest of them, whole.
    pub fn examples(&self) -> String {
        format!(
            "SELECT CAST(received_at AS VARCHAR) AS received, source, event_id, stage, code, field, message, payload, plan_version FROM dead_letters \
             WHERE {} ORDER BY received_at DESC LIMIT {EXAMPLES_MAX}",
            self.conditions()
        )
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> String {
        let mut asked = self.clone();
        change(&mut asked);
        format!("/dead-letters?{}", asked.query())
    }

    fn query(&self) -> String {
        let days = self.days.map(|days| days.to_string());
        let texts = [("source", &self.source), ("stage", &self.stage), ("code", &self.code), ("field", &self.field)];
        let texts = texts.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name}={}", encoded(value)));
        texts.chain(days.map(|days| format!("days={days}"))).collect::<Vec<_>>().join("&")
    }

    /// The arguments of the command that puts them through again; `from`: the first of the days.
    pub fn command(&self, from: &str) -> Vec<String> {
        let flags =
            [("source", self.source.as_str()), ("stage", &self.stage), ("reason", &self.code), ("field", &self.field), ("from", from)];
        let flags = flags.into_iter().filter(|(_, value)| !value.is_empty());
        // In one word: a value may begin like a flag.
        std::iter::once("recover".to_owned()).chain(flags.map(|(name, value)| format!("--{name}={value}"))).collect()
    }
}

/// The page; `problem`: why nothing can be found out, `from`: the first of the days.
pub fn page(asked: &Asked, found: &Found, again: Option<&Again>, problem: Option<&str>, from: &str, visitor: &Visitor) -> Page {
    let total: u64 = found.by_day.iter().filter_map(|row| row.get(1)?.as_u64()).sum();
    let body = html! {
        h1 { "Dead letters" }
        p.about { "Nothing that a known source sent is thrown away: what could not be taken is here, whole, with the reason." }
        (form(asked))
        @if let Some(problem) = problem { pre.state.failed role="alert" { (problem) } }
        @else if total == 0 { p role="status" { "There are none in the last " (asked.days()) " days." } }
        @else {
            p.facts role="status" { strong data-count="letters" { (grouped(total)) } " in the last " (asked.days()) " days." }
            @if found.by_day.len() > 1 { figure { figcaption { "By day of receipt" } (days(&found.by_day)) } }
            (reasons(asked, &found.reasons))
            (mending(asked, again, from, visitor))
            (examples(&found.examples))
        }
    };
    Page::new(Some(Place::DeadLetters), "Dead letters", body)
}

fn form(asked: &Asked) -> Markup {
    html! {
        form.filter method="get" action="/dead-letters" role="search" {
            label { "Source" input type="search" name="source" value=(asked.source) size="10" data-search; }
            label { "Stage" select name="stage" {
                @for (value, text) in [("", "all"), ("gate", "gate: refused"), ("plan", "plan: quarantined"), ("silver", "Silver: not decoded"), ("bronze", "Bronze: no note")] {
                    option value=(value) selected[asked.stage == value] { (text) }
                }
            } }
            label { "Reason" input type="text" name="code" value=(asked.code) size="16"; }
            label { "Field" input type="text" name="field" value=(asked.field) size="16"; }
            label { "Days" input type="number" name="days" min="1" max=(DAYS_MAX) value=(asked.days()); }
            button type="submit" { "Filter" }
            a href="/dead-letters" { "All" }
        }
    }
}

fn text(row: &[Value], column: usize) -> &str {
    row.get(column).and_then(Value::as_str).unwrap_or_default()
}

fn count(row: &[Value], column: usize) -> u64 {
    row.get(column).and_then(Value::as_u64).unwrap_or_default()
}

fn days(rows: &[Vec<Value>]) -> Markup {
    let labels: Vec<String> = rows.iter().map(|row| text(row, 0).to_owned()).collect();
    let values = rows.iter().map(|row| Some(count(row, 1) as f64)).collect();
    picture::bars(&labels, &[Series { name: "dead letters".to_owned(), values }])
}

fn reasons(asked: &Asked, rows: &[Vec<Value>]) -> Markup {
    html! {
        section {
            h2 { "By reason" }
            div.wide tabindex="0" role="region" aria-label="Dead letters by reason" {
                table {
                    thead { tr { th scope="col" { "source" } th scope="col" { "stage" } th scope="col" { "reason" } th scope="col" { "field" } th.number scope="col" { "dead letters" } th scope="col" { "newest" } th scope="col" { "for example" } } }
                    tbody {
                        @for row in rows {
                            tr {
                                td { a href=(asked.with(|asked| text(row, 0).clone_into(&mut asked.source))) { (text(row, 0)) } }
                                td { a href=(asked.with(|asked| text(row, 1).clone_into(&mut asked.stage))) { (text(row, 1)) } }
                                td { a href=(asked.with(|asked| text(row, 2).clone_into(&mut asked.code))) { (text(row, 2)) } }
                                td { @if !text(row, 3).is_empty() { a href=(asked.with(|asked| text(row, 3).clone_into(&mut asked.field))) { code { (text(row, 3)) } } } }
                                td.number { (grouped(count(row, 4))) }
                                td { (text(row, 5).get(..19).unwrap_or_default().replace('T', " ")) }
                                td { (text(row, 6)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn mending(asked: &Asked, again: Option<&Again>, from: &str, visitor: &Visitor) -> Markup {
    html! {
        section #again {
            h2 { "Once plan or client are mended" }
            @match again {
                None => form method="get" action="/dead-letters#again" {
                    (hidden(asked))
                    input type="hidden" name="again" value="1";
                    button type="submit" { "Would they pass now?" }
                    span.note { " Judges these dead letters under the present plan and code, and changes nothing." }
                },
                Some(again) => {
                    p.state.(if again.passed > 0 { "passed" } else { "warning" }) role="status" {
                        strong { (grouped(again.passed)) " of " (grouped(again.letters)) " would pass now" }
                        @if again.in_silver > 0 { ", " (grouped(again.in_silver)) " have made it already" }
                        @if again.failed > 0 { ", " (grouped(again.failed)) " would still fail" }
                        @if again.hopeless > 0 { ", " (grouped(again.hopeless)) " cannot be put through" }
                        "." @if again.has_more { " There are more than were looked at." }
                    }
                    @if !again.why.is_empty() { ul.checks { @for why in &again.why { li.failed { (why) } } } }
                    @if let Some(token) = visitor.form_token() { form method="post" action=(RECOVER_PATH) {
                        (super::form_field(token)) (hidden(asked))
                        button type="submit" disabled[again.passed == 0] { "Put them through" }
                    } }
                },
            }
            p {
                "This puts through what passes, once, however often it is run."
                @if asked.stage.is_empty() { " What the gate refused is left alone unless its stage is asked for: the client was told so, and may have sent it again." }
            }
            pre tabindex="0" { code { "tidegate " (shell(&asked.command(from))) } }
        }
    }
}

/// What is asked for, as fields of a form.
fn hidden(asked: &Asked) -> Markup {
    html! {
        @for (name, value) in [("source", &asked.source), ("stage", &asked.stage), ("code", &asked.code), ("field", &asked.field)] {
            @if !value.is_empty() { input type="hidden" name=(name) value=(value); }
        }
        @if let Some(days) = asked.days { input type="hidden" name="days" value=(days); }
    }
}

fn examples(rows: &[Vec<Value>]) -> Markup {
    html! {
        section {
            h2 { "The newest" }
            @for row in rows {
                details.letter {
                    summary {
                        time datetime=(text(row, 0)) { (text(row, 0).get(..19).unwrap_or_default().replace('T', " ")) } " " (text(row, 1)) " " code { (text(row, 4)) } " "
                        @if !text(row, 5).is_empty() { code { (text(row, 5)) } " " } (text(row, 6))
                    }
                    p.facts { "Event " a href={ "/trace?id=" (encoded(text(row, 2))) } { (text(row, 2)) } ", stage " (text(row, 3)) ", plan " (text(row, 8)) }
                    @let payload = explore::whole(row.get(7));
                    @if payload.len() <= PAYLOAD_CHARS_MAX { (events::payload(&payload, &[text(row, 5)])) }
                    @else { pre.json tabindex="0" { (payload.chars().take(PAYLOAD_CHARS_MAX).collect::<String>()) "…" } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::access::Role;

    #[test]
    fn what_is_asked_for_is_no_statement() {
        let asked = Asked { source: "o'brien".to_owned(), code: "wrong type".to_owned(), days: Some(0), ..Asked::default() };
        let sql = asked.reasons();
        assert!(sql.contains("source = 'o''brien' AND code = 'wrong type'") && sql.contains("INTERVAL '1' DAY"), "{sql}");
        assert_eq!(asked.query(), "source=o%27brien&code=wrong+type&days=0");
        assert_eq!(shell(&asked.command("2026-11-23")), r"recover '--source=o'\''brien' '--reason=wrong type' --from=2026-11-23");
        assert_eq!(Asked { days: Some(u32::MAX), ..Asked::default() }.days(), DAYS_MAX);
    }

    #[test]
    fn the_page_says_what_is_there() {
        let asked = Asked::default();
        assert!(page(&asked, &Found::default(), None, None, "", &Visitor::Open).text().contains("There are none in the last 7 days"));
        assert!(page(&asked, &Found::default(), None, Some("no <lake>"), "", &Visitor::Open).text().contains("no &lt;lake&gt;"));
        let found = Found {
            reasons: vec![
                json!(["web", "plan", "wrong_type", "/properties/price", 1_200, "2026-11-23T10:00:00.5", "must be a number"])
                    .as_array()
                    .unwrap()
                    .clone(),
            ],
            by_day: vec![json!(["2026-11-22", 1_000]).as_array().unwrap().clone(), json!(["2026-11-23", 200]).as_array().unwrap().clone()],
            examples: vec![
                json!([
                    "2026-11-23T10:00:00.5",
                    "web",
                    "e<1>",
                    "plan",
                    "wrong_type",
                    "/properties/price",
                    "must be a number",
                    r#"{"properties":{"price":"x"}}"#,
                    "1"
                ])
                .as_array()
                .unwrap()
                .clone(),
            ],
        };
        let again = Again { letters: 1_200, passed: 1_100, failed: 100, why: vec!["e1: wrong_type".to_owned()], ..Again::default() };
        let admin = Visitor::Known { name: "anna".to_owned(), role: Role::Admin, form_token: "t1".to_owned() };
        let shown = page(&asked, &found, Some(&again), None, "", &admin);
        let text = shown.text();
        assert!(
            text.contains("1,200") && text.contains("<mark") && text.contains("1,100 of 1,200 would pass now") && !text.contains("e<1>"),
            "{text}"
        );
        assert!(
            text.contains("/dead-letters?field=%2Fproperties%2Fprice")
                && page(&asked, &found, None, None, "", &Visitor::Open).text().contains("Would they pass now?")
        );
        // Only who may change something is asked whether to.
        assert!(text.contains("Put them through") && text.contains("value=\"t1\""), "{text}");
        assert!(!page(&asked, &found, Some(&again), None, "", &Visitor::Open).text().contains("Put them through"));
    }
}
