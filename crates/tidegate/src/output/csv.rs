//! CSV as RFC 4180 has it, with line feeds.

use std::io::{self, Write};

use serde_json::Value;

pub(super) fn head(out: &mut impl Write, columns: &[String]) -> io::Result<()> {
    line(out, columns.iter().map(|column| field(column)))
}

pub(super) fn row(out: &mut impl Write, cells: &[Value]) -> io::Result<()> {
    let fields = cells.iter().map(|cell| match cell {
        Value::Null => String::new(),
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => field(text),
        other => field(&other.to_string()),
    });
    line(out, fields)
}

fn line(out: &mut impl Write, fields: impl Iterator<Item = String>) -> io::Result<()> {
    let mut separator = "";
    for field in fields {
        write!(out, "{separator}{field}")?;
        separator = ",";
    }
    writeln!(out)
}

fn field(text: &str) -> String {
    let quoted = text.contains(['"', ',', '\n', '\r']) || text.starts_with(' ') || text.ends_with(' ');
    if quoted { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
