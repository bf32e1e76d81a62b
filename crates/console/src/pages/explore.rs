//! Statements and what they give: a table, a picture, a file.

use maud::{Markup, html};
use serde_json::Value;

use super::{Page, Place, encoded, grouped};
use crate::picture::{self, Series};

/// Rows that are shown; files have all of them.
pub const ROWS_MAX: usize = 1_000;
/// Rows of which there are bars rather than a line.
const BARS_MAX: usize = 40;
/// Characters of a value that are shown.
const VALUE_CHARS_MAX: usize = 300;
/// Where the words are that a statement can be completed with.
pub const WORDS_PATH: &str = "/explore/words";

/// What a statement gave.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The columns.
    pub columns: Vec<Column>,
    /// The first rows.
    pub rows: Vec<Vec<Value>>,
    /// Whether there are more.
    pub has_more: bool,
    /// How long it took, in microseconds.
    pub took: i64,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

/// What a column holds, as far as a picture needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Numbers.
    Number,
    /// Days or times.
    Time,
    /// Anything else.
    Other,
}

/// What became of a statement.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// None was given.
    None,
    /// It was not run: somebody else's page led here, and nobody has looked at it yet.
    NotRun,
    /// It cannot be answered, and what to do.
    Refused(String),
    /// Its answer.
    Answered(Answer),
}

/// What one can begin with.
const EXAMPLES: [(&str, &str); 6] = [
    (
        "Events by type and day",
        "SELECT event_date, event_type, count(*) AS events\nFROM silver.events\nGROUP BY event_date, event_type\nORDER BY event_date, events DESC",
    ),
    (
        "Events by minute",
        "SELECT minute, sum(events) AS events\nFROM gold.activity_by_minute\nGROUP BY minute\nORDER BY minute DESC\nLIMIT 120",
    ),
    (
        "Visitors by day",
        "SELECT event_date, count(DISTINCT coalesce(user_id, anonymous_id)) AS visitors\nFROM silver.events\nWHERE NOT is_bot\nGROUP BY event_date\nORDER BY event_date",
    ),
    ("Pages", "SELECT page_path, count(*) AS views\nFROM events.page_view\nGROUP BY page_path\nORDER BY views DESC\nLIMIT 20"),
    ("What was late", "SELECT event_date, count(*) AS late\nFROM silver.events\nWHERE is_late\nGROUP BY event_date\nORDER BY event_date"),
    (
        "The books",
        "SELECT source, measure, sum(count) AS events\nFROM ledger\nWHERE measure NOT LIKE 'places%'\nGROUP BY source, measure\nORDER BY source, measure",
    ),
];

/// The page.
pub fn page(sql: &str, tables: &[String], outcome: &Outcome) -> Page {
    let body = html! {
        h1 { "Explore" }
        div.explore {
            form #statement method="get" action="/explore" {
                label for="sql" { "Statement" }
                textarea #sql name="sql" rows=(sql.lines().count().clamp(6, 24)) spellcheck="false" autocapitalize="off" autocomplete="off" data-search
                    data-words=(WORDS_PATH) aria-autocomplete="list" aria-haspopup="listbox" aria-controls="words" aria-describedby="sql-help" { (sql) }
                ul #words role="listbox" aria-label="Completions" hidden {}
                p.note #sql-help { "Ctrl-Enter runs it, Ctrl-Space completes a word. It only reads." }
                p.buttons {
                    button type="submit" { "Run" }
                    " " button #save type="button" { "Save in this browser" }
                }
            }
            aside aria-label="To begin with" {
                details open[sql.is_empty()] {
                    summary { "Examples" }
                    ul { @for (name, statement) in EXAMPLES { li { a href={ "/explore?sql=" (encoded(statement)) } { (name) } } } }
                }
                details #saved hidden { summary { "Saved" } ul {} }
                details {
                    summary { (tables.len()) " tables and views" }
                    ul.tables { @for table in tables { li { a href={ "/explore?sql=" (encoded(&format!("SELECT * FROM {table} LIMIT 100"))) } { (table) } } } }
                }
            }
        }
        (result(sql, outcome))
    };
    Page::new(Some(Place::Explore), "Explore", body)
}

