use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::layers::{Flag, Loaded, Sources, load};
use super::{Error, Role, Settings, to_json, to_toml};

fn sources(file: &str, environment: &[(&str, &str)], flags: &[(&'static str, &'static str, Value)]) -> Sources {
    Sources {
        file: (!file.is_empty()).then(|| (PathBuf::from("tidegate.toml"), file.to_owned())),
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        flags: flags.iter().map(|(name, key, value)| Flag { name, key, value: value.clone() }).collect(),
    }
}

fn loaded(file: &str, environment: &[(&str, &str)], flags: &[(&'static str, &'static str, Value)]) -> Loaded {
    load(sources(file, environment, flags)).unwrap()
}

fn check_error(file: &str, environment: &[(&str, &str)], expect: &str) {
    let error: Error = load(sources(file, environment, &[])).unwrap_err();
    assert_eq!(error.to_string(), expect);
}

#[test]
fn without_anything_the_defaults_hold() {
    let loaded = loaded("", &[("HOME", "/root"), ("TIDEGATE_BIN", "/bin/tidegate"), ("TIDEGATE_KEY", "k")], &[]);
    assert_eq!(loaded.settings, Settings::default());
    assert!(loaded.origins.is_empty());
}

#[test]
fn each_layer_covers_the_ones_below() {
    let file = "data = \"a\"\n[server]\nlisten = \"127.0.0.1:1\"\nroles = [\"ingest\"]\n[ingest]\nevents_max = 5\nbody_timeout = \"2m\"\n[ingest.json]\ndepth_max = 9\n";
    let environment = [
        ("TIDEGATE_SERVER__LISTEN", "127.0.0.1:2"),
        ("TIDEGATE_INGEST__EVENTS_MAX", "6"),
        ("TIDEGATE_LAKE__LOCATION", "s3://bucket/prefix"),
        ("TIDEGATE_SERVER__ROLES", "ingest, pipeline"),
        ("TIDEGATE_PIPELINE__INDEX__RUNS_PER_LEVEL_MAX", "7"),
        ("TIDEGATE_JOURNAL__PARTITIONS", "2"),
        ("TIDEGATE_JOURNAL__KAFKA__REPLICATION_FACTOR", "3"),
        ("TIDEGATE_PLAN__FILE", "7"),
    ];
    let loaded = loaded(file, &environment, &[("--listen", "server.listen", json!("127.0.0.1:3"))]);
    let settings = &loaded.settings;
    assert_eq!(settings.data, PathBuf::from("a"));
    assert_eq!(settings.server.listen, "127.0.0.1:3");
    assert_eq!(settings.server.roles, [Role::Ingest, Role::Pipeline]);
    assert_eq!((settings.ingest.events_max, settings.ingest.json.depth_max), (6, 9));
    assert_eq!(settings.ingest.body_timeout, Duration::from_secs(120));
    assert_eq!(settings.lake_location(), "s3://bucket/prefix");
    assert_eq!((settings.lake_folder(), settings.pipeline.index.runs_per_level_max, settings.journal.embedded.partitions), (None, 7, 2));
    // Neither is set by default: a number is one where a number is wanted.
    assert_eq!((settings.journal.kafka.replication_factor, settings.plan.file.as_deref()), (Some(3), Some(std::path::Path::new("7"))));
    let origin = |key: &str| loaded.origins.get(key).map(ToString::to_string);
    assert_eq!(origin("data").as_deref(), Some("tidegate.toml"));
    assert_eq!(origin("server.listen").as_deref(), Some("--listen"));
    assert_eq!(origin("ingest.events_max").as_deref(), Some("TIDEGATE_INGEST__EVENTS_MAX"));
    assert_eq!(origin("log.filter"), None);
}

