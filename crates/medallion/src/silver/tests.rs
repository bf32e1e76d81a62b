use contract::{Receipt, Timestamp, Verdict, Violation, WireFormat};
use serde_json::{Value, json};

use super::*;
use crate::testing::{RECEIVED, arrival, json_rows, silver_of};
use crate::{Arrival, bronze};

mod golden;
mod properties;

/// The one row of Silver of an arrival.
fn row(arrival: Arrival) -> Value {
    let [row] = json_rows(&silver_of(&[arrival])).try_into().unwrap();
    row
}

/// Checks these columns of the one row of Silver that comes of a native payload, with a change to its receipt.
fn check_with(payload: &Value, change: impl Fn(&mut Receipt), expected: Value) {
    let mut arrival = arrival(0, &payload.to_string());
    change(&mut arrival.receipt);
    let row = row(arrival);
    for (column, value) in expected.as_object().unwrap() {
        assert_eq!(row.get(column), Some(value), "{column} of {payload}");
    }
}

fn check(payload: Value, expected: Value) {
    check_with(&payload, |_| {}, expected);
}

/// So many seconds before [`RECEIVED`].
fn ago(seconds: i64) -> String {
    Timestamp(RECEIVED.micros() - seconds * 1_000_000).to_rfc3339()
}

#[test]
fn times() {
    let timed = |time: i64, sent: i64| json!({"event_type": "a", "event_time": ago(time), "sent_at": ago(sent)});
    let expect = |time: i64, corrected: bool, late: bool| json!({"event_time": ago(time), "clock_corrected": corrected, "is_late": late});
    // The clock is right; the batch waited.
    check(timed(100, 1), expect(100, false, false));
    // Off by less than the tolerance, to either side, and by more.
    check(timed(300, 299), expect(300, false, false));
    check(timed(-200, -250), expect(0, true, false));
    check(timed(1000, 900), expect(100, true, false));
    check(timed(-1000, -1100), expect(100, true, false));
    // Late by one microsecond of the hour, and not.
    check(timed(3600, 1), expect(3600, false, false));
    check(timed(3601, 1), expect(3601, false, true));
    // An hour off the clock is not late.
    check(timed(7200, 7100), expect(100, true, false));
    check(json!({"event_type": "a"}), json!({"event_time": ago(0), "client_time": null, "sent_at": null, "clock_corrected": false}));
    check(timed(86_400, 0), json!({"event_date": "2026-11-22", "is_late": true, "client_time": ago(86_400), "received_at": ago(0)}));
    // What only the batch said.
    let sent_at = Timestamp(RECEIVED.micros() - 1_000_000_000);
    check_with(
        &json!({"event_type": "a", "event_time": ago(1000)}),
        |receipt| receipt.sent_at = Some(sent_at),
        json!({"event_time": ago(0), "sent_at": ago(1000), "clock_corrected": true}),
    );
}

#[test]
fn who_and_where_from() {
    check(
        json!({
            "event_type": "page_view", "name": "Home", "user_id": 7, "anonymous_id": "a", "session_id": "s",
            "properties": {"url": "https://x.example/p?utm_source=n&utm_campaign=c+d#e", "title": "T"},
            "context": {"locale": "de-DE", "library": {"name": "js", "version": "1.2"}, "page": {"referrer": "r", "title": "no"}, "campaign": {"medium": "m"}},
        }),
        json!({
            "event_type": "page_view", "name": "Home", "user_id": "7", "anonymous_id": "a", "session_id": "s",
            "page_url": "https://x.example/p?utm_source=n&utm_campaign=c+d#e", "page_path": "/p", "page_title": "T", "page_referrer": "r",
            "campaign_source": "n", "campaign_medium": "m", "campaign_name": "c d", "campaign_term": null, "locale": "de-DE", "library": "js/1.2",
            "experiment_id": null, "source": "web", "event_id": "e0", "plan_version": "1", "plan_violations": null, "journal_offset": 0,
        }),
    );
    check(json!({"event_type": "a", "context": {"library": {"name": "js"}, "locale": 5}}), json!({"library": "js", "locale": null}));
    check(json!({"event_type": "a", "context": {"library": {"version": "1"}}}), json!({"library": null, "properties": "{}"}));
    check(
        json!({"event_type": "feature_exposure", "user_id": "u", "properties": {"experimentId": "e", "variation_id": 1}}),
        json!({"experiment_id": "e", "variation_id": "1"}),
    );
    // The properties of other events are their own.
    check(json!({"event_type": "a", "properties": {"experiment_id": "e", "url": "/x"}}), json!({"experiment_id": null, "page_url": null}));
}

