use std::collections::BTreeSet;

use contract::Violation;
use serde_json::Value;

use super::DOCUMENT;
use crate::Error;
use crate::route::{PIXELS, POSTS};

fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

#[test]
fn every_path_is_described() {
    let document = document();
    let methods_of = |item: &Value| -> Vec<String> {
        let referred =
            item.get("$ref").and_then(Value::as_str).map(|reference| document.pointer(reference.trim_start_matches('#')).unwrap());
        referred.unwrap_or(item).as_object().unwrap().keys().cloned().collect()
    };
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<String> =
        paths.iter().flat_map(|(path, item)| methods_of(item).into_iter().map(move |method| format!("{method} {path}"))).collect();
    let posts = POSTS.iter().map(|(path, _)| format!("post {path}"));
    let gets = PIXELS.iter().map(|(path, _)| format!("get {path}"));
    let others = ["post /v1/m", "get /v1/projects/{key}/settings", "get /openapi.json"].map(str::to_owned);
    assert_eq!(described, posts.chain(gets).chain(others).collect());
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn every_reference_leads_somewhere() {
    fn check(value: &Value, document: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                    assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
                }
                members.values().for_each(|member| check(member, document));
            }
            Value::Array(items) => items.iter().for_each(|item| check(item, document)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    check(&document(), &document());
}

#[test]
fn every_code_stands_under_its_status() {
    let document = document();
    let errors = [
        Error::MissingKey,
        Error::InvalidCredentials,
        Error::UnknownKey,
        Error::RevokedKey,
        Error::ConflictingKeys,
        Error::OriginNotAllowed,
        Error::NoHost,
        Error::BodyTooLarge { bytes_max: 1 },
        Error::ExpandsTooMuch { ratio_max: 1 },
        Error::BatchTooLarge { bytes_max: 1 },
        Error::EnvelopeTooLarge { bytes_max: 1 },
        Error::UnsupportedEncoding(String::new()),
        Error::InvalidEncoding { encoding: "gzip", problem: String::new() },
        Error::UnsupportedFormat(String::new()),
        Error::Malformed(Violation::new("invalid_json", "", "")),
        Error::BodyBroken,
        Error::BodyTooSlow,
        Error::Busy,
        Error::OutOfMemory,
        Error::TooFast { wait_seconds: 1 },
        Error::JournalFull,
        Error::JournalUnavailable,
        Error::JournalSlow,
        Error::Internal,
        Error::Closing,
    ];
    for error in errors {
        let name = match error.status().as_u16() {
            400 => "Malformed",
            401 => "Unauthorized",
            403 => "Forbidden",
            413 => "TooLarge",
            429 => "Wait",
            503 => "Closing",
            other => panic!("{other}"),
        };
        let schema = &document["components"]["responses"][name]["content"]["application/json"]["schema"]["allOf"][1];
        let codes = schema["properties"]["code"]["examples"].as_array().unwrap();
        assert!(codes.iter().any(|code| code == error.code()), "{} is missing under {name}", error.code());
        let retried = matches!(name, "Wait" | "Closing");
        assert_eq!(error.retry_after_seconds().is_some(), retried, "{error:?}");
        assert!(!retried || error.refusal().is_none(), "what comes again is not kept: {error:?}");
    }
    assert_eq!(Error::TooFast { wait_seconds: 0 }.retry_after_seconds(), Some(1));
    assert_eq!(Error::TooFast { wait_seconds: u32::MAX }.retry_after_seconds(), Some(300));
}
