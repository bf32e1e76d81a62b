//! A lake on a real S3 server: finding it, keys, large files, many writers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;

use lake::{Commit, Environment, Error, ErrorKind, Lake, Options, S3Options};

use crate::common::*;
use crate::place::{BUCKET, PREFIX};

/// Says in a child process, see below, which lake to open.
const LOCATION: &str = "LAKE_TEST_LOCATION";

async fn refused(location: &str, options: Options, environment: &Environment) -> String {
    let error = Lake::open_in(location, options, environment).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fatal, "{error}");
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_bucket_is_said_when_it_is_opened() {
    let mut place = Place::bucket();
    let with = |name: &str, value: &str| -> Environment {
        let given = place.variables().into_iter().filter(|(given, _)| given != name);
        given.chain([(name.to_owned(), value.to_owned())]).collect()
    };
    let missing = refused("s3://nothing/lake", Options::default(), &place.environment()).await;
    assert!(missing.contains("the bucket `nothing` does not exist at http://127.0.0.1"), "{missing}");
    let wrong = refused(&place.location(), Options::default(), &with("AWS_SECRET_ACCESS_KEY", "hush-hush")).await;
    assert!(wrong.contains("refuses these keys (SignatureDoesNotMatch") && !wrong.contains("hush"), "{wrong}");
    let unknown = refused(&place.location(), Options::default(), &with("AWS_ACCESS_KEY_ID", "nobody")).await;
    assert!(unknown.contains("refuses these keys ("), "{unknown}");
    let half = refused(&place.location(), Options::default(), &with("AWS_SECRET_ACCESS_KEY", "")).await;
    assert!(half.contains("AWS_SECRET_ACCESS_KEY is not"), "{half}");
    let other = refused("s3a://lake/x", Options::default(), &place.environment()).await;
    assert!(other.contains("use s3://"), "{other}");

    place.server().kill().unwrap();
    let s3 = S3Options { retries_max: 1, ..S3Options::default() };
    let gone = Lake::open_in(&place.location(), Options { s3, ..Options::default() }, &place.environment()).await.unwrap_err();
    assert!(gone.kind() == ErrorKind::Retry && gone.to_string().contains("reach the bucket `lake`"), "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_lakes_share_a_bucket_and_nothing_else() {
    let place = Place::bucket();
    let environment = place.environment();
    let mut lakes = Vec::new();
    for (n, prefix) in (0..).zip(["", "/a", "/a/b", "/ab"]) {
        let lake = Lake::open_in(&format!("s3://{BUCKET}{prefix}"), Options::default(), &environment).await.unwrap();
        lake.table(&spec()).await.unwrap().append(vec![day_rows(n, 1)], Commit::default()).await.unwrap();
        lakes.push((n, lake));
    }
    for (n, lake) in lakes {
        assert_eq!(visible(&lake).await, [n], "{}", lake.location());
    }
}

/// A store that takes every header and heeds none, as some have been that call themselves S3. Gives its address.
fn heedless() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut lines, mut body) = (Vec::new(), 0);
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                match line.trim_end().to_lowercase() {
                    end if end.is_empty() => break,
                    line => lines.push(line),
                }
            }
            for line in &lines {
                body = line.strip_prefix("content-length: ").map_or(body, |length| length.parse().unwrap());
            }
            stream.read_exact(&mut vec![0; body]).unwrap();
            let text = "<ListBucketResult><Name>lake</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>";
            let head = format!("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", text.len());
            stream.get_mut().write_all(format!("{head}{text}").as_bytes()).unwrap();
        }
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_would_lose_commits_is_never_written_to() {
    let url = heedless();
    let variables = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_ENDPOINT_URL", url.as_str())];
    let lake = Lake::open_in("s3://lake/x", Options::default(), &variables.into_iter().collect()).await.unwrap();
    let error = lake.table(&spec()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fatal);
    assert!(error.to_string().contains("writers would overwrite each other's commits"), "{error}");
}

