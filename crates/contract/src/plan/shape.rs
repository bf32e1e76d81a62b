//! What a value may be, in the way that types of programming languages say it.
//!
//! A schema says more than a type can (bounds, patterns, conditions). What is lost here is wider, never narrower: whatever the schema allows has the type, and what the type allows the gate may
//! still refuse.

use std::cell::Cell;

use serde_json::{Map, Value};

/// How far schemas are followed into one another, so that one that refers to itself comes to an end.
const DEPTH_MAX: usize = 8;
/// How many schemas are looked at for one property: those that refer to one another, in many ways at each step, would make a type that no compiler takes.
const STEPS_MAX: usize = 20_000;

/// What schemas refer to, and how many may still be looked at.
#[derive(Debug)]
struct Schemas<'a> {
    definitions: &'a Map<String, Value>,
    steps_left: Cell<usize>,
}

impl<'a> Schemas<'a> {
    fn new(definitions: &'a Map<String, Value>) -> Self {
        Self { definitions, steps_left: Cell::new(STEPS_MAX) }
    }

    fn may_go_on(&self) -> bool {
        let left = self.steps_left.get();
        self.steps_left.set(left.saturating_sub(1));
        left > 0
    }
}

/// What a value may be.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Anything.
    Any,
    /// `null`.
    Null,
    /// A text.
    Text,
    /// A number without a fraction.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// One of these texts, numbers, booleans or null.
    Literal(Vec<Value>),
    /// Any number of these.
    List(Box<Shape>),
    /// An object of which nothing is said.
    Object,
    /// An object with these fields.
    Fields(Vec<Field>),
    /// One of these.
    Either(Vec<Shape>),
}

/// A property, or a field of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What it may be.
    pub shape: Shape,
    /// Whether it must be there.
    pub required: bool,
    /// What the plan says of it.
    pub description: Option<String>,
}

impl Field {
    pub(super) fn new(name: &str, schema: &Value, required: bool, definitions: &Map<String, Value>) -> Self {
        Self::at(name, schema, required, &Schemas::new(definitions), 0)
    }

    fn at(name: &str, schema: &Value, required: bool, schemas: &Schemas<'_>, depth: usize) -> Self {
        let description = schema.get("description").and_then(Value::as_str).map(str::to_owned);
        Self { name: name.to_owned(), shape: Shape::of(schema, schemas, depth), required, description }
    }
}

impl Shape {
    fn of(schema: &Value, schemas: &Schemas<'_>, depth: usize) -> Self {
        let Value::Object(schema) = schema else { return Self::Any };
        if depth == DEPTH_MAX || !schemas.may_go_on() {
            return Self::Any;
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let definition = target.strip_prefix("#/$defs/").and_then(|name| schemas.definitions.get(name));
            return definition.map_or(Self::Any, |definition| Self::of(definition, schemas, depth + 1));
        }
        if let Some(value) = schema.get("const") {
            return Self::literal(std::slice::from_ref(value));
        }
        if let Some(Value::Array(values)) = schema.get("enum") {
            return Self::literal(values);
        }
        if let Some(branches) = ["anyOf", "oneOf"].iter().find_map(|name| schema.get(*name)?.as_array()) {
            return Self::either(branches.iter().map(|branch| Self::of(branch, schemas, depth + 1)).collect());
        }
        match schema.get("type") {
            Some(Value::String(name)) => Self::of_type(name, schema, schemas, depth),
            Some(Value::Array(names)) => {
                Self::either(names.iter().filter_map(Value::as_str).map(|name| Self::of_type(name, schema, schemas, depth)).collect())
            }
            _ => Self::Any,
        }
    }

    fn of_type(name: &str, schema: &Map<String, Value>, schemas: &Schemas<'_>, depth: usize) -> Self {
        match name {
            "string" => Self::Text,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            "null" => Self::Null,
            "array" => Self::List(Box::new(schema.get("items").map_or(Self::Any, |items| Self::of(items, schemas, depth + 1)))),
            "object" => match schema.get("properties").and_then(Value::as_object).filter(|properties| !properties.is_empty()) {
                Some(properties) => {
                    let required: Vec<&str> =
                        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
                    let field =
                        |(name, inner): (&String, &Value)| Field::at(name, inner, required.contains(&name.as_str()), schemas, depth + 1);
                    Self::Fields(properties.iter().map(field).collect())
                }
                None => Self::Object,
            },
            _ => Self::Any,
        }
    }

