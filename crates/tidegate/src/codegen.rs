//! `tidegate plan codegen`: from a tracking plan to source code in which a call that breaks the plan does not compile.

use std::collections::BTreeSet;

use anyhow::bail;
use clap::ValueEnum;
use contract::plan::{Field, Policy};
use contract::{Plan, SourceName};

mod python;
mod rust;
mod typescript;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// A module for the Rust SDK, checked by the compiler
    Rust,
    /// A module for the Python SDK, checked by mypy or pyright
    Python,
    /// A module for the TypeScript SDK
    Typescript,
}

/// The source code for a plan that was read from this file. What becomes of an event that breaks it is as the plan has it for the source, or else what it has for all of them.
///
/// # Errors
///
/// Two event types that would have the same name in code.
pub(crate) fn generate(language: Language, plan: &Plan, file: &str, source: Option<&SourceName>) -> anyhow::Result<String> {
    let policy = source.map_or_else(|| plan.policy_of_all(), |source| plan.policy(source));
    let types: Vec<Event<'_>> = plan.types().map(|name| Event::of(plan, name)).collect();
    for (place, event) in types.iter().enumerate() {
        if let Some(other) = types[..place].iter().find(|other| other.words == event.words) {
            bail!("the event types {:?} and {:?} would have the same name in code; rename one of them", other.event_type, event.event_type);
        }
    }
    let code = match language {
        Language::Rust => rust::module(plan, file, &types, policy),
        Language::Python => python::module(plan, file, &types, policy),
        Language::Typescript => typescript::module(plan, file, &types, policy),
    };
    // In a text it is an escape in all of them, and in a comment it can be read.
    Ok(code.chars().map(|c| if turns(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }).collect())
}

/// An event type, as code needs it.
#[derive(Debug)]
struct Event<'a> {
    event_type: &'a str,
    /// Its name in lowercase words.
    words: Vec<String>,
    description: Option<&'a str>,
    fields: Vec<Field>,
}

impl<'a> Event<'a> {
    fn of(plan: &'a Plan, event_type: &'a str) -> Self {
        Self { event_type, words: words(event_type), description: plan.description(event_type), fields: plan.fields(event_type) }
    }

    /// `order_completed`
    fn snake(&self) -> String {
        self.words.join("_")
    }

    /// `OrderCompleted`
    fn pascal(&self) -> String {
        pascal(&self.words)
    }

    /// `orderCompleted`
    fn camel(&self) -> String {
        let mut words = self.words.iter();
        let first = words.next().cloned().unwrap_or_default();
        first + &pascal(words.as_slice())
    }

    fn has_required(&self) -> bool {
        self.fields.iter().any(|field| field.required)
    }
}

/// The names that are taken: an event type `order` with a property `items`, and an event type `order items`, would both have a type `OrderItems`.
#[derive(Debug, Default)]
struct Names(BTreeSet<String>);

impl Names {
    /// All but these, which the code itself speaks of.
    fn without(reserved: &[&str]) -> Self {
        Self(reserved.iter().map(|name| (*name).to_owned()).collect())
    }

    /// This one, or if it is taken the next one with a number.
    fn take(&mut self, name: String) -> String {
        let mut free = name.clone();
        let mut number = 2;
        while !self.0.insert(free.clone()) {
            free = format!("{name}{number}");
            number += 1;
        }
        free
    }
}

/// What SDKs check events by before they send them.
fn rules(plan: &Plan, policy: Policy) -> String {
    // Pretty, so that a change of the plan is a change of the lines it is about.
    format!("{:#}", plan.for_producers(policy))
}

