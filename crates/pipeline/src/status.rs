//! How the stages are doing, for whoever wants to show it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::error::Error;

/// Under which name it is told why the stages cannot start.
const START: &str = "start";

/// How far the stages have come since this process started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Records read from the journal and committed, refused ones included.
    pub records: u64,
    /// Rows added to Bronze.
    pub bronze: u64,
    /// Rows added to Silver.
    pub silver: u64,
    /// Copies of events that Silver has already.
    pub duplicates: u64,
    /// Rows added to the dead letters, by the gate's refusal or by Silver.
    pub dead_letters: u64,
    /// Of Silver's rows, those that were late.
    pub late: u64,
    /// The version of Silver that Gold was last brought up to.
    pub gold_version: Option<i64>,
    /// Records in the journal that Bronze does not have yet, when Bronze last looked.
    pub lag_records: u64,
    /// Commits that were refused because another process had made the progress they claimed.
    pub fenced: u64,
    /// What keeps a stage from going on, by stage.
    pub errors: BTreeMap<&'static str, String>,
}

/// A handle on the progress. Cheap to clone; all clones show the same.
#[derive(Debug, Clone, Default)]
pub struct Status(Arc<Mutex<Progress>>);

impl Status {
    /// The progress now.
    pub fn get(&self) -> Progress {
        self.lock().clone()
    }

    /// Whether every stage could go on when it last tried.
    pub fn is_healthy(&self) -> bool {
        self.lock().errors.is_empty()
    }

    /// The stages cannot start yet, and why.
    pub fn starting(&self, why: String) {
        self.lock().errors.insert(START, why);
    }

    /// The stages have started.
    pub fn started(&self) {
        self.clear_error(START);
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.lock());
    }

    pub(crate) fn set_error(&self, stage: &'static str, error: &Error) {
        self.lock().errors.insert(stage, error.to_string());
    }

    pub(crate) fn clear_error(&self, stage: &'static str) {
        self.lock().errors.remove(stage);
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
