//! What erasing a person does to rows that keep events as they came: content goes, the place stays.
//!
//! Bronze, and what never came to Bronze among the dead letters, keep one row for each record of the journal, so that it can be shown that none was lost. A row whose event was erased keeps
//! its identity, its place and when it was received, and nothing else.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, BinaryArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{filter_record_batch, nullif};
use arrow::datatypes::DataType;
use contract::wire::{FEATURE_EXPOSURE, decode};
use contract::{Person, Verdict, WireFormat};
use serde_json::value::RawValue;

use crate::Error;
use crate::columns::{Columns, text_at};
use crate::ledger::{self, Counts};
use crate::silver::Rules;

/// The columns that tell whose an event is, as Bronze and the dead letters have them.
pub const COLUMNS: [&str; 3] = ["wire_format", "envelope", "payload"];
/// Those of the dead letters that may repeat what the event said.
pub const COLUMNS_OF_REASONS: [&str; 2] = ["message", "violations"];

/// The columns that hold something of an event or of who sent it, and take nulls.
const NULLED: [&str; 7] = ["sent_at", "violations", "client_ip", "user_agent", "envelope", "client_retries", "truncated_from"];

/// Which rows are a person's and have their content yet. The batch needs [`COLUMNS`], and may have [`COLUMNS_OF_REASONS`].
///
/// # Errors
///
/// [`Error::Column`] when a column is missing or of another type.
pub fn concerned(batch: &RecordBatch, person: &Person) -> Result<BooleanArray, Error> {
    let text = |name: &'static str| -> Result<&StringArray, Error> {
        batch.column_by_name(name).and_then(|column| column.as_string_opt()).ok_or_else(|| missing(name))
    };
    let (formats, envelopes) = (text("wire_format")?, text("envelope")?);
    let payloads: &BinaryArray =
        batch.column_by_name("payload").and_then(|column| column.as_binary_opt()).ok_or_else(|| missing("payload"))?;
    let reasons: Vec<&StringArray> = COLUMNS_OF_REASONS.iter().filter_map(|name| text(name).ok()).collect();
    let is_theirs = |row: usize| {
        let format = formats.value(row);
        format != WireFormat::Erased.as_str()
            && (person.has(format, payloads.value(row), text_at(envelopes, row))
                || reasons.iter().any(|column| text_at(column, row).is_some_and(|text| person.is_mentioned(text.as_bytes()))))
    };
    Ok((0..batch.num_rows()).map(|row| Some(is_theirs(row))).collect())
}

/// The same rows without the content of those that the mask tells.
///
/// # Errors
///
/// Arrow's, for a mask of another length.
pub fn redact(batch: &RecordBatch, mask: &BooleanArray) -> Result<RecordBatch, Error> {
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let constant =
            |text: &str| -> Result<ArrayRef, Error> { Ok(zip(mask, &StringArray::new_scalar(text), &column.as_string::<i32>())?) };
        columns.push(match field.name().as_str() {
            name if NULLED.contains(&name) => nullif(column, mask)?,
            "payload" if *column.data_type() == DataType::Binary => {
                let payloads = column.as_binary::<i32>();
                let payload = |row: usize| if mask.value(row) { &[][..] } else { payloads.value(row) };
                Arc::new(BinaryArray::from_iter_values((0..payloads.len()).map(payload)))
            }
            // An event that could not be read never took its identity, and what is left of it does not either.
            "verdict" => Arc::new(verdicts(batch, column.as_string::<i32>(), mask)?),
            "wire_format" | "code" => constant(WireFormat::Erased.as_str())?,
            "field" => constant("")?,
            "message" => constant("a person asked for it, and the content is gone")?,
            _ => Arc::clone(column),
        });
    }
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

