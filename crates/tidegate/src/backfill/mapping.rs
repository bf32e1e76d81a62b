//! Rows into events: which column is what.
//!
//! ```yaml
//! event_type: {value: order}          # the same for all rows
//! event_time: created_at              # a column; times in any form that the gate reads
//! event_id: order_id
//! user_id: customer.id                # a part of an object
//! properties:
//!   total: {column: amount, type: number}
//!   currency: {value: EUR}
//! context:
//!   page.url: landing_page
//! other_columns: drop                 # properties (default) or drop
//! ```
//!
//! Without a file, and for what it leaves out, a column that is called like a field of the event is that field, and the others are properties.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Number, Value};

/// The fields of an event that a column may be, beside properties and context.
const FIELDS: [&str; 7] = ["event_type", "event_time", "event_id", "user_id", "anonymous_id", "session_id", "name"];
/// Fields that a row of JSON may have whole.
const OBJECTS: [&str; 2] = ["properties", "context"];

/// Which column is what.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mapping {
    event_type: Option<Part>,
    event_time: Option<Part>,
    event_id: Option<Part>,
    user_id: Option<Part>,
    anonymous_id: Option<Part>,
    session_id: Option<Part>,
    name: Option<Part>,
    #[serde(default)]
    properties: BTreeMap<String, Part>,
    #[serde(default)]
    context: BTreeMap<String, Part>,
    #[serde(default)]
    other_columns: Others,
    /// Whether no file said anything.
    #[serde(skip)]
    is_default: bool,
}

/// Where a part of the event is taken from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Part {
    /// A column.
    Column(String),
    /// A column whose values are of a type.
    Typed(Typed),
    /// The same for all rows.
    Constant(Constant),
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    column: String,
    #[serde(rename = "type")]
    kind: Option<Kind>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Constant {
    value: Value,
}

/// What a value is made to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    String,
    Integer,
    Number,
    Boolean,
    /// A text that holds JSON.
    Json,
}

/// What becomes of columns that are not named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Others {
    #[default]
    Properties,
    Drop,
}

