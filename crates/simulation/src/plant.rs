//! Bugs that are planted on purpose, each of which breaks a law, so that it can be seen that they are found.
//!
//! They are planted where the product meets the world: in what the journal gives and in what the store takes. So each is what a bug of that kind in the product would do, and none needs a switch in it.

use serde_json::Value;

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// The gate says yes before the journal has the events.
    EarlyYes,
    /// The journal loses an append that it confirmed.
    LostAppend,
    /// Bronze is committed without its progress.
    ProgressApart,
    /// A commit is made over that of another process.
    OverwrittenCommit,
    /// What Bronze keeps is not what came.
    AlteredBytes,
    /// A record of the journal is passed over.
    SkippedRecord,
    /// A worker makes Silver by rules of its own.
    OtherRules,
    /// Rows of Silver are there twice.
    DoubledRows,
    /// Events that come late are left out of Silver.
    DroppedLate,
    /// Dead letters are left out.
    DroppedDeadLetters,
    /// A count in the books is wrong.
    WrongCount,
    /// The gate takes in more than its bound.
    Unbounded,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::EarlyYes,
        Self::LostAppend,
        Self::ProgressApart,
        Self::OverwrittenCommit,
        Self::AlteredBytes,
        Self::SkippedRecord,
        Self::OtherRules,
        Self::DoubledRows,
        Self::DroppedLate,
        Self::DroppedDeadLetters,
        Self::WrongCount,
        Self::Unbounded,
    ];

    /// What a commit becomes with it: the lines of a version of a table's log.
    pub(crate) fn tampered(self, path: &str, text: &str) -> Option<String> {
        let is_of = |table: &str| path.contains(table);
        let (bronze, silver, dead) = (is_of("bronze/events/"), is_of("silver/events/"), is_of("dead_letters/"));
        let mut lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let before = lines.clone();
        match self {
            Self::ProgressApart if bronze => lines.retain(|action| !is_progress_in_journal(action)),
            Self::DoubledRows if silver => lines.extend(before.iter().filter_map(copied)),
            Self::DroppedLate if silver => lines.retain(|action| !is_old(action)),
            Self::DroppedDeadLetters if dead => lines.retain(|action| action.get("add").is_none()),
            Self::WrongCount if silver => lines.iter_mut().for_each(raise_a_count),
            _ => {}
        }
        (lines != before).then(|| lines.iter().map(|line| format!("{line}\n")).collect())
    }
}

fn is_progress_in_journal(action: &Value) -> bool {
    let id = action.pointer("/txn/appId").and_then(Value::as_str).unwrap_or_default();
    id.starts_with("tidegate:journal:")
}

/// Whether it adds a file of a day that is long past.
fn is_old(action: &Value) -> bool {
    let day = action.pointer("/add/partitionValues/event_date").and_then(Value::as_str);
    day.is_some_and(|day| day < crate::world::OLD_DAY)
}

/// What a copied file is called, before what the one was called that it is a copy of.
pub(crate) const COPY: &str = "part-copy-";

/// The same file once more, under another name.
fn copied(action: &Value) -> Option<Value> {
    let mut copy = action.clone();
    let path = copy.pointer_mut("/add/path")?;
    *path = Value::from(path.as_str()?.replacen("part-", COPY, 1));
    Some(copy)
}

/// Adds one to the first count that a commit tells of.
fn raise_a_count(action: &mut Value) {
    let Some(told) = action.pointer_mut("/commitInfo/userMetadata") else { return };
    let Some(mut info) = told.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok()) else { return };
    let Some(count) = info.pointer_mut("/tidegate/counts/0/count") else { return };
    *count = Value::from(count.as_i64().unwrap_or_default() + 1);
    *told = Value::from(info.to_string());
}