fn verdicts(batch: &RecordBatch, verdicts: &StringArray, mask: &BooleanArray) -> Result<StringArray, Error> {
    let columns = Columns { batch, table: "bronze.events" };
    let (formats, envelopes, payloads) = (columns.text("wire_format")?, columns.text("envelope")?, columns.bytes("payload")?);
    let verdict = |row: usize| {
        let is_readable = || {
            let envelope: Option<&RawValue> = text_at(envelopes, row).and_then(|text| serde_json::from_str(text).ok());
            let format: Option<WireFormat> = formats.value(row).parse().ok();
            format.is_some_and(|format| decode(format, payloads.value(row), envelope, &Rules::default().json).is_ok())
        };
        if mask.value(row) && !is_readable() { Verdict::Quarantined.as_str() } else { verdicts.value(row) }
    };
    Ok((0..verdicts.len()).map(|row| Some(verdict(row))).collect())
}

/// What the books of Silver lose and gain when these rows of `silver.events` are taken out.
///
/// # Errors
///
/// [`Error::Column`] when these are not such rows.
pub fn correction_of_events(removed: &RecordBatch) -> Result<Counts, Error> {
    let columns = Columns { batch: removed, table: "silver.events" };
    let (types, violations) = (columns.text("event_type")?, columns.text("plan_violations")?);
    let flags = [(ledger::LATE, "is_late"), (ledger::CLOCK_CORRECTED, "clock_corrected"), (ledger::BOT, "is_bot")];
    let mut lost = ledger::of_rows(removed, ledger::SILVER)?;
    for (measure, column) in flags {
        lost.merge(&of_some(removed, measure, columns.flag(column)?)?);
    }
    let exposures: BooleanArray = types.iter().map(|of| Some(of == Some(FEATURE_EXPOSURE))).collect();
    lost.merge(&of_some(removed, ledger::EXPOSURE, &exposures)?);
    let flagged: BooleanArray = violations.iter().map(|of| Some(of.is_some())).collect();
    lost.merge(&of_some(removed, ledger::FLAGGED, &flagged)?);
    let mut correction = ledger::of_rows(removed, ledger::ERASED)?;
    correction.subtract(&lost);
    Ok(correction)
}

/// The same for rows of `dead_letters` that were rows of Bronze.
///
/// # Errors
///
/// [`Error::Column`] when these are not such rows.
pub fn correction_of_dead_letters(removed: &RecordBatch) -> Result<Counts, Error> {
    let codes = Columns { batch: removed, table: "dead_letters" }.text("code")?;
    let conflicts: BooleanArray = codes.iter().map(|code| Some(code == Some("identity_conflict"))).collect();
    let mut lost = ledger::of_rows(removed, ledger::DEAD_LETTER)?;
    lost.merge(&of_some(removed, ledger::CONFLICT, &conflicts)?);
    let mut correction = ledger::of_rows(removed, ledger::ERASED)?;
    correction.subtract(&lost);
    Ok(correction)
}

fn of_some(rows: &RecordBatch, measure: &'static str, mask: &BooleanArray) -> Result<Counts, Error> {
    ledger::of_rows(&filter_record_batch(rows, mask)?, measure)
}

