//! TypeScript: a class with a method for each event type, and a type for the properties of each.

use contract::Plan;
use contract::plan::{Field, Policy, Shape};
use serde_json::Value;

use super::{Event, Names};

pub(super) fn module(plan: &Plan, file: &str, events: &[Event<'_>], policy: Policy) -> String {
    let mut types = String::new();
    let mut methods = String::new();
    // What the code itself speaks of.
    let mut names = Names::without(&["CallOptions", "Events", "JsonObject", "Tracks"]);
    let mut calls = Names::without(&["constructor"]);
    for event in events {
        let (name, method) = (names.take(event.pascal()), calls.take(event.camel()));
        if let Some(description) = event.description {
            types.push_str(&format!("{}\n", comment("", description)));
        }
        types.push_str(&format!("export type {name} = {}\n\n", object(&event.fields, "")));
        let optional = if event.has_required() { "" } else { "?" };
        methods.push_str(&format!("\n{}\n  {method}(properties{optional}: {name}, options?: CallOptions): string | undefined {{\n    return this.#client.track({}, {{ ...properties }}, options)\n  }}\n",
            comment("  ", event.description.unwrap_or("An event of the tracking plan.")),
            literal(&event.event_type.into())));
    }
    let title = format!(
        "The events of the tracking plan {file}, version {}.\n\nMade by `tidegate plan codegen --lang typescript`; make it anew when the plan changes.",
        plan.version()
    );
    format!(
        "{}\n\nimport type {{ CallOptions, JsonObject }} from 'tidegate'\n\n/** A client of Tidegate's SDK, for Node or for browsers. */\nexport interface Tracks {{\n  track(eventType: string, properties?: JsonObject, \
         options?: CallOptions): string | undefined\n}}\n\n/** The rules of the plan, for `new Plan(PLAN)` of 'tidegate/plan': events are checked before they are sent. */\nexport const PLAN: JsonObject = {}\n\n{types}/** One method for each event type. What breaks the plan does not compile. */\nexport class Events {{\n  readonly #client: Tracks\n\n  constructor(client: \
         Tracks) {{\n    this.#client = client\n  }}\n{methods}}}\n",
        comment("", &title),
        super::rules(plan, policy),
    )
}

fn object(fields: &[Field], indent: &str) -> String {
    if fields.is_empty() {
        return "{}".to_owned();
    }
    let inner = format!("{indent}  ");
    let mut text = String::from("{\n");
    for field in fields {
        if let Some(description) = &field.description {
            text.push_str(&format!("{}\n", comment(&inner, description)));
        }
        let optional = if field.required { "" } else { "?" };
        text.push_str(&format!("{inner}{}{optional}: {}\n", literal(&field.name.as_str().into()), of(&field.shape, &inner)));
    }
    text + indent + "}"
}

fn of(shape: &Shape, indent: &str) -> String {
    match shape {
        Shape::Any => "JsonObject[string]".to_owned(),
        Shape::Null => "null".to_owned(),
        Shape::Text => "string".to_owned(),
        Shape::Integer | Shape::Number => "number".to_owned(),
        Shape::Boolean => "boolean".to_owned(),
        Shape::Literal(values) => values.iter().map(literal).collect::<Vec<_>>().join(" | "),
        Shape::List(inner) => format!("({})[]", of(inner, indent)),
        Shape::Object => "JsonObject".to_owned(),
        Shape::Fields(fields) => object(fields, indent),
        Shape::Either(shapes) => shapes.iter().map(|shape| of(shape, indent)).collect::<Vec<_>>().join(" | "),
    }
}

/// JSON's literals are TypeScript's.
fn literal(value: &Value) -> String {
    value.to_string()
}

fn comment(indent: &str, text: &str) -> String {
    let text = text.trim().replace("*/", "* /");
    if text.contains('\n') {
        let lines: String = text.lines().map(|line| format!("{indent} * {line}").trim_end().to_owned() + "\n").collect();
        format!("{indent}/**\n{lines}{indent} */")
    } else {
        format!("{indent}/** {text} */")
    }
}
