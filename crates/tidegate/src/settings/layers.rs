//! Layers: defaults, then the file, then the environment, then flags. Pure: what was read comes in, settings or an error go out.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde_json::Value;

use super::{Error, Settings, json, known};

/// What variables of the environment that are settings begin with.
const PREFIX: &str = "TIDEGATE_";

/// Where a setting that is not the default came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    File(PathBuf),
    Variable(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A setting given as a flag.
#[derive(Debug, Clone)]
pub(crate) struct Flag {
    /// As it is written, such as `--listen`.
    pub(crate) name: &'static str,
    /// The setting, such as `server.listen`.
    pub(crate) key: &'static str,
    /// What was given.
    pub(crate) value: Value,
}

/// What was read, lowest layer first.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources {
    /// Name and text of the settings file.
    pub(super) file: Option<(PathBuf, String)>,
    /// The whole environment.
    pub(super) environment: Vec<(String, String)>,
    pub(super) flags: Vec<Flag>,
}

/// The settings, and where those came from that are not the defaults.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    /// By key, such as `server.listen`.
    pub(crate) origins: BTreeMap<String, Origin>,
}

/// One setting of one layer.
#[derive(Debug, Clone)]
struct Given {
    key: String,
    origin: Origin,
    value: Value,
}

/// Puts the layers on top of each other.
///
/// # Errors
///
/// The first thing that is wrong; see [`Error`].
pub(super) fn load(sources: Sources) -> Result<Loaded, Error> {
    let defaults = known::defaults()?;
    let mut given = Vec::new();
    if let Some((path, text)) = sources.file {
        from_file(&defaults, &path, &text, &mut given)?;
    }
    from_environment(&defaults, sources.environment, &mut given)?;
    for Flag { name, key, value } in sources.flags {
        given.push(Given { key: key.to_owned(), origin: Origin::Flag(name), value });
    }

    let mut tree = defaults.clone();
    for given in &given {
        known::set(&mut tree, &given.key, given.value.clone());
    }
    let settings: Settings = serde_json::from_value(tree).map_err(|error| culprit(&defaults, &given, error))?;
    settings.check()?;
    Ok(Loaded { settings, origins: given.into_iter().map(|given| (given.key, given.origin)).collect() })
}

fn from_file(defaults: &Value, path: &std::path::Path, text: &str, given: &mut Vec<Given>) -> Result<(), Error> {
    let table: toml::Table =
        toml::from_str(text).map_err(|error| Error::Syntax { path: path.to_owned(), problem: error.to_string().trim_end().to_owned() })?;
    from_table(defaults, "", table, &Origin::File(path.to_owned()), given)
}

fn from_table(defaults: &Value, prefix: &str, table: toml::Table, origin: &Origin, given: &mut Vec<Given>) -> Result<(), Error> {
    for (name, value) in table {
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match (known::at(defaults, &key), value) {
            (None, _) => return Err(unknown(defaults, key, origin.clone())),
            (Some(Value::Object(_)), toml::Value::Table(section)) => from_table(defaults, &key, section, origin, given)?,
            (Some(Value::Object(_)), _) => return Err(Error::Shape { key, origin: origin.clone(), must: "a section, not a value" }),
            (Some(_), toml::Value::Table(_)) => return Err(Error::Shape { key, origin: origin.clone(), must: "a value, not a section" }),
            (Some(_), value) => given.push(Given { key, origin: origin.clone(), value: json::of_toml(value) }),
        }
    }
    Ok(())
}

/// `TIDEGATE_SECTION__KEY`, and `TIDEGATE_DATA`. Other variables with our prefix and no double underscore are no settings: `send` has some, and so have
/// scripts around this program.
fn from_environment(defaults: &Value, environment: Vec<(String, String)>, given: &mut Vec<Given>) -> Result<(), Error> {
    let mut environment = environment;
    environment.sort();
    for (variable, text) in environment {
        let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
        if rest != "DATA" && !rest.contains("__") {
            continue;
        }
        let key = rest.to_ascii_lowercase().replace("__", ".");
        let origin = Origin::Variable(variable);
        match known::at(defaults, &key) {
            None => return Err(unknown(defaults, key, origin)),
            Some(Value::Object(_)) => return Err(Error::Shape { key, origin, must: "a value, but it is a section; name a setting in it" }),
            Some(default) => {
                let value = json::of_text(&text, default);
                let value = if default.is_null() { of_a_kind_that_fits(defaults, &key, value) } else { value };
                given.push(Given { key, origin, value });
            }
        }
    }
    Ok(())
}

/// The default of a setting that is not set does not tell what kind of value it takes: where it takes no text, it may take a number.
fn of_a_kind_that_fits(defaults: &Value, key: &str, value: Value) -> Value {
    let fits = |value: &Value| {
        let mut tree = defaults.clone();
        known::set(&mut tree, key, value.clone());
        serde_json::from_value::<Settings>(tree).is_ok()
    };
    let number = || value.as_str().map(|text| json::of_text(text, &Value::from(0))).filter(fits);
    if fits(&value) { value } else { number().unwrap_or(value) }
}

fn unknown(defaults: &Value, key: String, origin: Origin) -> Error {
    let suggestion = known::suggestion(defaults, &key);
    Error::UnknownKey { key, origin, suggestion }
}

/// The error names no key. The value that cannot be used is the one that cannot be used alone either.
fn culprit(defaults: &Value, given: &[Given], error: serde_json::Error) -> Error {
    for Given { key, origin, value } in given.iter().rev() {
        let mut tree = defaults.clone();
        known::set(&mut tree, key, value.clone());
        if let Err(error) = serde_json::from_value::<Settings>(tree) {
            return Error::Value { key: key.clone(), origin: origin.clone(), problem: error.to_string() };
        }
    }
    Error::Defaults(error)
}
