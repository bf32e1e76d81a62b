use std::sync::Arc;

use arrow::array::{BinaryArray, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::Field;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn of(batches: &[RecordBatch], wanted: &[&str]) -> Value {
    let wanted: Vec<String> = wanted.iter().map(|column| (*column).to_owned()).collect();
    let mut stats = Stats::new(&batches[0].schema(), &wanted);
    for batch in batches {
        stats.add(batch);
    }
    serde_json::from_str(&stats.to_json()).unwrap()
}

fn one(column: ArrayRef) -> Value {
    of(&[RecordBatch::try_from_iter_with_nullable([("a", column, true)]).unwrap()], &[])
}

#[test]
fn bounds_by_type() {
    let check = |column: ArrayRef, min: Value, max: Value| {
        let stats = one(Arc::clone(&column));
        assert_eq!((&stats["minValues"]["a"], &stats["maxValues"]["a"]), (&min, &max), "{column:?}");
    };
    check(Arc::new(Int64Array::from(vec![Some(3), None, Some(-2)])), json!(-2), json!(3));
    check(Arc::new(Date32Array::from(vec![0, 20_780])), json!("1970-01-01"), json!("2026-11-23"));
    check(Arc::new(StringArray::from(vec!["b", "a"])), json!("a"), json!("b"));
    check(Arc::new(Float64Array::from(vec![0.5, -1.0])), json!(-1.0), json!(0.5));
    check(Arc::new(Float64Array::from(vec![0.5, f64::NAN])), Value::Null, Value::Null);
    check(Arc::new(Float64Array::from(vec![0.5, f64::INFINITY])), Value::Null, Value::Null);
    check(Arc::new(BooleanArray::from(vec![true])), Value::Null, Value::Null);
    check(Arc::new(Int64Array::from(vec![None::<i64>])), Value::Null, Value::Null);
    let utc = |micros: Vec<i64>| Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC"));
    check(utc(vec![1_000_999]), json!("1970-01-01T00:00:01.000Z"), json!("1970-01-01T00:00:01.001Z"));
    check(utc(vec![-1]), json!("1969-12-31T23:59:59.999Z"), json!("1970-01-01T00:00:00.000Z"));
    check(utc(vec![5_000_000]), json!("1970-01-01T00:00:05.000Z"), json!("1970-01-01T00:00:05.000Z"));
    check(utc(vec![i64::MIN, i64::MAX]), Value::Null, Value::Null);
}

#[test]
fn batches_add_up() {
    let batch = |values: Vec<Option<i64>>| {
        RecordBatch::try_from_iter_with_nullable([("a", Arc::new(Int64Array::from(values)) as _, true)]).unwrap()
    };
    let stats = of(&[batch(vec![None, Some(4)]), batch(vec![]), batch(vec![None]), batch(vec![Some(9), Some(1)])], &[]);
    assert_eq!(stats, json!({"numRecords": 5, "minValues": {"a": 1}, "maxValues": {"a": 9}, "nullCount": {"a": 2}}));
}

#[test]
fn the_payload_is_left_out_and_wanted_columns_are_the_only_ones() {
    let batch = RecordBatch::try_from_iter([
        ("payload", Arc::new(BinaryArray::from(vec![b"x".as_slice()])) as ArrayRef),
        ("a", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("b", Arc::new(Int64Array::from(vec![2])) as ArrayRef),
    ])
    .unwrap();
    assert_eq!(of(std::slice::from_ref(&batch), &[])["nullCount"], json!({"a": 0, "b": 0}));
    assert_eq!(of(&[batch], &["b"])["nullCount"], json!({"b": 0}));
    let many: Vec<Field> = (0..40).map(|n| Field::new(format!("c{n}"), DataType::Int64, true)).collect();
    assert_eq!(Stats::new(&Schema::new(many), &[]).columns.len(), 32);
}

#[test]
fn long_texts_are_shortened_to_safe_bounds() {
    let check = |text: String, min: String, max: Option<String>| {
        assert_eq!(shortened_down(&text), min, "{text}");
        assert_eq!(shortened_up(&text), max, "{text}");
    };
    let a = |n| "a".repeat(n);
    let top = |n| GREATEST.to_string().repeat(n);
    check(a(32), a(32), Some(a(32)));
    check(a(33), a(32), Some(a(32) + &top(1)));
    check(a(32) + &top(2) + "b", a(32), Some(a(32) + &top(3)));
    check(top(100), top(32), None);
    check("ü".repeat(40), "ü".repeat(32), Some("ü".repeat(32) + &top(1)));
}

proptest! {
    #[test]
    fn no_text_lies_outside_its_bounds(texts in prop::collection::vec("[ab\u{10FFFF}]{0,70}", 1..20)) {
        let stats = one(Arc::new(StringArray::from(texts.clone())));
        let min = stats["minValues"]["a"].as_str().unwrap();
        let max = stats["maxValues"]["a"].as_str();
        for text in &texts {
            prop_assert!(min <= text.as_str());
            prop_assert!(max.is_none_or(|max| text.as_str() <= max), "{:?} > {:?}", text, max);
        }
    }

    #[test]
    fn no_time_lies_outside_its_bounds(micros in prop::collection::vec(-62_000_000_000_000_000i64..250_000_000_000_000_000, 1..20)) {
        let stats = one(Arc::new(TimestampMicrosecondArray::from(micros.clone()).with_timezone("UTC")));
        let bound = |side: &str| chrono::DateTime::parse_from_rfc3339(stats[side]["a"].as_str().unwrap()).unwrap().timestamp_micros();
        let (min, max) = (bound("minValues"), bound("maxValues"));
        prop_assert!(micros.iter().all(|at| min <= *at && *at <= max));
        prop_assert!(micros.iter().any(|at| at - min < 1000) && micros.iter().any(|at| max - at < 1000));
    }
}
