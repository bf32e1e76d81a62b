//! `silver.exposures`: the exposures among rows of `silver.events`, each with its subject.
//!
//! The subject, the randomisation unit, is the user where one is known, else the anonymous id.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use contract::wire::FEATURE_EXPOSURE;

use crate::columns::{Columns, Selection, select, text_at};
use crate::{Error, schema};

const TABLE: &str = "silver.events";

pub(super) fn of(events: &RecordBatch) -> Result<RecordBatch, Error> {
    let columns = Columns { batch: events, table: TABLE };
    let types = columns.text("event_type")?;
    let (users, anonymous) = (columns.text("user_id")?, columns.text("anonymous_id")?);
    let (mut subject_ids, mut subject_types) = (StringBuilder::new(), StringBuilder::new());
    let mut rows = Vec::new();
    for (number, row) in (0_u32..).zip(0..events.num_rows()) {
        if types.value(row) != FEATURE_EXPOSURE {
            continue;
        }
        let user = text_at(users, row).map(|id| ("user", id));
        let subject = user.or_else(|| text_at(anonymous, row).map(|id| ("anonymous", id)));
        subject_types.append_option(subject.map(|(kind, _)| kind));
        subject_ids.append_option(subject.map(|(_, id)| id));
        rows.push(number);
    }
    let made: Vec<(&str, ArrayRef)> =
        vec![("subject_id", Arc::new(subject_ids.finish())), ("subject_type", Arc::new(subject_types.finish()))];
    select(events, &Selection::new(rows, events.num_rows()), &schema::silver_exposures(), TABLE, made)
}
