//! The inner loops of the data path, each by itself on input that is the same in every run: what `benches/loops.rs` times, and of what `src/bin/instructions.rs` lets the instructions be counted.
//!
//! Each loop is the code that the product runs, by way of what the crates offer to each other. It runs on one thread, and knows no network and no clock; the index of identities has its files
//! in memory, where the system has such a place.

use anyhow::{Context as _, Result, ensure};

mod events;
mod gate;
mod index;
mod transform;

pub use gate::records;

/// One round of a loop over its input; tells how many events came through.
pub type Round = Box<dyn FnMut() -> Result<usize>>;

/// An inner loop.
#[derive(Debug, Clone, Copy)]
pub struct Loop {
    /// What it is called.
    pub name: &'static str,
    /// How many events one round is over.
    pub events: usize,
    /// How many rounds are enough to count the instructions of: some ten million.
    pub rounds: usize,
    /// Makes the input for so many events.
    begin: fn(usize) -> Result<Round>,
}

/// All of them, along the data path.
pub const LOOPS: [Loop; 17] = [
    Loop { name: "parse-one", events: 1, rounds: 500, begin: gate::parse },
    Loop { name: "parse-batch", events: 500, rounds: 2, begin: gate::parse },
    Loop { name: "gate-one", events: 1, rounds: 300, begin: gate::native },
    Loop { name: "gate-batch", events: gate::SIFTED_HERE, rounds: 15, begin: gate::native },
    Loop { name: "gate-segment", events: gate::SIFTED_HERE, rounds: 15, begin: gate::segment },
    Loop { name: "record-write", events: 500, rounds: 8, begin: gate::write },
    Loop { name: "record-read", events: 500, rounds: 8, begin: gate::read },
    Loop { name: "bronze", events: 500, rounds: 20, begin: transform::bronze },
    Loop { name: "silver-refine", events: 500, rounds: 2, begin: transform::refine },
    Loop { name: "silver-choose", events: 500, rounds: 20, begin: transform::choose },
    Loop { name: "dedup-fresh", events: 500, rounds: 100, begin: index::fresh },
    Loop { name: "dedup-copies", events: 500, rounds: 20, begin: index::copies },
    Loop { name: "dedup-insert", events: 500, rounds: 60, begin: index::insert },
    Loop { name: "digest-identities", events: 500, rounds: 40, begin: transform::digest_identities },
    Loop { name: "digest-rows", events: 500, rounds: 4, begin: transform::digest_rows },
    Loop { name: "gold-decimal", events: 500, rounds: 8, begin: transform::decimals },
    Loop { name: "parquet", events: 2_000, rounds: 2, begin: transform::parquet },
];

impl Loop {
    /// The loop with its input, after a first round, in which everything comes about that is made once.
    ///
    /// # Errors
    ///
    /// When the input cannot be made, or an event of it does not come through.
    pub fn begin(&self) -> Result<Round> {
        let mut round = (self.begin)(self.events).with_context(|| format!("{} has no input", self.name))?;
        let through = round().with_context(|| format!("{} fails", self.name))?;
        ensure!(through == self.events, "{through} of the {} events of {} come through", self.events, self.name);
        Ok(round)
    }
}
