//! JSON, as far as reports need it: what `tidegate bench … --json` and the peers write is read, and what is made of it is written. No library of it: see the manifest of this crate.

use std::fmt::{self, Display, Formatter, Write as _};
use std::iter::Peekable;
use std::str::Chars;

use anyhow::{Context as _, Result, bail};

/// Reports are shallow.
const DEPTH_MAX: u32 = 32;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Self>),
    /// In the order of the text.
    Object(Vec<(String, Self)>),
}

impl Json {
    /// # Errors
    ///
    /// Unless the text is one value and nothing else.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut parser = Parser { rest: text.chars().peekable() };
        let value = parser.value(0)?;
        parser.space();
        match parser.rest.next() {
            None => Ok(value),
            Some(more) => bail!("there is {more:?} behind the value"),
        }
    }

    /// A text.
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// An object of pairs.
    pub(crate) fn object<const N: usize>(pairs: [(&str, Self); N]) -> Self {
        Self::Object(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// A list of numbers.
    pub(crate) fn numbers(numbers: &[f64]) -> Self {
        Self::List(numbers.iter().copied().map(Self::Number).collect())
    }

    /// The value of that name, where this is an object that has one.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(pairs) = self else { return None };
        pairs.iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    /// The number, where this is one.
    pub(crate) fn number(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }
}

impl Display for Json {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(out, "{value}"),
            Self::Number(number) if number.is_finite() => write!(out, "{number}"),
            Self::Null | Self::Number(_) => out.write_str("null"),
            Self::Text(text) => quoted(out, text),
            Self::List(values) => {
                out.write_char('[')?;
                for (index, value) in values.iter().enumerate() {
                    write!(out, "{}{value}", if index > 0 { "," } else { "" })?;
                }
                out.write_char(']')
            }
            Self::Object(pairs) => {
                out.write_char('{')?;
                for (index, (name, value)) in pairs.iter().enumerate() {
                    out.write_str(if index > 0 { "," } else { "" })?;
                    quoted(out, name)?;
                    write!(out, ":{value}")?;
                }
                out.write_char('}')
            }
        }
    }
}

fn quoted(out: &mut Formatter<'_>, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for char in text.chars() {
        match char {
            '"' | '\\' => write!(out, "\\{char}")?,
            '\n' => out.write_str("\\n")?,
            control if control < ' ' => write!(out, "\\u{:04x}", u32::from(control))?,
            char => out.write_char(char)?,
        }
    }
    out.write_char('"')
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Parser<'_> {
    fn space(&mut self) {
        while self.rest.next_if(|char| matches!(char, ' ' | '\n' | '\r' | '\t')).is_some() {}
    }

    /// Whether this is what comes next; then it is passed over.
    fn takes(&mut self, char: char) -> bool {
        self.space();
        self.rest.next_if_eq(&char).is_some()
    }

    fn expect(&mut self, char: char) -> Result<()> {
        if !self.takes(char) {
            bail!("expected {char:?}, found {:?}", self.rest.peek());
        }
        Ok(())
    }

    fn value(&mut self, depth: u32) -> Result<Json> {
        if depth > DEPTH_MAX {
            bail!("nested more than {DEPTH_MAX} deep");
        }
        self.space();
        match self.rest.peek() {
            Some('{') => self.object(depth),
            Some('[') => self.list(depth),
            Some('"') => Ok(Json::Text(self.string()?)),
            Some('-' | '0'..='9') => self.number(),
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: u32) -> Result<Json> {
        let mut pairs = Vec::new();
        self.expect('{')?;
        if !self.takes('}') {
            loop {
                self.space();
                let name = self.string()?;
                self.expect(':')?;
                pairs.push((name, self.value(depth + 1)?));
                if !self.takes(',') {
                    break;
                }
            }
            self.expect('}')?;
        }
        Ok(Json::Object(pairs))
    }

    fn list(&mut self, depth: u32) -> Result<Json> {
        let mut values = Vec::new();
        self.expect('[')?;
        if !self.takes(']') {
            loop {
                values.push(self.value(depth + 1)?);
                if !self.takes(',') {
                    break;
                }
            }
            self.expect(']')?;
        }
        Ok(Json::List(values))
    }

    fn number(&mut self) -> Result<Json> {
        let mut digits = String::new();
        while let Some(char) = self.rest.next_if(|char| char.is_ascii_digit() || "+-.eE".contains(*char)) {
            digits.push(char);
        }
        Ok(Json::Number(digits.parse().with_context(|| format!("{digits:?} is no number"))?))
    }

    fn word(&mut self) -> Result<Json> {
        let mut word = String::new();
        while let Some(char) = self.rest.next_if(char::is_ascii_alphabetic) {
            word.push(char);
        }
        match word.as_str() {
            "null" => Ok(Json::Null),
            "true" => Ok(Json::Bool(true)),
            "false" => Ok(Json::Bool(false)),
            _ => bail!("expected a value, found {word:?} and then {:?}", self.rest.peek()),
        }
    }

    fn string(&mut self) -> Result<String> {
        self.expect('"')?;
        // In the units that escapes have, which may be halves of a character.
        let mut units = Vec::new();
        loop {
            match self.rest.next().context("a text does not end")? {
                '"' => return Ok(String::from_utf16_lossy(&units)),
                '\\' => units.push(self.escape()?),
                char => units.extend_from_slice(char.encode_utf16(&mut [0; 2])),
            }
        }
    }

    fn escape(&mut self) -> Result<u16> {
        Ok(match self.rest.next().context("a text does not end")? {
            'b' => 8,
            't' => 9,
            'n' => 10,
            'f' => 12,
            'r' => 13,
            'u' => {
                let digits: String = self.rest.by_ref().take(4).collect();
                u16::from_str_radix(&digits, 16).with_context(|| format!("\\u{digits} is no character"))?
            }
            char @ ('"' | '\\' | '/') => char as u16,
            other => bail!("\\{other} is no escape"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_written() {
        let check = |text: &str, expect: &str| assert_eq!(Json::parse(text).unwrap().to_string(), expect, "{text}");
        check(" { \"a\" : [ 1, -2.5e3, true, null ], \"b\":{} } ", "{\"a\":[1,-2500,true,null],\"b\":{}}");
        check(r#""a\"\\\n\u00e9\ud83d\ude00""#, "\"a\\\"\\\\\\né😀\"");
        check("[]", "[]");
        check("0.25", "0.25");
        assert_eq!(Json::Number(f64::NAN).to_string(), "null");
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "[1,]", "nul", "1 2", "\"a", "{\"a\" 1}", "\"\\x\"", "--1", &"[".repeat(100)] {
            assert!(Json::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn figures_are_found_by_name() {
        let report = Json::parse("{\"figures\":{\"a\":1.5}}").unwrap();
        let figures = report.get("figures").unwrap();
        assert_eq!(figures.get("a").and_then(Json::number), Some(1.5));
        assert_eq!(figures.get("b"), None);
        assert_eq!(report.number(), None);
    }
}
