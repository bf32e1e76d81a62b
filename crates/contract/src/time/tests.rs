use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// [`super::parse`] of a value as `serde_json` has it.
fn parse(value: &Value) -> Result<Timestamp, Invalid> {
    super::parse(&value.clone().into())
}

#[test]
fn reads_what_clients_send() {
    let ten = "2026-11-23T10:00:00.000000Z";
    let check = |input: Value, expected: &str| {
        let read = parse(&input).map(Timestamp::to_rfc3339);
        assert_eq!(read.as_deref(), Ok(expected), "{input}");
    };
    // ISO 8601: separators, offsets, precision.
    for text in [
        "2026-11-23T10:00:00Z",
        "2026-11-23t10:00:00z",
        "2026-11-23 10:00:00",
        "2026-11-23T10:00",
        "2026-11-23T12:00:00+02:00",
        "2026-11-23T12:00:00+0200",
        "2026-11-23T12:00:00+02",
        "2026-11-23 12:00:00 +0200",
        "2026-11-23T04:30:00-05:30",
        "2026-11-23T10:00:00-00:00",
        "2026-11-23 10:00:00 UTC",
        "20261123T100000Z",
        "20261123T1000",
        " 2026-11-23T10:00:00Z\n",
    ] {
        check(json!(text), ten);
    }
    check(json!("2026-11-23"), "2026-11-23T00:00:00.000000Z");
    check(json!("2026-11-23T10:00:00.5Z"), "2026-11-23T10:00:00.500000Z");
    check(json!("2026-11-23T10:00:00,123456789+00:00"), "2026-11-23T10:00:00.123456Z");
    check(json!("2026-11-23T24:00:00Z"), "2026-11-24T00:00:00.000000Z");
    check(json!("2024-02-29T00:00:00Z"), "2024-02-29T00:00:00.000000Z");
    check(json!("0001-01-01T00:00:00Z"), "0001-01-01T00:00:00.000000Z");
    check(json!("0000-12-31T23:30:00-01:00"), "0001-01-01T00:30:00.000000Z");
    check(json!("9999-12-31T23:59:59.999999999Z"), "9999-12-31T23:59:59.999999Z");
    // Leap seconds, by the offset they are written in.
    check(json!("2016-12-31T23:59:60Z"), "2017-01-01T00:00:00.000000Z");
    check(json!("2017-01-01T00:59:60.25+01:00"), "2017-01-01T00:00:00.250000Z");
    // Numbers by their size, as JSON and as text.
    for number in
        [json!(1_795_428_000), json!(1_795_428_000_000_u64), json!(1_795_428_000_000_000_u64), json!(1_795_428_000_000_000_000_u64)]
    {
        check(number.clone(), ten);
        check(json!(number.to_string()), ten);
    }
    check(json!(1_795_428_000.0), ten);
    check(json!("1.795428e9"), ten);
    check(json!("+1795428000"), ten);
    check(json!(1_700_000_000.123_456), "2023-11-14T22:13:20.123456Z");
    check(json!(1_700_000_000_123.4), "2023-11-14T22:13:20.123400Z");
    check(json!("1700000000.1234569"), "2023-11-14T22:13:20.123456Z");
    check(json!("1700000000000000999"), "2023-11-14T22:13:20.000000Z");
    check(json!(0), "1970-01-01T00:00:00.000000Z");
    check(json!(-1), "1969-12-31T23:59:59.000000Z");
    check(json!(-0.000_000_1), "1969-12-31T23:59:59.999999Z");
    check(json!("-0.0000000000000001"), "1969-12-31T23:59:59.999999Z");
    check(json!(-1.5), "1969-12-31T23:59:58.500000Z");
    // The bounds between the units.
    check(json!(99_999_999_999_u64), "5138-11-16T09:46:39.000000Z");
    check(json!(100_000_000_000_u64), "1973-03-03T09:46:40.000000Z");
}

#[test]
fn refuses_what_is_no_time() {
    let check = |input: Value, expected: Invalid| assert_eq!(parse(&input), Err(expected), "{input}");
    for text in [
        "",
        " ",
        "now",
        "NaN",
        "nan",
        "inf",
        "Infinity",
        "-inf",
        "-",
        "+",
        ".5",
        "1e",
        "e5",
        "1.2.3",
        "0x10",
        "1_000",
        "٣",
        "2026-11",
        "2026-W48-1",
        "2026-11-23T",
        "2026-11-23T10",
        "2026-11-23X10:00",
        "2026-11-23T10:00:00.Z",
        "2026-11-23T10:00:00+",
        "2026-11-23T10:00:00+2",
        "2026-11-23T10:00:00Z ago",
        "2026-11-23T10:00:00  Z",
        "2026-1123",
        "23.11.2026",
        "-2026-11-23",
        "Mon, 23 Nov 2026 10:00:00 GMT",
        "2026-11-23T10:00:00 01:00",
    ] {
        check(json!(text), Invalid::Format);
    }
    for text in [
        "2026-02-29",
        "2026-13-01",
        "2026-00-10",
        "2026-11-31",
        "2026-11-23T25:00:00Z",
        "2026-11-23T24:00:01Z",
        "2026-11-23T10:60:00Z",
        "2026-11-23T10:00:61Z",
        "2026-11-23T10:00:60Z",
        "2026-11-23T23:59:60+01:00",
        "2026-11-23T10:00:00+24:00",
        "2026-11-23T10:00:00+01:60",
    ] {
        check(json!(text), Invalid::Calendar);
    }
    for out_of_range in [
        json!("0000-01-01"),
        json!("0001-01-01T00:00:00+01:00"),
        json!("9999-12-31T23:30:00-01:00"),
        json!(1e300),
        json!("1e999"),
        json!("9".repeat(100_000)),
    ] {
        check(out_of_range, Invalid::Range);
    }
    for other in [json!(null), json!(true), json!([]), json!({})] {
        check(other, Invalid::Type);
    }
}