#[test]
fn user_agents() {
    let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1";
    let library = |receipt: &mut Receipt| receipt.user_agent = Some("python-requests/2.31".to_owned());
    check_with(
        &json!({"event_type": "a", "context": {"userAgent": phone}}),
        library,
        json!({"user_agent": phone, "device_type": "mobile", "os": "iOS", "browser": "Safari", "is_bot": false}),
    );
    check_with(
        &json!({"event_type": "a"}),
        library,
        json!({"user_agent": "python-requests/2.31", "device_type": null, "browser": null, "is_bot": false}),
    );
    check(json!({"event_type": "a"}), json!({"user_agent": null, "os": null, "is_bot": false}));
    let stated = json!({"event_type": "a", "context": {"userAgent": "python-requests/2.31"}});
    check(stated, json!({"is_bot": true}));
}

#[test]
fn flagged_events_are_marked() {
    let flag = |receipt: &mut Receipt| {
        receipt.verdict = Verdict::Flagged;
        receipt.violations = vec![Violation::new("c", "/f", "m")];
    };
    check_with(&json!({"event_type": "a"}), flag, json!({"plan_violations": r#"[{"code":"c","field":"/f","message":"m"}]"#}));
}

/// Refines and chooses, with nothing known.
fn run(arrivals: &[Arrival]) -> (Refined, Chosen) {
    let bronze = bronze::batch(arrivals).unwrap();
    let refined = refine(&bronze, &Rules::default()).unwrap();
    let chosen = choose(std::slice::from_ref(&refined.candidates), &vec![None; refined.candidates.len()]).unwrap();
    (refined, chosen)
}

fn check_dead(change: impl Fn(&mut Arrival), stage: &str, code: &str, field: &str) {
    let mut dead = arrival(1, r#"{"event_type":"a"}"#);
    change(&mut dead);
    let (refined, chosen) = run(&[arrival(0, r#"{"event_type":"a"}"#), dead, arrival(2, r#"{"event_type":"a"}"#)]);
    let [letter] = json_rows(&refined.dead_letters).try_into().unwrap();
    assert_eq!((&letter["stage"], &letter["code"], &letter["field"]), (&json!(stage), &json!(code), &json!(field)), "{letter}");
    assert_eq!((&letter["event_id"], chosen.events.num_rows()), (&json!("e1"), 2));
    assert_eq!((refined.counts.total("dead_letter"), chosen.counts.total("silver")), (1, 2));
    let all: Vec<Violation> = serde_json::from_str(letter["violations"].as_str().unwrap()).unwrap();
    assert_eq!(all.first().map(|first| first.code.as_str()), Some(code));
}

#[test]
fn what_cannot_become_silver_is_kept_with_the_reason() {
    let quarantine = |arrival: &mut Arrival| {
        arrival.receipt.verdict = Verdict::Quarantined;
        arrival.receipt.violations = vec![Violation::new("wrong_type", "/properties/x", "m"), Violation::new("missing_field", "", "n")];
    };
    check_dead(quarantine, "plan", "wrong_type", "/properties/x");
    check_dead(|arrival| arrival.receipt.verdict = Verdict::Quarantined, "plan", "unexplained", "");
    check_dead(|arrival| arrival.payload = "{".into(), "silver", "invalid_json", "");
    check_dead(|arrival| arrival.payload = "\u{0}\u{ff}".into(), "silver", "invalid_json", "");
    check_dead(|arrival| arrival.payload = r#"{"event_type":"a","event_time":"soon"}"#.into(), "silver", "invalid_time", "/event_time");
    check_dead(|arrival| arrival.payload = "{}".into(), "silver", "missing_field", "/event_type");
    let wrong_envelope = |arrival: &mut Arrival| {
        arrival.receipt.format = WireFormat::Segment;
        arrival.receipt.envelope = serde_json::from_str("[1]").unwrap();
    };
    check_dead(wrong_envelope, "silver", "wrong_type", "");
}

#[test]
fn rows_of_a_later_gate_are_kept_aside() {
    let check = |column: &str, value: &str, code: &str, stage: &str| {
        let batch = bronze::batch(&[arrival(0, r#"{"event_type":"a"}"#)]).unwrap();
        let number = batch.schema_ref().index_of(column).unwrap();
        let mut columns = batch.columns().to_vec();
        columns[number] = std::sync::Arc::new(arrow::array::StringArray::from(vec![value]));
        let batch = RecordBatch::try_new(batch.schema(), columns).unwrap();
        let refined = refine(&batch, &Rules::default()).unwrap();
        let [letter] = json_rows(&refined.dead_letters).try_into().unwrap();
        assert_eq!((&letter["stage"], &letter["code"]), (&json!(stage), &json!(code)), "{letter}");
        assert!(refined.candidates.is_empty());
    };
    check("wire_format", "avro", "unknown_wire_format", "silver");
    check("verdict", "maybe", "unknown_verdict", "silver");
    check("verdict", "refused", "unexplained", "gate");
    check("envelope", "{", "invalid_envelope", "silver");
}

#[test]
fn the_events_of_a_request_share_their_envelope() {
    let segment = |offset: u64, envelope: Option<&str>| {
        let mut arrival = arrival(offset, r#"{"type":"page","context":{"locale":null}}"#);
        arrival.receipt.format = WireFormat::Segment;
        arrival.receipt.envelope = envelope.map(|envelope| serde_json::from_str(envelope).unwrap());
        arrival
    };
    let (one, two) = (r#"{"context":{"locale":"de"}}"#, r#"{"context":{"locale":"fr"}}"#);
    let rows = json_rows(&silver_of(&[
        segment(0, Some(one)),
        segment(1, Some(one)),
        segment(2, None),
        segment(3, Some(two)),
        segment(4, Some(one)),
    ]));
    let locales: Vec<&Value> = rows.iter().map(|row| &row["locale"]).collect();
    assert_eq!(locales, [&json!("de"), &json!("de"), &json!(null), &json!("fr"), &json!("de")]);
}

/// An arrival of the event `id` at an offset.
fn copy(offset: u64, id: &str, payload: &str) -> Arrival {
    let mut arrival = arrival(offset, payload);
    arrival.receipt.event_id = id.parse().unwrap();
    arrival
}

const A: &str = r#"{"event_type":"a","properties":{"x":1,"y":2}}"#;
const A_RESENT: &str = r#"{"sent_at":"2026-11-23T10:29:00Z","properties":{"y":2.0,"x":1},"event_type":"a"}"#;
const B: &str = r#"{"event_type":"b"}"#;

/// Checks which offsets go to Silver, and how many are duplicates and conflicts. `known`: what Silver has of the event that all are copies of.
fn check_choice(payloads: &[(u64, &str)], known: Option<&str>, silver: &[u64], duplicates: u64, conflicts: u64) {
    let arrivals: Vec<Arrival> = payloads.iter().map(|(offset, payload)| copy(*offset, "1", payload)).collect();
    let refined = refine(&bronze::batch(&arrivals).unwrap(), &Rules::default()).unwrap();
    let content = |payload: &str| run(&[copy(0, "1", payload)]).1.winners[0].content;
    let known = vec![known.map(content); arrivals.len()];
    let chosen = choose(&[refined.candidates], &known).unwrap();
    let offsets: Vec<u64> = json_rows(&chosen.events).iter().map(|row| row["journal_offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, silver, "{payloads:?}");
    let counted = [ledger::SILVER, ledger::DUPLICATE, ledger::CONFLICT, ledger::DEAD_LETTER].map(|measure| chosen.counts.total(measure));
    assert_eq!(counted, [silver.len() as u64, duplicates, conflicts, conflicts], "{payloads:?}");
    assert_eq!((chosen.dead_letters.num_rows() as u64, chosen.winners.len()), (conflicts, silver.len()));
}

#[test]
fn the_smallest_position_wins() {
    check_choice(&[(5, A)], None, &[5], 0, 0);
    check_choice(&[(5, A), (6, A_RESENT)], None, &[5], 1, 0);
    check_choice(&[(6, A_RESENT), (5, A)], None, &[5], 1, 0);
    check_choice(&[(7, A), (6, B), (5, A)], None, &[5], 1, 1);
    check_choice(&[(7, A), (6, A), (5, B)], None, &[5], 0, 2);
    check_choice(&[(5, A), (6, A_RESENT)], Some(A), &[], 2, 0);
    check_choice(&[(5, A), (6, B)], Some(A), &[], 1, 1);
    check_choice(&[(5, A)], Some(B), &[], 0, 1);
    check_choice(&[], None, &[], 0, 0);
}

#[test]
fn positions_are_compared_by_generation_and_partition_first() {
    let at = |generation: u32, partition: u32, offset: u64| {
        let mut arrival = copy(offset, "1", A);
        arrival.position.generation = generation;
        arrival.position.partition = partition;
        arrival
    };
    let [row] = json_rows(&silver_of(&[at(1, 0, 0), at(0, 2, 1), at(0, 1, 9)])).try_into().unwrap();
    assert_eq!((&row["journal_generation"], &row["journal_partition"]), (&json!(0), &json!(1)));
}

#[test]
fn sources_do_not_share_ids() {
    let mut other = copy(1, "1", B);
    other.receipt.source = "app".parse().unwrap();
    assert_eq!(silver_of(&[copy(0, "1", A), other]).num_rows(), 2);
}

#[test]
fn a_conflict_is_kept_aside_whole() {
    let (_, chosen) = run(&[copy(0, "1", A), copy(1, "1", B)]);
    let [letter] = json_rows(&chosen.dead_letters).try_into().unwrap();
    assert_eq!((&letter["code"], &letter["stage"], &letter["payload"]), (&json!("identity_conflict"), &json!("silver"), &json!(B)));
    assert_eq!((&letter["journal_offset"], &letter["truncated_from"]), (&json!(1), &json!(null)));
}

#[test]
fn winners_are_what_the_index_learns() {
    let refined = refine(&bronze::batch(&[copy(0, "1", A), copy(1, "1", A), copy(2, "2", B)]).unwrap(), &Rules::default()).unwrap();
    let identities: Vec<_> = refined.candidates.identities().map(|(id, digest)| (id.to_owned(), digest)).collect();
    assert_eq!(identities.len(), 3);
    assert_eq!(identities[0], ("1".to_owned(), contract::Identity { source: "web", event_id: "1" }.digest()));
    let chosen = choose(&[refined.candidates], &[None; 3]).unwrap();
    let learned: Vec<_> = chosen.winners.iter().map(|winner| (winner.event_id.clone(), winner.digest)).collect();
    assert_eq!(learned, [identities[0].clone(), identities[2].clone()]);
    let stored: Vec<i64> = json_rows(&chosen.events).iter().map(|row| row["content_hash"].as_i64().unwrap()).collect();
    assert_eq!(stored, chosen.winners.iter().map(|winner| winner.content.cast_signed()).collect::<Vec<_>>());
}

#[test]
fn content_is_what_the_client_meant() {
    let content = |payload: &str| run(&[copy(0, "1", payload)]).1.winners[0].content;
    // It is in tables and indexes.
    assert_eq!(content(B), 7_178_520_185_549_505_792);
    assert_eq!(content(A), content(A_RESENT));
    let others = [
        r#"{"event_type":"b","name":"n"}"#,
        r#"{"event_type":"b","user_id":"n"}"#,
        r#"{"event_type":"b","anonymous_id":"n"}"#,
        r#"{"event_type":"b","session_id":"n"}"#,
        r#"{"event_type":"b","event_time":0}"#,
        r#"{"event_type":"b","properties":{"n":null}}"#,
        r#"{"event_type":"b","context":{"n":null}}"#,
        r#"{"event_type":"bn"}"#,
        B,
    ];
    let contents: std::collections::BTreeSet<u64> = others.iter().map(|payload| content(payload)).collect();
    assert_eq!(contents.len(), others.len());
}

#[test]
fn exposures_have_a_subject() {
    let exposure = |offset: u64, who: Value| {
        let mut event = json!({"event_type": "feature_exposure", "properties": {"experiment_id": "e", "variation_id": "v"}});
        event.as_object_mut().unwrap().extend(who.as_object().unwrap().clone());
        arrival(offset, &event.to_string())
    };
    let (_, chosen) = run(&[
        exposure(0, json!({"user_id": "u", "anonymous_id": "a"})),
        arrival(1, B),
        exposure(2, json!({"anonymous_id": "a"})),
        exposure(3, json!({})),
    ]);
    let rows = json_rows(&chosen.exposures);
    let subjects: Vec<_> = rows.iter().map(|row| (&row["subject_type"], &row["subject_id"])).collect();
    assert_eq!(subjects, [(&json!("user"), &json!("u")), (&json!("anonymous"), &json!("a")), (&json!(null), &json!(null))]);
    assert_eq!((&rows[1]["experiment_id"], &rows[1]["variation_id"], &rows[1]["journal_offset"]), (&json!("e"), &json!("v"), &json!(2)));
    assert_eq!(chosen.counts.total(ledger::EXPOSURE), 3);
}

#[test]
fn what_is_special_is_counted() {
    let mut generated = arrival(0, B);
    generated.receipt.event_id_generated = true;
    let mut flagged = arrival(1, &json!({"event_type": "a", "event_time": ago(3601)}).to_string());
    flagged.receipt.verdict = Verdict::Flagged;
    let bot = json!({"event_type": "a", "event_time": ago(-1), "context": {"userAgent": "Googlebot/2.1"}});
    let (_, chosen) = run(&[generated, flagged, arrival(2, &bot.to_string())]);
    let measures = ["silver", "generated_id", "flagged", "late", "clock_corrected", "bot", "duplicate", "exposure"];
    assert_eq!(measures.map(|measure| chosen.counts.total(measure)), [3, 1, 1, 1, 1, 1, 0, 0]);
}

#[test]
fn misuse_is_told() {
    let refined = refine(&bronze::batch(&[arrival(0, B)]).unwrap(), &Rules::default()).unwrap();
    assert!(matches!(choose(&[refined.candidates], &[]), Err(Error::Answers { candidates: 1, answers: 0 })));
    let silver = silver_of(&[arrival(0, B)]);
    assert!(matches!(refine(&silver, &Rules::default()), Err(Error::Column { table: "bronze.events", .. })));
    let none = choose(&[], &[]).unwrap();
    assert_eq!((none.events.num_rows(), none.exposures.num_rows(), none.dead_letters.num_rows()), (0, 0, 0));
    assert_eq!((none.events.schema(), none.exposures.schema()), (schema::silver_events(), schema::silver_exposures()));
}

#[test]
fn other_engines_hand_rows_over_in_other_types() {
    use arrow::compute::cast;
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    let batch = bronze::batch(&[arrival(0, A), arrival(1, B)]).unwrap();
    let other = |data_type: &DataType| match data_type {
        DataType::Utf8 => DataType::Utf8View,
        DataType::Binary => DataType::LargeBinary,
        DataType::Timestamp(..) => DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into())),
        same => same.clone(),
    };
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()).rev() {
        fields.push(Field::new(field.name(), other(field.data_type()), true));
        columns.push(cast(column, &other(field.data_type())).unwrap());
    }
    let handed = RecordBatch::try_new(std::sync::Arc::new(Schema::new(fields)), columns).unwrap();
    let refined = refine(&handed, &Rules::default()).unwrap();
    let chosen = choose(&[refined.candidates], &[None; 2]).unwrap();
    assert_eq!(chosen.events, silver_of(&[arrival(0, A), arrival(1, B)]));
}
