//! `tidegate plan codegen`: from a tracking plan to source code in which a call that breaks the plan does not compile.

use anyhow::bail;
use clap::ValueEnum;
use contract::Plan;
use contract::plan::Field;

mod python;
mod typescript;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// A module for the Python SDK, checked by mypy or pyright
    Python,
    /// A module for the TypeScript SDK
    Typescript,
}

/// The source code for a plan that was read from this file.
///
/// # Errors
///
/// Two event types that would have the same name in code.
pub(crate) fn generate(language: Language, plan: &Plan, file: &str) -> anyhow::Result<String> {
    let types: Vec<Event<'_>> = plan.types().map(|name| Event::of(plan, name)).collect();
    for (place, event) in types.iter().enumerate() {
        if let Some(other) = types[..place].iter().find(|other| other.words == event.words) {
            bail!("the event types {:?} and {:?} would have the same name in code; rename one of them", other.event_type, event.event_type);
        }
    }
    Ok(match language {
        Language::Python => python::module(plan, file, &types),
        Language::Typescript => typescript::module(plan, file, &types),
    })
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
        assert!(generate(Language::Python, &plan, "plan.json").unwrap_err().to_string().contains("rename one of them"));
    }
}
