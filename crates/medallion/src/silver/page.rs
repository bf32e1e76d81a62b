//! Where on a site an event happened, and which campaign led there.
//!
//! A page or screen view describes its page in its properties, else in `context.page`; every other event only there, because its properties are its own (the
//! `url` of a download is not the page). The path is that of the address where none was sent. A campaign's fields are those of `context.campaign`,
//! each else the `utm_` parameter of the page's address.

use std::borrow::Cow;

use contract::Event;
use contract::json::{Object, Value};

/// The page of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page<'a> {
    pub(crate) url: Option<&'a str>,
    pub(crate) path: Option<&'a str>,
    pub(crate) title: Option<&'a str>,
    pub(crate) referrer: Option<&'a str>,
}

/// A member that is a text and not empty.
pub(crate) fn text<'a>(object: &'a Object<'_>, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// A member that is an object.
pub(crate) fn object<'a, 'b>(object: &'a Object<'b>, name: &str) -> Option<&'a Object<'b>> {
    object.get(name).and_then(Value::as_object)
}

pub(crate) fn page<'a>(event: &'a Event<'_>) -> Page<'a> {
    let own = matches!(&*event.event_type, "page_view" | "screen_view").then_some(&event.properties);
    let places = [own, object(&event.context, "page")];
    let find = |name: &str| places.into_iter().flatten().find_map(|place| text(place, name));
    let url = find("url");
    Page { url, path: find("path").or_else(|| url.and_then(path_of)), title: find("title"), referrer: find("referrer") }
}

/// The path of an address, or of what is a path itself.
fn path_of(url: &str) -> Option<&str> {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match url.split_once("//") {
        Some((scheme, rest)) if scheme.is_empty() || scheme.ends_with(':') => match rest.find('/') {
            Some(at) => rest.get(at..),
            None => Some("/"),
        },
        _ => url.starts_with('/').then_some(url),
    }
}

const CAMPAIGN_FIELDS: [(&str, &str); 5] =
    [("source", "utm_source"), ("medium", "utm_medium"), ("name", "utm_campaign"), ("term", "utm_term"), ("content", "utm_content")];

/// Source, medium, name, term and content of the campaign. `url` is the page's.
pub(crate) fn campaign<'a>(context: &'a Object<'_>, url: Option<&'a str>) -> [Option<Cow<'a, str>>; 5] {
    let stated = object(context, "campaign");
    let query = url.map(query_of).filter(|query| query.contains("utm_"));
    CAMPAIGN_FIELDS.map(|(name, parameter)| {
        let own = stated.and_then(|stated| text(stated, name)).map(Cow::Borrowed);
        own.or_else(|| query.and_then(|query| parameter_of(query, parameter)))
    })
}

fn query_of(url: &str) -> &str {
    let url = url.split('#').next().unwrap_or_default();
    url.split_once('?').map_or("", |(_, query)| query)
}

/// The first value of a parameter that is not empty.
fn parameter_of<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let values = query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(key, _)| *key == name);
    values.map(|(_, value)| decoded(value)).find(|value| !value.is_empty())
}

/// A value of a form: `+` is a space, `%41` is `A`. What is no escape stays as it is; bytes that are no UTF-8 become U+FFFD.
fn decoded(value: &str) -> Cow<'_, str> {
    if !value.contains(['+', '%']) {
        return Cow::Borrowed(value);
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escape = (*first == b'%').then(|| after.split_at_checked(2)).flatten();
        match escape.and_then(|(digits, after)| Some((hexadecimal(digits)?, after))) {
            Some((byte, after)) => {
                bytes.push(byte);
                rest = after;
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0, |number: u8, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(number << 4 | u8::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn paths_of_addresses() {
        let check = |url: &str, path: Option<&str>| assert_eq!(path_of(url), path, "{url}");
        check("https://shop.example/a/b?c=/d#/e", Some("/a/b"));
        check("https://shop.example", Some("/"));
        check("https://shop.example?x=1", Some("/"));
        check("https://shop.example/", Some("/"));
        check("//shop.example/a", Some("/a"));
        check("file:///home/x", Some("/home/x"));
        check("/a/b?c", Some("/a/b"));
        check("/a//b", Some("/a//b"));
        check("/", Some("/"));
        check("about:blank", None);
        check("shop.example/a", None);
        check("", None);
    }

    #[test]
    fn parameters_are_decoded() {
        let check = |value: &str, expected: &str| assert_eq!(decoded(value), expected, "{value}");
        check("plain", "plain");
        check("a+b%20c", "a b c");
        check("%C3%A9%e9", "é\u{fffd}");
        check("100%", "100%");
        check("%4", "%4");
        check("%zz%+1", "%zz% 1");
        assert_eq!(parameter_of("utm_source=&x=1&utm_source=b&utm_source=c", "utm_source"), Some("b".into()));
        assert_eq!(parameter_of("xutm_source=a&utm_source", "utm_source"), None);
    }

    fn event(event_type: &'static str, properties: Value, context: Value) -> Event<'static> {
        let map = |value: Value| value.as_object().cloned().unwrap_or_default().into();
        Event { event_type: event_type.into(), properties: map(properties), context: map(context), ..Event::default() }
    }

    #[test]
    fn a_page_view_describes_its_page_itself() {
        let url = "https://shop.example/x?utm_campaign=c&utm_term=t";
        let context = json!({"page": {"url": url, "title": "T", "referrer": 5}, "campaign": {"name": "n", "source": ""}});
        let viewed = event("page_view", json!({"url": "/own", "path": ""}), context.clone());
        assert_eq!(page(&viewed), Page { url: Some("/own"), path: Some("/own"), title: Some("T"), referrer: None });
        let download = event("download", json!({"url": "/own"}), context);
        let found = page(&download);
        assert_eq!((found.url, found.path), (Some(url), Some("/x")));
        let campaign = campaign(&download.context, found.url).map(|field| field.map(Cow::into_owned));
        assert_eq!(campaign, [None, None, Some("n".to_owned()), Some("t".to_owned()), None]);
    }

    proptest! {
        #[test]
        fn no_address_panics(url in ".{0,40}", like in "(https?:)?/{0,3}[a-z.]{0,5}[/?#&=%+a-f0-9_utm]{0,30}") {
            for url in [url, like] {
                let path = path_of(&url);
                prop_assert!(path.is_none_or(|path| path == "/" || url.contains(path)));
                let _campaign = campaign(&Object::new(), Some(&url));
            }
        }
    }
}