impl Mapping {
    /// Without a file.
    pub(crate) fn by_name() -> Self {
        Self { is_default: true, ..Self::default() }
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and where.
    pub(crate) fn parse(text: &str, filename: &str) -> Result<Self, String> {
        serde_saphyr::from_str(text).map_err(|error| format!("{filename}: {error}"))
    }

    /// Whether rows that are events already may stay as they are.
    pub(crate) fn is_none(&self) -> bool {
        self.is_default
    }

    /// Makes sure that all columns that it names are there.
    ///
    /// # Errors
    ///
    /// Which are not, and which there are.
    pub(crate) fn check(&self, columns: &[String]) -> Result<(), String> {
        let is_there = |name: &str| {
            columns.iter().any(|column| column == name || name.strip_prefix(column.as_str()).is_some_and(|rest| rest.starts_with('.')))
        };
        let missing: Vec<&str> = self.parts().filter_map(|(_, part)| part.column()).filter(|name| !is_there(name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!("the mapping names the columns {}, which are not there; there are {}", missing.join(", "), columns.join(", ")))
    }

    /// The event of a row. `id` makes one where the row brings none, from the row as JSON.
    ///
    /// # Errors
    ///
    /// Which column holds what cannot be taken.
    pub(crate) fn event(&self, row: Map<String, Value>, id: impl FnOnce(&[u8]) -> String) -> Result<Vec<u8>, String> {
        let mut event = Map::new();
        let mut used: BTreeSet<&str> = BTreeSet::new();
        for (field, part) in self.fields() {
            let (column, value) = match part {
                Some(part) => (part.column(), part.value(&row)?),
                None => (Some(field), row.get(field).filter(|value| !value.is_null()).cloned()),
            };
            used.extend(column.map(first));
            if let Some(value) = value {
                event.insert(field.to_owned(), value);
            }
        }
        let (mut properties, mut context) = (Map::new(), Map::new());
        for (name, part) in &self.properties {
            used.extend(part.column().map(first));
            if let Some(value) = part.value(&row)? {
                properties.insert(name.clone(), value);
            }
        }
        for (name, part) in &self.context {
            used.extend(part.column().map(first));
            if let Some(value) = part.value(&row)? {
                put(&mut context, name, value)?;
            }
        }
        if !event.contains_key("event_time") {
            // The gate would take it as happening now.
            return Err("has no event_time: say in the mapping which column it is".to_owned());
        }
        let made_id =
            if event.contains_key("event_id") { None } else { Some(id(&serde_json::to_vec(&row).map_err(|error| error.to_string())?)) };
        let rest: Vec<String> = row.keys().filter(|column| !used.contains(column.as_str())).cloned().collect();
        let mut row = row;
        for column in rest {
            let Some(value) = row.remove(&column).filter(|value| !value.is_null()) else { continue };
            match (column.as_str(), value) {
                // A row of JSON that has them whole, as an event does.
                ("properties", Value::Object(whole)) => {
                    whole.into_iter().for_each(|(name, value)| _ = properties.entry(name).or_insert(value))
                }
                ("context", Value::Object(whole)) => whole.into_iter().for_each(|(name, value)| _ = context.entry(name).or_insert(value)),
                (name, _) if OBJECTS.contains(&name) => return Err(format!("its {name} are no object")),
                (_, value) if self.other_columns == Others::Properties => _ = properties.entry(column).or_insert(value),
                (_, _) => {}
            }
        }
        if let Some(id) = made_id {
            event.insert("event_id".to_owned(), id.into());
        }
        for (name, part) in [("properties", properties), ("context", context)] {
            if !part.is_empty() {
                event.insert(name.to_owned(), part.into());
            }
        }
        serde_json::to_vec(&event).map_err(|error| error.to_string())
    }

    fn fields(&self) -> [(&'static str, Option<&Part>); 7] {
        let parts = [&self.event_type, &self.event_time, &self.event_id, &self.user_id, &self.anonymous_id, &self.session_id, &self.name];
        std::array::from_fn(|number| (FIELDS.get(number).copied().unwrap_or_default(), parts.get(number).and_then(|part| part.as_ref())))
    }

    fn parts(&self) -> impl Iterator<Item = (&str, &Part)> {
        let fields = self.fields().into_iter().filter_map(|(field, part)| Some((field, part?)));
        fields.chain(self.properties.iter().chain(&self.context).map(|(name, part)| (name.as_str(), part)))
    }
}

impl Part {
    fn column(&self) -> Option<&str> {
        match self {
            Self::Column(column) | Self::Typed(Typed { column, .. }) => Some(column),
            Self::Constant(_) => None,
        }
    }

    /// Its value in a row; `None` where the row has none.
    fn value(&self, row: &Map<String, Value>) -> Result<Option<Value>, String> {
        let (column, kind) = match self {
            Self::Constant(Constant { value }) => return Ok(Some(value.clone())),
            Self::Column(column) => (column, None),
            Self::Typed(Typed { column, kind }) => (column, *kind),
        };
        let Some(value) = find(row, column).filter(|value| !value.is_null()) else { return Ok(None) };
        match kind {
            None => Ok(Some(value.clone())),
            Some(kind) => kind.of(value).map(Some).ok_or_else(|| format!("{column} is {value}, which is no {}", kind.name())),
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Json => "JSON",
        }
    }

    /// The value as this; `None` where it is none.
    fn of(self, value: &Value) -> Option<Value> {
        match (self, value) {
            (Self::String, Value::String(_)) | (Self::Integer | Self::Number, Value::Number(_)) | (Self::Boolean, Value::Bool(_)) => {
                let is_whole = self != Self::Integer || value.is_i64() || value.is_u64();
                is_whole.then(|| value.clone())
            }
            (Self::String, other) => Some(other.to_string().into()),
            (Self::Integer, Value::String(text)) => text.trim().parse::<i64>().ok().map(Value::from),
            // As it is written, where it is written as JSON writes numbers: no digit is lost.
            (Self::Number, Value::String(text)) => {
                let text = text.trim();
                text.parse::<i64>().ok().map(Value::from).or_else(|| Number::from_f64(text.parse().ok()?).map(Value::Number))
            }
            (Self::Boolean, Value::String(text)) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "t" | "yes" | "1" => Some(true.into()),
                "false" | "f" | "no" | "0" => Some(false.into()),
                _ => None,
            },
            (Self::Boolean, Value::Number(number)) => match number.as_i64() {
                Some(1) => Some(true.into()),
                Some(0) => Some(false.into()),
                _ => None,
            },
            (Self::Json, Value::String(text)) => serde_json::from_str(text).ok(),
            (Self::Json, other) => Some(other.clone()),
            (Self::Integer | Self::Number | Self::Boolean, _) => None,
        }
    }
}

/// The column of this name, or the part of an object that the dots lead to.
fn find<'a>(row: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = row.get(path) {
        return Some(value);
    }
    let (mut parts, first) = (path.split('.'), path.split('.').next()?);
    parts.next();
    parts.try_fold(row.get(first)?, |value, part| value.get(part))
}

