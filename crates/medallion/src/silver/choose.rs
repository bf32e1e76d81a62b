//! One row an event.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use contract::wire::FEATURE_EXPOSURE;

use super::candidates::{Candidates, Key};
use super::exposures;
use crate::columns::{Columns, Selection, select};
use crate::dead_letters::{self, Reason};
use crate::ledger::{self, Counts};
use crate::{Error, schema};

/// An identity that got its row in Silver: what the index is to learn.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Winner {
    /// The digest of the identity.
    pub digest: [u8; 16],
    /// The event's id.
    pub event_id: String,
    /// The content of the row, as in `content_hash`.
    pub content: u64,
}

/// What became of candidates.
#[derive(Debug)]
pub struct Chosen {
    /// New rows, as [`schema::silver_events`], in the order of the candidates.
    pub events: RecordBatch,
    /// The exposures among them, as [`schema::silver_exposures`].
    pub exposures: RecordBatch,
    /// Other events under an id that is taken, as [`schema::dead_letters`] (stage `silver`, code `identity_conflict`).
    pub dead_letters: RecordBatch,
    /// The identities of the new rows, and those that an erased event has taken, in the order of the candidates.
    pub winners: Vec<Winner>,
    /// Where each candidate went.
    pub counts: Counts,
}

/// What becomes of one candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Silver,
    /// Silver has this event.
    Duplicate,
    /// Silver has another event of this identity.
    Conflict,
    /// It was erased.
    Erased,
    /// It was erased, and came first of all copies: the identity stays its own.
    ErasedFirst,
}

/// Chooses among the copies of each event. `known` has, for each candidate in order over all parts, the content of the row that Silver has of its identity already.
///
/// Of the copies of an event that Silver does not have, the one with the smallest position in the journal wins. Every other copy, and every copy of an event
/// that Silver has, is a duplicate if its content is that of the row in Silver, else a conflict and a dead letter. So the outcome does not hang on the order of
/// the candidates or on how they are parted; and neither on how they are spread over calls, as long as the copies of one event come in the order of their positions,
/// which a reader of the journal's partitions gives.
///
/// What was erased becomes nothing, and takes its turn all the same: where it came first, no other event gets its identity.
///
/// # Errors
///
/// [`Error::Answers`] when `known` is not as long as the candidates together; [`Error::TooLarge`] when the rows exceed what an Arrow array may hold.
pub fn choose(candidates: &[Candidates], known: &[Option<u64>]) -> Result<Chosen, Error> {
    let total = candidates.iter().map(Candidates::len).sum();
    if known.len() != total {
        return Err(Error::Answers { candidates: total, answers: known.len() });
    }
    let keys: Vec<&Key> = candidates.iter().flat_map(|part| &part.keys).collect();
    let fates = decide(&keys, known);
    let (mut events, mut letters, mut winners) = (Vec::new(), Vec::new(), Vec::new());
    let mut counts = Counts::default();
    let mut rest = fates.as_slice();
    for part in candidates {
        let (fates, others) = rest.split_at(part.len().min(rest.len()));
        rest = others;
        count(part, fates, &mut counts)?;
        winners.extend(winners_of(part, fates));
        events.push(rows_of(part, fates)?);
        letters.push(conflicts_of(part, fates)?);
    }
    let events = concat(&schema::silver_events(), events)?;
    let exposures = exposures::of(&events)?;
    Ok(Chosen { events, exposures, dead_letters: concat(&schema::dead_letters(), letters)?, winners, counts })
}

fn decide(keys: &[&Key], known: &[Option<u64>]) -> Vec<Fate> {
    // The content is part of the order only so that one position given twice, which no journal does, is still decided in one way.
    let mut copies: Vec<_> = keys.iter().enumerate().map(|(at, key)| (key.digest, key.position, key.content, at)).collect();
    copies.sort_unstable();
    let mut fates = vec![Fate::Duplicate; keys.len()];
    for event in copies.chunk_by(|(left, ..), (right, ..)| left == right) {
        let in_silver = event.iter().find_map(|(.., at)| known.get(*at).copied().flatten());
        let first = event.first().map(|(_, _, content, _)| *content);
        let kept = in_silver.or(first);
        for (number, (_, _, content, at)) in event.iter().enumerate() {
            let is_winner = in_silver.is_none() && number == 0;
            let is_erased = keys.get(*at).is_some_and(|key| key.erased);
            let fate = if is_erased {
                if is_winner { Fate::ErasedFirst } else { Fate::Erased }
            } else if is_winner {
                Fate::Silver
            } else if Some(*content) == kept {
                Fate::Duplicate
            } else {
                Fate::Conflict
            };
            if let Some(slot) = fates.get_mut(*at) {
                *slot = fate;
            }
        }
    }
    fates
}

