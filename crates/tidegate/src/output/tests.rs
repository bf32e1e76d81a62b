use serde_json::{Value, json};

use super::{Format, Rows, TABLE_ROWS_MAX};

fn printed(format: Format, columns: &[&str], rows: &[Vec<Value>], width: Option<u16>) -> String {
    let mut out = Vec::new();
    let mut writer = Rows::new(&mut out, format, columns.iter().map(|column| (*column).to_owned()).collect(), width).unwrap();
    for row in rows {
        if !writer.write(row.clone()).unwrap() {
            break;
        }
    }
    writer.finish().unwrap();
    String::from_utf8(out).unwrap()
}

fn sample() -> Vec<Vec<Value>> {
    vec![vec![json!("a,\"b\""), json!(1), Value::Null], vec![json!(""), json!(-2.5), json!({"k": [1]})]]
}

const COLUMNS: [&str; 3] = ["text", "number", "other"];

#[test]
fn each_format_says_the_same() {
    let check = |format, expect: &str| assert_eq!(printed(format, &COLUMNS, &sample(), None), expect);
    check(Format::Csv, "text,number,other\n\"a,\"\"b\"\"\",1,\n\"\",-2.5,\"{\"\"k\"\":[1]}\"\n");
    check(
        Format::Ndjson,
        "{\"text\":\"a,\\\"b\\\"\",\"number\":1,\"other\":null}\n{\"text\":\"\",\"number\":-2.5,\"other\":{\"k\":[1]}}\n",
    );
    check(
        Format::Json,
        "[\n  {\"text\":\"a,\\\"b\\\"\",\"number\":1,\"other\":null},\n  {\"text\":\"\",\"number\":-2.5,\"other\":{\"k\":[1]}}\n]\n",
    );
    check(
        Format::Table,
        "┌───────┬────────┬───────────┐\n\
         │ text  ┆ number ┆ other     │\n\
         ╞═══════╪════════╪═══════════╡\n\
         │ a,\"b\" ┆      1 ┆           │\n\
         │       ┆   -2.5 ┆ {\"k\":[1]} │\n\
         └───────┴────────┴───────────┘\n2 rows\n",
    );
}

#[test]
fn nothing_is_said_in_each_format() {
    for (format, expect) in [(Format::Csv, "a\n"), (Format::Ndjson, ""), (Format::Json, "[]\n")] {
        assert_eq!(printed(format, &["a"], &[], None), expect);
    }
    assert!(printed(Format::Table, &["a"], &[], None).ends_with("\n0 rows\n"));
}

#[test]
fn columns_of_one_name_are_told_apart() {
    let row = vec![json!(1), json!(2), json!(3)];
    assert_eq!(printed(Format::Ndjson, &["id", "id", "id_2"], &[row], None), "{\"id\":1,\"id_2\":2,\"id_2_2\":3}\n");
}

#[test]
fn a_table_says_where_it_ends_and_other_formats_go_on() {
    let rows: Vec<Vec<Value>> = (0..TABLE_ROWS_MAX + 5).map(|number| vec![json!(number)]).collect();
    let table = printed(Format::Table, &["n"], &rows, None);
    assert!(table.ends_with("1000 rows\nthe first 1000 rows; use --format csv, json or ndjson for all, or LIMIT for fewer\n"), "{table}");
    assert_eq!(printed(Format::Csv, &["n"], &rows, None).lines().count(), rows.len() + 1);
}

#[test]
fn a_table_fits_its_terminal_and_says_nothing_to_it() {
    let hostile = json!("\u{1b}[2Jgone\nnext");
    let text = printed(Format::Table, &["a"], &[vec![hostile]], Some(60));
    assert!(text.contains(r"\u{1b}[2Jgone\nnext"), "{text}");
    let wide: Vec<String> = (0..12).map(|number| format!("column_{number}")).collect();
    let wide: Vec<&str> = wide.iter().map(String::as_str).collect();
    let row: Vec<Value> = (0..12).map(|_| json!("a rather long text that would not fit")).collect();
    let text = printed(Format::Table, &wide, &[row], Some(60));
    assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
    assert!(text.contains("column_11"), "{text}");
}
