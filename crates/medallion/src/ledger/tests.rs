use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing::{RECEIVED, arrival, json_rows};

fn identity(event_id: &str) -> Identity<'_> {
    Identity { source: "web", event_id }
}

fn counts() -> impl Strategy<Value = Counts> {
    let row = ("[ab]", "[a-e]", 0_i64..3, prop::sample::select(vec![SILVER, DUPLICATE, DEAD_LETTER]));
    prop::collection::vec(row, 0..12).prop_map(|rows| {
        let mut counts = Counts::default();
        for (source, event_id, hours, measure) in rows {
            counts.add_row(Identity { source: &source, event_id: &event_id }, Timestamp(hours * 3_600_000_000 + 5), measure);
        }
        counts
    })
}

proptest! {
    #[test]
    fn counts_survive_json(counts in counts()) {
        prop_assert_eq!(Counts::from_json(&counts.to_json()).unwrap(), counts);
    }

    #[test]
    fn the_order_of_commits_does_not_matter(left in counts(), right in counts()) {
        let sum = |left: &Counts, right: &Counts| {
            let mut sum = left.clone();
            sum.merge(right);
            sum
        };
        prop_assert_eq!(sum(&left, &right), sum(&right, &left));
        prop_assert_eq!(sum(&left, &right).total(SILVER), left.total(SILVER) + right.total(SILVER));
    }
}

#[test]
fn rows_are_counted_in_the_hour_they_were_received() {
    let mut counts = Counts::default();
    counts.add_row(identity("1"), RECEIVED, SILVER);
    counts.add_row(identity("2"), RECEIVED, SILVER);
    counts.add_row(identity("3"), Timestamp(RECEIVED.hour().micros() - 1), SILVER);
    let hour = counts.get("web", RECEIVED.hour(), SILVER);
    assert_eq!((hour.count, counts.total(SILVER), counts.sum(SILVER).count), (2, 3, 3));
    assert_eq!(counts.get("web", RECEIVED.hour(), LATE), Tally::default());
    assert!(!counts.is_empty() && Counts::default().is_empty());
}

#[test]
fn a_loss_and_a_duplicate_do_not_cancel() {
    let of = |ids: [&str; 2]| {
        let mut counts = Counts::default();
        for id in ids {
            counts.add_row(identity(id), RECEIVED, SILVER);
        }
        counts.sum(SILVER)
    };
    let (sound, wrong) = (of(["1", "2"]), of(["1", "1"]));
    assert_eq!(sound.count, wrong.count);
    assert_ne!(sound.digest, wrong.digest);
}

#[test]
fn an_old_reader_takes_what_a_new_writer_adds() {
    let line = json!({"source": "web", "hour": 0, "measure": "novel", "count": 3, "digest": "0".repeat(64), "colour": 1});
    assert_eq!(Counts::from_json(&json!([line])).unwrap().total("novel"), 3);
    for wrong in [json!({}), json!([1]), json!([{"source": "web", "hour": 0, "measure": "m", "count": 1, "digest": "0"}])] {
        assert!(matches!(Counts::from_json(&wrong), Err(Error::Counts(_))), "{wrong}");
    }
}

#[test]
fn arrivals_and_rows_are_counted_alike() {
    let mut refused = arrival(1, "{}");
    refused.receipt.verdict = contract::Verdict::Refused;
    let arrivals = [arrival(0, "{}"), refused, arrival(2, "{}")];
    let counts = of_arrivals(&arrivals);
    assert_eq!((counts.total(ACCEPTED), counts.total(REFUSED)), (2, 1));
    let bronze = of_rows(&crate::bronze::batch(&arrivals).unwrap(), ACCEPTED).unwrap();
    assert_eq!(bronze.sum(ACCEPTED), counts.sum(ACCEPTED));
}

#[test]
fn the_ledger_has_a_row_a_line() {
    let mut counts = Counts::default();
    counts.add_row(identity("1"), RECEIVED, SILVER);
    let commit = Committed { stage: "silver", table_name: "silver.events", table_version: 7, input_version: Some(9), counts: &counts };
    let rows = json_rows(&batch(&[commit, Committed { input_version: None, ..commit }]).unwrap());
    let expected = json!({
        "stage": "silver", "source": "web", "hour": "2026-11-23T10:00:00.000000Z", "measure": "silver", "count": 1, "table_name": "silver.events",
        "table_version": 7, "digest": Digest::of(identity("1")).to_hex(), "input_version": 9,
    });
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0], expected);
    assert_eq!(rows[1]["input_version"], json!(null));
}

#[test]
fn what_is_taken_away_is_a_correction() {
    let digest = |id: &str| Digest::of(identity(id));
    let hour = Timestamp(3_600_000_000);
    let of = |ids: &[&str]| {
        let mut counts = Counts::default();
        ids.iter().for_each(|id| counts.add("web", hour, SILVER, 1, &digest(id)));
        counts
    };
    let (old, new) = (of(&["a", "b", "c"]), of(&["b", "d"]));
    let mut correction = new.clone();
    correction.subtract(&old);
    assert_eq!(correction.get("web", hour, SILVER).count, -1);
    assert_eq!(correction.total(SILVER), 0);
    let read = Counts::from_json(&correction.to_json()).unwrap();
    let mut sum = old.clone();
    sum.merge(&read);
    assert_eq!(sum, new);
    let mut nothing = old.clone();
    nothing.subtract(&old);
    assert!(nothing.is_empty());
    assert_eq!((old.only(&[SILVER]), old.only(&[DUPLICATE]).is_empty()), (old.clone(), true));
}
