//! Which events somebody wants to see.

use serde::{Deserialize, Serialize};

use super::Seen;

/// Which events somebody asks for, as it stands in the address of the page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// Of this source; of any where it is empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Of this type; of any where it is empty.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub event_type: String,
    /// Valid ones, invalid ones, or both.
    #[serde(skip_serializing_if = "Show::is_all")]
    pub show: Show,
    /// Words that all occur in it, its id, its user or what is wrong with it, in upper or lower case.
    #[serde(rename = "q", skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// Whether the tracking plan was kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Show {
    /// Both.
    #[default]
    All,
    /// What is as the plan has it.
    Valid,
    /// What breaks it, or could not be taken.
    Invalid,
}

impl Show {
    fn is_all(&self) -> bool {
        *self == Self::All
    }
}

impl Asked {
    /// What lets these events through.
    pub fn filter(&self) -> Filter {
        Filter {
            source: Some(self.source.trim().to_owned()).filter(|source| !source.is_empty()),
            event_type: Some(self.event_type.trim().to_owned()).filter(|event_type| !event_type.is_empty()),
            show: self.show,
            words: self.text.split_whitespace().map(str::to_lowercase).collect(),
        }
    }
}

/// Lets some events through.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    source: Option<String>,
    event_type: Option<String>,
    show: Show,
    words: Vec<String>,
}

impl Filter {
    pub(super) fn lets_through(&self, seen: &Seen) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|wanted| found == Some(wanted));
        let as_shown = match self.show {
            Show::All => true,
            Show::Valid => !seen.is_invalid(),
            Show::Invalid => seen.is_invalid(),
        };
        as_shown
            && is(&self.source, Some(seen.receipt.source.as_str()))
            && is(&self.event_type, seen.event_type.as_deref())
            && self.words.iter().all(|word| has(seen, word))
    }
}

fn has(seen: &Seen, word: &str) -> bool {
    let faults = seen.receipt.violations.iter().flat_map(|violation| [violation.code.as_str(), &violation.field, &violation.message]);
    let known = [seen.receipt.event_id.as_str(), &seen.payload].into_iter().chain(seen.event_type.as_deref()).chain(faults);
    known.into_iter().any(|text| contains(text, word))
}

/// Whether a text has a word of lower case, in any case.
fn contains(text: &str, word: &str) -> bool {
    if text.is_ascii() && word.is_ascii() {
        // Without a copy of each event.
        let (text, word) = (text.as_bytes(), word.as_bytes());
        word.is_empty() || text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
    } else {
        text.to_lowercase().contains(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_does_not_matter() {
        for (text, word, expect) in [
            ("Checkout", "check", true),
            ("Checkout", "out ", false),
            ("", "", true),
            ("", "a", false),
            ("Über", "über", true),
            ("a", "ab", false),
        ] {
            assert_eq!(contains(text, word), expect, "{text} {word}");
        }
    }
}