    /// Literals that are objects or arrays are no literals of any language.
    fn literal(values: &[Value]) -> Self {
        if values.is_empty() || values.iter().any(|value| value.is_array() || value.is_object()) {
            return Self::Any;
        }
        Self::Literal(values.to_vec())
    }

    fn either(mut shapes: Vec<Self>) -> Self {
        if shapes.is_empty() || shapes.contains(&Self::Any) {
            return Self::Any;
        }
        let mut seen = Vec::new();
        shapes.retain(|shape| {
            let is_new = !seen.contains(shape);
            seen.push(shape.clone());
            is_new
        });
        if shapes.len() == 1 { shapes.swap_remove(0) } else { Self::Either(shapes) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: Value, expect: Shape) {
        let definitions = json!({"currency": {"type": "string"}, "tree": {"type": "array", "items": {"$ref": "#/$defs/tree"}}});
        let Value::Object(definitions) = definitions else { panic!() };
        let found = Shape::of(&schema, &Schemas::new(&definitions), 0);
        assert_eq!(found, expect, "{schema}");
    }

    #[test]
    fn schemas_are_types_as_far_as_types_go() {
        check(json!(true), Shape::Any);
        check(json!({}), Shape::Any);
        check(json!({"type": "string", "pattern": "^a"}), Shape::Text);
        check(json!({"type": "integer", "minimum": 0}), Shape::Integer);
        check(json!({"type": ["number", "null"]}), Shape::Either(vec![Shape::Number, Shape::Null]));
        check(json!({"type": ["boolean"]}), Shape::Boolean);
        check(json!({"enum": ["a", 1, null]}), Shape::Literal(vec![json!("a"), json!(1), Value::Null]));
        check(json!({"enum": [["a"]]}), Shape::Any);
        check(json!({"const": "a"}), Shape::Literal(vec![json!("a")]));
        check(json!({"type": "array"}), Shape::List(Box::new(Shape::Any)));
        check(json!({"type": "array", "items": {"$ref": "#/$defs/currency"}}), Shape::List(Box::new(Shape::Text)));
        check(json!({"$ref": "#/$defs/nowhere"}), Shape::Any);
        check(json!({"anyOf": [{"type": "string"}, {"type": "string"}]}), Shape::Text);
        check(json!({"oneOf": [{"type": "string"}, {}]}), Shape::Any);
        check(json!({"type": "object"}), Shape::Object);
        let field = |name: &str, shape, required| Field { name: name.to_owned(), shape, required, description: None };
        let fields = vec![field("a", Shape::Text, true), field("b", Shape::Number, false)];
        check(
            json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "number"}}, "required": ["a"]}),
            Shape::Fields(fields),
        );
    }

    #[test]
    fn a_schema_that_refers_to_itself_comes_to_an_end() {
        let mut expect = Shape::Any;
        for _ in 0..4 {
            expect = Shape::List(Box::new(expect));
        }
        check(json!({"$ref": "#/$defs/tree"}), expect);
    }

    #[test]
    fn schemas_that_refer_to_themselves_in_many_ways_come_to_an_end_soon() {
        let properties: Map<String, Value> = (0..60).map(|number| (format!("p{number}"), json!({"$ref": "#/$defs/t"}))).collect();
        let definitions = Map::from_iter([("t".to_owned(), json!({"type": "object", "properties": properties}))]);
        let schemas = Schemas::new(&definitions);
        assert!(matches!(Shape::of(&json!({"$ref": "#/$defs/t"}), &schemas, 0), Shape::Fields(fields) if fields.len() == 60));
        assert_eq!(schemas.steps_left.get(), 0, "all of it are 60^4");
    }
}