/// Whether a character changes the direction of what follows. Compilers do not take them, since code would not be what it seems to be.
fn turns(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn pascal(words: &[String]) -> String {
    words.iter().map(|word| capitalised(word)).collect()
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
}

/// The words of a name, whatever parts them: `Order Completed`, `order_completed`, `orderCompleted`. Other letters than those of ASCII are written as their numbers.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut after_lowercase = false;
    let mut begins = true;
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            if begins || (c.is_ascii_uppercase() && after_lowercase) {
                words.push(String::new());
            }
            if let Some(word) = words.last_mut() {
                word.push(c.to_ascii_lowercase());
            }
            after_lowercase = !c.is_ascii_uppercase();
            begins = false;
        } else if c.is_ascii() {
            begins = true;
        } else {
            words.push(format!("u{:x}", u32::from(c)));
            begins = true;
        }
    }
    // No name in code begins with a digit, or is empty.
    if words.first().is_none_or(|first| first.starts_with(|c: char| c.is_ascii_digit())) {
        words.insert(0, "event".to_owned());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_code() {
        let check = |name: &str, snake: &str, pascal: &str, camel: &str| {
            let event = Event { event_type: name, words: words(name), description: None, fields: Vec::new() };
            assert_eq!((event.snake().as_str(), event.pascal().as_str(), event.camel().as_str()), (snake, pascal, camel), "{name}");
        };
        check("signup", "signup", "Signup", "signup");
        check("Order Completed", "order_completed", "OrderCompleted", "orderCompleted");
        check("order-completed.v2", "order_completed_v2", "OrderCompletedV2", "orderCompletedV2");
        check("orderCompleted", "order_completed", "OrderCompleted", "orderCompleted");
        check("HTTPError", "httperror", "Httperror", "httperror");
        check("2fa", "event_2fa", "Event2fa", "event2fa");
        check("größe", "gr_uf6_udf_e", "GrUf6UdfE", "grUf6UdfE");
        check("", "event", "Event", "event");
    }

    #[test]
    fn two_types_of_one_name_are_refused() {
        let plan = Plan::parse(r#"{"version": "1", "types": {"order_done": {}, "Order Done": {}}}"#, "plan.json").unwrap();
        assert!(generate(Language::Python, &plan, "plan.json", None).unwrap_err().to_string().contains("rename one of them"));
    }

    #[test]
    fn names_that_meet_are_told_apart() {
        let text = r#"{"version": "1", "types": {"order": {"properties": {"items": {"type": "object", "properties": {"a": {}}}}}, "order items": {}, "any": {}, "constructor": {}}}"#;
        let plan = Plan::parse(text, "plan.json").unwrap();
        let check = |language: Language, once: &[&str]| {
            let code = generate(language, &plan, "plan.json", None).unwrap();
            for piece in once {
                assert_eq!(code.matches(piece).count(), 1, "{language:?}: {piece}");
            }
        };
        check(Language::Python, &["    OrderItems = ", "    OrderItems2 = ", "    Any2 = ", "\"items\": NotRequired[OrderItems2]"]);
        check(Language::Rust, &["struct OrderItems {", "struct OrderItems2 {", "items: Option<OrderItems2>"]);
        check(Language::Typescript, &["  constructor(", "  constructor2("]);
    }

    #[test]
    fn the_rules_are_those_of_the_source() {
        let text = r#"{"version": "1", "default_policy": "reject", "sources": {"web": {"policy": "flag"}}, "types": {"x": {"properties": {"y": {"description": "\u202e"}}}}}"#;
        let plan = Plan::parse(text, "plan.json").unwrap();
        let (web, app) = (SourceName::try_from("web".to_owned()).unwrap(), SourceName::try_from("app".to_owned()).unwrap());
        for language in [Language::Python, Language::Rust, Language::Typescript] {
            let code = |source: Option<&SourceName>| generate(language, &plan, "plan.json", source).unwrap();
            assert!(code(Some(&app)).contains(r#""default_policy": "reject""#) && code(Some(&web)).contains(r#""default_policy": "flag""#));
            // Of some sources they are taken: nothing is lost for not saying which.
            assert!(code(None).contains(r#""default_policy": "flag""#) && !code(None).chars().any(turns));
        }
    }
}
