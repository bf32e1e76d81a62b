//! The parameters of a pixel's address as the fields of an event.

use serde_json::{Map, Value};

/// How deep a dotted name may reach.
const PARTS_MAX: usize = 8;

/// `{"userId": "u", "context.page.url": "/"}` as `{"userId": "u", "context": {"page": {"url": "/"}}}`. A name that would have to reach inside of a
/// value that is no object is left out, and so is one of more than eight parts: the address is kept in Bronze as it came.
pub(super) fn nest(query: &Map<String, Value>) -> Map<String, Value> {
    let mut nested = Map::new();
    for (name, value) in query {
        let parts: Vec<&str> = name.split('.').collect();
        if parts.len() <= PARTS_MAX {
            put(&mut nested, &parts, value);
        }
    }
    nested
}

fn put(object: &mut Map<String, Value>, parts: &[&str], value: &Value) {
    match parts {
        [] => {}
        [last] => {
            object.entry(*last).or_insert_with(|| value.clone());
        }
        [first, rest @ ..] => {
            let inner = object.entry(*first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}