fn result(sql: &str, outcome: &Outcome) -> Markup {
    html! {
        @match outcome {
            Outcome::None => {}
            Outcome::NotRun => p.state.warning role="status" { span.sign aria-hidden="true" { "!" } "This statement came with a link from elsewhere. Read it, and run it if you want to." }
            Outcome::Refused(why) => pre.state.failed role="alert" { (why) }
            Outcome::Answered(answer) => section aria-label="Answer" {
                p.facts role="status" {
                    (grouped(answer.rows.len() as u64)) @if answer.rows.len() == 1 { " row" } @else { " rows" }
                    @if answer.has_more { ", and there are more: the files have all of them" }
                    ", in " (super::duration(answer.took)) ". "
                    a href={ "/explore/rows.csv?sql=" (encoded(sql)) } download="rows.csv" { "CSV" } " · "
                    a href={ "/explore/rows.parquet?sql=" (encoded(sql)) } download="rows.parquet" { "Parquet" } " · "
                    a href={ "/explore/rows.json?sql=" (encoded(sql)) } download="rows.json" { "JSON" }
                }
                (picture(answer))
                (rows(answer))
            },
        }
    }
}

/// The rows as a table.
pub(crate) fn rows(answer: &Answer) -> Markup {
    let class = |column: &Column| (column.kind == Kind::Number).then_some("number");
    html! {
        div.wide tabindex="0" role="region" aria-label="Rows" {
            table {
                thead { tr { @for column in &answer.columns { th class=[class(column)] scope="col" { (column.name) } } } }
                tbody {
                    @for row in &answer.rows {
                        tr { @for (column, value) in answer.columns.iter().zip(row) { td class=[class(column)] { (shown(value)) } } }
                    }
                }
            }
        }
    }
}

/// A value as people read it. What is long is cut.
pub(crate) fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => return "null".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.chars().count() <= VALUE_CHARS_MAX { text } else { text.chars().take(VALUE_CHARS_MAX).chain(['…']).collect() }
}

