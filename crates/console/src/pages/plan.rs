//! The tracking plan, and how the events of the last days keep to it.

use std::collections::{BTreeMap, BTreeSet};

use contract::Plan;
use contract::plan::{Policy, Shape};
use maud::{Markup, html};
use serde_json::Value;

use super::{Page, Place, encoded, events, explore, grouped};
use crate::events::literal;
use crate::picture;

/// Days that are shown.
pub const DAYS: u32 = 14;
/// Types that are not in the plan and are listed all the same.
const UNPLANNED_MAX: usize = 100;

/// Events by type and day, and how many of them break the plan: of all types, or of one.
pub fn volumes(event_type: Option<&str>) -> String {
    let only = event_type.map_or_else(String::new, |event_type| format!(" AND event_type = {}", literal(event_type)));
    format!(
        "SELECT event_type, CAST(event_date AS VARCHAR) AS day, count(*) AS events, count(plan_violations) AS flagged FROM silver.events WHERE event_date > current_date() - INTERVAL \
         '{DAYS}' DAY{only} GROUP BY event_type, event_date ORDER BY event_type, event_date"
    )
}

/// The newest events of a type, and those that break the plan.
pub fn examples(event_type: &str) -> String {
    let quoted = literal(event_type);
    let newest = |condition: &str| {
        format!(
            "(SELECT CAST(received_at AS VARCHAR) AS received, source, event_id, properties, plan_violations FROM silver.events WHERE event_type = {quoted} AND event_date > current_date() - \
             INTERVAL '{DAYS}' DAY AND {condition} ORDER BY received_at DESC LIMIT 5)"
        )
    };
    format!("SELECT * FROM {} UNION ALL SELECT * FROM {}", newest("plan_violations IS NULL"), newest("plan_violations IS NOT NULL"))
}

/// The page of all types. `volumes`: the rows of [`volumes`], or why there are none.
pub fn page(plan: &Plan, volumes: Result<&[Vec<Value>], &str>) -> Page {
    let rows = volumes.unwrap_or_default();
    let found = by_type(rows);
    let days: BTreeSet<&str> = rows.iter().filter_map(|row| row.get(1)?.as_str()).collect();
    let planned: BTreeSet<&str> = plan.types().collect();
    let unplanned: Vec<&str> = found.keys().copied().filter(|found| !planned.contains(found)).take(UNPLANNED_MAX).collect();
    let body = html! {
        h1 { "Tracking plan" }
        p.facts { "Version " strong { (plan.version()) } ". What breaks it is " (policy(plan.policy_of_all())) ". Volumes are of the last " (DAYS) " days, by the time of the event." }
        @if let Err(why) = volumes { p.state.warning role="status" { span.sign aria-hidden="true" { "!" } (why) } }
        (table("Event types of the plan", &planned.iter().copied().collect::<Vec<_>>(), plan, &found, &days))
        @if !unplanned.is_empty() {
            h2 { "Not in the plan" }
            (table("Event types that are not in the plan", &unplanned, plan, &found, &days))
        }
    };
    Page::new(Some(Place::Plan), "Tracking plan", body)
}

/// The page of one type. `examples`: the rows of [`examples`], or why there are none.
pub fn type_page(plan: &Plan, event_type: &str, volumes: &[Vec<Value>], examples: Result<&[Vec<Value>], &str>) -> Page {
    let found = by_type(volumes);
    let days: BTreeSet<&str> = volumes.iter().filter_map(|row| row.get(1)?.as_str()).collect();
    let fields = plan.fields(event_type);
    let body = html! {
        p { a href="/plan" { "Tracking plan" } " · " a href={ "/events?type=" (encoded(event_type)) } { "live events" } " · "
            a href={ "/explore?sql=" (encoded(&format!("SELECT * FROM silver.events WHERE event_type = {} LIMIT 100", literal(event_type)))) } { "explore" } }
        h1 { (event_type) }
        @match plan.description(event_type) {
            Some(description) => p.about { (description) },
            None => @if !plan.types().any(|name| name == event_type) { p.about { "This type is not in the plan." } },
        }
        @if let Some(counts) = found.get(event_type) {
            figure { figcaption { "Events by day" } (picture(counts, &days)) }
        }
        @if !fields.is_empty() {
            h2 { "Properties" }
            div.wide tabindex="0" role="region" aria-label="Properties" {
                table {
                    thead { tr { th scope="col" { "property" } th scope="col" { "is" } th scope="col" { "must be there" } th scope="col" { "what it says" } } }
                    tbody { @for field in &fields { tr {
                        th scope="row" { (field.name) } td { (shape(&field.shape)) } td { @if field.required { "yes" } } td { (field.description.as_deref().unwrap_or("")) }
                    } } }
                }
            }
        }
        h2 { "Examples" }
        @match examples {
            Err(why) => p.state.warning role="status" { span.sign aria-hidden="true" { "!" } (why) },
            Ok([]) => p { "There are none in the last " (DAYS) " days." },
            Ok(rows) => @for row in rows { (example(row)) },
        }
    };
    Page::new(Some(Place::Plan), event_type, body)
}

fn policy(policy: Policy) -> &'static str {
    match policy {
        Policy::Quarantine => "taken and kept apart, as dead letters",
        Policy::Reject => "refused, and kept as dead letters",
        Policy::Flag => "taken and marked",
    }
}

/// Events and those of them that are flagged, by day.
type ByDay<'a> = BTreeMap<&'a str, (u64, u64)>;