/// The column that a path begins with.
fn first(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}

/// Puts a value where the dots lead to, with objects on the way.
fn put(object: &mut Map<String, Value>, path: &str, value: Value) -> Result<(), String> {
    match path.split_once('.') {
        None => {
            object.insert(path.to_owned(), value);
            Ok(())
        }
        Some((name, rest)) => match object.entry(name).or_insert_with(|| Map::new().into()) {
            Value::Object(inner) => put(inner, rest, value),
            _ => Err(format!("the mapping puts something into context.{name}, which is no object")),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(mapping: &Mapping, row: Value) -> Result<Value, String> {
        let Value::Object(row) = row else { panic!("no object") };
        mapping.event(row, |_| "made".to_owned()).map(|event| serde_json::from_slice(&event).unwrap())
    }

    #[test]
    fn columns_become_what_the_mapping_says() {
        let mapping = Mapping::parse(
            "event_type: {value: order}\nevent_time: created_at\nevent_id: order_id\nuser_id: customer.id\nproperties:\n  total: {column: amount, type: number}\n  \
             paid: {column: paid, type: boolean}\n  currency: {value: EUR}\ncontext:\n  page.url: landing\nother_columns: drop\n",
            "m.yaml",
        )
        .unwrap();
        let row = json!({"created_at": "2026-01-02 03:04:05", "order_id": "o1", "customer": {"id": 7}, "amount": "12.50", "paid": "yes", "landing": "/a", "more": 1});
        let expected = json!({
            "event_id": "o1", "event_type": "order", "event_time": "2026-01-02 03:04:05", "user_id": 7, "properties": {"total": 12.5, "paid": true, "currency": "EUR"},
            "context": {"page": {"url": "/a"}},
        });
        assert_eq!(event(&mapping, row), Ok(expected));
        assert!(event(&mapping, json!({"order_id": "o2"})).unwrap_err().contains("has no event_time"));
        let wrong = event(&mapping, json!({"amount": "much"})).unwrap_err();
        assert_eq!(wrong, r#"amount is "much", which is no number"#);
        let columns = ["created_at", "order_id", "customer", "amount", "paid"].map(str::to_owned);
        assert_eq!(
            mapping.check(&columns).unwrap_err(),
            "the mapping names the columns landing, which are not there; there are created_at, order_id, customer, amount, paid"
        );
    }

    #[test]
    fn without_a_mapping_names_tell_and_the_rest_are_properties() {
        let row = json!({"event_type": "view", "event_time": 1_700_000_000, "user_id": "u", "url": "/a", "price": 5, "none": null, "properties": {"a": 1}});
        let expected = json!({"event_id": "made", "event_type": "view", "event_time": 1_700_000_000, "user_id": "u", "properties": {"url": "/a", "price": 5, "a": 1}});
        assert_eq!(event(&Mapping::by_name(), row), Ok(expected));
    }

    #[test]
    fn a_mapping_that_is_wrong_is_refused_with_the_place() {
        for (text, part) in [
            ("event_typ: a\n", "event_typ"),
            ("event_type: {colum: a}\n", "m.yaml: "),
            ("properties: {a: {column: b, type: price}}\n", "m.yaml: "),
            ("other_columns: keep\n", "keep"),
        ] {
            let error = Mapping::parse(text, "m.yaml").unwrap_err();
            assert!(error.contains(part) && error.contains("line 1"), "{error}");
        }
    }

    #[test]
    fn values_are_made_what_they_are_said_to_be() {
        use Kind::{Boolean, Integer, Json, Number, String};
        let check = |kind: Kind, value: Value, expect: Option<Value>| assert_eq!(kind.of(&value), expect, "{kind:?} {value}");
        check(Integer, json!(" 7 "), Some(json!(7)));
        check(Integer, json!(7.5), None);
        check(Number, json!("1e3"), Some(json!(1000.0)));
        check(Number, json!("9007199254740993"), Some(json!(9_007_199_254_740_993_i64)));
        check(Number, json!("NaN"), None);
        check(Boolean, json!("F"), Some(json!(false)));
        check(Boolean, json!(2), None);
        check(String, json!(7), Some(json!("7")));
        check(Json, json!("[1]"), Some(json!([1])));
        check(Json, json!("["), None);
    }
}
