//! From Bronze to Silver: one clean row an event, in two steps.
//!
//! [`refine`] looks at each row of Bronze alone: it is a candidate for Silver or a dead letter. [`choose()`] looks at the copies of each event: one is its row in
//! Silver, the others are duplicates, or dead letters where they are another event under the same id. Between the two the caller asks which identities
//! Silver has already.

use arrow::array::RecordBatch;
use contract::json;

use crate::columns::{Selection, conform, select};
use crate::dead_letters;
use crate::ledger::{self, Counts};
use crate::{Error, schema};

mod agent;
mod candidates;
mod choose;
mod content;
mod decode;
mod exposures;
mod fields;
mod page;
#[cfg(test)]
mod tests;

pub use candidates::{Candidates, ERASED_CONTENT};
pub use choose::{Chosen, Winner, choose};

/// The settings that Silver hangs on. Changing one changes Silver from then on, and in a rebuild throughout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// How far a client's clock may be off before the times it sends are corrected, in microseconds. Five minutes by default: less is mostly the way through
    /// the network and the time a batch waits, and correcting it would change the order within a session.
    pub clock_skew_tolerance_micros: i64,
    /// How long after its own time an event may be received before it counts as late, in microseconds. One hour by default: a phone in a tunnel is in time, one
    /// that was switched off overnight is late.
    pub allowed_lateness_micros: i64,
    /// Bounds on the JSON of events. By default the widest there are, because what the gate took under its own bounds must be readable here.
    pub json: json::Limits,
}

impl Default for Rules {
    fn default() -> Self {
        const MINUTE: i64 = 60_000_000;
        Self { clock_skew_tolerance_micros: 5 * MINUTE, allowed_lateness_micros: 60 * MINUTE, json: json::Limits::WIDEST }
    }
}

/// What became of rows of Bronze, each looked at alone.
#[derive(Debug)]
pub struct Refined {
    /// What may become a row of Silver.
    pub candidates: Candidates,
    /// What may not, as [`schema::dead_letters`]: kept out by the plan (stage `plan`), or not to be decoded (stage `silver`).
    pub dead_letters: RecordBatch,
    /// The count of the dead letters, and of what was erased of them.
    pub counts: Counts,
}

/// Reads rows of Bronze. Each becomes exactly one of a candidate and a dead letter, but for those that were erased and had been no candidates.
///
/// # Errors
///
/// [`Error::Column`] when these are not rows of `bronze.events`; [`Error::TooLarge`] when the rows made of them exceed what an Arrow array may hold.
pub fn refine(bronze: &RecordBatch, rules: &Rules) -> Result<Refined, Error> {
    let bronze = conform(bronze, &schema::bronze(), decode::TABLE)?;
    let rows = decode::Rows::of(&bronze)?;
    let mut decoder = decode::Decoder::new(&rules.json);
    let mut fields = fields::EventFields::with_capacity(bronze.num_rows());
    let (mut sound, mut unsound, mut reasons) = (Vec::with_capacity(bronze.num_rows()), Vec::new(), Vec::new());
    let mut vanished = Vec::new();
    for (number, row) in (0_u32..).zip(rows.iter()) {
        if row.is_erased() && !row.may_be_silver() {
            vanished.push(number);
            continue;
        }
        // What was erased keeps its place among the copies of its event.
        let decoded = if row.is_erased() { Ok(contract::Event::default()) } else { decoder.decode(&row) };
        match decoded {
            Ok(event) => {
                fields.push(&event, &row, rules)?;
                sound.push(number);
            }
            Err(reason) => {
                reasons.push(reason);
                unsound.push(number);
            }
        }
    }
    let (sound, unsound) = (Selection::new(sound, bronze.num_rows()), Selection::new(unsound, bronze.num_rows()));
    let dead_letters = dead_letters::of_bronze(&bronze, &unsound, &reasons)?;
    let mut counts = ledger::of_rows(&dead_letters, ledger::DEAD_LETTER)?;
    let vanished = Selection::new(vanished, bronze.num_rows());
    counts.merge(&ledger::of_rows(&select(&bronze, &vanished, &schema::counted(), decode::TABLE, Vec::new())?, ledger::ERASED)?);
    let candidates = Candidates::new(bronze, sound, fields)?;
    Ok(Refined { candidates, dead_letters, counts })
}