#[test]
fn shows_hours_and_days() {
    let check = |text: &str, hour: &str, day: &str, days: i32| {
        let at = parse_text(text).unwrap();
        assert_eq!((at.hour().to_rfc3339().as_str(), at.date_text().as_str(), at.date()), (hour, day, days), "{text}");
    };
    check("2026-11-23T10:59:59.999999Z", "2026-11-23T10:00:00.000000Z", "2026-11-23", 20_780);
    check("1969-12-31T23:59:59.999999Z", "1969-12-31T23:00:00.000000Z", "1969-12-31", -1);
    check("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z", "1970-01-01", 0);
    check("0001-01-01T00:30:00Z", "0001-01-01T00:00:00.000000Z", "0001-01-01", -719_162);
}

#[test]
fn shows_any_number_without_panic() {
    for micros in [i64::MIN, i64::MAX] {
        let at = Timestamp(micros);
        assert_eq!((at.to_rfc3339().len(), at.date_text().len()), (27, 10));
        assert!(at.hour() <= Timestamp(micros) && at.date() != 0);
    }
}

#[test]
fn the_time_that_counts() {
    const MINUTE: i64 = 60 * SECOND;
    let received = Timestamp(1_000 * MINUTE);
    // All in minutes before `received`.
    let check = |client: Option<i64>, sent: Option<i64>, expected: (i64, bool)| {
        let before = |minutes: i64| Timestamp(received.0 - minutes * MINUTE);
        let got = event_time(client.map(before), sent.map(before), received, 5 * MINUTE);
        assert_eq!(got, EventTime { at: before(expected.0), corrected: expected.1 }, "{client:?} {sent:?}");
    };
    check(None, None, (0, false));
    check(None, Some(60), (0, false));
    check(Some(30), None, (30, false));
    check(Some(30), Some(0), (30, false));
    // Within the tolerance, either way, it is the network's delay.
    check(Some(30), Some(5), (30, false));
    check(Some(30), Some(-5), (30, false));
    // A clock an hour slow, an hour fast.
    check(Some(90), Some(60), (30, true));
    check(Some(-30), Some(-60), (30, true));
    // Never later than received, by a clock that is fast or one that jumped between the event and the sending.
    check(Some(-3), Some(-3), (0, true));
    check(Some(-3), None, (0, true));
    check(Some(30), Some(60), (0, true));
}

#[test]
fn correction_never_overflows() {
    let extremes = [Timestamp(i64::MIN), Timestamp::MIN, Timestamp(0), Timestamp::MAX, Timestamp(i64::MAX)];
    for client in extremes {
        for sent in extremes {
            for received in extremes {
                for tolerance in [0, i64::MIN, i64::MAX] {
                    assert!(event_time(Some(client), Some(sent), received, tolerance).at <= received);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn reads_back_what_it_shows(micros in Timestamp::MIN.0..=Timestamp::MAX.0) {
        prop_assert_eq!(parse_text(&Timestamp(micros).to_rfc3339()), Ok(Timestamp(micros)));
    }

    #[test]
    fn an_offset_moves_the_time_by_itself(micros in Timestamp::MIN.0 + DAY..Timestamp::MAX.0 - DAY, minutes in -1_439_i64..1_440) {
        let local = Timestamp(micros + minutes * 60 * SECOND).to_rfc3339();
        let sign = if minutes < 0 { '-' } else { '+' };
        let text = format!("{}{sign}{:02}:{:02}", local.trim_end_matches('Z'), minutes.abs() / 60, minutes.abs() % 60);
        prop_assert_eq!(parse_text(&text), Ok(Timestamp(micros)));
    }

    #[test]
    fn every_unit_means_the_same(seconds in 100_000_000_u64..9_000_000_000) {
        let expected = Ok(Timestamp((seconds * 1_000_000) as i64));
        prop_assert_eq!(parse(&json!(seconds)), expected);
        prop_assert_eq!(parse(&json!(seconds as f64)), expected);
        prop_assert_eq!(parse(&json!(seconds * 1_000)), expected);
        prop_assert_eq!(parse(&json!(seconds * 1_000_000)), expected);
        prop_assert_eq!(parse(&json!(seconds * 1_000_000_000)), expected);
    }

    #[test]
    fn microseconds_survive_a_float(micros in 0_i64..4_294_967_296_000_000) {
        // Up to 2^32 seconds (the year 2106) floats are closer together than microseconds.
        prop_assert_eq!(parse(&json!(micros as f64 / 1e6)), Ok(Timestamp(micros)));
    }

    #[test]
    fn no_text_panics(text in ".{0,40}") {
        let _outcome = parse_text(&text);
    }

    #[test]
    fn no_text_like_a_time_panics(text in "[-+0-9TtZz:., eE]{0,40}") {
        if let Ok(at) = parse_text(&text) {
            prop_assert!((Timestamp::MIN..=Timestamp::MAX).contains(&at));
        }
    }
}
