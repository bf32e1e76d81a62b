//! What a write key may do: from which pages it sends, which types of events, and how fast.

use serde::{Deserialize, Serialize};

use super::Error;

/// Event types and origins that one key names at most.
const NAMED_MAX: usize = 200;
/// Ends a beginning of names of event types.
const ANY_REST: char = '*';

/// The scope of a write key. The empty one lets a key do whatever the settings let everybody do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scope {
    /// The origins of web pages that may send with it, such as `https://www.example.com`; with none, any may.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<String>,
    /// The types of events that may be sent with it: whole names, or the beginning of names and `*`, such as `checkout_*`; with none, all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub event_types: Vec<String>,
    /// Events a second that may be sent with it, in the place of what the settings give each source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_per_second_max: Option<u32>,
    /// Whether each request must be signed, see [`crate::signature`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub signed: bool,
}

impl Scope {
    /// Whether it can be held to.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOrigin`], [`Error::InvalidEventType`], [`Error::InvalidRate`], [`Error::ScopeTooLarge`].
    pub fn check(&self) -> Result<(), Error> {
        if self.allowed_origins.len().max(self.event_types.len()) > NAMED_MAX {
            return Err(Error::ScopeTooLarge { max: NAMED_MAX });
        }
        if let Some(wrong) = self.allowed_origins.iter().find(|origin| !is_origin(origin)) {
            return Err(Error::InvalidOrigin(wrong.clone()));
        }
        if let Some(wrong) = self.event_types.iter().find(|name| !is_pattern(name)) {
            return Err(Error::InvalidEventType(wrong.clone()));
        }
        if self.events_per_second_max == Some(0) {
            return Err(Error::InvalidRate);
        }
        Ok(())
    }

    /// Whether a page of this origin may send.
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.allowed_origins.is_empty() || self.allowed_origins.iter().any(|allowed| allowed == origin)
    }

    /// Whether events of this type may be sent.
    pub fn allows_type(&self, event_type: &str) -> bool {
        self.event_types.is_empty() || self.event_types.iter().any(|allowed| is_of(allowed, event_type))
    }
}

fn is_of(allowed: &str, event_type: &str) -> bool {
    match allowed.strip_suffix(ANY_REST) {
        Some(beginning) => event_type.starts_with(beginning),
        None => event_type == allowed,
    }
}

/// A name, or the beginning of one and `*` at its end; `*` alone is what no pattern says better.
fn is_pattern(text: &str) -> bool {
    let name = text.strip_suffix(ANY_REST).unwrap_or(text);
    !name.is_empty() && !name.contains(ANY_REST) && name.trim() == name && !name.chars().any(char::is_control)
}

/// Whether it is what a browser sends as `Origin`: scheme, host and maybe a port, nothing else.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let scheme_is_sound =
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte));
    let host_is_sound =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@*".contains(&byte) && !byte.is_ascii_uppercase());
    scheme_is_sound && host_is_sound
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(types: &[&str]) -> Scope {
        Scope { event_types: types.iter().map(|&name| name.to_owned()).collect(), ..Scope::default() }
    }

    #[test]
    fn types_are_allowed_by_name_or_by_their_beginning() {
        for (types, event_type, expect) in [
            (&[][..], "anything", true),
            (&["page_view"], "page_view", true),
            (&["page_view"], "page_views", false),
            (&["checkout_*"], "checkout_begun", true),
            (&["checkout_*"], "checkout", false),
            (&["page_view", "checkout_*"], "checkout_", true),
            (&["page_view"], "", false),
        ] {
            assert_eq!(scope(types).allows_type(event_type), expect, "{types:?} {event_type}");
        }
    }

    #[test]
    fn what_cannot_be_held_to_is_refused() {
        assert!(scope(&["a", "b_*", "Order Completed"]).check().is_ok());
        for wrong in ["", "*", "a*b", "**", " a", "a\n"] {
            assert!(matches!(scope(&[wrong]).check(), Err(Error::InvalidEventType(_))), "{wrong:?}");
        }
        assert!(matches!(Scope { events_per_second_max: Some(0), ..Scope::default() }.check(), Err(Error::InvalidRate)));
        let many = vec!["a"; NAMED_MAX + 1];
        assert!(matches!(scope(&many).check(), Err(Error::ScopeTooLarge { .. })));
        for bad in ["", "*", "www.example.com", "https://", "https://a/", "https://A.example", "HTTPS://a", "https://*.a", "https://a b"] {
            let scope = Scope { allowed_origins: vec![bad.to_owned()], ..Scope::default() };
            assert!(matches!(scope.check(), Err(Error::InvalidOrigin(_))), "{bad}");
        }
    }
}
