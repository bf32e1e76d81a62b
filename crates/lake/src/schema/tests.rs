use arrow::array::{Array, Int64Array, StringArray};
use arrow::datatypes::TimeUnit;

use super::*;

fn schema(fields: &[(&str, DataType, bool)]) -> Schema {
    Schema::new(fields.iter().map(|(name, data_type, nullable)| Field::new(*name, data_type.clone(), *nullable)).collect::<Vec<_>>())
}

#[test]
fn our_types_survive_the_way_through_delta() {
    let utc = |unit| DataType::Timestamp(unit, Some("UTC".into()));
    let check = |data_type: DataType, expect: bool| {
        let taken = to_delta("t", &schema(&[("a", data_type.clone(), true)])).is_ok();
        assert_eq!(taken, expect, "{data_type}");
    };
    for good in [DataType::Utf8, DataType::Binary, DataType::Date32, DataType::Boolean, DataType::Int32, DataType::Int64, DataType::Float64]
    {
        check(good, true);
    }
    check(utc(TimeUnit::Microsecond), true);
    check(utc(TimeUnit::Nanosecond), false);
    check(DataType::Timestamp(TimeUnit::Microsecond, None), false);
    check(DataType::LargeUtf8, false);
    check(DataType::Utf8View, false);
    check(DataType::UInt64, false);
}

#[test]
fn a_table_grows_by_nullable_columns_only() {
    let table = schema(&[("id", DataType::Utf8, false), ("n", DataType::Int64, true)]);
    let check = |wanted: &[(&str, DataType, bool)], expect: Result<Option<Vec<&str>>, ()>| {
        let grown = grow("t", &table, &schema(wanted));
        let names = grown
            .as_ref()
            .map_err(|_| ())
            .map(|grown| grown.as_ref().map(|grown| grown.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>()));
        assert_eq!(names, expect, "{wanted:?}");
    };
    let id = ("id", DataType::Utf8, false);
    let n = ("n", DataType::Int64, true);
    check(&[id.clone(), n.clone()], Ok(None));
    check(&[n.clone(), id.clone()], Ok(None));
    check(std::slice::from_ref(&id), Ok(None));
    check(&[id.clone(), ("m", DataType::Utf8, true)], Ok(Some(vec!["id", "n", "m"])));
    check(&[id.clone(), ("m", DataType::Utf8, false)], Err(()));
    check(&[id, ("n", DataType::Utf8, true)], Err(()));
    check(&[("id", DataType::Utf8, true)], Err(()));
    check(&[n], Err(()));
}

#[test]
fn rows_are_put_into_the_tables_columns() {
    let table: SchemaRef = Arc::new(schema(&[("id", DataType::Utf8, false), ("n", DataType::Int64, true), ("m", DataType::Int64, true)]));
    let rows = |columns: Vec<(&str, arrow::array::ArrayRef)>| RecordBatch::try_from_iter(columns).unwrap();
    let ids = || Arc::new(StringArray::from(vec!["a", "b"])) as _;
    let taken = conform("t", &table, &rows(vec![("n", Arc::new(Int64Array::from(vec![1, 2])) as _), ("id", ids())])).unwrap();
    assert_eq!(taken.schema(), table);
    assert_eq!(taken.column(2).null_count(), 2);

    let check = |columns: Vec<(&str, arrow::array::ArrayRef)>, expect: &str| {
        let error = conform("t", &table, &rows(columns)).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    check(vec![("id", ids()), ("x", ids())], "a column x");
    check(vec![("id", ids()), ("n", ids())], "column n is Int64");
    check(vec![("n", Arc::new(Int64Array::from(vec![1])) as _)], "column id takes no nulls");
    check(vec![("id", Arc::new(StringArray::from(vec![None::<&str>])) as _)], "column id takes no nulls");
}
