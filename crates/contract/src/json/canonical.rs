//! The canonical form.
//!
//! It is RFC 8785 (JCS) but for two things. Keys are sorted by their UTF-8 bytes (JCS: by UTF-16 units), which is the order Rust, Python, Java's
//! `compareUnsigned` on bytes and SQL's binary collation agree on. And whole numbers keep all of their digits: a number that is whole and lies
//! within [-2^63, 2^64) is written as a plain integer, however it came (`1`, `1.0`, `1e0` are all `1`, `-0.0` is `0`). Any other number is the
//! shortest decimal that reads back as the same 64-bit float, laid out as ECMAScript does (`0.5`, `1e+22`, `1.5e-7`).
//!
//! So two values have the same text if and only if they are equal, and the text of a parsed text is that text.

use std::fmt::Write as _;

use serde_json::Number;

use super::{Object, Value};

/// The canonical text of a value. The value comes from [`super::parse_strict`], which bounds its depth.
pub fn canonical(value: &Value<'_>) -> String {
    let mut out = String::new();
    write_value(value, &mut out);
    out
}

/// The canonical text of an object.
pub fn canonical_object(object: &Object<'_>) -> String {
    // Growing to what an event's properties mostly are would copy it half a dozen times.
    let mut out = String::with_capacity(if object.is_empty() { 2 } else { 512 });
    write_object(object, &mut out);
    out
}

fn write_value(value: &Value<'_>, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(item, out);
            }
            out.push(']');
        }
        Value::Object(object) => write_object(object, out),
    }
}

fn write_object(object: &Object<'_>, out: &mut String) {
    out.push('{');
    for (index, (name, value)) in object.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_string(name, out);
        out.push(':');
        write_value(value, out);
    }
    out.push('}');
}

fn write_number(number: &Number, out: &mut String) {
    let written = if let Some(whole) = number.as_u64() {
        write!(out, "{whole}")
    } else if let Some(whole) = number.as_i64() {
        write!(out, "{whole}")
    } else {
        write_float(number.as_f64().unwrap_or_default(), out)
    };
    debug_assert!(written.is_ok(), "writing to a string does not fail");
}

fn write_float(float: f64, out: &mut String) -> std::fmt::Result {
    const TWO_POW_63: f64 = 9_223_372_036_854_775_808.0;
    let size = float.abs();
    if float.fract() == 0.0 && (-TWO_POW_63..2.0 * TWO_POW_63).contains(&float) {
        write!(out, "{}", float as i128)
    } else if (1e-6..1e21).contains(&size) {
        write!(out, "{float}")
    } else {
        let start = out.len();
        write!(out, "{float:e}")?;
        if let Some(exponent) = out.rfind('e').filter(|at| *at >= start && size >= 1.0) {
            out.insert(exponent + 1, '+');
        }
        Ok(())
    }
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = special(rest.as_bytes()) {
        let (plain, from) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = from.chars();
        if let Some(special) = chars.next() {
            write_escaped(special, out);
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

/// Where the first byte is that is not written as it is. Eight at a time are looked at together, for most texts have none.
fn special(bytes: &[u8]) -> Option<usize> {
    let is_special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    let (chunks, _) = bytes.as_chunks::<8>();
    // Without a branch within a chunk, so that the compiler makes it one instruction for many bytes.
    let plain = chunks.iter().take_while(|chunk| !chunk.iter().fold(false, |any, byte| any | is_special(*byte))).count() * 8;
    bytes.iter().skip(plain).position(|byte| is_special(*byte)).map(|at| plain + at)
}

fn write_escaped(special: char, out: &mut String) {
    match special {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{8}' => out.push_str("\\b"),
        '\t' => out.push_str("\\t"),
        '\n' => out.push_str("\\n"),
        '\u{c}' => out.push_str("\\f"),
        '\r' => out.push_str("\\r"),
        other => {
            let written = write!(out, "\\u{:04x}", u32::from(other));
            debug_assert!(written.is_ok(), "writing to a string does not fail");
        }
    }
}
