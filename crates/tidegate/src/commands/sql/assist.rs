//! Completion, and when a line is the last one.

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper, Result};

use super::split::is_complete;

const KEYWORDS: [&str; 41] = [
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "COUNT",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "ELSE",
    "END",
    "EXPLAIN",
    "FILTER",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "IN",
    "INNER",
    "INTERVAL",
    "IS",
    "JOIN",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "ON",
    "OR",
    "ORDER",
    "OVER",
    "PARTITION",
    "SELECT",
    "SHOW",
    "TABLES",
    "THEN",
    "UNION",
    "WHEN",
    "WHERE",
];
/// More would not be read.
const CANDIDATES_MAX: usize = 200;

/// What helps the person at the prompt.
#[derive(Debug)]
pub(super) struct Assist {
    /// Sorted.
    words: Vec<String>,
}

impl Assist {
    pub(super) fn new(mut words: Vec<String>) -> Self {
        words.extend(KEYWORDS.map(str::to_owned));
        words.sort();
        words.dedup();
        Self { words }
    }

    /// The words that begin with what stands before the cursor, whatever the case, and where that begins.
    fn candidates(&self, line: &str, cursor: usize) -> (usize, Vec<String>) {
        let before = line.get(..cursor).unwrap_or(line);
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
        let start = before
            .rfind(|c| !is_part(c))
            .map_or(0, |at| at + before.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8));
        let begun = before.get(start..).unwrap_or_default().to_lowercase();
        if begun.is_empty() {
            return (start, Vec::new());
        }
        let fitting = self.words.iter().filter(|word| word.to_lowercase().starts_with(&begun));
        (start, fitting.take(CANDIDATES_MAX).cloned().collect())
    }
}

impl Completer for Assist {
    type Candidate = String;

    fn complete(&self, line: &str, cursor: usize, _: &Context<'_>) -> Result<(usize, Vec<String>)> {
        Ok(self.candidates(line, cursor))
    }
}

impl Validator for Assist {
    fn validate(&self, context: &mut ValidationContext<'_>) -> Result<ValidationResult> {
        Ok(if is_complete(context.input()) { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Hinter for Assist {
    type Hint = String;
}

impl Highlighter for Assist {}

impl Helper for Assist {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_completed_where_the_cursor_is() {
        let assist = Assist::new(["silver.events", "silver.exposures", "event_time", "gold.sessions"].map(str::to_owned).to_vec());
        for (line, start, expect) in [
            ("select * from silver.e", 14, vec!["silver.events", "silver.exposures"]),
            ("sel", 0, vec!["SELECT"]),
            ("select count(ev", 13, vec!["event_time"]),
            ("select 'ä', gold", 13, vec!["gold.sessions"]),
            ("select ", 7, vec![]),
            ("nothing_like_it", 0, vec![]),
        ] {
            assert_eq!(assist.candidates(line, line.len()), (start, expect.into_iter().map(str::to_owned).collect()), "{line}");
        }
    }
}
