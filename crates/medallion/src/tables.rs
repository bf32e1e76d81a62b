//! The names of the tables, and the names under which their commits keep progress, as application transactions of Delta.
//!
//! Progress is part of the commit of the rows it is about, so it is what engines take over from one another: whoever reads it goes on from there, and whoever moves it
//! refuses the commit of everyone who believed it to be elsewhere.

/// Every event the gate took, as it came.
pub const BRONZE: &str = "bronze.events";
/// One row an event.
pub const SILVER: &str = "silver.events";
/// One row an exposure.
pub const EXPOSURES: &str = "silver.exposures";
/// What could not be accepted or understood, with the reason.
pub const DEAD_LETTERS: &str = "dead_letters";
/// Counts and digests by stage, source and hour.
pub const LEDGER: &str = "ledger";

/// The ids of erased persons, as keyed digests.
pub const ERASED: &str = "erased";

/// The progress of a stage that reads the table `name`: the version up to which it has read.
pub fn progress_in(name: &str) -> String {
    format!("tidegate:{name}")
}

/// The progress of Silver in a bucket of identities: the version of Bronze up to which it has decided about them.
pub fn progress_in_bucket(bucket: u32) -> String {
    format!("tidegate:{BRONZE}:{bucket}")
}

/// The newest generation of the journal that Bronze took records of.
pub const GENERATION: &str = "tidegate:journal";

/// The progress of the stage that reads a partition of the journal: the offset from which it has still to read.
pub fn progress_in_journal(generation: u32, partition: u32) -> String {
    format!("tidegate:journal:{generation}:{partition}")
}

/// The offset with which a generation of the journal begins in a partition, where that is not 0: a copy of a journal goes on in the numbers of the journal it was copied from.
pub fn begin_in_journal(generation: u32, partition: u32) -> String {
    format!("{}:begin", progress_in_journal(generation, partition))
}

/// The newest erasure: in `erased` the one that is on the list, in Bronze and the dead letters the one from which on its events are kept out.
pub const ERASURES: &str = "tidegate:erasures";

/// The newest erasure for which a partition of the journal was made to forget what it had.
pub fn progress_in_forgetting(partition: u32) -> String {
    format!("tidegate:erasures:{partition}")
}

/// Under which name a commit says that it put other rows in the place of all there were.
pub const REPLACED: &str = "replaced";

/// The progress that says how often all rows of a table of Silver were replaced.
pub const REPLACEMENTS: &str = "tidegate:replacements";

/// The progress in Silver's events that says until when its live stage stands still, in microseconds since 1970: an even number. An odd one says that it goes on.
pub const HOLD: &str = "tidegate:hold";

/// The progress in Bronze and Silver that says which engine owns the stream, see [`Engine::of`]. Every commit of a stage relies on it, so whoever takes the stream over ends
/// what the other engine was about to do.
pub const ENGINE: &str = "tidegate:engine";

/// What takes events from the journal to Bronze and Silver. Both make the same tables; one at a time owns the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// The workers of `tidegate serve`.
    Workers,
    /// The Structured Streaming job.
    Spark,
}

impl Engine {
    /// The owner, as [`ENGINE`] says: it grows by one when the stream changes hands, and an even number, or none, is the workers'.
    pub fn of(progress: Option<i64>) -> Self {
        if progress.unwrap_or_default() % 2 == 0 { Self::Workers } else { Self::Spark }
    }

    /// Its name, for people and for commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workers => "workers",
            Self::Spark => "spark",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_changes_hands_with_each_number() {
        let owners = [None, Some(0), Some(1), Some(2), Some(3)].map(Engine::of);
        assert_eq!(owners, [Engine::Workers, Engine::Workers, Engine::Spark, Engine::Workers, Engine::Spark]);
        assert_eq!(owners.map(Engine::as_str)[1..3], ["workers", "spark"]);
    }
}
