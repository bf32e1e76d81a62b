//! What a model says of itself in the comment above its query.

use std::time::Duration;

use super::{Input, Model, ModelError, SCHEMA, Span};

/// Days that a model may reach before or after; further than that is "all days".
const DAYS_MAX: u32 = 3_660;
/// What a table of Gold may be called, in characters.
const NAME_CHARS_MAX: usize = 60;
const KNOWN: [&str; 5] = ["grain", "keys", "partition", "reads", "every"];

pub(super) fn parse(name: &str, text: &str) -> Result<Model, ModelError> {
    let wrong = |line: usize, what: String| ModelError { line, what };
    if !is_name(name) {
        let what = format!(
            "`{name}` cannot name a table: use at most {NAME_CHARS_MAX} lower case letters, digits and underscores, a letter first"
        );
        return Err(wrong(1, what));
    }
    let (mut about, mut grain, mut keys, mut partition, mut reads, mut every) =
        (Vec::new(), None, Vec::new(), None, Vec::<Input>::new(), Duration::ZERO);
    let comment: Vec<(usize, &str)> = (1..).zip(text.lines()).take_while(|(_, line)| is_comment(line)).collect();
    for (number, line) in &comment {
        let words = line.trim().trim_start_matches('-').trim();
        let said = words.split_once(':').filter(|(key, _)| KNOWN.contains(&key.trim()));
        let Some((key, value)) = said else {
            about.push(words);
            continue;
        };
        let value = value.trim();
        match key.trim() {
            "grain" => grain = Some(value.to_owned()),
            "keys" => keys = columns(value).map_err(|what| wrong(*number, what))?,
            "partition" => partition = Some(column(value).map_err(|what| wrong(*number, what))?),
            "reads" => {
                let input = input(value).map_err(|what| wrong(*number, what))?;
                if reads.iter().any(|other| other.table == input.table) {
                    return Err(wrong(*number, format!("{} is read twice; say once how much of it", input.table)));
                }
                reads.push(input);
            }
            _ => every = period(value).map_err(|what| wrong(*number, what))?,
        }
    }
    let sql = text.lines().skip(comment.len()).collect::<Vec<_>>().join("\n");
    let sql = sql.trim().trim_end_matches(';').trim_end().to_owned();
    let after = comment.len() + 1;
    if sql.is_empty() {
        return Err(wrong(after, "there is no query below the comment".to_owned()));
    }
    let lacks = |key: &str, example: &str| wrong(after, format!("the comment above the query lacks `-- {key}: {example}`"));
    let grain = grain.filter(|grain| !grain.is_empty()).ok_or_else(|| lacks("grain", "a day and source"))?;
    let first = keys.first().cloned().ok_or_else(|| lacks("keys", "event_date, source"))?;
    let partition_by = partition.unwrap_or(first);
    if !keys.contains(&partition_by) {
        return Err(wrong(after, format!("it is partitioned by {partition_by}, which is none of its keys")));
    }
    if reads.is_empty() {
        return Err(lacks("reads", "silver.events"));
    }
    let name = format!("{SCHEMA}.{name}");
    if reads.iter().any(|input| input.table == name) {
        return Err(wrong(after, format!("{name} cannot read itself")));
    }
    let about = about.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(Model { name, about, grain, keys, partition_by, reads, every, sql })
}

fn is_comment(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with("--")
}

fn is_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.len() <= NAME_CHARS_MAX && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_part)
}

fn columns(text: &str) -> Result<Vec<String>, String> {
    let columns = text.split(',').map(|name| column(name.trim())).collect::<Result<Vec<_>, _>>()?;
    match columns.iter().enumerate().find(|(number, name)| columns.iter().take(*number).any(|other| other == *name)) {
        Some((_, twice)) => Err(format!("{twice} is named twice")),
        None => Ok(columns),
    }
}

fn column(name: &str) -> Result<String, String> {
    if is_name(name) {
        Ok(name.to_owned())
    } else {
        Err(format!("`{name}` is no name of a column: use lower case letters, digits and underscores"))
    }
}

/// `silver.events`, `silver.events, 29 days before`, `silver.events, 2 days before, 1 day after`, `silver.exposures, all days before`, `gold.subjects, whole`.
fn input(text: &str) -> Result<Input, String> {
    let mut parts = text.split(',').map(str::trim);
    let table = parts.next().unwrap_or_default();
    let is_known = matches!(table, "silver.events" | "silver.exposures" | "dead_letters")
        || table.strip_prefix(SCHEMA).and_then(|rest| rest.strip_prefix('.')).is_some_and(is_name);
    if !is_known {
        return Err(format!(
            "`{table}` cannot be read by a model: it reads silver.events, silver.exposures, dead_letters, or a table of gold"
        ));
    }
    let (mut before, mut after) = (Some(0), Some(0));
    let mut span = None;
    for part in parts {
        let words: Vec<&str> = part.split_whitespace().collect();
        match words.as_slice() {
            ["whole"] => span = Some(Span::Whole),
            [days, "day" | "days", "before"] => before = number_of_days(days)?,
            [days, "day" | "days", "after"] => after = number_of_days(days)?,
            _ => {
                return Err(format!(
                    "`{part}` is not how much of a table is read: say `29 days before`, `1 day after`, `all days before` or `whole`"
                ));
            }
        }
    }
    Ok(Input { table: table.to_owned(), span: span.unwrap_or(Span::Days { before, after }) })
}

fn number_of_days(text: &str) -> Result<Option<u32>, String> {
    if text == "all" {
        return Ok(None);
    }
    let days = text.parse().ok().filter(|days| *days <= DAYS_MAX);
    days.map(Some).ok_or_else(|| format!("`{text}` is no number of days up to {DAYS_MAX}; say `all days` for all of them"))
}

fn period(text: &str) -> Result<Duration, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let unit = |unit: &str| match unit.trim_end_matches('s') {
        "second" => Some(1),
        "minute" => Some(60),
        "hour" => Some(3_600),
        _ => None,
    };
    let seconds = match words.as_slice() {
        [one] => unit(one),
        [number, name] => number.parse::<u64>().ok().zip(unit(name)).map(|(number, unit)| number.saturating_mul(unit)),
        _ => None,
    };
    let seconds = seconds.filter(|seconds| *seconds <= 86_400);
    seconds.map(Duration::from_secs).ok_or_else(|| format!("`{text}` is no time up to a day; say `5 minutes` or `hour`"))
}
