//! The settings as they are, for people and for programs, with where they came from and without what is secret.

use serde_json::{Map, Value, json};

use super::layers::{Loaded, Origin};
use super::{Error, known};

/// What stands for a secret.
const HIDDEN: &str = "***";

/// As TOML that could be a settings file; each setting that is not the default says where it came from.
///
/// # Errors
///
/// None that a user could meet: [`Error::Defaults`].
pub(crate) fn to_toml(loaded: &Loaded) -> Result<String, Error> {
    let tree = tree(loaded)?;
    let mut text = String::from("# The settings in force. What is not marked is the default.\n");
    if let Value::Object(root) = &tree {
        section(&mut text, "", root, loaded);
    }
    Ok(text)
}

/// As JSON: `settings` and, by key, `from`.
///
/// # Errors
///
/// None that a user could meet: [`Error::Defaults`].
pub(crate) fn to_json(loaded: &Loaded) -> Result<Value, Error> {
    let from: Map<String, Value> = loaded.origins.iter().map(|(key, origin)| (key.clone(), Value::String(said(origin)))).collect();
    Ok(json!({ "settings": tree(loaded)?, "from": from }))
}

fn tree(loaded: &Loaded) -> Result<Value, Error> {
    let mut tree = serde_json::to_value(&loaded.settings).map_err(Error::Defaults)?;
    for key in known::keys(&tree) {
        if let Some(Value::String(text)) = known::at(&tree, &key)
            && let Some(hidden) = without_password(text)
        {
            known::set(&mut tree, &key, Value::String(hidden));
        }
    }
    Ok(tree)
}

/// Values before sections, as TOML wants it.
fn section(text: &mut String, path: &str, fields: &Map<String, Value>, loaded: &Loaded) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_object()) {
        let origin = loaded.origins.get(&below(name)).map_or_else(String::new, |origin| format!("  # from {}", said(origin)));
        match super::json::to_toml(value) {
            Some(value) => text.push_str(&format!("{name} = {value}{origin}\n")),
            None => text.push_str(&format!("# {name} is not set{origin}\n")),
        }
    }
    for (name, value) in fields {
        if let Value::Object(fields) = value {
            text.push_str(&format!("\n[{}]\n", below(name)));
            section(text, &below(name), fields, loaded);
        }
    }
}

fn said(origin: &Origin) -> String {
    match origin {
        Origin::File(path) => path.display().to_string(),
        Origin::Variable(name) => format!("the variable {name}"),
        Origin::Flag(name) => name.to_string(),
    }
}

/// A URL with a password, without it; `None` where there is none.
fn without_password(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, host) = authority.rsplit_once('@')?;
    let (name, _) = user.split_once(':')?;
    let after = rest.strip_prefix(authority)?;
    Some(format!("{scheme}://{name}:{HIDDEN}@{host}{after}"))
}

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn passwords_are_hidden() {
        for (text, expect) in [
            ("s3://bucket/lake", None),
            ("./lake", None),
            ("https://events.example.com:8443/in", None),
            ("https://u@example.com", None),
            ("s3://key:secr@et@bucket/lake?x=1", Some("s3://key:***@bucket/lake?x=1")),
        ] {
            assert_eq!(without_password(text).as_deref(), expect, "{text}");
        }
    }
}
