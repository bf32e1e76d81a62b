//! Reading times as clients write them.

use super::{DAY, SECOND, Timestamp};
use crate::json::Value;
use chrono::{Datelike, NaiveDate};

/// Why a value is no time. As text it is a lowercase fragment that says what to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Neither a text nor a number.
    #[error("a time is a text or a number; send ISO 8601 such as 2026-11-23T10:00:00Z, or epoch seconds or milliseconds")]
    Type,
    /// A text that is neither ISO 8601 nor a number.
    #[error("not a time that can be read; send ISO 8601 such as 2026-11-23T10:00:00Z, or epoch seconds or milliseconds")]
    Format,
    /// A day, an hour or an offset that does not exist.
    #[error("no such moment in the calendar; check the month, the day, the time of day and the offset")]
    Calendar,
    /// Outside of the years 0001 to 9999.
    #[error("outside of the years 0001 to 9999")]
    Range,
}

/// Reads a time in any of the forms clients use.
///
/// - ISO 8601, extended (`2026-11-23T10:00:00.123+02:00`) or basic (`20261123T100000Z`). Date and time stand apart by `T`, `t` or one space. Seconds may be
///   left out, a date alone is its midnight. The fraction of the second comes after `.` or `,`. The offset is `Z`, `z`, `UTC`, `GMT`, `+02:00`, `+0200` or
///   `+02`, a space may stand before it; no offset, and `-00:00`, mean UTC. `24:00:00` is the end of the day. A leap second (23:59:60 UTC) is the first second
///   of the next day, as POSIX has it.
/// - The time since 1970-01-01T00:00:00Z as a number or a text of one (`"1700000000"`, `1700000000.5`, `"1.7e9"`). The unit goes by the size: below 10^11 seconds, below
///   10^14 milliseconds, below 10^17 microseconds, else nanoseconds. So seconds reach to the year 5138, and milliseconds begin in March 1973.
///
/// What is finer than a microsecond is cut off, towards the past. Whitespace around a text does not matter.
///
/// # Errors
///
/// Anything else is [`Invalid`], also `NaN` and `Infinity`, a year outside of 0001 to 9999 and a day that does not exist.
pub fn parse(value: &Value<'_>) -> Result<Timestamp, Invalid> {
    match value {
        Value::String(text) => parse_text(text),
        // A float is shown as the shortest decimal that reads back as it, without an exponent: what the client wrote, for as many digits as matter.
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => epoch(&float.to_string()),
            None => epoch(&number.to_string()),
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(Invalid::Type),
    }
}

/// [`parse`] for a text.
///
/// # Errors
///
/// As [`parse`].
pub fn parse_text(text: &str) -> Result<Timestamp, Invalid> {
    let text = text.trim_ascii();
    let (sign, unsigned) = split_sign(text);
    let numeric = unsigned.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let scientific = unsigned.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    if numeric {
        epoch(text)
    } else if scientific && unsigned.contains(['e', 'E']) {
        let float: f64 = text.parse().map_err(|_| Invalid::Format)?;
        if float.is_finite() { epoch(&float.to_string()) } else { Err(Invalid::Range) }
    } else if sign.is_none() {
        iso(text)
    } else {
        Err(Invalid::Format)
    }
}

fn split_sign(text: &str) -> (Option<char>, &str) {
    match text.chars().next() {
        Some(sign @ ('+' | '-')) => (Some(sign), text.get(1..).unwrap_or_default()),
        _ => (None, text),
    }
}

