//! Who and what the events of one request or task are about.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::event::json;

/// The ids and the context that several events have in common, such as all of one request: made once, and given to each by [`Event::in_scope`](crate::Event::in_scope).
/// Also the subject of [`Client::variation`](crate::Client::variation).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scope {
    pub(crate) user_id: String,
    pub(crate) anonymous_id: String,
    pub(crate) session_id: String,
    pub(crate) context: Map<String, Value>,
    pub(crate) fault: Option<String>,
}

impl Scope {
    /// Of which nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The user, where one is signed in.
    #[must_use]
    pub fn user_id(mut self, id: impl ToString) -> Self {
        self.user_id = id.to_string();
        self
    }

    /// The browser or device, where the user is not known, or not yet.
    #[must_use]
    pub fn anonymous_id(mut self, id: impl ToString) -> Self {
        self.anonymous_id = id.to_string();
        self
    }

    /// The visit.
    #[must_use]
    pub fn session_id(mut self, id: impl ToString) -> Self {
        self.session_id = id.to_string();
        self
    }

    /// Where it happens, such as `page` or `device`.
    #[must_use]
    pub fn context(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        let name = name.into();
        match json(&value) {
            Ok(value) => drop(self.context.insert(name, value)),
            Err(error) => drop(self.fault.get_or_insert_with(|| format!("context {name}: {error}"))),
        }
        self
    }
}