#[test]
fn errors_name_the_key_and_the_place() {
    check_error(
        "[ingest]\nbody_byte_max = 1\n",
        &[],
        "there is no setting ingest.body_byte_max (in tidegate.toml), is it ingest.body_bytes_max?; `tidegate config` lists all settings",
    );
    check_error(
        "",
        &[("TIDEGATE_SERVR__LISTEN", "x")],
        "there is no setting servr.listen (in TIDEGATE_SERVR__LISTEN), is it server.listen?; `tidegate config` lists all settings",
    );
    check_error("ingest = 1\n", &[], "ingest (in tidegate.toml) must be a section, not a value");
    check_error("[data]\nx = 1\n", &[], "data (in tidegate.toml) must be a value, not a section");
    check_error(
        "",
        &[("TIDEGATE_INGEST__JSON", "x")],
        "ingest.json (in TIDEGATE_INGEST__JSON) must be a value, but it is a section; name a setting in it",
    );
    check_error(
        "",
        &[("TIDEGATE_INGEST__EVENTS_MAX", "many")],
        "ingest.events_max (in TIDEGATE_INGEST__EVENTS_MAX) cannot be used: invalid type: string \"many\", expected usize",
    );
    check_error(
        "[server]\nroles = [\"console\"]\n",
        &[],
        "the settings of [postgres] cannot be used: the role console alone needs a port: set listen, such as 127.0.0.1:8098",
    );
    check_error(
        "[server]\nroles = [\"gate\"]\n",
        &[],
        "server.roles (in tidegate.toml) cannot be used: there is no role \"gate\"; use some of ingest, pipeline and console, separated by commas",
    );
    check_error(
        "[pipeline.retention]\nbronze = \"30days\"\nsilver = \"60days\"\n",
        &[],
        "the settings of [pipeline] cannot be used: pipeline.retention.silver must be set, and at most as long as pipeline.retention.bronze: what is made of Bronze cannot be made anew from what is gone",
    );
    check_error(
        "[server.tls]\ncertificate_file = \"c.pem\"\n",
        &[],
        "the settings of [server] cannot be used: tls.certificate_file needs its key: set tls.key_file too",
    );
    check_error(
        "[server.tls]\nclient_ca_file = \"ca.pem\"\n",
        &[],
        "the settings of [server] cannot be used: tls.client_ca_file asks for certificates of clients, which needs TLS: set tls.certificate_file and tls.key_file too",
    );
    check_error(
        "[server.tls]\ncertificate_file = \"c.pem\"\nkey_file = \"k.pem\"\n[console]\npublic_url = \"http://tidegate.example.com\"\n",
        &[],
        "the settings of [console] cannot be used: public_url: http://tidegate.example.com is asked for without TLS, and server.tls has the console speak it; write https://",
    );
    check_error(
        "[server]\nroles = []\n",
        &[],
        "the settings of [server] cannot be used: roles names none: give at least one of ingest, pipeline, console",
    );
}

#[test]
fn values_that_contradict_each_other_and_broken_files_are_refused() {
    let error = |file: &str| load(sources(file, &[], &[])).unwrap_err().to_string();
    assert!(error("[ingest]\nevents_max = 0\n").starts_with("the settings of [ingest] cannot be used: events_max is 0"));
    assert!(error("[pipeline]\ncommit_interval = \"1d\"\n").starts_with("the settings of [pipeline] cannot be used: "));
    assert!(error("[journal]\nkind = \"rabbit\"\n").contains("journal.kind (in tidegate.toml) cannot be used: unknown variant `rabbit`"));
    assert!(error("[journal]\nkind = \"kafka\"\n").contains("set journal.kafka.brokers"));
    assert!(error("data = \n").starts_with("tidegate.toml cannot be understood: TOML parse error at line 1"));
}

#[test]
fn what_is_shown_can_be_read_again() {
    let file = "[lake]\nlocation = \"s3://key:secret@bucket/x\"\n[ingest]\nevents_max = 5\n";
    let loaded = loaded(file, &[], &[]);
    let text = to_toml(&loaded).unwrap();
    assert!(text.contains("\nevents_max = 5  # from tidegate.toml\n"), "{text}");
    assert!(text.contains("# public_url is not set\n"), "{text}");
    assert!(text.contains("\nlocation = \"s3://key:***@bucket/x\""), "{text}");
    let again = load(sources(&text, &[], &[])).unwrap().settings;
    let mut expect = loaded.settings.clone();
    expect.lake.location = Some("s3://key:***@bucket/x".to_owned());
    assert_eq!(again, expect);
    let shown = to_json(&loaded).unwrap();
    assert_eq!(shown["from"], json!({ "lake.location": "tidegate.toml", "ingest.events_max": "tidegate.toml" }));
    assert_eq!(shown["settings"]["ingest"]["events_max"], 5);
    assert_eq!(shown["settings"]["lake"]["location"], "s3://key:***@bucket/x");
}
