//! Care by hand: files joined or put in order now, what nobody needs deleted, and what others did to a table taken back.
//!
//! A running server does the first and the last of the three by itself; here it is done at once, as far as it goes. Nothing of it changes a row, but taking back.

use chrono::{DateTime, Utc};
use lake::{Commit, Compacted, Compaction, Lake, Restoration, Table};
use serde_json::{Map, Value};

use crate::config::Config;
use crate::error::Error;
use crate::tables;
use crate::upkeep::needed_from;

/// How often a running server may be faster before a table is left as it is.
const GIVEN_UP_MAX: u32 = 5;
/// The stage of a commit that takes back.
const STAGE: &str = "restore";

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wishes {
    /// Sort the rows of each partition by what is mostly asked for.
    pub cluster: bool,
    /// Then delete versions and files that nobody needs and that are older than the settings say.
    pub clean: bool,
}

/// What was done to a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cared {
    /// Files that were joined or sorted.
    pub files_before: u64,
    /// What became of them.
    pub files_after: u64,
    /// Bytes of the former.
    pub bytes_before: u64,
    /// Bytes of the latter.
    pub bytes_after: u64,
    /// Partitions that were sorted.
    pub partitions_clustered: u64,
    /// Files of the log that were deleted.
    pub versions_deleted: u64,
    /// Data files that were deleted.
    pub files_deleted: u64,
    /// A server was at the same files every time, and does what is left.
    pub left_to_the_server: bool,
}

/// The columns by which rows of a table are sorted; none for tables that are small.
fn order_of(table: &str) -> &'static [&'static str] {
    match table {
        tables::BRONZE => &["source", "received_at"],
        tables::SILVER => &["source", "event_type", "event_time"],
        tables::EXPOSURES => &["experiment_id", "variation_id", "event_time"],
        tables::DEAD_LETTERS => &["source", "stage", "code", "received_at"],
        _ => &[],
    }
}

/// Takes care of a table. `watcher` is told what it is at.
///
/// # Errors
/// [`Error::NoTable`] where there is none of that name; else as the lake says. Rows are as before whatever happens.
pub async fn care(
    lake: &Lake,
    config: &Config,
    name: &str,
    wishes: Wishes,
    watcher: &(dyn Fn(&str) + Send + Sync),
) -> Result<Cared, Error> {
    let mut table = open(lake, name).await?;
    let mut cared = Cared::default();
    let mut given_up = 0;
    // By hand it is worth joining two, and more than the share of one minute.
    let policy = Compaction { min_files: 2, ..config.compaction.clone() };
    loop {
        watcher(&format!("{name}: joining files"));
        let done = table.compact(&policy).await?;
        if !note(&mut cared, &done, &mut given_up) {
            break;
        }
    }
    let order = order_of(name);
    if wishes.cluster && !order.is_empty() {
        let session = lake.bare_session()?;
        let due = table.not_clustered(order).await?;
        let total = due.len();
        for (number, partition) in due.iter().enumerate() {
            watcher(&format!("{name}: sorting partition {} of {total}", number + 1));
            let done = table.cluster(&session, partition, order, config.compaction.target_file_bytes).await?;
            if note(&mut cared, &done, &mut given_up) {
                cared.partitions_clustered += 1;
            }
        }
    }
    cared.left_to_the_server = given_up >= GIVEN_UP_MAX;
    if wishes.clean {
        watcher(&format!("{name}: deleting what nobody needs"));
        let options = lake.options();
        let needed = needed_from(lake, &table, &config.models()?).await?;
        cared.versions_deleted = table.trim_log(options.log_retention, needed).await?;
        cared.files_deleted = table.vacuum(options.file_retention, needed).await?;
    }
    Ok(cared)
}

/// Adds what was done; `false` where nothing was, and nothing more will be.
fn note(cared: &mut Cared, done: &Compacted, given_up: &mut u32) -> bool {
    if done.given_up {
        *given_up += 1;
        return *given_up < GIVEN_UP_MAX;
    }
    cared.files_before += done.files_before;
    cared.files_after += done.files_after;
    cared.bytes_before += done.bytes_before;
    cared.bytes_after += done.bytes_after;
    done.files_before > 0
}

async fn open(lake: &Lake, name: &str) -> Result<Table, Error> {
    let missing = || Error::NoTable { location: lake.location().to_string(), table: name.to_owned() };
    lake.reader(name).await?.ok_or_else(missing)
}

/// Up to when what others did is to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// This version.
    Version(i64),
    /// The newest version of this time.
    Time(DateTime<Utc>),
}

/// What was, or would be, taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The version up to which nothing was taken back.
    pub since: i64,
    /// What it came to.
    pub restoration: Restoration,
    /// The version that it made; `None` where there was nothing to take back, or it was only asked for.
    pub made: Option<i64>,
}

/// Takes back what other programs than Tidegate did to a table after a version or time: rows they deleted come back, rows they added or changed go. What the stages committed since stays, so
/// nothing need be done again and the books balance as before.
///
/// # Errors
/// [`Error::NoTable`]; of kind `Retry` where files are deleted for good, or a later commit of the stages went on with what would go.
pub async fn restore(lake: &Lake, name: &str, since: Since, dry_run: bool) -> Result<Restored, Error> {
    let mut table = open(lake, name).await?;
    let since = match since {
        Since::Version(version) => version,
        Since::Time(time) => table.version_at(time).await?,
    };
    if dry_run {
        return Ok(Restored { since, restoration: table.restoration(since).await?, made: None });
    }
    let info = Map::from_iter([
        ("stage".to_owned(), Value::from(STAGE)),
        // Whoever made something of it makes it anew.
        (tables::REPLACED.to_owned(), true.into()),
    ]);
    let (restoration, made) = table.restore(since, Commit { info, ..Commit::default() }).await?;
    Ok(Restored { since, restoration, made: made.map(|made| made.version) })
}
