//! What a person must have consented to, for the content of their events to be kept.

use serde::{Deserialize, Serialize};

use crate::Event;
use crate::json::Value;

/// What consent an event needs. It is read from `context.consent.categoryPreferences`, as Segment's clients send it: an object with `true` or `false` for each category; `granted` and `denied`
/// are taken too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// The categories that must all be consented to; with none, no consent is needed.
    #[serde(default)]
    pub required: Vec<String>,
    /// What holds of an event that does not say whether a category is consented to.
    #[serde(default)]
    pub unknown: UnknownConsent,
}

/// What holds where an event does not say whether its person has consented.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownConsent {
    /// It is kept out.
    #[default]
    Deny,
    /// It is kept.
    Allow,
}

impl Consent {
    /// Whether the content of an event may be kept.
    pub fn allows(&self, event: &Event<'_>) -> bool {
        let stated = event.context.get("consent").and_then(|consent| consent.get("categoryPreferences"));
        self.required.iter().all(|category| match stated.and_then(|stated| stated.get(category)).and_then(given) {
            Some(given) => given,
            None => self.unknown == UnknownConsent::Allow,
        })
    }
}

fn given(stated: &Value<'_>) -> Option<bool> {
    match stated {
        Value::Bool(given) => Some(*given),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "granted" | "true" => Some(true),
            "denied" | "false" => Some(false),
            _ => None,
        },
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_category_must_be_consented_to() {
        let check = |required: &[&str], unknown, context: Value, expect| {
            let consent = Consent { required: required.iter().map(|&name| name.to_owned()).collect(), unknown };
            let event = Event { context: context.as_object().cloned().unwrap().into(), ..Event::default() };
            assert_eq!(consent.allows(&event), expect, "{consent:?} {context}");
        };
        let says = |preferences: Value| json!({"consent": {"categoryPreferences": preferences}});
        for unknown in [UnknownConsent::Deny, UnknownConsent::Allow] {
            check(&[], unknown, json!({}), true);
            check(&["analytics"], unknown, says(json!({"analytics": true, "ads": false})), true);
            check(&["analytics"], unknown, says(json!({"analytics": "granted"})), true);
            check(&["analytics", "ads"], unknown, says(json!({"analytics": true, "ads": false})), false);
            check(&["analytics"], unknown, says(json!({"analytics": "Denied"})), false);
            let may = unknown == UnknownConsent::Allow;
            for unsaid in [says(json!({})), says(json!({"analytics": null})), says(json!("all")), says(json!({"analytics": 1})), json!({})]
            {
                check(&["analytics"], unknown, unsaid, may);
            }
            check(&["analytics"], unknown, says(json!({"Analytics": true})), may);
        }
    }
}
