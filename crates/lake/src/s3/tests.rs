use std::time::Duration;

use object_store::signer::Signer as _;

use super::*;
use crate::error::ErrorKind;

/// The location, the settings as JSON, the variables.
type Given<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

const AT_AWS: &[(&str, &str)] = &[("AWS_REGION", "eu-central-1")];
const LOOPBACK: &[(&str, &str)] = &[("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")];

fn target((location, options, variables): Given<'_>) -> Result<Target, Error> {
    let options: S3Options = serde_json::from_str(options).unwrap();
    options.validate(128 << 20)?;
    Target::of(location, &options, &variables.iter().copied().collect(), None)
}

/// The URL of a request for the object `lake/x`, without its signature.
async fn url(given: Given<'_>) -> String {
    let options: S3Options = serde_json::from_str(given.1).unwrap();
    let builder = build(&target(given).unwrap(), &options).with_access_key_id("a").with_secret_access_key("s");
    let signed = builder.build().unwrap().signed_url("GET".parse().unwrap(), &Path::from("lake/x"), Duration::from_secs(1)).await;
    let mut url = signed.unwrap();
    url.set_query(None);
    url.to_string()
}

#[tokio::test]
async fn requests_go_where_settings_and_variables_say() {
    let check = async |given: Given<'_>, expect: &str| assert_eq!(url(given).await, expect, "{given:?}");
    check(("s3://b/p", "{}", AT_AWS), "https://b.s3.eu-central-1.amazonaws.com/lake/x").await;
    check(("s3://b/p", r#"{"path_style":true}"#, AT_AWS), "https://s3.eu-central-1.amazonaws.com/b/lake/x").await;
    check(("s3://b/p", r#"{"region":"us-west-2"}"#, AT_AWS), "https://b.s3.us-west-2.amazonaws.com/lake/x").await;
    check(("s3://b/p", "{}", LOOPBACK), "http://127.0.0.1:9000/b/lake/x").await;
    check(("s3://b/p", r#"{"endpoint":"https://s3.example.com/"}"#, LOOPBACK), "https://s3.example.com/b/lake/x").await;
    check(("s3://b/p", r#"{"endpoint":"https://s3.example.com:8443","path_style":false}"#, &[]), "https://b.s3.example.com:8443/lake/x")
        .await;
    let both = [LOOPBACK[0], ("AWS_ENDPOINT_URL_S3", "https://s3.example.com")];
    check(("s3://b/p", "{}", &both), "https://s3.example.com/b/lake/x").await;
    let allowed = [("AWS_ENDPOINT_URL", "http://s3.internal:9000"), ("AWS_ALLOW_HTTP", "true")];
    check(("s3://b/p", "{}", &allowed), "http://s3.internal:9000/b/lake/x").await;
}

#[test]
fn hadoop_is_told_the_same() {
    let check = |given: Given<'_>, expect: &[(&str, &str)]| {
        let told = target(given).unwrap().hadoop();
        let told: Vec<(&str, &str)> = told.iter().map(|(name, value)| (name.strip_prefix("fs.s3a.").unwrap(), value.as_str())).collect();
        assert_eq!(told, expect, "{given:?}");
    };
    check(("s3://b/p", "{}", AT_AWS), &[("endpoint.region", "eu-central-1"), ("path.style.access", "false")]);
    let loopback = [
        ("endpoint.region", "us-east-1"),
        ("path.style.access", "true"),
        ("connection.ssl.enabled", "false"),
        ("endpoint", "http://127.0.0.1:9000"),
    ];
    check(("s3://b/p", "{}", LOOPBACK), &loopback);
    let in_host = [
        ("endpoint.region", "us-east-1"),
        ("path.style.access", "false"),
        ("connection.ssl.enabled", "true"),
        ("endpoint", "https://s3.example.com:8443"),
    ];
    check(("s3://b/p", r#"{"endpoint":"https://s3.example.com:8443","path_style":false}"#, &[]), &in_host);
}

#[test]
fn what_cannot_be_meant_is_refused_with_advice() {
    let check = |given: Given<'_>, expect: &str| {
        let error = target(given).unwrap_err();
        let text = error.to_string();
        assert!(error.kind() == ErrorKind::Fatal && text.contains(expect) && !text.contains("hush"), "{given:?}: {text}");
    };
    check(("s3://b/p", "{}", &[]), "set AWS_REGION");
    check(("s3:///p", "{}", AT_AWS), "s3://bucket/prefix");
    check(("s3://key:hush@b/p", "{}", AT_AWS), "must hold no keys");
    check(("s3://b/p?region=x", "{}", AT_AWS), "s3://bucket/prefix");
    check(("s3://b:9000/p", "{}", AT_AWS), "lake.s3.endpoint");
    check(("s3://b/p", r#"{"endpoint":"s3.example.com"}"#, &[]), "lake.s3.endpoint");
    check(("s3://b/p", r#"{"endpoint":"https://key:hush@s3.example.com"}"#, &[]), "must hold no keys");
    check(("s3://b/p", "{}", &[("AWS_ENDPOINT_URL", "ftp://hush.example.com")]), "AWS_ENDPOINT_URL must begin");
    check(("s3://b/p", r#"{"endpoint":"http://s3.example.com"}"#, &[]), "use https");
    check(("s3://b/p", r#"{"endpoint":"http://127.0.0.1:9000","path_style":false}"#, &[]), "path_style = true");
    check(("s3://b/p", r#"{"part_bytes":1000}"#, AT_AWS), "lake.s3.part_bytes");
    check(("s3://b/p", r#"{"part_uploads_max":0}"#, AT_AWS), "lake.s3.part_uploads_max");
    check(("s3://b/p", r#"{"multipart_from_bytes":6000000000}"#, AT_AWS), "lake.s3.multipart_from_bytes");
    check(("s3://b/p", r#"{"request_timeout":"0s"}"#, AT_AWS), "lake.s3.request_timeout");
    assert!(S3Options::default().validate(100 << 30).is_err(), "a file would have too many parts");
}

#[test]
fn locations_on_s3_are_told_from_others() {
    let check = |location: &str, expect: Option<bool>| assert_eq!(is_here(location).ok(), expect, "{location}");
    check("s3://b/p", Some(true));
    check("./s3/lake", Some(false));
    check("file:///lake", Some(false));
    check("s3a://b/p", None);
    check("s3n://b/p", None);
    check("S3://b/p", None);
}

#[test]
fn old_settings_are_read_and_unknown_ones_are_not() {
    let options: S3Options = serde_json::from_str(r#"{"retry_timeout":"2m","profile":"lake"}"#).unwrap();
    assert_eq!((options.retry_timeout, options.profile.as_deref()), (Duration::from_secs(120), Some("lake")));
    assert!(serde_json::from_str::<S3Options>(r#"{"secret":"x"}"#).is_err());
    assert!(serde_json::from_str::<crate::Options>(r#"{"s3":{"path_stile":true}}"#).is_err());
    assert_eq!(serde_json::from_str::<crate::Options>("{}").unwrap().s3, S3Options::default());
}
