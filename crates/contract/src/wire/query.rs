//! The parameters of a pixel's address as the fields of an event.

use crate::json::{Object, Value};

/// How deep a dotted name may reach.
const PARTS_MAX: usize = 8;

/// `{"userId": "u", "context.page.url": "/"}` as `{"userId": "u", "context": {"page": {"url": "/"}}}`. A name that would have to reach inside of a
/// value that is no object is left out, and so is one of more than eight parts: the address is kept in Bronze as it came.
pub(super) fn nest<'a>(query: &Object<'a>) -> Object<'a> {
    let mut nested = Object::new();
    for (name, value) in query.iter() {
        let parts: Vec<&str> = name.split('.').collect();
        if parts.len() <= PARTS_MAX {
            put(&mut nested, &parts, value);
        }
    }
    nested
}

fn put<'a>(object: &mut Object<'a>, parts: &[&str], value: &Value<'a>) {
    match parts {
        [] => {}
        [last] => object.insert_if_absent((*last).to_owned(), value.clone()),
        [first, rest @ ..] => {
            object.insert_if_absent((*first).to_owned(), Value::Object(Object::new()));
            if let Some(Value::Object(inner)) = object.get_mut(first) {
                put(inner, rest, value);
            }
        }
    }
}
