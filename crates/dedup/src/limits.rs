//! The bounds of the index, each with a name.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::block::BLOCK_ENTRIES;

/// What an index is opened with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Names the lake that the index was derived from. An index of another lake is not used but begun anew.
    pub lake_id: String,
    /// The bounds.
    pub limits: Limits,
}

/// The bounds of the index. Changing one never changes an answer, and takes effect at the next [`crate::Index::open`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// How many recent identities are kept in memory before they are written to a run (about 45 bytes each). After a crash, at most so many are
    /// read from Silver again. At least 1; default 200,000.
    pub memtable_entries_max: usize,
    /// How many versions of Silver may be in memory alone before they are written out, however few identities they brought: it bounds
    /// how many commits are read again after a crash. At least 1; default 1,000.
    pub unflushed_versions_max: i64,
    /// How many bytes of filters and block indexes are held in memory (about 2.4 bytes an identity). Those used least recently are let go and
    /// loaded again when they are needed. Default 256 MiB.
    pub filter_bytes_max: usize,
    /// How many identities share one filter: the unit in which filters are loaded and built. At least 170 (one
    /// block); default 261,120.
    pub segment_entries_max: usize,
    /// How many runs of about the same size there are before they are merged: more of them make inserts cheaper and probes dearer. A merge goes on
    /// beside inserts, so there may be twice as many. At least 2; default 8.
    pub runs_per_level_max: usize,
    /// How many identities a rebuild sorts in memory at once (48 bytes each). At least 1; default 2,000,000.
    pub rebuild_entries_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memtable_entries_max: 200_000,
            unflushed_versions_max: 1_000,
            filter_bytes_max: 256 << 20,
            segment_entries_max: 1_536 * BLOCK_ENTRIES,
            runs_per_level_max: 8,
            rebuild_entries_max: 2_000_000,
        }
    }
}

impl Limits {
    /// Whether every bound makes sense; if not, which one does not and what it must be.
    pub fn check(&self) -> Result<(), Error> {
        let rules = [
            (self.memtable_entries_max >= 1, "memtable_entries_max", "at least 1"),
            (self.unflushed_versions_max >= 1, "unflushed_versions_max", "at least 1"),
            (self.segment_entries_max >= BLOCK_ENTRIES, "segment_entries_max", "at least 170"),
            (self.segment_entries_max <= 1 << 24, "segment_entries_max", "at most 16,777,216"),
            (self.runs_per_level_max >= 2, "runs_per_level_max", "at least 2"),
            (self.rebuild_entries_max >= 1, "rebuild_entries_max", "at least 1"),
        ];
        match rules.into_iter().find(|(holds, _, _)| !holds) {
            Some((_, name, must)) => Err(Error::Misconfigured { name, must }),
            None => Ok(()),
        }
    }

    /// [`Limits::segment_entries_max`] in whole blocks.
    pub(crate) fn segment_blocks(&self) -> usize {
        self.segment_entries_max / BLOCK_ENTRIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_make_sense_and_each_bound_is_checked() {
        Limits::default().check().unwrap();
        let bad = |change: fn(&mut Limits)| {
            let mut limits = Limits::default();
            change(&mut limits);
            limits.check().unwrap_err().to_string()
        };
        assert_eq!(bad(|limits| limits.runs_per_level_max = 1), "the index's setting runs_per_level_max must be at least 2");
        assert!(bad(|limits| limits.memtable_entries_max = 0).contains("memtable_entries_max"));
        assert!(bad(|limits| limits.segment_entries_max = 169).contains("segment_entries_max"));
    }

    #[test]
    fn unknown_settings_are_refused() {
        let error = serde_json::from_str::<Limits>(r#"{"memtable_entries": 5}"#).unwrap_err();
        assert!(error.to_string().contains("memtable_entries"), "{error}");
        assert_eq!(serde_json::from_str::<Limits>(r#"{"runs_per_level_max": 5}"#).unwrap().runs_per_level_max, 5);
    }
}