/// Bytes that no compression makes smaller.
fn noise(bytes: usize) -> arrow::array::RecordBatch {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let payload: Vec<u8> = (0..bytes).map(|_| next()).collect();
    let rows = day_rows(0, 1);
    let mut columns = rows.columns().to_vec();
    columns[4] = std::sync::Arc::new(arrow::array::BinaryArray::from(vec![payload.as_slice()]));
    arrow::array::RecordBatch::try_new(rows.schema(), columns).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_go_up_in_parts_and_come_back_whole() {
    let place = Place::bucket();
    let s3 = S3Options { multipart_from_bytes: 6 << 20, part_bytes: 5 << 20, ..S3Options::default() };
    let lake = place.lake_with(Options { s3, ..Options::default() }).await;
    let mut table = lake.table(&spec()).await.unwrap();
    let (small, large) = (noise(5 << 20), noise(17 << 20));
    for batch in [small.clone(), large.clone()] {
        table.append(vec![batch], Commit::default()).await.unwrap();
    }
    let files = table.added(0, 2).await.unwrap();
    assert_eq!(table.read(&files[..1], None).await.unwrap(), [small]);
    assert_eq!(table.read(&files[1..], None).await.unwrap(), [large]);
    // What was made of parts has a tag that says of how many.
    let mut tags = Vec::new();
    for file in &files {
        tags.push(place.tag(&format!("{PREFIX}/bronze/events/{}", file.path)).await.trim_matches('"').to_owned());
    }
    assert!(!tags[0].contains('-') && tags[1].ends_with("-4"), "{tags:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_writers_make_each_commit_once() {
    const WRITERS: i64 = 8;
    const COMMITS: i64 = 25;
    let place = Place::bucket();
    let options = Options { commit_attempts_max: 400, checkpoint_interval: 20, ..Options::default() };
    place.lake_with(options.clone()).await.table(&spec()).await.unwrap();
    let writers = (0..WRITERS).map(|writer| {
        let (location, options, environment) = (place.location(), options.clone(), place.environment());
        tokio::spawn(async move {
            // A lake of its own: nothing but the bucket connects it with the others.
            let lake = Lake::open_in(&location, options, &environment).await.unwrap();
            let mut table = lake.table(&spec()).await.unwrap();
            let app_id = format!("writer-{writer}");
            for commit in 0..COMMITS {
                let rows = day_rows(writer * COMMITS + commit, 1);
                table.append(vec![rows], progress(&[(&app_id, commit + 1)])).await.unwrap();
            }
        })
    });
    for done in futures::future::join_all(writers).await {
        done.unwrap();
    }
    let lake = place.lake().await;
    assert_eq!(lake.reader("bronze.events").await.unwrap().unwrap().version(), WRITERS * COMMITS);
    assert_eq!(visible(&lake).await, (0..WRITERS * COMMITS).collect::<Vec<_>>());
}

/// Runs a test of this file in a process of its own, whose AWS variables are these and no others.
fn in_a_process(test: &str, location: &str, variables: &[(&str, &str)]) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", &format!("s3::{test}"), "--ignored", "--nocapture"]);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("AWS_")) {
            child.env_remove(name);
        }
    }
    // Whether this machine has a role is not for a test to find out.
    child.env("AWS_EC2_METADATA_DISABLED", "true").env(LOCATION, location).envs(variables.iter().copied());
    let done = child.output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by another test, with variables of its own"]
async fn open_as_the_process_says() {
    let Ok(location) = std::env::var(LOCATION) else { return };
    let s3 = S3Options { profile: std::env::var("LAKE_TEST_PROFILE").ok(), ..S3Options::default() };
    match Lake::open(&location, Options { s3, ..Options::default() }).await {
        Ok(lake) => println!("opened {} with the tables {:?}", lake.location(), lake.tables().await.unwrap()),
        Err(error) => println!("{:?}: {error}", error.kind()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_found_in_all_the_usual_places() {
    let place = Place::bucket();
    place.lake().await.table(&spec()).await.unwrap();
    let [key, secret] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| place.variable(name));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let keys = format!("aws_access_key_id = {key}\naws_secret_access_key = {secret}\n");
    let wrong = "aws_access_key_id = nobody\naws_secret_access_key = nothing\n";
    let shared = file("credentials", format!("[default]\n{keys}[other]\n{keys}[wrong]\n{wrong}"));
    let json = format!(r#"{{"Version":1,"AccessKeyId":"{key}","SecretAccessKey":"{secret}"}}"#);
    let handed_out = file("keys.json", json);
    let process = file("process", format!("[default]\ncredential_process = cat {handed_out}\n[profile far]\nregion = eu-west-1\n"));
    let nothing = file("nothing", String::new());
    let check = |credentials: &str, config: &str, more: &[(&str, &str)], expect: &str| {
        let files = [("AWS_SHARED_CREDENTIALS_FILE", credentials), ("AWS_CONFIG_FILE", config)];
        let mut variables = vec![("AWS_ENDPOINT_URL", place.url())];
        variables.extend(files);
        variables.extend(more);
        let said = in_a_process("open_as_the_process_says", &place.location(), &variables);
        assert!(said.contains(expect) && !said.contains(&secret), "{more:?}: {said}");
    };
    let opened = r#"with the tables ["bronze.events"]"#;
    check(&nothing, &nothing, &[("AWS_ACCESS_KEY_ID", &key), ("AWS_SECRET_ACCESS_KEY", &secret)], opened);
    check(&shared, &nothing, &[], opened);
    check(&shared, &nothing, &[("AWS_PROFILE", "other")], opened);
    check(&shared, &nothing, &[("AWS_PROFILE", "wrong")], "refuses these keys (");
    check(&nothing, &process, &[], opened);
    let far = [("AWS_ACCESS_KEY_ID", key.as_str()), ("AWS_SECRET_ACCESS_KEY", secret.as_str()), ("AWS_PROFILE", "far")];
    check(&nothing, &process, &far, "the bucket `lake` is not in the region eu-west-1");
    // A profile that the settings name comes before the variables.
    let variables = [("AWS_ACCESS_KEY_ID", key.as_str()), ("AWS_SECRET_ACCESS_KEY", secret.as_str()), ("LAKE_TEST_PROFILE", "wrong")];
    check(&shared, &nothing, &variables, "refuses these keys (");
    check(&nothing, &nothing, &[], "Fatal: there are no keys for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; or AWS_PROFILE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_cannot_be_is_refused_before_anything_is_asked() {
    let s3 = S3Options { part_bytes: 1, ..S3Options::default() };
    let error = Lake::open_in("s3://lake/x", Options { s3, ..Options::default() }, &Environment::default()).await.unwrap_err();
    assert!(matches!(error, Error::Setting(_)), "{error}");
}
