//! To which trace an event belongs, where its sender says so: a W3C `traceparent` among its metadata.
//!
//! It is carried in the event itself: in its `context` (native and Segment's shape), or as the extension of CloudEvents for distributed tracing. So each stage finds it in the bytes it has, and
//! nothing else has to carry it on.

use std::fmt;
use std::str::FromStr;

use memchr::memmem;

/// The target of `tracing` events that tell of events whose way is traced. Whoever collects traces makes spans of them; where nobody does, nothing is looked for.
pub const TARGET: &str = "tidegate::trace";
/// Events of one request or commit that are told of, at most.
pub const EVENTS_MAX: usize = 100;

/// The name, as it stands in an event.
const FIELD: &[u8] = b"\"traceparent\"";
/// The length of a value of version 00 (W3C Trace Context, 3.2.2).
const CHARS: usize = 55;

/// A place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traceparent {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span that was active where the event came from.
    pub span_id: [u8; 8],
    /// Whether its sender records this trace.
    pub sampled: bool,
}

impl Traceparent {
    /// The first one that an event has, if its sender records the trace. Whoever writes it into a property has it found there, too.
    pub fn sampled_of(event: &[u8]) -> Option<Self> {
        let rest = event.get(memmem::find(event, FIELD)? + FIELD.len()..)?;
        let rest = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
        let value = std::str::from_utf8(rest.get(..CHARS)?).ok()?;
        value.parse().ok().filter(|found: &Self| found.sampled)
    }
}

impl FromStr for Traceparent {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "a traceparent is 00-, 32 hexadecimal digits, -, 16 more, - and 2 more";
        let parts: Vec<&str> = text.split('-').collect();
        let ["00", trace, span, flags] = parts.as_slice() else { return Err(wrong) };
        let mut found = Self { trace_id: [0; 16], span_id: [0; 8], sampled: false };
        let mut flag = [0];
        read(trace, &mut found.trace_id)
            .and_then(|()| read(span, &mut found.span_id))
            .and_then(|()| read(flags, &mut flag))
            .ok_or(wrong)?;
        if found.trace_id == [0; 16] || found.span_id == [0; 8] {
            return Err("ids of nothing but zeros are none");
        }
        found.sampled = flag[0] & 1 == 1;
        Ok(found)
    }
}

/// Reads hexadecimal digits of lower case, two a byte.
fn read(digits: &str, bytes: &mut [u8]) -> Option<()> {
    let value = |digit: &u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    if digits.len() != bytes.len() * 2 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = value(high)? << 4 | value(low)?;
    }
    Some(())
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00-")?;
        self.trace_id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("-")?;
        self.span_id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(if self.sampled { "-01" } else { "-00" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_value_reads_back() {
        let read: Traceparent = VALUE.parse().unwrap();
        assert_eq!((read.to_string().as_str(), read.sampled, read.trace_id[0], read.span_id[7]), (VALUE, true, 0x0a, 0x31));
        assert!(!VALUE.replace("-01", "-00").parse::<Traceparent>().unwrap().sampled);
        assert!(VALUE.replace("-01", "-03").parse::<Traceparent>().unwrap().sampled);
        for bad in [
            "",
            "00",
            &VALUE.replace("00-", "01-"),
            &VALUE.replace('f', "F"),
            &VALUE.replace("b7ad", "b7a"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            &format!("{VALUE}-x"),
        ] {
            assert!(bad.parse::<Traceparent>().is_err(), "{bad}");
        }
    }

    #[test]
    fn it_is_found_in_any_shape() {
        let check = |event: String, expect: bool| assert_eq!(Traceparent::sampled_of(event.as_bytes()).is_some(), expect, "{event}");
        check(format!(r#"{{"event_id":"a","context":{{"traceparent":"{VALUE}"}}}}"#), true);
        check(format!("{{\"specversion\":\"1.0\",\"traceparent\" :\n \"{VALUE}\"}}"), true);
        check(format!(r#"{{"context":{{"traceparent":"{}"}}}}"#, VALUE.replace("-01", "-00")), false);
        check(r#"{"context":{"traceparent":"00-"}}"#.to_owned(), false);
        check(r#"{"context":{"traceparent":null}}"#.to_owned(), false);
        check(format!(r#"{{"name":"\"traceparent\":\"{VALUE}\""}}"#), false);
        check(format!(r#"{{"traceparent":"{}"}}"#, "ü".repeat(40)), false);
        check("{}".to_owned(), false);
    }
}
