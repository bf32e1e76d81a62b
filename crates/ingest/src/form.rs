//! In which form a request carries its events.

use axum::extract::Query as Extract;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Uri};
use contract::WireFormat;
use serde_json::{Map, Value};

use crate::Error;
use crate::route::{Call, Route};

/// In which form a request carries its events.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Form {
    /// An object, an array, or lines.
    Native,
    SegmentBatch,
    SegmentCall(Call),
    /// The parameters are the fields.
    SegmentQuery(Call),
    /// The body is the data, the headers hold the attributes.
    CloudeventBinary(Map<String, Value>),
    CloudeventStructured,
    CloudeventBatch,
}

impl Form {
    /// The form that path and headers say. The content type decides only between CloudEvents and the rest: clients send JSON under many names.
    pub(crate) fn of(route: Route, headers: &HeaderMap) -> Result<Self, Error> {
        match route {
            Route::Batch => Ok(Self::SegmentBatch),
            Route::Call(call) | Route::PixelData(call) => Ok(Self::SegmentCall(call)),
            Route::PixelQuery(call) => Ok(Self::SegmentQuery(call)),
            Route::Events => events(headers),
        }
    }

    pub(crate) fn format(&self) -> WireFormat {
        match self {
            Self::Native => WireFormat::Native,
            Self::SegmentBatch | Self::SegmentCall(_) | Self::SegmentQuery(_) => WireFormat::Segment,
            Self::CloudeventBinary(_) | Self::CloudeventStructured | Self::CloudeventBatch => WireFormat::Cloudevents,
        }
    }

    /// Whether the body is JSON, so that compression shows in its first bytes. The data of a CloudEvent may be any bytes.
    pub(crate) fn is_json(&self) -> bool {
        !matches!(self, Self::CloudeventBinary(_))
    }
}

fn events(headers: &HeaderMap) -> Result<Form, Error> {
    let content_type = headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/cloudevents+json" | "application/cloudevents" => Ok(Form::CloudeventStructured),
        "application/cloudevents-batch+json" | "application/cloudevents-batch" => Ok(Form::CloudeventBatch),
        other if other.starts_with("application/cloudevents") => Err(Error::UnsupportedFormat(other.chars().take(64).collect())),
        _ if headers.contains_key("ce-specversion") || headers.contains_key("ce-id") => {
            Ok(Form::CloudeventBinary(attributes(headers, &content_type)))
        }
        _ => Ok(Form::Native),
    }
}

/// The attributes of a CloudEvent in binary mode. One that is there twice counts as its first.
fn attributes(headers: &HeaderMap, content_type: &str) -> Map<String, Value> {
    let mut attributes = Map::new();
    for name in headers.keys() {
        let Some(attribute) = name.as_str().strip_prefix("ce-").filter(|attribute| !attribute.is_empty()) else { continue };
        if let Some(value) = headers.get(name) {
            attributes.insert(attribute.to_owned(), Value::String(attribute_value(value.as_bytes())));
        }
    }
    if !content_type.is_empty() {
        attributes.insert("datacontenttype".to_owned(), Value::String(content_type.to_owned()));
    }
    attributes
}

/// The value of an attribute as the HTTP binding writes it: maybe in double quotes, and with everything but visible ASCII percent-encoded. What
/// is not encoded soundly stays as it is.
fn attribute_value(header: &[u8]) -> String {
    let quoted = header.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let unquoted = quoted.map_or_else(|| header.to_vec(), unescaped);
    let decoded = percent_decoded(&unquoted);
    String::from_utf8(decoded).unwrap_or_else(|_| String::from_utf8_lossy(&unquoted).into_owned())
}

fn unescaped(quoted: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(byte) = bytes.next() {
        let escaped = if *byte == b'\\' { bytes.next() } else { None };
        plain.push(*escaped.unwrap_or(byte));
    }
    plain
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|digits| *first == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let byte = code.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    decoded
}

/// The parameters of an address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    pub(crate) fn of(uri: &Uri) -> Self {
        let pairs = Extract::<Vec<(String, String)>>::try_from_uri(uri).map(|Extract(pairs)| pairs).unwrap_or_default();
        Self { pairs }
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn first<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};
    use serde_json::json;

    use super::*;

    fn check(pairs: &[(&'static str, &'static str)], expect: Result<Form, Error>) {
        let headers = pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
        assert_eq!(Form::of(Route::Events, &headers), expect, "{pairs:?}");
    }

    #[test]
    fn only_cloudevents_are_told_by_the_headers() {
        check(&[], Ok(Form::Native));
        check(&[("content-type", "text/plain")], Ok(Form::Native));
        check(&[("content-type", "Application/CloudEvents+JSON; charset=UTF-8")], Ok(Form::CloudeventStructured));
        check(&[("content-type", "application/cloudevents-batch+json")], Ok(Form::CloudeventBatch));
        check(
            &[("content-type", "application/cloudevents+avro")],
            Err(Error::UnsupportedFormat("application/cloudevents+avro".to_owned())),
        );
        let Value::Object(attributes) = json!({"id": "1", "specversion": "1.0", "datacontenttype": "application/json; x=y"}) else {
            panic!()
        };
        check(
            &[("ce-id", "1"), ("ce-specversion", "1.0"), ("content-type", "application/json; x=y")],
            Ok(Form::CloudeventBinary(attributes)),
        );
    }

    #[test]
    fn attributes_are_decoded_as_the_binding_says() {
        let check = |header: &str, expect: &str| assert_eq!(attribute_value(header.as_bytes()), expect, "{header}");
        check("plain", "plain");
        check("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀");
        check("\"quoted \\\"text\\\" %25\"", "quoted \"text\" %");
        check("100%", "100%");
        check("%4", "%4");
        check("%zz", "%zz");
        check("%ff", "%ff");
    }

    #[test]
    fn parameters_are_read_as_forms_are() {
        let query = Query::of(&"/p?a=1&b=x%20y+z&a=2&c".parse().unwrap());
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((query.first("b"), query.first("c"), query.first("d")), (Some("x y z"), Some(""), None));
    }
}
