//! Rust: a struct for each event type, which is made with what the plan requires.

use std::collections::BTreeSet;

use contract::Plan;
use contract::plan::{Field, Policy, Shape};
use serde_json::Value;

use super::{Event, Names, pascal, rules, words};

/// What no field can be called. Those of the editions to come are among them.
const KEYWORDS: [&str; 52] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else", "enum", "extern",
    "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv",
    "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof", "union", "unsafe", "unsized",
    "use", "virtual", "where", "while", "yield",
];

/// What the code itself speaks of.
const RESERVED: [&str; 8] = ["Option", "Some", "None", "Vec", "String", "Self", "Into", "From"];

pub(super) fn module(plan: &Plan, file: &str, events: &[Event<'_>], policy: Policy) -> String {
    // The event types have the first choice of names.
    let mut types = Types { text: String::new(), names: Names::without(&RESERVED) };
    let names: Vec<String> = events.iter().map(|event| types.names.take(event.pascal())).collect();
    for (event, name) in events.iter().zip(names) {
        types.structure(&name, &event.fields, event.description.unwrap_or("An event of the tracking plan."));
        types.text.push_str(&format!(
            "\nimpl {name} {{\n    /// The event, to say of whom it is and to track it.\n    pub fn event(&self) -> tidegate_sdk::Event {{\n        tidegate_sdk::Event::new({}).properties(self)\n    \
             }}\n}}\n\nimpl From<{name}> for tidegate_sdk::Event {{\n    fn from(properties: {name}) -> Self {{\n        properties.event()\n    }}\n}}\n",
            literal(event.event_type)
        ));
    }
    format!(
        "{}//!\n//! Made by `tidegate plan codegen --lang rust`; make it anew when the plan changes. What breaks the plan does not compile.\n\n#![allow(dead_code)]\n\n/// The rules of the plan, for `ClientBuilder::plan`: events are checked before they are \
         sent.\npub const PLAN: &str = {};\n{}",
        comment("//!", "", &format!("The events of the tracking plan {file}, version {}.", plan.version())),
        raw(&rules(plan, policy)),
        types.text,
    )
}

/// The types that have been written.
#[derive(Debug)]
struct Types {
    text: String,
    names: Names,
}

/// A field of a struct.
#[derive(Debug)]
struct Member<'a> {
    field: &'a Field,
    name: String,
    of: String,
    /// Whether it may be left out, or be null.
    is_option: bool,
}

impl Types {
    /// Writes a struct of this name.
    fn structure(&mut self, name: &str, fields: &[Field], description: &str) {
        let mut taken = Names::default();
        let mut members = Vec::new();
        for field in fields {
            let words = words(&field.name);
            let mut own = words.join("_");
            if KEYWORDS.contains(&own.as_str()) {
                own.push('_');
            }
            let (of, is_nullable) = self.nullable(&format!("{name}{}", pascal(&words)), &field.shape);
            members.push(Member { field, name: taken.take(own), of, is_option: is_nullable || !field.required });
        }
        let is_default = !fields.iter().any(|field| field.required);
        let default = if is_default { "Default, " } else { "" };
        self.text.push_str(&format!("\n{}{}pub struct {name} {{\n", comment("///", "", description), derives(default)));
        for member in &members {
            self.text.push_str(&comment("///", "    ", member.field.description.as_deref().unwrap_or("A property of the tracking plan.")));
            self.text.push_str(&member.declaration());
        }
        self.text.push_str("}\n");
        if !is_default {
            let required = |member: &&Member<'_>| member.field.required;
            let parameters = members.iter().filter(required).map(Member::parameter).collect::<Vec<_>>().join(", ");
            let values: String = members.iter().map(Member::initial).collect();
            self.text.push_str(&format!(
                "\nimpl {name} {{\n    /// With what the plan requires, and nothing else.\n    pub fn new({parameters}) -> Self {{\n        Self {{\n{values}        }}\n    }}\n}}\n"
            ));
        }
    }

    /// The type of a value, and whether it may also be null.
    fn nullable(&mut self, name: &str, shape: &Shape) -> (String, bool) {
        match shape {
            Shape::Literal(values) if values.len() > 1 && values.contains(&Value::Null) => {
                let others: Vec<Value> = values.iter().filter(|value| !value.is_null()).cloned().collect();
                (self.of(name, &Shape::Literal(others)), true)
            }
            Shape::Either(shapes) if shapes.contains(&Shape::Null) => {
                let mut others: Vec<Shape> = shapes.iter().filter(|shape| **shape != Shape::Null).cloned().collect();
                let other = if others.len() == 1 { others.swap_remove(0) } else { Shape::Either(others) };
                (self.nullable(name, &other).0, true)
            }
            other => (self.of(name, other), false),
        }
    }

    /// The type of a value.
    fn of(&mut self, name: &str, shape: &Shape) -> String {
        match shape {
            Shape::Any => VALUE.to_owned(),
            Shape::Null => "()".to_owned(),
            Shape::Text => "String".to_owned(),
            Shape::Integer => "i64".to_owned(),
            Shape::Number => "f64".to_owned(),
            Shape::Boolean => "bool".to_owned(),
            Shape::Literal(values) => self.literals(name, values),
            Shape::List(inner) => {
                let (of, is_nullable) = self.nullable(name, inner);
                if is_nullable { format!("Vec<Option<{of}>>") } else { format!("Vec<{of}>") }
            }
            Shape::Object => "tidegate_sdk::serde_json::Map<String, tidegate_sdk::serde_json::Value>".to_owned(),
            Shape::Fields(fields) => {
                let name = self.names.take(name.to_owned());
                self.structure(&name, fields, "An object of the tracking plan.");
                name
            }
            Shape::Either(shapes) => self.either(name, shapes),
        }
    }

