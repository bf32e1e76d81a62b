//! Data that the programs of earlier releases wrote, opened by the present one; what the next release may add, and what it may not be misread for.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema};
use contract::Identity;
use dedup::{Index, Options, shard_of};
use lake::{Lake, TableSpec};
use reqwest::StatusCode;
use serde_json::{Value, json};
use servers::Kafka;
use tempfile::TempDir;

use crate::process::{Place, client, free_port, text};

/// The files of the releases, see README.md there.
const RELEASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/formats");
const ENDING: &str = ".tar.zst";
/// CRC-32C and CRC-64/NVME, as their reflected polynomials.
const CRC_32: (u64, u32) = (0x82F6_3B78, 32);
const CRC_64: (u64, u32) = (0x9A6C_9329_AC4B_C9B5, 64);

/// The data of a release, unpacked.
struct Release {
    name: String,
    folder: TempDir,
    told: Value,
}

impl Release {
    /// All there are, the oldest first.
    fn all() -> Vec<PathBuf> {
        let entries = fs::read_dir(RELEASES).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> = entries.filter(|path| path.to_str().unwrap().ends_with(ENDING)).collect();
        files.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
        assert!(!files.is_empty(), "there is no release in {RELEASES}");
        files
    }

    fn newest() -> Self {
        Self::unpack(Self::all().last().unwrap())
    }

