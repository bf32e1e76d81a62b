//! `tidegate tables`: the columns of the tables, and what each means.

use arrow::datatypes::{DataType, FieldRef};
use clap::Args;
use medallion::described::{self, Described, meaning};
use serde_json::json;

use crate::output::{self, Format};

/// List the columns of the tables, and what each means
///
/// Those of Gold have the columns of their models: see `tidegate gold explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate tables
  tidegate tables --format json")]
pub(crate) struct TablesArgs {
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// As the tables of the reference
    #[arg(long, conflicts_with = "format")]
    markdown: bool,
}

pub(crate) fn run(args: &TablesArgs) -> anyhow::Result<bool> {
    if args.markdown {
        output::text(&markdown())?;
        return Ok(true);
    }
    let mut rows = output::stdout(args.format, ["table", "column", "type", "nullable", "meaning"].map(str::to_owned).into())?;
    for table in described::all() {
        for field in table.schema.fields() {
            let meaning = meaning(table.name, field.name()).unwrap_or_default();
            let row = vec![
                json!(table.name),
                json!(field.name()),
                json!(type_name(field.data_type())),
                json!(field.is_nullable()),
                json!(meaning),
            ];
            if !rows.write(row)? {
                return Ok(true);
            }
        }
    }
    rows.finish()?;
    Ok(true)
}

/// A type as Delta names it.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "string".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Int32 => "integer".to_owned(),
        DataType::Int64 => "long".to_owned(),
        DataType::Binary => "binary".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        other => other.to_string(),
    }
}

/// The tables as sections of the reference.
fn markdown() -> String {
    described::all().iter().map(section).collect::<Vec<_>>().join("\n")
}

fn section(table: &Described) -> String {
    let row = |field: &FieldRef| {
        let null = if field.is_nullable() { "yes" } else { "" };
        let meaning = meaning(table.name, field.name()).unwrap_or_default().replace('|', "\\|");
        format!("| `{}` | {} | {null} | {meaning} |\n", field.name(), type_name(field.data_type()))
    };
    let rows: String = table.schema.fields().iter().map(row).collect();
    let divided = table.partition_by.map_or_else(String::new, |column| format!(" Divided by `{column}`."));
    format!("## `{}`\n\n{}{divided}\n\n| column | type | null | |\n|---|---|---|---|\n{rows}", table.name, table.about)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference holds the tables that the program prints.
    #[test]
    fn the_reference_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/tables.md");
        let reference = std::fs::read_to_string(path).unwrap();
        assert!(
            reference.contains(&markdown()),
            "put what `tidegate tables --markdown` prints into docs/reference/tables.md:\n{}",
            markdown()
        );
    }

    #[test]
    fn types_have_names_that_every_engine_knows() {
        for table in described::all() {
            for field in table.schema.fields() {
                let name = type_name(field.data_type());
                assert!(name.chars().all(|c| c.is_ascii_lowercase()), "{}.{}: {name}", table.name, field.name());
            }
        }
    }
}