fn missing(column: &'static str) -> Error {
    Error::Column { table: "bronze.events", column: column.to_owned(), problem: "it is missing or of another type".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::silver::{ERASED_CONTENT, choose, refine};
    use crate::testing::{arrival, json_rows};
    use crate::{Arrival, bronze, dead_letters};

    fn alice() -> Person {
        Person::new(["alice@example.org".to_owned()])
    }

    fn event(offset: u64, id: &str, user: &str, more: &str) -> Arrival {
        let mut arrival = arrival(offset, &format!(r#"{{"event_type":"a","user_id":"{user}","properties":{{"more":"{more}"}}}}"#));
        arrival.receipt.event_id = id.parse().unwrap();
        arrival.receipt.client_ip = Some("::1".to_owned());
        arrival
    }

    #[test]
    fn a_row_keeps_its_place_and_nothing_else() {
        let rows = bronze::batch(&[event(0, "a", "alice@example.org", ""), event(1, "b", "bob", "")]).unwrap();
        let mask = concerned(&rows, &alice()).unwrap();
        assert_eq!(mask, BooleanArray::from(vec![true, false]));
        let after = redact(&rows, &mask).unwrap();
        let (before, after_rows) = (json_rows(&rows), json_rows(&after));
        assert_eq!(after_rows[1], before[1]);
        let expect = [("payload", ""), ("wire_format", "erased"), ("event_id", "a"), ("source", "web")];
        expect.iter().for_each(|(column, value)| assert_eq!(after_rows[0][column], *value, "{column}"));
        for column in NULLED.iter().filter(|column| after_rows[0].get(column).is_some()) {
            assert!(after_rows[0][column].is_null(), "{column}");
        }
        assert!(!after_rows[0].to_string().contains("alice"));
        assert_eq!(concerned(&after, &alice()).unwrap(), BooleanArray::from(vec![false, false]), "once is enough");
    }

    #[test]
    fn dead_letters_lose_what_the_reason_repeats() {
        let mut refused = event(0, "a", "bob", "");
        refused.receipt.verdict = Verdict::Refused;
        refused.receipt.violations = vec![contract::Violation::new("c", "/f", "must be a number, is alice@example.org")];
        let rows = dead_letters::refused(&[refused]).unwrap();
        let mask = concerned(&rows, &alice()).unwrap();
        assert!(mask.value(0));
        let after = json_rows(&redact(&rows, &mask).unwrap());
        assert!(!after[0].to_string().contains("alice") && after[0]["code"] == "erased" && after[0]["stage"] == "gate", "{after:?}");
    }

    #[test]
    fn what_never_was_silver_takes_no_identity_when_it_is_erased() {
        let mut quarantined = event(0, "a", "alice@example.org", "");
        quarantined.receipt.verdict = Verdict::Quarantined;
        let mut unreadable = event(1, "a", "alice@example.org", "");
        unreadable.payload = bytes::Bytes::from_static(br#"{"user_id":"alice@example.org","event_type":7}"#);
        let rows = bronze::batch(&[quarantined, unreadable, event(2, "a", "bob", "")]).unwrap();
        let mask = concerned(&rows, &alice()).unwrap();
        assert_eq!(mask.true_count(), 2);
        let refined = refine(&redact(&rows, &mask).unwrap(), &Rules::default()).unwrap();
        assert_eq!((refined.candidates.len(), refined.counts.total(ledger::ERASED), refined.dead_letters.num_rows()), (1, 2, 0));
        let chosen = choose(&[refined.candidates], &[None]).unwrap();
        assert_eq!(chosen.counts.total(ledger::SILVER), 1);
    }

    /// What becomes of copies of one event of which the first was erased does not hang on whether the index or the batch knows of it.
    #[test]
    fn an_erased_event_becomes_nothing_and_keeps_its_identity() {
        let arrivals = [
            event(0, "a", "alice@example.org", ""),
            event(1, "a", "bob", ""),
            event(2, "b", "bob", ""),
            event(3, "b", "alice@example.org", ""),
        ];
        let rows = bronze::batch(&arrivals).unwrap();
        let erased = redact(&rows, &concerned(&rows, &alice()).unwrap()).unwrap();
        let refined = refine(&erased, &Rules::default()).unwrap();
        assert_eq!((refined.candidates.len(), refined.dead_letters.num_rows()), (4, 0));
        let chosen = choose(&[refined.candidates], &[None; 4]).unwrap();
        let totals = [ledger::SILVER, ledger::DEAD_LETTER, ledger::ERASED, ledger::DUPLICATE].map(|measure| chosen.counts.total(measure));
        assert_eq!(totals, [1, 1, 2, 0]);
        assert_eq!(json_rows(&chosen.events)[0]["event_id"], "b");
        let contents: Vec<bool> = chosen.winners.iter().map(|winner| winner.content == ERASED_CONTENT).collect();
        assert_eq!(contents, [true, false], "the identity that was erased first is taken too");

        let of_others = refine(&erased.slice(1, 3), &Rules::default()).unwrap();
        let live = choose(&[of_others.candidates], &[Some(ERASED_CONTENT), None, None]).unwrap();
        assert_eq!(
            (live.counts.total(ledger::SILVER), live.counts.total(ledger::DEAD_LETTER), live.counts.total(ledger::ERASED)),
            (1, 1, 1)
        );
    }
}