    fn unpack(file: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut tar = Command::new("tar").args(["-xf", "-", "-C"]).arg(folder.path()).stdin(Stdio::piped()).spawn().unwrap();
        zstd::stream::copy_decode(File::open(file).unwrap(), tar.stdin.take().unwrap()).unwrap();
        assert!(tar.wait().unwrap().success());
        let told = serde_json::from_slice(&fs::read(folder.path().join("told.json")).unwrap()).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap().trim_end_matches(ENDING).to_owned();
        Self { name, folder, told }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn number(&self, name: &str) -> u64 {
        self.told[name].as_u64().unwrap_or_else(|| panic!("{}: {name} is not told", self.name))
    }

    fn text(&self, pointer: &str) -> &str {
        self.told.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{}: {pointer} is not told", self.name))
    }

    /// A place with its data folder, as if it had been there all along.
    fn place(&self) -> Place {
        let settings = [
            ("TIDEGATE_JOURNAL__PARTITIONS".to_owned(), self.number("partitions").to_string()),
            ("TIDEGATE_PLAN__FILE".to_owned(), self.path("plan.yaml").display().to_string()),
        ];
        let place = Place::of(moved(&self.path("data")), settings.into());
        own_journal(&place.data().join("journal/journal.meta"));
        own_index(&place.data().join("index/manifest"), self.text("/lake"), &format!("file://{}/lake/", place.data().display()));
        place
    }
}

/// What a folder holds, in one of its own.
fn moved(from: &Path) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::rename(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

/// An upgrade is done where the data is. A journal that was unpacked is a copy, and begins a new generation; so it is told that this file is its own.
fn own_journal(meta: &Path) {
    let mut bytes = fs::read(meta).unwrap();
    assert!(bytes.starts_with(b"TGmeta01"), "this test does not know a journal of another version: teach it");
    let end = 36;
    bytes[end - 8..end].copy_from_slice(&fs::metadata(meta).unwrap().ino().to_le_bytes());
    let sum = crc(CRC_32, &[&bytes[..8], &bytes[12..]].concat()) as u32;
    bytes[8..12].copy_from_slice(&sum.to_le_bytes());
    OpenOptions::new().write(true).open(meta).unwrap().write_all(&bytes).unwrap();
}

/// The same for the index, which knows its lake by the path.
fn own_index(manifest: &Path, was: &str, is: &str) {
    let written = fs::read_to_string(manifest).unwrap();
    let (head, body) = written.split_once('\n').unwrap();
    assert!(body.contains(was), "the index is of {was}: {body}");
    let (format, body) = (head.split(' ').nth(1).unwrap(), body.replace(was, is));
    let sum = crc(CRC_64, format!("{format}\n{body}").as_bytes());
    fs::write(manifest, format!("tidegate-index {format} {sum:016x}\n{body}")).unwrap();
}

fn crc((polynomial, bits): (u64, u32), bytes: &[u8]) -> u64 {
    let ones = u64::MAX >> (64 - bits);
    let step =
        |sum: u64, byte: &u8| (0..8).fold(sum ^ u64::from(*byte), |sum, _| if sum & 1 == 1 { (sum >> 1) ^ polynomial } else { sum >> 1 });
    bytes.iter().fold(ones, step) ^ ones
}

/// The format of an index, as its first line says.
fn format_of(manifest: &Path) -> String {
    fs::read_to_string(manifest).unwrap().split(' ').nth(1).unwrap().to_owned()
}

async fn send(place: &Place, key: &str, body: String) -> StatusCode {
    let request = client().post(format!("{}/v1/events", place.url())).basic_auth(key, Some("")).header("content-type", "application/json");
    request.body(body).send().await.unwrap().status()
}

fn views(from: u32, count: u32, user: &str) -> String {
    let view = |number: u32| json!({"event_id": format!("new-{number}"), "event_type": "page_view", "user_id": user, "properties": {"url": "https://formats.example/new"}});
    Value::from((from..from + count).map(view).collect::<Vec<_>>()).to_string()
}

/// What a browser is answered that signs in with a token.
async fn sign_in(port: u16, token: &str) -> StatusCode {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(Duration::from_secs(20)).build().unwrap();
    let body: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs([("token", token), ("next", "/")]).finish();
    let request = http.post(format!("http://127.0.0.1:{port}/sign-in")).header("content-type", "application/x-www-form-urlencoded");
    request.header("sec-fetch-site", "same-origin").body(body).send().await.unwrap().status()
}

fn books(place: &Place) -> Value {
    let books: Value = serde_json::from_str(&place.run_sound(&["audit", "--format", "json"])).unwrap();
    assert_eq!(books["balanced"], true, "{books}");
    books
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_of_every_release_is_taken() {
    for file in Release::all() {
        let release = Release::unpack(&file);
        println!("{}: {}", release.name, release.text("/program"));
        take(&release).await;
        check_index(&Release::unpack(&file));
    }
}

async fn take(release: &Release) {
    let (name, place, console) = (&release.name, release.place(), free_port());
    let counts = |table: &str| place.number(&format!("SELECT count(*) FROM {table}"));
    let (bronze, silver) = (release.number("bronze"), release.number("silver"));
    assert_eq!((counts("bronze.events"), counts("silver.events")), (bronze, silver), "{name}");
    let had_audit_log = place.data().join("audit.log").exists();
    let index_format = format_of(&place.data().join("index/manifest"));

    // What had been taken and not been read, copies among it, comes to the tables.
    let server = place.start_with(&[("TIDEGATE_CONSOLE__LISTEN", &format!("127.0.0.1:{console}"))]);
    let (bronze, silver) = (bronze + release.number("waiting_records"), silver + release.number("waiting_events"));
    place.wait_for("SELECT count(*) FROM bronze.events", bronze);
    place.wait_for("SELECT count(*) FROM silver.events", silver);

    // The same events again add nothing; new ones do, under each of the keys.
    let same = "SELECT CAST(b.payload AS VARCHAR) AS payload FROM bronze.events b JOIN silver.events s ON b.journal_generation = s.journal_generation AND \
                b.journal_partition = s.journal_partition AND b.journal_offset = s.journal_offset WHERE b.source = 'web' AND b.wire_format = 'native'";
    let same: Vec<Value> = place.query(same);
    let again: Vec<&str> = same.iter().map(|row| row["payload"].as_str().unwrap()).collect();
    assert!(again.len() > 100, "{name}: only {} events to send again", again.len());
    let (web, app) = (release.text("/keys/web"), release.text("/keys/app"));
    assert_eq!(send(&place, web, format!("[{}]", again.join(","))).await, StatusCode::OK, "{name}");
    assert_eq!(send(&place, web, views(0, 10, "u1")).await, StatusCode::OK, "{name}");
    assert_eq!(send(&place, app, views(100, 5, "u2")).await, StatusCode::OK, "{name}");
    assert_eq!(send(&place, release.text("/revoked_key"), views(200, 1, "u3")).await, StatusCode::FORBIDDEN, "{name}");
    // Who was erased stays so.
    assert_eq!(send(&place, web, views(300, 1, release.text("/erased_user"))).await, StatusCode::OK, "{name}");
    let (bronze, silver) = (bronze + again.len() as u64 + 16, silver + 15);
    place.wait_for("SELECT count(*) FROM bronze.events", bronze);
    place.wait_for("SELECT count(*) FROM silver.events", silver);
    let rows = release.number("backfilled_rows");
    for name in ["orders.csv", "orders.yaml"] {
        fs::copy(release.path(name), place.data().join(name)).unwrap();
    }
    place.run_sound(&["backfill", "orders.csv", "--mapping", "orders.yaml", "--url", &place.url(), "--key", web]);
    place.wait_for("SELECT count(*) FROM bronze.events", bronze + rows);

    for token in ["/tokens/anna", "/tokens/rudi"] {
        assert_eq!(sign_in(console, release.text(token)).await, StatusCode::SEE_OTHER, "{name}: {token}");
    }
    assert_eq!(sign_in(console, "tc_wrong").await, StatusCode::FORBIDDEN, "{name}");
    server.stop(&place);

    assert_eq!((counts("bronze.events"), counts("silver.events")), (bronze + rows, silver), "{name}: rows of a file have the ids they had");
    assert_eq!(place.number("SELECT count(DISTINCT event_id) FROM silver.events"), silver, "{name}");
    assert_eq!(counts("dead_letters"), release.number("dead_letters"), "{name}");
    assert_eq!(place.number("SELECT count(*) FROM bronze.events WHERE wire_format = 'erased'"), release.number("erased") + 1, "{name}");
    assert!(counts("gold.activity_by_day") > 0, "{name}");
    books(&place);
    assert!(place.run_sound(&["reader", "list", "--format", "json"]).contains(release.text("/reader/name")), "{name}");
    place.run_sound(&["source", "add", "later"]);
    let told = place.run_sound(&["audit-log", "list", "--format", "json"]);
    assert!(told.contains("source.add") && (!had_audit_log || told.contains("source.revoke")), "{name}: {told}");
    place.run_sound(&["audit-log", "verify"]);
    let jobs = fs::read_dir(place.data().join("jobs")).unwrap().map(|entry| entry.unwrap().path());
    assert!(jobs.filter(|path| path.extension().is_some_and(|end| end == "json")).count() >= 2, "{name}: the job of before, and ours");
    if format_of(&place.data().join("index/manifest")) == index_format {
        assert!(!place.log().contains("index of identities"), "{name}: the index was used as it was, not made anew: {}", place.log());
    }
}

/// The index of a release by itself: it knows what its Silver has.
fn check_index(release: &Release) {
    let place = release.place();
    let rows = place.query("SELECT source, event_id FROM silver.events");
    let folder = place.data().join("index");
    let format = format_of(&folder.join("manifest"));
    let options = Options { lake_id: format!("file://{}/lake/", place.data().display()), ..Options::default() };
    let mut index = Index::open(&folder, options).unwrap();
    if format != format_of(&folder.join("manifest")) {
        return;
    }
    let key = |row: &Value| {
        let event_id = row["event_id"].as_str().unwrap();
        let digest = Identity { source: row["source"].as_str().unwrap(), event_id }.digest();
        (shard_of(event_id, &digest), digest)
    };
    let keys: Vec<_> = rows.iter().map(key).collect();
    let known = index.probe(&keys).unwrap();
    assert!(!keys.is_empty() && known.iter().all(Option::is_some), "{}: {known:?}", release.name);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_of_every_release_is_brought_to_kafka() {
    for file in Release::all() {
        let release = Release::unpack(&file);
        let folder = tempfile::tempdir().unwrap();
        let kafka = Kafka::start(folder.path()).unwrap();
        let settings = [
            ("TIDEGATE_JOURNAL__KIND".to_owned(), "kafka".to_owned()),
            ("TIDEGATE_JOURNAL__KAFKA__BROKERS".to_owned(), kafka.bootstrap().to_owned()),
        ];
        let place = Place::of(moved(&release.path("gate")), settings.into());
        let server = place.start();
        let spooled = release.number("spooled_events");
        place.wait_for("SELECT count(*) FROM silver.events", spooled);
        assert_eq!(send(&place, release.text("/keys/web"), views(0, 3, "u1")).await, StatusCode::OK);
        place.wait_for("SELECT count(*) FROM silver.events", spooled + 3);
        server.stop(&place);
        assert_eq!(place.number("SELECT count(*) FROM bronze.events"), spooled + 3, "{}: each once", release.name);
        books(&place);
    }
}

/// Changes a JSON document in a file.
fn change(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut document = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut document);
    fs::write(path, document.to_string()).unwrap();
}

/// The next release, as far as it may go for this one to be put back: it adds what this one may pass over.
async fn add_what_may_be_added(data: &Path) {
    for (file, list) in [("sources.json", "keys"), ("tokens.json", "tokens"), ("readers.json", "readers")] {
        change(&data.join(file), |document| {
            document["version"] = json!(1);
            document["later"] = json!({"of": file});
            for entry in document[list].as_array_mut().unwrap() {
                entry["later"] = json!("of an entry");
            }
        });
    }
    for folder in ["jobs", "backfill"] {
        let files = fs::read_dir(data.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        for file in files.filter(|path| path.extension().is_some_and(|end| end == "json")) {
            change(&file, |document| document["later"] = json!(true));
        }
    }
    let lake = Lake::open(data.join("lake").to_str().unwrap(), lake::Options::default()).await.unwrap();
    for name in ["bronze.events", "silver.events", "silver.exposures", "dead_letters", "ledger", "gold.activity_by_day"] {
        let table = lake.reader(name).await.unwrap().unwrap();
        let mut fields = table.schema().fields().to_vec();
        fields.push(Arc::new(Field::new("later", DataType::Utf8, true)));
        let partition_by: Vec<&str> = table.partition_by().iter().map(String::as_str).collect();
        let spec = TableSpec::new(name, Arc::new(Schema::new(fields)), &partition_by);
        lake.table(&spec).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_release_can_be_taken_back() {
    let release = Release::newest();
    let place = release.place();
    add_what_may_be_added(place.data()).await;
    let server = place.start();
    let silver = release.number("silver") + release.number("waiting_events");
    place.wait_for("SELECT count(*) FROM silver.events", silver);
    assert_eq!(send(&place, release.text("/keys/web"), views(0, 10, "u1")).await, StatusCode::OK);
    place.wait_for("SELECT count(*) FROM silver.events", silver + 10);
    server.stop(&place);
    books(&place);
    // What it changes keeps what it does not know.
    place.run_sound(&["source", "add", "another"]);
    place.run_sound(&["token", "add", "another", "--role", "read"]);
    place.run_sound(&["reader", "add", "another"]);
    for (file, list) in [("sources.json", "keys"), ("tokens.json", "tokens"), ("readers.json", "readers")] {
        let document: Value = serde_json::from_slice(&fs::read(place.data().join(file)).unwrap()).unwrap();
        assert_eq!((&document["later"]["of"], &document["version"]), (&json!(file), &json!(1)), "{document}");
        let entries = document[list].as_array().unwrap();
        assert_eq!(entries.iter().filter(|entry| entry["later"] == "of an entry").count(), entries.len() - 1, "{document}");
    }
    assert_eq!(place.number("SELECT count(*) FROM silver.events WHERE later IS NULL"), silver + 10, "the column is still there");
}

fn files_below(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, files);
        } else if path.file_name().is_none_or(|name| name != "lock") {
            let bytes = fs::read(&path).unwrap();
            files.insert(path, bytes);
        }
    }
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    files_below(folder, &mut files);
    files
}

/// A server that is started on this data ends, and says what to do; nothing that was there is changed.
fn check_refused(place: &Place, named: &str) {
    let before = files(place.data());
    let refused = place.run(&["serve", "--listen", "127.0.0.1:0"]);
    let said = text(&refused.stdout) + &text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains(named) && said.contains("is of version 2") && said.contains("a newer Tidegate wrote it"), "{named}: {said}");
    let after = files(place.data());
    let changed: Vec<&PathBuf> = before.keys().filter(|path| before.get(*path) != after.get(*path)).collect();
    assert!(changed.is_empty(), "{named}: {changed:?}");
}

#[test]
fn what_a_newer_release_wrote_otherwise_is_refused_and_left_as_it_is() {
    let release = Release::newest();
    let place = release.place();
    let keys = place.data().join("sources.json");
    let sound = fs::read(&keys).unwrap();
    fs::write(&keys, r#"{"version": 2, "digests": {}}"#).unwrap();
    check_refused(&place, "sources.json");
    let refused = place.run(&["source", "list"]);
    assert!(!refused.status.success() && text(&refused.stderr).contains("sources.json is of version 2"), "{}", text(&refused.stderr));
    fs::write(&keys, sound).unwrap();

    // The journal's description, with a checksum that fits its version.
    let meta = place.data().join("journal/journal.meta");
    let sound = fs::read(&meta).unwrap();
    let mut newer = sound.clone();
    newer[7] = b'2';
    let sum = crc(CRC_32, &[&newer[..8], &newer[12..]].concat()) as u32;
    newer[8..12].copy_from_slice(&sum.to_le_bytes());
    fs::write(&meta, newer).unwrap();
    check_refused(&place, "journal.meta");
    fs::write(&meta, sound).unwrap();

    // A table: neither the server nor a query takes it for what it is not.
    let log = place.data().join("lake/silver/events/_delta_log");
    let version = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u64>().ok();
    let newest = files(&log).keys().filter_map(version).max().unwrap();
    let entries: Vec<String> = files(&log).into_iter().filter(|(path, _)| version(path).is_some()).map(|(_, entry)| text(&entry)).collect();
    let metadata = entries.iter().flat_map(|entry| entry.lines()).find(|line| line.starts_with(r#"{"metaData""#)).unwrap();
    let newer = metadata.replacen(r#""configuration":{"#, r#""configuration":{"tidegate.format":"2","#, 1);
    assert_ne!(newer, metadata);
    fs::write(log.join(format!("{:020}.json", newest + 1)), format!("{newer}\n")).unwrap();
    let refused = place.run(&["query", "SELECT count(*) FROM silver.events"]);
    assert!(!refused.status.success() && text(&refused.stderr).contains("is of version 2"), "{}", text(&refused.stderr));
    let before = files(&log);
    let refused = place.run(&["serve", "--listen", "127.0.0.1:0"]);
    let said = text(&refused.stdout) + &text(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains("is of version 2") && said.contains("silver.events"), "{said}");
    assert_eq!(files(&log), before);
}
