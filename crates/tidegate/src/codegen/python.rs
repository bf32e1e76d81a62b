//! Python: a class with a method for each event type, and a `TypedDict` for the properties of each, which any name of a property can be in.

use contract::Plan;
use contract::plan::{Field, Policy, Shape};
use serde_json::Value;

use super::{Event, Names};

/// What no method can be called.
const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else", "except",
    "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try",
    "while", "with", "yield",
];

/// What the code itself speaks of.
const RESERVED: [&str; 10] = ["Any", "Events", "False", "Literal", "None", "NotRequired", "True", "TypedDict", "Unpack", "Who"];

pub(super) fn module(plan: &Plan, file: &str, events: &[Event<'_>], policy: Policy) -> String {
    // The event types have the first choice of names.
    let mut types = Types { text: String::new(), names: Names::without(&RESERVED) };
    let names: Vec<String> = events.iter().map(|event| types.names.take(event.pascal())).collect();
    let mut methods = String::new();
    for (event, name) in events.iter().zip(names) {
        types.object(&name, &event.fields);
        let mut method = event.snake();
        if KEYWORDS.contains(&method.as_str()) {
            method.push('_');
        }
        let parameter = if event.has_required() { format!("properties: {name}") } else { format!("properties: {name} | None = None") };
        methods.push_str(&format!("\n    def {method}(self, {parameter}, **who: Unpack[Who]) -> str | None:\n"));
        methods.push_str(&format!("        {}\n", docstring(event.description.unwrap_or("An event of the tracking plan."))));
        methods.push_str(&format!("        return self._client.track({}, properties, **who)\n", literal(&event.event_type.into())));
    }
    let title = format!("The events of the tracking plan {file}, version {}.", plan.version());
    format!(
        "{}\n\nfrom __future__ import annotations\n\nfrom typing import TYPE_CHECKING\n\nimport tidegate\n\nif TYPE_CHECKING:\n    from typing import Any, Literal, TypedDict\n\n    \
         from typing_extensions import NotRequired, Unpack\n\n    from tidegate.who import Who\n{}\n\nPLAN = r\"\"\"{}\"\"\"\n\"\"\"The rules of the plan, for `tidegate.Client(plan=PLAN)`: events are checked before they are sent.\"\"\"\n\n\nclass Events:\n    \"\"\"One method for each event type. What breaks the plan fails \
         type checking.\"\"\"\n\n    def __init__(self, client: tidegate.Client) -> None:\n        self._client = client\n{methods}",
        docstring(&format!("{title}\n\nMade by `tidegate plan codegen --lang python`; make it anew when the plan changes.\n")),
        types.text,
        // In JSON no three quotes follow one another, and it does not end in a backslash.
        super::rules(plan, policy),
    )
}

/// The types that have been written, each before those that need it.
#[derive(Debug)]
struct Types {
    text: String,
    names: Names,
}

impl Types {
    /// Writes the type of an object.
    fn object(&mut self, name: &str, fields: &[Field]) {
        let mut inner = String::new();
        for field in fields {
            let shape = self.of(&format!("{name}{}", super::pascal(&super::words(&field.name))), &field.shape);
            let shape = if field.required { shape } else { format!("NotRequired[{shape}]") };
            if let Some(description) = &field.description {
                inner.push_str(&format!("            # {}\n", one_line(description)));
            }
            inner.push_str(&format!("            {}: {shape},\n", literal(&field.name.as_str().into())));
        }
        let body = if inner.is_empty() { "{}".to_owned() } else { format!("{{\n{inner}        }}") };
        self.text.push_str(&format!("\n    {name} = TypedDict(\n        \"{name}\",\n        {body},\n    )\n"));
    }

    fn of(&mut self, name: &str, shape: &Shape) -> String {
        match shape {
            Shape::Any => "Any".to_owned(),
            Shape::Null => "None".to_owned(),
            Shape::Text => "str".to_owned(),
            Shape::Integer => "int".to_owned(),
            Shape::Number => "float".to_owned(),
            Shape::Boolean => "bool".to_owned(),
            Shape::Literal(values) if values.iter().any(Value::is_f64) => "float".to_owned(),
            Shape::Literal(values) => format!("Literal[{}]", values.iter().map(literal).collect::<Vec<_>>().join(", ")),
            Shape::List(inner) => format!("list[{}]", self.of(name, inner)),
            Shape::Object => "dict[str, Any]".to_owned(),
            Shape::Fields(fields) => {
                let name = self.names.take(name.to_owned());
                self.object(&name, fields);
                name
            }
            Shape::Either(shapes) => {
                let parts = shapes.iter().enumerate().map(|(number, shape)| self.of(&format!("{name}{}", number + 1), shape));
                parts.collect::<Vec<_>>().join(" | ")
            }
        }
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        // JSON's escapes are Python's, once none is of half a character.
        other => other.to_string(),
    }
}

fn docstring(text: &str) -> String {
    // Each quote: one at the end would be taken for the first of the three that close it.
    format!("\"\"\"{}\"\"\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
