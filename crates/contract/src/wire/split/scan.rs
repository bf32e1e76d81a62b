//! Finds where JSON values end, without reading what is in them.

use crate::Violation;

pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Whether the bytes are one value from the first to the last, as far as brackets and strings tell.
pub(super) fn is_one_value(bytes: &[u8]) -> bool {
    value_length(bytes) == Some(bytes.len())
}

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Hands over each element of an array that is all there is.
    pub(super) fn array(&mut self, mut element: impl FnMut(&'a [u8]) -> Result<(), Violation>) -> Result<(), Violation> {
        self.expect(b'[', "an array that begins with '['")?;
        if !self.found(b']') {
            loop {
                element(self.value()?)?;
                if self.found(b']') {
                    break;
                }
                self.expect(b',', "',' or ']' after an element")?;
            }
        }
        self.end()
    }

    /// Hands over each key, unescaped, and value of an object that is all there is.
    pub(super) fn object(&mut self, mut member: impl FnMut(&str, &'a [u8]) -> Result<(), Violation>) -> Result<(), Violation> {
        self.expect(b'{', "an object that begins with '{'")?;
        if !self.found(b'}') {
            loop {
                let key = self.key()?;
                self.expect(b':', "':' after a key")?;
                member(&key, self.value()?)?;
                if self.found(b'}') {
                    break;
                }
                self.expect(b',', "',' or '}' after a value")?;
            }
        }
        self.end()
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn skip_whitespace(&mut self) {
        self.at += self.rest().iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    }

    fn found(&mut self, wanted: u8) -> bool {
        self.skip_whitespace();
        let found = self.rest().first() == Some(&wanted);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: u8, what: &str) -> Result<(), Violation> {
        if self.found(wanted) { Ok(()) } else { Err(self.broken(what)) }
    }

    fn end(&mut self) -> Result<(), Violation> {
        self.skip_whitespace();
        if self.rest().is_empty() { Ok(()) } else { Err(self.broken("nothing more after the last bracket")) }
    }

    fn value(&mut self) -> Result<&'a [u8], Violation> {
        self.skip_whitespace();
        let value =
            value_length(self.rest()).and_then(|length| self.rest().get(..length)).ok_or_else(|| self.broken("a complete value"))?;
        self.at += value.len();
        Ok(value)
    }

    fn key(&mut self) -> Result<String, Violation> {
        self.skip_whitespace();
        if self.rest().first() != Some(&b'"') {
            return Err(self.broken("a key in double quotes"));
        }
        let start = self.at;
        let key = serde_json::from_slice(self.value()?);
        key.map_err(|_| Self { bytes: self.bytes, at: start }.broken("a key of valid UTF-8 and escapes"))
    }

    fn broken(&self, wanted: &str) -> Violation {
        let message = format!("the body is not complete JSON: expected {wanted} at byte {}", self.at);
        Violation::new("invalid_json", "", message)
    }
}

/// How many bytes the value at the front takes; `None` where there is none or it has no end. Closing brackets are not matched with the kind that they close: what
/// is inside of a value is for the parser to judge.
fn value_length(bytes: &[u8]) -> Option<usize> {
    match bytes.first()? {
        b'"' => string_length(bytes),
        b'{' | b'[' => nested_length(bytes),
        b',' | b':' | b']' | b'}' => None,
        _ => Some(bytes.iter().take_while(|byte| !matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r')).count()),
    }
}

fn nested_length(bytes: &[u8]) -> Option<usize> {
    let mut open = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at += string_length(bytes.get(at..)?)?;
                continue;
            }
            b'{' | b'[' => open += 1,
            b'}' | b']' => open -= 1,
            _ => {}
        }
        at += 1;
        if open == 0 {
            return Some(at);
        }
    }
    None
}

/// The length of the string at the front with its quotes.
fn string_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        let rest = bytes.get(at..)?;
        let special = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        at += special + 1;
        if rest.get(special) == Some(&b'"') {
            return Some(at);
        }
        at += 1;
    }
}
