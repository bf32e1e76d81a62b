//! Whether a commit may still be made after another writer was faster. Pure.
//!
//! A commit is decided on what the table was at some version. For each version that another writer made since, [`check`] says whether the decision
//! still holds: it does unless the other one moved the same progress, removed a file this commit removes, put rows where this commit replaces all
//! rows, or changed what the table looks like.

use std::collections::{BTreeSet, HashMap};

use crate::log::Entry;

/// What a commit relies on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Intent {
    /// What it sets progress to.
    pub(crate) progress: Vec<(String, i64)>,
    /// Whose progress must stay as it is.
    pub(crate) guards: Vec<String>,
    /// The files it removes, by path.
    pub(crate) removes: BTreeSet<String>,
    /// Where it replaces all rows.
    pub(crate) replaces: Replaces,
}

/// Where a commit replaces all rows.
#[derive(Debug, Clone, Default)]
pub(crate) enum Replaces {
    /// Nowhere: it appends, or rewrites rows it keeps.
    #[default]
    Nothing,
    /// In the whole table.
    Everything,
    /// In the partitions where this column has one of these values.
    Partitions { column: String, values: BTreeSet<String> },
}

impl Replaces {
    /// Whether a file with these partition values is among what is replaced.
    pub(crate) fn covers(&self, partition_values: &HashMap<String, Option<String>>) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Partitions { column, values } => {
                partition_values.get(column).and_then(Option::as_ref).is_some_and(|value| values.contains(value))
            }
        }
    }

    /// As the log tells people about it.
    pub(crate) fn predicate(&self) -> Option<String> {
        match self {
            Self::Nothing | Self::Everything => None,
            Self::Partitions { column, values } => {
                let values: Vec<String> = values.iter().map(|value| format!("'{}'", value.replace('\'', "''"))).collect();
                Some(format!("{column} IN ({})", values.join(", ")))
            }
        }
    }
}

/// Why a commit can no longer be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Clash {
    /// The other writer moved this progress, to this.
    Progress { app_id: String, found: i64, asked: Option<i64> },
    /// The other writer changed this.
    Change(String),
}

/// Whether a commit with this intent may still follow that version.
pub(crate) fn check(intent: &Intent, winner: &Entry) -> Result<(), Clash> {
    for (app_id, found) in &winner.progress {
        if let Some((_, asked)) = intent.progress.iter().find(|(ours, _)| ours == app_id) {
            return Err(Clash::Progress { app_id: app_id.clone(), found: *found, asked: Some(*asked) });
        }
        if intent.guards.contains(app_id) {
            return Err(Clash::Progress { app_id: app_id.clone(), found: *found, asked: None });
        }
    }
    let version = winner.version;
    if winner.reshapes {
        return Err(Clash::Change(format!("version {version} changed its schema or properties")));
    }
    if let Some(path) = winner.removes.iter().find(|path| intent.removes.contains(*path)) {
        return Err(Clash::Change(format!("version {version} removed {path}")));
    }
    if winner.adds.iter().any(|add| intent.replaces.covers(&add.partition_values)) {
        return Err(Clash::Change(format!("version {version} added rows where this commit replaces them")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use deltalake::kernel::Add;
    use serde_json::Map;

    use super::*;

    fn partitions(days: &[&str]) -> Replaces {
        Replaces::Partitions { column: "day".to_owned(), values: days.iter().map(|day| (*day).to_owned()).collect() }
    }

    fn file(path: &str, day: &str) -> Add {
        Add { path: path.to_owned(), partition_values: [("day".to_owned(), Some(day.to_owned()))].into(), ..Add::default() }
    }

    fn winner() -> Entry {
        Entry {
            version: 7,
            info: Map::new(),
            adds: Vec::new(),
            removes: Vec::new(),
            emptied: Vec::new(),
            progress: Vec::new(),
            reshapes: false,
            timestamp: None,
            operation: None,
            engine: None,
        }
    }

    #[test]
    fn only_what_touches_the_decision_stops_a_commit() {
        let append = Intent { progress: vec![("journal:1:0".to_owned(), 9)], ..Intent::default() };
        let replace = Intent { replaces: partitions(&["monday"]), removes: ["a".to_owned()].into(), ..Intent::default() };
        let whole = Intent { replaces: Replaces::Everything, ..Intent::default() };
        let compact = Intent { removes: ["a".to_owned(), "b".to_owned()].into(), ..Intent::default() };

        let moved = |app: &str| Entry { progress: vec![(app.to_owned(), 8)], ..winner() };
        let added = |day: &str| Entry { adds: vec![file("x", day)], ..winner() };
        let removed = |path: &str| Entry { removes: vec![path.to_owned()], ..winner() };
        let reshaped = Entry { reshapes: true, ..winner() };

        let holds = |intent: &Intent, winner: &Entry| assert_eq!(check(intent, winner), Ok(()), "{intent:?} {winner:?}");
        let clashes =
            |intent: &Intent, winner: &Entry| assert!(matches!(check(intent, winner), Err(Clash::Change(_))), "{intent:?} {winner:?}");

        let fenced = Clash::Progress { app_id: "journal:1:0".to_owned(), found: 8, asked: Some(9) };
        assert_eq!(check(&append, &moved("journal:1:0")), Err(fenced));
        let guarded = Intent { guards: vec!["generation".to_owned()], ..append.clone() };
        let fenced = Clash::Progress { app_id: "generation".to_owned(), found: 8, asked: None };
        assert_eq!(check(&guarded, &moved("generation")), Err(fenced));
        holds(&guarded, &moved("journal:1:1"));
        holds(&append, &moved("journal:1:1"));
        holds(&append, &added("monday"));
        holds(&append, &removed("a"));
        clashes(&append, &reshaped);

        clashes(&replace, &added("monday"));
        holds(&replace, &added("tuesday"));
        clashes(&replace, &removed("a"));
        holds(&replace, &removed("b"));
        clashes(&whole, &added("tuesday"));

        holds(&compact, &added("monday"));
        clashes(&compact, &removed("b"));
        holds(&compact, &removed("c"));
        clashes(&compact, &reshaped);
    }
}
