//! Properties as columns: for each event type of the plan the statement of a view that has them all.
//!
//! The properties of an event are one column of JSON in Silver, so a new property needs no new column and no rewriting. A view says what each one is to be; a value that is something else is null there.

use contract::plan::Column;
use datafusion::prelude::SessionContext;
use lake::functions::of_two_texts;
use medallion::functions::Function;

/// The schema of the views.
pub(crate) const SCHEMA: &str = "events";
/// The columns of Silver that every view has.
const COMMON: [&str; 26] = [
    "source",
    "event_id",
    "name",
    "event_time",
    "event_date",
    "received_at",
    "is_late",
    "user_id",
    "anonymous_id",
    "session_id",
    "page_url",
    "page_path",
    "page_title",
    "page_referrer",
    "campaign_source",
    "campaign_medium",
    "campaign_name",
    "device_type",
    "os",
    "browser",
    "is_bot",
    "locale",
    "experiment_id",
    "variation_id",
    "plan_version",
    "plan_violations",
];

/// Makes the functions known that take a property out of JSON.
pub(crate) fn register_functions(session: &SessionContext) {
    for function in Function::ALL {
        session.register_udf(of_two_texts(function.name(), function.data_type(), move |objects, names| function.evaluate(objects, names)));
    }
}

/// The statement that is the view of an event type. A property that is called like a column that is there already is called `property_` and its name.
pub(crate) fn view(event_type: &str, properties: &[(String, Column)]) -> String {
    let property = |(name, column): &(String, Column)| {
        let is_taken = COMMON.contains(&name.as_str()) || ["properties", "context"].contains(&name.as_str());
        let shown = if is_taken { format!("property_{name}") } else { name.clone() };
        format!("{}(properties, {}) AS {}", function(*column), literal(name), identifier(&shown))
    };
    let columns: Vec<String> = COMMON.iter().map(|name| (*name).to_owned()).chain(properties.iter().map(property)).collect();
    let columns = columns.join(", ");
    format!("SELECT {columns}, properties, context FROM silver.events WHERE event_type = {}", literal(event_type))
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as a statement has it.
pub(crate) fn literal(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

fn function(column: Column) -> &'static str {
    match column {
        Column::Text => Function::Text,
        Column::Integer => Function::Integer,
        Column::Number => Function::Number,
        Column::Boolean => Function::Boolean,
        Column::Time => Function::Time,
        Column::Json => Function::Json,
    }
    .name()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_do_not_collide() {
        let sql = view("it's \"x\"", &[("user_id".to_owned(), Column::Text), ("price".to_owned(), Column::Number)]);
        assert!(sql.starts_with("SELECT source, "), "{sql}");
        assert!(
            sql.contains("json_text(properties, 'user_id') AS \"property_user_id\", json_number(properties, 'price') AS \"price\""),
            "{sql}"
        );
        assert!(sql.ends_with("WHERE event_type = 'it''s \"x\"'"), "{sql}");
    }
}