/// A value as it is.
pub(crate) fn whole(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

/// A picture where the rows make one: the first column along the bottom, each column of numbers a line; with a column of texts between, a line for each of its values.
fn picture(answer: &Answer) -> Markup {
    let Some((labels, series)) = series(answer) else { return html! {} };
    let is_time = answer.columns.first().is_some_and(|column| column.kind == Kind::Time);
    html! {
        figure {
            figcaption { (answer.columns.last().map_or("", |column| &column.name)) " by " (answer.columns.first().map_or("", |column| &column.name)) }
            @if is_time && labels.len() > 1 || labels.len() > BARS_MAX { (picture::lines(&labels, &series)) } @else { (picture::bars(&labels, &series)) }
        }
    }
}

fn series(answer: &Answer) -> Option<(Vec<String>, Vec<Series>)> {
    let (first, rest) = answer.columns.split_first()?;
    if answer.rows.is_empty() || rest.is_empty() {
        return None;
    }
    let label = |row: &Vec<Value>| row.first().map(shown).unwrap_or_default();
    let mut labels: Vec<String> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for row in &answer.rows {
        let label = label(row);
        if !places.contains_key(&label) {
            places.insert(label.clone(), labels.len());
            labels.push(label);
        }
    }
    let mut series: Vec<Series> = Vec::new();
    let mut put = |name: String, place: usize, value: Option<f64>| {
        let index = series.iter().position(|line| line.name == name).unwrap_or_else(|| {
            series.push(Series { name, values: vec![None; labels.len()] });
            series.len() - 1
        });
        if let Some(slot) = series.get_mut(index).and_then(|line| line.values.get_mut(place)) {
            *slot = value;
        }
    };
    let numbers: Vec<usize> =
        (1..answer.columns.len()).filter(|at| answer.columns.get(*at).is_some_and(|column| column.kind == Kind::Number)).collect();
    let by_text = matches!(rest, [split, number] if split.kind == Kind::Other && number.kind == Kind::Number);
    for row in &answer.rows {
        let Some(place) = places.get(&label(row)) else { continue };
        if by_text {
            put(row.get(1).map(shown).unwrap_or_default(), *place, row.get(2).and_then(Value::as_f64));
        } else {
            for at in &numbers {
                let name = answer.columns.get(*at).map(|column| column.name.clone()).unwrap_or_default();
                put(name, *place, row.get(*at).and_then(Value::as_f64));
            }
        }
    }
    // Rows that are no function of the first column, or too many lines to be told apart, make no picture.
    let repeats = !by_text && labels.len() < answer.rows.len();
    if series.is_empty() || repeats || labels.len() < 2 && first.kind == Kind::Time {
        return None;
    }
    if series.len() > picture::SERIES_MAX {
        let total = |line: &Series| line.values.iter().flatten().sum::<f64>();
        series.sort_by(|a, b| total(b).total_cmp(&total(a)));
        series.truncate(picture::SERIES_MAX);
    }
    // Newest first is how people ask, and not how they read a line.
    if first.kind == Kind::Time && labels.windows(2).all(|pair| matches!(pair, [a, b] if a > b)) {
        labels.reverse();
        series.iter_mut().for_each(|line| line.values.reverse());
    }
    if first.kind == Kind::Time {
        shorten(&mut labels);
    }
    Some((labels, series))
}

/// Instants as short as they can be told apart: days, or days and minutes.
fn shorten(labels: &mut [String]) {
    let are_days = labels.iter().all(|label| label.len() <= 10 || label.contains("T00:00:00"));
    for label in labels.iter_mut().filter(|label| label.len() > 10) {
        let short = if are_days { label.get(..10) } else { label.get(5..16) };
        if let Some(short) = short.map(|short| short.replace('T', " ")) {
            *label = short;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(columns: &[(&str, Kind)], rows: Value) -> Answer {
        let columns = columns.iter().map(|(name, kind)| Column { name: (*name).to_owned(), kind: *kind }).collect();
        let rows = rows.as_array().unwrap().iter().map(|row| row.as_array().unwrap().clone()).collect();
        Answer { columns, rows, ..Answer::default() }
    }

    /// Labels, and by name the values at them.
    type Drawn<'a> = (&'a [&'a str], &'a [(&'a str, &'a [Option<f64>])]);

    fn check(columns: &[(&str, Kind)], rows: Value, expect: Option<Drawn<'_>>) {
        let found = series(&answer(columns, rows));
        let found = found.as_ref().map(|(labels, series)| {
            let series: Vec<_> = series.iter().map(|line| (line.name.as_str(), line.values.as_slice())).collect();
            (labels.iter().map(String::as_str).collect::<Vec<_>>(), series)
        });
        assert_eq!(found, expect.map(|(labels, series)| (labels.to_vec(), series.to_vec())), "{columns:?}");
    }

    #[test]
    fn rows_become_lines_where_they_can() {
        use Kind::{Number, Other, Time};
        let two = [("day", Time), ("n", Number)];
        check(&two, json!([["1", 1], ["2", null]]), Some((&["1", "2"], &[("n", &[Some(1.0), None])])));
        check(&two, json!([["2", 5], ["1", 1]]), Some((&["1", "2"], &[("n", &[Some(1.0), Some(5.0)])])));
        check(&two, json!([["1", 1], ["1", 2]]), None);
        check(&two, json!([["1", 1]]), None);
        check(&two, json!([]), None);
        check(&[("n", Number)], json!([[1]]), None);
        check(&[("a", Other), ("b", Other)], json!([["x", "y"]]), None);
        check(
            &[("day", Time), ("type", Other), ("n", Number)],
            json!([["1", "a", 1], ["1", "b", 2], ["2", "b", 3]]),
            Some((&["1", "2"], &[("a", &[Some(1.0), None]), ("b", &[Some(2.0), Some(3.0)])])),
        );
        check(
            &[("x", Other), ("n", Number), ("m", Number)],
            json!([["a", 1, 2]]),
            Some((&["a"], &[("n", &[Some(1.0)]), ("m", &[Some(2.0)])])),
        );
        let many: Vec<Value> = (0..20).map(|number| json!(["1", format!("s{number}"), number])).chain([json!(["2", "s0", 0])]).collect();
        let (_, lines) = series(&answer(&[("day", Time), ("s", Other), ("n", Number)], many.into())).unwrap();
        assert_eq!((lines.len(), lines[0].name.as_str()), (picture::SERIES_MAX, "s19"));
    }

    #[test]
    fn times_are_as_short_as_they_can_be() {
        let check = |labels: &[&str], expect: &[&str]| {
            let mut labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
            shorten(&mut labels);
            assert_eq!(labels, expect);
        };
        check(&["2026-11-23", "2026-11-24"], &["2026-11-23", "2026-11-24"]);
        check(&["2026-11-23T00:00:00.000000Z", "2026-11-24T00:00:00.000000Z"], &["2026-11-23", "2026-11-24"]);
        check(&["2026-11-23T00:00:00.000000Z", "2026-11-23T13:30:00.000000Z", "null"], &["11-23 00:00", "11-23 13:30", "null"]);
    }

    #[test]
    fn what_came_with_a_link_is_not_run() {
        let page = page("SELECT '<b>'", &["silver.events".to_owned()], &Outcome::NotRun);
        let page = page.text();
        assert!(page.contains("came with a link") && page.contains("&lt;b&gt;") && !page.contains("<b>"), "{page}");
        let refused = super::page("x", &[], &Outcome::Refused("no <table>".to_owned()));
        let refused = refused.text();
        assert!(refused.contains("no &lt;table&gt;"));
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(shown(&json!("é".repeat(400))).chars().count(), VALUE_CHARS_MAX + 1);
        assert_eq!((shown(&Value::Null), shown(&json!({"a": 1}))), ("null".to_owned(), r#"{"a":1}"#.to_owned()));
    }
}
