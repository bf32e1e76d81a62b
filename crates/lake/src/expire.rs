//! Files whose rows are no longer to be kept.

use std::collections::BTreeSet;

use deltalake::kernel::Action;
use deltalake::protocol::DeltaOperation;

use crate::commit::Draft;
use crate::error::Error;
use crate::log::Added;
use crate::table::{Commit, Committed, Table};

impl Table {
    /// Takes whole files out of the table, in one commit with progress. Whoever reads version by version is not told: nothing is to be made of it. The files themselves stay until a
    /// vacuum.
    ///
    /// # Errors
    /// As [`Table::append`]; `Conflict` when another writer took one of the files away meanwhile: nothing is changed.
    pub async fn expire(&mut self, files: &[Added], commit: Commit) -> Result<Committed, Error> {
        if let Some(made) = self.ready(&commit.progress, &commit.guards).await? {
            return Ok(made);
        }
        let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
        let listed = self.bring_up().await?.log_data();
        let removes: Vec<_> =
            listed.iter().filter(|file| paths.contains(file.path().as_ref())).map(|file| file.remove_action(false)).collect();
        if removes.len() < paths.len() {
            let what = "a file that was to go is no part of it any more".to_owned();
            return Err(Error::Conflict { table: self.name().to_owned(), what });
        }
        let mut draft = Draft::new(commit, DeltaOperation::Delete { predicate: None }, Vec::new());
        draft.intent.removes = removes.iter().map(|remove| remove.path.clone()).collect();
        draft.actions.extend(removes.into_iter().map(Action::Remove));
        self.commit(draft).await
    }
}