    /// An enum of texts. What has values of another kind has a type that is wider.
    fn literals(&mut self, name: &str, values: &[Value]) -> String {
        let texts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        if texts.len() < values.len() {
            let all = |holds: fn(&Value) -> bool| values.iter().all(holds);
            let wider = if all(Value::is_boolean) {
                "bool"
            } else if all(Value::is_i64) {
                "i64"
            } else if all(Value::is_number) {
                "f64"
            } else {
                VALUE
            };
            return wider.to_owned();
        }
        let name = self.names.take(name.to_owned());
        let mut taken = Names::without(&["Self"]);
        let mut variants = String::new();
        let mut seen = BTreeSet::new();
        for text in texts.into_iter().filter(|text| seen.insert(*text)) {
            let variant = taken.take(pascal(&words(text)));
            variants.push_str(&format!("    /// {}\n    #[serde(rename = {})]\n    {variant},\n", code(text), literal(text)));
        }
        self.text.push_str(&format!(
            "\n/// One of the texts that the tracking plan allows.\n{}pub enum {name} {{\n{variants}}}\n",
            derives("Copy, Eq, ")
        ));
        name
    }

    fn either(&mut self, name: &str, shapes: &[Shape]) -> String {
        let name = self.names.take(name.to_owned());
        let mut taken = Names::without(&["Self"]);
        let mut variants = String::new();
        for shape in shapes {
            let (variant, what) = match shape {
                Shape::Any => ("Any", "Anything."),
                Shape::Null => ("Null", "Nothing."),
                Shape::Text => ("Text", "A text."),
                Shape::Integer => ("Integer", "A number without a fraction."),
                Shape::Number => ("Number", "A number."),
                Shape::Boolean => ("Boolean", "True or false."),
                Shape::Literal(_) => ("Value", "One of several values."),
                Shape::List(_) => ("List", "A list."),
                Shape::Object | Shape::Fields(_) => ("Object", "An object."),
                Shape::Either(_) => ("Either", "One of several."),
            };
            let variant = taken.take(variant.to_owned());
            let (of, is_nullable) = self.nullable(&format!("{name}{variant}"), shape);
            let of = if is_nullable { format!("Option<{of}>") } else { of };
            variants.push_str(&format!("    /// {what}\n    {variant}({of}),\n"));
        }
        self.text.push_str(&format!(
            "\n/// One of several types that the tracking plan allows.\n{}#[serde(untagged)]\npub enum {name} {{\n{variants}}}\n",
            derives("")
        ));
        name
    }
}

const VALUE: &str = "tidegate_sdk::serde_json::Value";

impl Member<'_> {
    fn declaration(&self) -> String {
        let mut attributes = Vec::new();
        if self.name != self.field.name {
            attributes.push(format!("rename = {}", literal(&self.field.name)));
        }
        if !self.field.required {
            attributes.push("skip_serializing_if = \"Option::is_none\"".to_owned());
        }
        let attributes = if attributes.is_empty() { String::new() } else { format!("    #[serde({})]\n", attributes.join(", ")) };
        format!("{attributes}    pub {}: {},\n", self.name, self.whole())
    }

    fn whole(&self) -> String {
        if self.is_option { format!("Option<{}>", self.of) } else { self.of.clone() }
    }

    fn parameter(&self) -> String {
        let of = if self.whole() == "String" { "impl Into<String>".to_owned() } else { self.whole() };
        format!("{}: {of}", self.name)
    }

    fn initial(&self) -> String {
        let name = &self.name;
        match self.field.required {
            true if self.whole() == "String" => format!("            {name}: {name}.into(),\n"),
            true => format!("            {name},\n"),
            false => format!("            {name}: None,\n"),
        }
    }
}

fn derives(more: &str) -> String {
    format!("#[derive(Debug, Clone, {more}PartialEq, tidegate_sdk::serde::Serialize)]\n#[serde(crate = \"tidegate_sdk::serde\")]\n")
}

/// Rust's escapes are what it writes of a text for people who look for faults.
fn literal(text: &str) -> String {
    format!("{text:?}")
}

/// A text over several lines.
fn raw(text: &str) -> String {
    let mut hashes = "#".to_owned();
    while text.contains(&format!("\"{hashes}")) {
        hashes.push('#');
    }
    format!("r{hashes}\"{text}\"{hashes}")
}

/// A text as code within a comment.
fn code(text: &str) -> String {
    format!("`{}`", text.escape_debug().to_string().replace('`', "'"))
}

/// Each line of it. A carriage return alone is not allowed in one.
fn comment(mark: &str, indent: &str, text: &str) -> String {
    let lines = text.trim().lines().map(|line| line.replace('\r', " "));
    lines.map(|line| format!("{indent}{mark} {line}").trim_end().to_owned() + "\n").collect()
}
