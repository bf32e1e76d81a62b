//! A table for people, as wide as the terminal at most.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use serde_json::Value;

/// Characters that a column needs to be of use. A table that cannot give each of its columns so many is turned: one row below the other.
const COLUMN_CHARS_MIN: usize = 12;

/// The width of the terminal in characters.
pub(super) fn terminal_width() -> Option<u16> {
    Table::new().width()
}

/// The table as text, ending with a line feed.
pub(super) fn draw(columns: &[String], rows: &[Vec<Value>], width: Option<u16>) -> String {
    let crowded = width.is_some_and(|width| columns.len().saturating_mul(COLUMN_CHARS_MIN) > usize::from(width));
    let mut table = if crowded && !rows.is_empty() { turned(columns, rows) } else { upright(columns, rows) };
    table.load_preset(UTF8_FULL_CONDENSED);
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    let count = rows.len();
    format!("{table}\n{count} {}\n", if count == 1 { "row" } else { "rows" })
}

fn upright(columns: &[String], rows: &[Vec<Value>]) -> Table {
    let mut table = Table::new();
    table.set_header(columns.iter().map(|column| shown(column)));
    for row in rows {
        table.add_row(row.iter().map(cell));
    }
    table
}

fn turned(columns: &[String], rows: &[Vec<Value>]) -> Table {
    let mut table = Table::new();
    table.set_header(["row", "column", "value"]);
    for (number, row) in (1..).zip(rows) {
        for (column, value) in columns.iter().zip(row) {
            table.add_row([Cell::new(number), Cell::new(shown(column)), cell(value).set_alignment(CellAlignment::Left)]);
        }
    }
    table
}

fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::new(""),
        Value::String(text) => Cell::new(shown(text)),
        Value::Number(_) => Cell::new(value).set_alignment(CellAlignment::Right),
        other => Cell::new(shown(&other.to_string())),
    }
}

/// Without control characters: what clients sent must not speak to the terminal of whoever looks at it.
fn shown(text: &str) -> String {
    let visible = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    if text.contains(char::is_control) { text.chars().map(visible).collect() } else { text.to_owned() }
}
