use arrow::array::{BooleanArray, Date32Array, Int64Array};
use proptest::prelude::*;

use super::*;

fn names(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|column| (*column).to_owned()).collect()
}

fn batch(keys: &[Option<&str>], first: i64) -> RecordBatch {
    let numbers: Vec<i64> = (first..).take(keys.len()).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("k", Arc::new(StringArray::from(keys.to_vec())) as ArrayRef, true),
        ("n", Arc::new(Int64Array::from(numbers)) as ArrayRef, true),
    ])
    .unwrap()
}

fn numbers(part: &Part) -> Vec<i64> {
    part.batches.iter().flat_map(|batch| batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec()).collect()
}

#[test]
fn rows_go_to_their_partition_and_keep_their_order() {
    let rows = [batch(&[Some("b"), Some("a"), Some("b"), None], 0), batch(&[], 9), batch(&[Some("a"), Some("a")], 4)];
    let parts = split(&rows, &names(&["k"])).unwrap();
    let seen: Vec<(Option<&str>, Vec<i64>)> = parts.iter().map(|part| (part.values.first().unwrap().as_deref(), numbers(part))).collect();
    assert_eq!(seen, [(None, vec![3]), (Some("a"), vec![1, 4, 5]), (Some("b"), vec![0, 2])]);
    assert!(parts.iter().all(|part| part.batches.iter().all(|batch| batch.num_columns() == 1)));
}

#[test]
fn without_partition_columns_there_is_one_part() {
    let rows = [batch(&[Some("b"), Some("a")], 0), batch(&[], 0)];
    let parts = split(&rows, &[]).unwrap();
    assert_eq!(parts.len(), 1);
    assert_eq!(parts[0].batches.len(), 1);
    assert_eq!(parts[0].batches[0].num_columns(), 2);
    assert!(split(&[batch(&[], 0)], &[]).unwrap().is_empty());
    assert!(split(&[batch(&[], 0)], &names(&["k"])).unwrap().is_empty());
}

#[test]
fn what_cannot_be_a_partition_is_refused() {
    assert!(split(&[batch(&[Some("")], 0)], &names(&["k"])).is_err());
    assert!(split(&[batch(&[Some("a")], 0)], &names(&["missing"])).is_err());
}

#[test]
fn values_are_written_as_delta_writes_them() {
    let check = |column: ArrayRef, expect: Option<&str>| assert_eq!(value(&column, 0).unwrap().as_deref(), expect);
    check(Arc::new(Date32Array::from(vec![20_780])), Some("2026-11-23"));
    check(Arc::new(Date32Array::from(vec![None::<i32>])), None);
    check(Arc::new(Int64Array::from(vec![-7])), Some("-7"));
    check(Arc::new(BooleanArray::from(vec![true])), Some("true"));
    check(Arc::new(StringArray::from(vec!["a b/ü"])), Some("a b/ü"));
}

#[test]
fn values_are_taken_in_their_canonical_form() {
    let check = |text: &str, data_type: DataType, expect: Option<&str>| {
        assert_eq!(canonical(text, &data_type).ok().as_deref(), expect, "{text} {data_type}");
    };
    check("2026-11-23", DataType::Date32, Some("2026-11-23"));
    check("yesterday", DataType::Date32, None);
    check("07", DataType::Int64, Some("7"));
    check("", DataType::Utf8, None);
    check("x", DataType::Utf8, Some("x"));
}

#[test]
fn folders_hold_any_text() {
    let check = |value: Option<&str>, expect: &str| assert_eq!(folder(&names(&["k"]), &[value.map(str::to_owned)]), expect);
    check(Some("2026-11-23"), "k=2026-11-23/");
    check(Some("../a b%"), "k=..%2Fa%20b%25/");
    check(None, "k=__HIVE_DEFAULT_PARTITION__/");
    assert_eq!(folder(&[], &[]), "");
}

proptest! {
    /// Nothing is lost, doubled or put into the wrong part, and within a part rows keep their order.
    #[test]
    fn splitting_only_sorts_rows_into_parts(keys in prop::collection::vec(prop::option::of("[a-d]{1,2}"), 0..200), cut in 0usize..200) {
        let keys: Vec<Option<&str>> = keys.iter().map(Option::as_deref).collect();
        let (left, right) = keys.split_at(cut.min(keys.len()));
        let parts = split(&[batch(left, 0), batch(right, left.len() as i64)], &names(&["k"])).unwrap();
        let mut all = Vec::new();
        for part in &parts {
            let key = part.values[0].as_deref();
            let rows = numbers(part);
            let expect: Vec<i64> = (0..).zip(&keys).filter(|(_, of)| **of == key).map(|(row, _)| row).collect();
            prop_assert_eq!(&rows, &expect);
            all.extend(rows);
        }
        prop_assert_eq!(all.len(), keys.len());
    }

    #[test]
    fn a_date_comes_back(days in -700_000i32..2_900_000) {
        let column: ArrayRef = Arc::new(Date32Array::from(vec![days]));
        let text = value(&column, 0).unwrap();
        let back = super::column(text.as_deref(), &DataType::Date32, 3).unwrap();
        prop_assert_eq!(back.as_primitive::<arrow::datatypes::Date32Type>().values().to_vec(), vec![days; 3]);
    }
}