/// A decimal number since the epoch, exactly: arithmetic on floats would lose microseconds.
fn epoch(text: &str) -> Result<Timestamp, Invalid> {
    let (sign, unsigned) = split_sign(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits_only = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits_only(whole) || !digits_only(fraction) {
        return Err(Invalid::Format);
    }
    let whole: u64 = whole.parse().map_err(|_| Invalid::Range)?;
    let unit_picos: u64 = match whole {
        0..100_000_000_000 => 1_000_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000_000,
        _ => 1_000,
    };
    let mut picos = i128::from(whole) * i128::from(unit_picos);
    let mut place = unit_picos;
    let mut finer = false;
    for digit in fraction.bytes().map(|byte| byte - b'0') {
        place /= 10;
        picos += i128::from(digit) * i128::from(place);
        finer |= place == 0 && digit != 0;
    }
    if sign == Some('-') {
        picos = -picos - i128::from(finer);
    }
    let micros = picos.div_euclid(1_000_000);
    i64::try_from(micros).ok().and_then(Timestamp::from_micros).ok_or(Invalid::Range)
}

fn iso(text: &str) -> Result<Timestamp, Invalid> {
    let mut scanner = Scanner { rest: text.as_bytes() };
    let days = scanner.date()?;
    let mut time = TimeOfDay::default();
    let mut offset = 0;
    if !scanner.rest.is_empty() {
        if !scanner.skip(b"Tt ") {
            return Err(Invalid::Format);
        }
        time = scanner.time_of_day()?;
        offset = scanner.offset()?;
    }
    if !scanner.rest.is_empty() {
        return Err(Invalid::Format);
    }
    let micros = i64::from(days) * DAY + time.micros - offset;
    if time.leap_second && micros.rem_euclid(DAY) >= SECOND {
        return Err(Invalid::Calendar);
    }
    Timestamp::from_micros(micros).ok_or(Invalid::Range)
}

#[derive(Default)]
struct TimeOfDay {
    /// Since midnight; a leap second runs into the next minute.
    micros: i64,
    leap_second: bool,
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl Scanner<'_> {
    /// Goes past the next byte if it is one of these.
    fn skip(&mut self, any_of: &[u8]) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if any_of.contains(first) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn skip_word(&mut self, word: &[u8]) -> bool {
        match self.rest.strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Exactly so many digits, as a number.
    fn digits(&mut self, count: usize) -> Result<u32, Invalid> {
        let (digits, rest) = self.rest.split_at_checked(count).ok_or(Invalid::Format)?;
        let mut number = 0;
        for byte in digits {
            if !byte.is_ascii_digit() {
                return Err(Invalid::Format);
            }
            number = number * 10 + u32::from(byte - b'0');
        }
        self.rest = rest;
        Ok(number)
    }

    fn next_is_digit(&self) -> bool {
        self.rest.first().is_some_and(u8::is_ascii_digit)
    }

    /// Days since 1970-01-01.
    fn date(&mut self) -> Result<i32, Invalid> {
        const EPOCH_DAYS_FROM_COMMON_ERA: i32 = 719_163;
        let year = self.digits(4)?;
        let extended = self.skip(b"-");
        let month = self.digits(2)?;
        if extended && !self.skip(b"-") {
            return Err(Invalid::Format);
        }
        let day = self.digits(2)?;
        // Four digits fit an i32.
        let date = NaiveDate::from_ymd_opt(year as i32, month, day).ok_or(Invalid::Calendar)?;
        Ok(date.num_days_from_ce() - EPOCH_DAYS_FROM_COMMON_ERA)
    }

    fn time_of_day(&mut self) -> Result<TimeOfDay, Invalid> {
        let hour = self.digits(2)?;
        let extended = self.skip(b":");
        let minute = self.digits(2)?;
        let has_second = if extended { self.skip(b":") } else { self.next_is_digit() };
        let second = if has_second { self.digits(2)? } else { 0 };
        let fraction = if has_second { self.fraction()? } else { 0 };
        let end_of_day = hour == 24 && minute == 0 && second == 0 && fraction == 0;
        if (hour > 23 && !end_of_day) || minute > 59 || second > 60 {
            return Err(Invalid::Calendar);
        }
        let micros = i64::from(hour * 3_600 + minute * 60 + second) * SECOND + fraction;
        Ok(TimeOfDay { micros, leap_second: second == 60 })
    }

    /// The fraction of a second in microseconds, what is finer cut off.
    fn fraction(&mut self) -> Result<i64, Invalid> {
        if !self.skip(b".,") {
            return Ok(0);
        }
        if !self.next_is_digit() {
            return Err(Invalid::Format);
        }
        let (mut micros, mut place) = (0, SECOND);
        while let Some((digit, rest)) = self.rest.split_first().filter(|(byte, _)| byte.is_ascii_digit()) {
            place /= 10;
            micros += i64::from(digit - b'0') * place;
            self.rest = rest;
        }
        Ok(micros)
    }

    /// How far the local time is ahead of UTC, in microseconds.
    fn offset(&mut self) -> Result<i64, Invalid> {
        let spaced = self.skip(b" ");
        if self.skip(b"Zz") || self.skip_word(b"UTC") || self.skip_word(b"GMT") {
            return Ok(0);
        }
        let ahead = self.skip(b"+");
        if !ahead && !self.skip(b"-") {
            return if spaced { Err(Invalid::Format) } else { Ok(0) };
        }
        let hours = self.digits(2)?;
        let separated = self.skip(b":");
        let minutes = if separated || self.next_is_digit() { self.digits(2)? } else { 0 };
        if hours > 23 || minutes > 59 {
            return Err(Invalid::Calendar);
        }
        let size = i64::from(hours * 3_600 + minutes * 60) * SECOND;
        Ok(if ahead { size } else { -size })
    }
}
