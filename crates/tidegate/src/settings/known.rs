//! The settings there are, as the tree of the defaults: an object is a section, anything else a value.

use serde_json::{Map, Value};

use super::{Error, Settings};

/// The farthest a key may be from one that there is, to be taken for a slip of the pen: this, or a third of its length.
const DISTANCE_MIN: usize = 2;

/// The tree of the defaults.
pub(super) fn defaults() -> Result<Value, Error> {
    serde_json::to_value(Settings::default()).map_err(Error::Defaults)
}

/// What stands at a key such as `ingest.events_max`.
pub(super) fn at<'a>(tree: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(tree, |node, part| node.as_object()?.get(part))
}

/// Puts a value at a key that there is.
pub(super) fn set(tree: &mut Value, key: &str, value: Value) {
    let node = key.split('.').try_fold(tree, |node, part| node.as_object_mut()?.get_mut(part));
    if let Some(node) = node {
        *node = value;
    }
}

/// The keys of all values, sections first to last, in order.
pub(super) fn keys(tree: &Value) -> Vec<String> {
    fn below(prefix: &str, section: &Map<String, Value>, keys: &mut Vec<String>) {
        for (name, value) in section {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match value {
                Value::Object(section) => below(&key, section, keys),
                _ => keys.push(key),
            }
        }
    }
    let mut keys = Vec::new();
    if let Value::Object(section) = tree {
        below("", section, &mut keys);
    }
    keys
}

/// The end of the sentence about an unknown key: the nearest key there is.
pub(super) fn suggestion(tree: &Value, unknown: &str) -> String {
    let name = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let apart = |key: &String| (distance(&name(key), &name(unknown)), distance(key, unknown));
    let near = |key: &String| {
        let (by_name, whole) = apart(key);
        let within = |found: usize, text: &str| found <= DISTANCE_MIN.max(text.chars().count() / 3);
        within(whole, unknown) || within(by_name, &name(unknown))
    };
    let nearest = keys(tree).into_iter().filter(near).min_by_key(apart);
    nearest.map_or_else(String::new, |key| format!(", is it {key}?"))
}

/// How many characters must be changed, added or taken away to make one text of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let changed = row.get(j).copied().unwrap_or_default() + usize::from(a != *b);
            let removed = row.get(j + 1).copied().unwrap_or_default() + 1;
            let added = next.get(j).copied().unwrap_or_default() + 1;
            next.push(changed.min(removed).min(added));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_levenshtein() {
        for (one, other, expect) in [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("body_byte_max", "body_bytes_max", 1)] {
            assert_eq!(distance(one, other), expect, "{one} {other}");
            assert_eq!(distance(other, one), expect, "{other} {one}");
        }
    }

    #[test]
    fn the_nearest_key_is_suggested() {
        let tree = defaults().unwrap();
        for (unknown, expect) in [
            ("ingest.body_byte_max", ", is it ingest.body_bytes_max?"),
            ("listen", ", is it server.listen?"),
            ("servr.listen", ", is it server.listen?"),
            ("ingest.json.depth", ", is it ingest.json.depth_max?"),
            ("log.formt", ", is it log.format?"),
            ("colour", ""),
        ] {
            assert_eq!(suggestion(&tree, unknown), expect, "{unknown}");
        }
    }
}
