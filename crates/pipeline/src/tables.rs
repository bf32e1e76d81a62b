//! The tables of the lake, and the names under which the stages keep their progress in them.

use lake::TableSpec;
use medallion::schema;

use crate::error::Error;

pub use medallion::tables::{BRONZE, DEAD_LETTERS, ERASED, EXPOSURES, LEDGER, SILVER};
pub(crate) use medallion::tables::{
    ENGINE, ERASURES, GENERATION, HOLD, REPLACED, REPLACEMENTS, begin_in_journal, progress_in, progress_in_bucket, progress_in_forgetting,
    progress_in_journal,
};

/// The schema of Silver's tables that every stage and reader takes.
const LIVE: &str = "silver";

/// The tables of Silver and Gold: the live ones, or those of a rebuild beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    /// What follows `silver` and `gold` in the names of their schemas; empty for the live ones.
    suffix: String,
}

impl Names {
    pub(crate) fn live() -> Self {
        Self { suffix: String::new() }
    }

    /// The tables of the rebuild of this name, such as `silver_v2`.
    ///
    /// # Errors
    /// `Setting` for a name that is none.
    pub(crate) fn of_build(name: &str) -> Result<Self, Error> {
        let is_sound = |suffix: &&str| {
            !suffix.is_empty() && suffix.len() <= 40 && suffix.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        match name.strip_prefix(LIVE).and_then(|rest| rest.strip_prefix('_')).filter(is_sound) {
            Some(suffix) => Ok(Self { suffix: format!("_{suffix}") }),
            None => Err(Error::Setting(format!(
                "`{name}` cannot name a rebuild of Silver: use silver_ and at most 40 lower case letters, digits and underscores, such as silver_v2"
            ))),
        }
    }

    /// The live tables for `silver`, else those of the rebuild.
    ///
    /// # Errors
    /// As [`Names::of_build`].
    pub(crate) fn of(name: &str) -> Result<Self, Error> {
        if name == LIVE { Ok(Self::live()) } else { Self::of_build(name) }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.suffix.is_empty()
    }

    /// The name of Silver's schema.
    pub(crate) fn silver(&self) -> String {
        format!("{LIVE}{}", self.suffix)
    }

    /// Silver's events.
    pub(crate) fn events(&self) -> TableSpec {
        TableSpec { name: format!("{}.events", self.silver()), ..silver() }
    }

    /// Silver's exposures.
    pub(crate) fn exposures(&self) -> TableSpec {
        TableSpec { name: format!("{}.exposures", self.silver()), ..exposures() }
    }

    /// The dead letters. Those of a rebuild lie beside its Silver, and are only what Silver made: those of the gate are no function of Bronze.
    pub(crate) fn dead_letters(&self) -> TableSpec {
        if self.is_live() { dead_letters() } else { TableSpec { name: format!("{}.dead_letters", self.silver()), ..dead_letters() } }
    }

    /// The name of the table of a model of Gold.
    pub(crate) fn gold(&self, model: &str) -> String {
        model.replacen("gold.", &format!("gold{}.", self.suffix), 1)
    }

    /// The name of the table that a model reads by the name of the live one.
    pub(crate) fn reading(&self, table: &str) -> String {
        match table {
            SILVER => self.events().name,
            EXPOSURES => self.exposures().name,
            DEAD_LETTERS => self.dead_letters().name,
            model => self.gold(model),
        }
    }

    /// Those of these tables that are its own, its events first. Not for the live ones, whose names are others' beginning.
    pub(crate) fn own(&self, tables: &[String]) -> Vec<String> {
        let silver = [self.events(), self.exposures(), self.dead_letters()].map(|spec| spec.name);
        let gold = self.gold("gold.");
        let is_gold = |table: &&String| table.starts_with(&gold);
        let there = |name: &&String| tables.contains(name);
        silver.iter().filter(there).chain(tables.iter().filter(is_gold)).cloned().collect()
    }
}

/// The rebuilds whose events are among these tables.
pub(crate) fn builds(tables: &[String]) -> Vec<Names> {
    let build = |table: &String| Names::of_build(table.strip_suffix(".events")?).ok();
    tables.iter().filter_map(build).collect()
}

// Statistics of columns stand in the log, which is not written anew when a person is erased: none are kept of ids of persons.

/// Bronze's events.
pub fn bronze() -> TableSpec {
    TableSpec::new(BRONZE, schema::bronze(), &["ingest_date"]).with_stats_columns(&[
        "source",
        "event_id",
        "received_at",
        "journal_generation",
        "journal_partition",
        "journal_offset",
    ])
}

pub(crate) fn silver() -> TableSpec {
    TableSpec::new(SILVER, schema::silver_events(), &["event_date"]).with_stats_columns(&[
        "source",
        "event_id",
        "event_type",
        "event_time",
        "received_at",
    ])
}

pub(crate) fn exposures() -> TableSpec {
    TableSpec::new(EXPOSURES, schema::silver_exposures(), &["event_date"]).with_stats_columns(&[
        "source",
        "event_id",
        "event_time",
        "experiment_id",
        "variation_id",
    ])
}

pub(crate) fn dead_letters() -> TableSpec {
    TableSpec::new(DEAD_LETTERS, schema::dead_letters(), &["ingest_date"]).with_stats_columns(&[
        "source",
        "event_id",
        "received_at",
        "stage",
        "code",
    ])
}

pub(crate) fn erased() -> TableSpec {
    TableSpec::new(ERASED, schema::erased(), &[])
}

pub(crate) fn ledger() -> TableSpec {
    TableSpec::new(LEDGER, schema::ledger(), &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rebuild_has_tables_of_its_own() {
        let names = Names::of("silver_v2").unwrap();
        let there = ["dead_letters", "gold.x", "gold_v2.x", "gold_v22.x", "silver.events", "silver_v2.dead_letters", "silver_v2.events"];
        assert_eq!(names.own(&there.map(str::to_owned)), ["silver_v2.events", "silver_v2.dead_letters", "gold_v2.x"]);
        assert_eq!(names.reading("gold.x"), "gold_v2.x");
        assert_eq!(Names::live().reading(SILVER), SILVER);
        assert!(!names.is_live() && Names::of("silver").unwrap().is_live());
        assert_eq!(Names::live().dead_letters().name, DEAD_LETTERS);
        let tables = ["silver.events", "silver_v2.events", "silver_v2.exposures", "gold_v2.events", "dead_letters"].map(str::to_owned);
        assert_eq!(builds(&tables), [names]);
        for bad in ["", "gold_v2", "silver_", "silver_V2", "silver_a.b", "silver2", "silver_a/b"] {
            assert!(Names::of(bad).is_err(), "{bad}");
        }
    }
}
