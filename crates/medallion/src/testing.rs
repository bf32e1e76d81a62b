//! What the tests of several files need.

use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Int32Type, Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use contract::{Position, Receipt, Timestamp, Verdict, WireFormat};
use serde_json::{Map, Value};

use crate::Arrival;
use crate::silver::{Rules, choose, refine};

/// 2026-11-23T10:30:00Z.
pub(crate) const RECEIVED: Timestamp = Timestamp(1_795_429_800_000_000);

/// A native event at an offset of partition 0, of the source `web` and the id `e` and the offset, received at [`RECEIVED`].
pub(crate) fn arrival(offset: u64, payload: &str) -> Arrival {
    let receipt = Receipt {
        source: "web".parse().unwrap(),
        event_id: format!("e{offset}").parse().unwrap(),
        event_id_generated: false,
        received_at: RECEIVED,
        sent_at: None,
        format: WireFormat::Native,
        verdict: Verdict::Accepted,
        violations: Vec::new(),
        plan_version: "1".to_owned(),
        client_ip: None,
        user_agent: None,
        envelope: None,
        client_retries: None,
        truncated_from: None,
    };
    Arrival { position: Position { generation: 0, partition: 0, offset }, receipt, payload: Bytes::copy_from_slice(payload.as_bytes()) }
}

/// The rows of `silver.events` that come of these arrivals alone.
pub(crate) fn silver_of(arrivals: &[Arrival]) -> RecordBatch {
    let refined = refine(&crate::bronze::batch(arrivals).unwrap(), &Rules::default()).unwrap();
    let known = vec![None; refined.candidates.len()];
    choose(&[refined.candidates], &known).unwrap().events
}

/// Rows as JSON: instants as RFC 3339, days as `2026-11-23`, payloads as text.
pub(crate) fn json_rows(batch: &RecordBatch) -> Vec<Value> {
    let value = |row: usize, column: &Arc<dyn arrow::array::Array>| -> Value {
        if column.is_null(row) {
            return Value::Null;
        }
        match column.data_type() {
            DataType::Utf8 => column.as_string::<i32>().value(row).into(),
            DataType::Binary => String::from_utf8_lossy(column.as_binary::<i32>().value(row)).into(),
            DataType::Boolean => column.as_boolean().value(row).into(),
            DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
            DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
            DataType::Date32 => {
                let days = i64::from(column.as_primitive::<Date32Type>().value(row));
                Timestamp(days * 86_400_000_000).date_text().into()
            }
            DataType::Timestamp(..) => Timestamp(column.as_primitive::<TimestampMicrosecondType>().value(row)).to_rfc3339().into(),
            other => panic!("no JSON for {other}"),
        }
    };
    let object = |row: usize| -> Map<String, Value> {
        let columns = batch.schema_ref().fields().iter().zip(batch.columns());
        columns.map(|(field, column)| (field.name().clone(), value(row, column))).collect()
    };
    (0..batch.num_rows()).map(|row| Value::Object(object(row))).collect()
}