/// Which candidates of a part have this fate, by their number in it.
fn with(fates: &[Fate], wanted: Fate) -> impl Iterator<Item = u32> {
    (0_u32..).zip(fates).filter(move |(_, fate)| **fate == wanted).map(|(row, _)| row)
}

fn rows_of(part: &Candidates, fates: &[Fate]) -> Result<RecordBatch, Error> {
    let rows = Selection::new(with(fates, Fate::Silver).collect(), part.len());
    select(&part.events, &rows, &schema::silver_events(), "silver.events", Vec::new())
}

fn conflicts_of(part: &Candidates, fates: &[Fate]) -> Result<RecordBatch, Error> {
    let rows: Vec<u32> = with(fates, Fate::Conflict).filter_map(|row| part.rows.rows().get(row as usize).copied()).collect();
    let reasons = vec![Reason::conflict(); rows.len()];
    dead_letters::of_bronze(&part.bronze, &Selection::new(rows, part.bronze.num_rows()), &reasons)
}

fn winners_of<'a>(part: &'a Candidates, fates: &'a [Fate]) -> impl Iterator<Item = Winner> + 'a {
    let of_all = part.identities().zip(&part.keys).zip(fates);
    let won = of_all.filter(|(_, fate)| matches!(fate, Fate::Silver | Fate::ErasedFirst));
    won.map(|(((event_id, digest), key), _)| Winner { digest, event_id: event_id.to_owned(), content: key.content })
}

fn count(part: &Candidates, fates: &[Fate], counts: &mut Counts) -> Result<(), Error> {
    let columns = Columns { batch: &part.events, table: "silver.events" };
    let (sources, types) = (columns.text("source")?, columns.text("event_type")?);
    let flags = [(ledger::LATE, "is_late"), (ledger::CLOCK_CORRECTED, "clock_corrected"), (ledger::BOT, "is_bot")];
    let mut of_silver = Vec::with_capacity(flags.len());
    for (measure, column) in flags {
        of_silver.push((measure, columns.flag(column)?));
    }
    let bronze = Columns { batch: &part.bronze, table: super::decode::TABLE };
    let (generated, verdicts) = (bronze.flag("event_id_generated")?, bronze.text("verdict")?);
    for (row, ((key, fate), in_bronze)) in part.keys.iter().zip(fates).zip(part.rows.rows()).enumerate() {
        let hour = key.received_at.hour();
        let mut add = |measure: &'static str| counts.add(sources.value(row), hour, measure, 1, &key.tally);
        match fate {
            Fate::Duplicate => add(ledger::DUPLICATE),
            Fate::Erased | Fate::ErasedFirst => add(ledger::ERASED),
            Fate::Conflict => {
                add(ledger::DEAD_LETTER);
                add(ledger::CONFLICT);
            }
            Fate::Silver => {
                let in_bronze = *in_bronze as usize;
                add(ledger::SILVER);
                of_silver.iter().filter(|(_, flags)| flags.value(row)).for_each(|(measure, _)| add(measure));
                if types.value(row) == FEATURE_EXPOSURE {
                    add(ledger::EXPOSURE);
                }
                if generated.value(in_bronze) {
                    add(ledger::GENERATED_ID);
                }
                if verdicts.value(in_bronze) == contract::Verdict::Flagged.as_str() {
                    add(ledger::FLAGGED);
                }
            }
        }
    }
    Ok(())
}

/// One batch of them all; a single one with rows is not copied.
fn concat(schema: &SchemaRef, mut batches: Vec<RecordBatch>) -> Result<RecordBatch, Error> {
    batches.retain(|batch| batch.num_rows() > 0);
    match batches.as_slice() {
        [_] => Ok(batches.swap_remove(0)),
        batches => Ok(concat_batches(schema, batches)?),
    }
}