fn by_type(rows: &[Vec<Value>]) -> BTreeMap<&str, ByDay<'_>> {
    let mut found: BTreeMap<&str, ByDay<'_>> = BTreeMap::new();
    for row in rows {
        let [Value::String(event_type), Value::String(day), events, flagged] = row.as_slice() else { continue };
        let counts = (events.as_u64().unwrap_or_default(), flagged.as_u64().unwrap_or_default());
        found.entry(event_type).or_default().insert(day, counts);
    }
    found
}

fn picture(counts: &ByDay<'_>, days: &BTreeSet<&str>) -> Markup {
    let labels: Vec<String> = days.iter().map(|day| (*day).to_owned()).collect();
    let of = |pick: fn(&(u64, u64)) -> u64| days.iter().map(|day| Some(counts.get(day).map_or(0, pick) as f64)).collect();
    let series = [
        picture::Series { name: "events".to_owned(), values: of(|(events, _)| *events) },
        picture::Series { name: "breaking the plan".to_owned(), values: of(|(_, flagged)| *flagged) },
    ];
    picture::bars(&labels, &series)
}

fn table(label: &str, types: &[&str], plan: &Plan, found: &BTreeMap<&str, ByDay<'_>>, days: &BTreeSet<&str>) -> Markup {
    html! {
        div.wide tabindex="0" role="region" aria-label=(label) {
            table {
                thead { tr { th scope="col" { "type" } th scope="col" { "what it says" } th.number scope="col" { "properties" } th.number scope="col" { "events" } th.number scope="col" { "breaking the plan" } th scope="col" { "by day" } } }
                tbody {
                    @for event_type in types {
                        @let counts = found.get(event_type);
                        @let (events, flagged) = counts.map_or((0, 0), |counts| counts.values().fold((0, 0), |(events, flagged), (more, bad)| (events + more, flagged + bad)));
                        tr data-type=(event_type) {
                            th scope="row" { a href={ "/plan/type?name=" (encoded(event_type)) } { (event_type) } }
                            td { (plan.description(event_type).unwrap_or("")) }
                            td.number { (plan.fields(event_type).len()) }
                            td.number data-count="events" { (grouped(events)) }
                            td.number class=[(flagged > 0).then_some("worse")] { (grouped(flagged)) }
                            td.small {
                                @if let Some(counts) = counts {
                                    @let values: Vec<f64> = days.iter().map(|day| counts.get(day).map_or(0, |(events, _)| *events) as f64).collect();
                                    (picture::sparkline(&values, &format!("{event_type} by day")))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn example(row: &[Value]) -> Markup {
    let text = |column: usize| row.get(column).and_then(Value::as_str).unwrap_or_default();
    let violations: Vec<contract::Violation> = serde_json::from_str(text(4)).unwrap_or_default();
    // The violation names the place in the event, and here are the properties alone.
    let fields: Vec<&str> = violations.iter().filter_map(|violation| violation.field.strip_prefix("/properties")).collect();
    html! {
        details.letter open[!violations.is_empty()] {
            summary { (text(0).get(..19).unwrap_or_default().replace('T', " ")) " " (text(1)) " " @for violation in &violations { code { (violation.field) } " " (violation.message) " " } }
            p.facts { "Event " a href={ "/trace?id=" (encoded(text(2))) } { (text(2)) } }
            (events::payload(&explore::whole(row.get(3)), &fields))
        }
    }
}

fn shape(shape: &Shape) -> String {
    match shape {
        Shape::Any => "anything".to_owned(),
        Shape::Null => "null".to_owned(),
        Shape::Text => "text".to_owned(),
        Shape::Integer => "whole number".to_owned(),
        Shape::Number => "number".to_owned(),
        Shape::Boolean => "true or false".to_owned(),
        Shape::Literal(values) => values.iter().map(Value::to_string).collect::<Vec<_>>().join(" or "),
        Shape::List(items) => format!("list of {}", self::shape(items)),
        Shape::Object => "object".to_owned(),
        Shape::Fields(fields) => {
            let fields: Vec<String> = fields.iter().map(|field| format!("{}: {}", field.name, self::shape(&field.shape))).collect();
            format!("object with {}", fields.join(", "))
        }
        Shape::Either(shapes) => shapes.iter().map(self::shape).collect::<Vec<_>>().join(" or "),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_with_their_volumes() {
        let plan = Plan::built_in();
        let rows: Vec<Vec<Value>> = [
            json!(["page_view", "2026-11-22", 1_000, 0]),
            json!(["page_view", "2026-11-23", 234, 5]),
            json!(["<odd>", "2026-11-23", 7, 0]),
        ]
        .iter()
        .map(|row| row.as_array().unwrap().clone())
        .collect();
        let shown = page(&plan, Ok(&rows));
        let text = shown.text();
        assert!(
            text.contains("1,234") && text.contains("Not in the plan") && text.contains("&lt;odd&gt;") && !text.contains("<odd>"),
            "{text}"
        );
        assert!(page(&plan, Err("no tables yet")).text().contains("no tables yet"));
        let violations = r#"[{"code":"wrong_type","field":"/properties/url","message":"must be a text"}]"#;
        let example = json!(["2026-11-23T10:00:00", "web", "e1", r#"{"url":7}"#, violations]).as_array().unwrap().clone();
        let shown = type_page(&plan, "page_view", &rows, Ok(&[example]));
        let text = shown.text();
        assert!(text.contains("<mark title=\"this is what is wrong\">7</mark>") && text.contains("must be a text"), "{text}");
        assert!(type_page(&plan, "<odd>", &[], Ok(&[])).text().contains("not in the plan"));
    }

    #[test]
    fn a_type_is_no_statement() {
        assert!(examples("it's").contains("event_type = 'it''s'") && volumes(Some("it's")).contains("event_type = 'it''s'"));
    }
}
