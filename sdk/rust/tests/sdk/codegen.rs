//! Code made of a tracking plan: what breaks the plan does not compile, and what passes it is taken by the gate.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::json;
use tempfile::TempDir;
use tidegate_sdk::testing::Micro;

use crate::helpers::given;

const GOOD: &str = r#"
use std::time::Duration;

use events::{Class, OrderCompleted, OrderCompletedItems, OrderCompletedTier, Ping};

fn main() {
    let builder = tidegate_sdk::Client::builder("k").url(std::env::args().nth(1).unwrap());
    let client = builder.plan(events::PLAN).build().unwrap();
    let order = OrderCompleted {
        items: Some(vec![OrderCompletedItems { count: Some(2), ..OrderCompletedItems::new("a") }]),
        tier: Some(OrderCompletedTier::Paid),
        anything: Some(tidegate_sdk::serde_json::json!({"x": 1})),
        ..OrderCompleted::new("EUR", 12.5)
    };
    client.track(order.event().user_id("u1"));
    client.track(Class { import: Some("x".to_owned()) }.event().anonymous_id("a1"));
    client.track(Class::default());
    client.track(Ping {}.event().session_id("s1").event_id("p1"));
    assert!(client.close(Duration::from_secs(20)));
}
"#;

fn plan() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors/plan.yaml")
}

/// A folder with the code that is made of a plan.
fn made(plan: &Path) -> TempDir {
    let folder = TempDir::new().unwrap();
    let mut codegen = Command::new(given("TIDEGATE_BIN"));
    codegen.args(["plan", "codegen", "--lang", "rust"]).arg(plan).arg("--out").arg(folder.path().join("events.rs"));
    let done = codegen.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    folder
}

/// Compiles a program with the library that this test was built with.
fn compiled(folder: &Path, program: &str, emit: &str) -> Output {
    fs::write(folder.join("program.rs"), format!("#![deny(warnings)]\nmod events;\n{program}")).unwrap();
    let deps = env::current_exe().unwrap().parent().unwrap().to_owned();
    let libraries = fs::read_dir(&deps).unwrap().map(|entry| entry.unwrap().path()).filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("libtidegate_sdk-") && name.ends_with(".rlib")
    });
    let newest = libraries.max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap()).unwrap();
    let mut rustc = Command::new("rustc");
    // There the toolchain is the repository's.
    rustc.current_dir(env!("CARGO_MANIFEST_DIR")).args(["--edition", "2024", "--emit", emit, "--out-dir"]).arg(folder);
    rustc.arg("--extern").arg(format!("tidegate_sdk={}", newest.display()));
    rustc.arg("-L").arg(format!("dependency={}", deps.display())).arg(folder.join("program.rs"));
    rustc.output().unwrap()
}

#[test]
fn what_passes_is_taken() {
    let folder = made(&plan());
    let built = compiled(folder.path(), GOOD, "link");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let micro = Micro::with_plan(plan()).unwrap();
    let ran = Command::new(folder.path().join("program")).arg(micro.url()).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(micro.bad().unwrap(), [] as [serde_json::Value; 0]);
    let good: Vec<_> = micro.good().unwrap().iter().map(|event| json!([event["event_type"], event["properties"]])).collect();
    let order = json!({"total": 12.5, "currency": "EUR", "items": [{"sku": "a", "count": 2}], "tier": "paid", "anything": {"x": 1}});
    assert_eq!(good, [json!(["Order Completed", order]), json!(["class", {"import": "x"}]), json!(["class", {}]), json!(["ping", {}])]);
}

#[test]
fn what_breaks_the_plan_does_not_compile() {
    let folder = made(&plan());
    let sound = compiled(folder.path(), "fn main() { drop(events::OrderCompleted::new(\"EUR\", 1.0)) }", "metadata");
    assert!(sound.status.success(), "{}", String::from_utf8_lossy(&sound.stderr));
    let check = |call: &str, told: &str| {
        let program = format!("fn main() {{\n    use events::*;\n    let _ = {call};\n}}");
        let refused = compiled(folder.path(), &program, "metadata");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains("program.rs:5") && said.contains(told), "{call}: {said}");
    };
    check("OrderCompleted { totl: 1.0, ..OrderCompleted::new(\"EUR\", 1.0) }", "totl");
    check("OrderCompleted::new(\"EUR\")", "argument");
    check("OrderCompleted::new(\"EUR\", \"much\")", "f64");
    check("OrderCompleted { tier: Some(OrderCompletedTier::Gold), ..OrderCompleted::new(\"EUR\", 1.0) }", "Gold");
    check("OrderCompletedItems { count: Some(1) }", "sku");
    check("OrderComplete::new(\"EUR\", 1.0)", "OrderComplete");
    check("Ping {}.event().usr_id(\"u1\")", "usr_id");
}

#[test]
fn every_plan_that_is_sound_makes_code_that_compiles() {
    let folder = TempDir::new().unwrap();
    let plan = folder.path().join("plan.json");
    // What types of a language stumble over: names that meet, keywords, names of the language itself, every kind of value.
    let text = json!({"version": "1", "types": {
        "order": {"description": "One\r\ntwo \u{202e} */ \"\"\" \\ [x]\rthree", "properties": {
            "items": {"type": "object", "properties": {"a-b": {}, "a_b": {}, "type": {"type": "string"}, "self": {}, "2": {}, "": {}}, "required": ["self"]},
            "either": {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}, {"type": "object", "properties": {"x": {}}}, {"type": "array"}]},
            "nested": {"oneOf": [{"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "boolean"}]},
            "texts": {"enum": ["", "a b", "a-b", "Self", "\"`\\\u{7}", "größe"]},
            "mixed": {"enum": ["a", 1, null]}, "some": {"enum": ["a", null]}, "one": {"const": 1}, "half": {"enum": [0.5, 1]}, "yes": {"const": true},
            "list": {"type": "array", "items": {"type": ["string", "null"]}}, "matrix": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
            "nothing": {"type": "null"}, "object": {"type": "object"}, "any": true
        }, "required": ["either", "items", "list", "mixed", "some", "texts"]},
        "order items": {}, "Option": {"properties": {"String": {"type": "string"}}}, "string": {}, "vec": {}, "self": {}, "event": {}, "events": {}, "any": {},
        "client": {}, "constructor": {}, "tracks": {}, "who": {}, "from": {}, "2fa": {}, "größe": {}
    }});
    fs::write(&plan, text.to_string()).unwrap();
    let made = made(&plan);
    let program = "fn main() { drop((events::Client::default(), tidegate_sdk::Client::builder(\"k\").plan(events::PLAN))) }";
    let built = compiled(made.path(), program, "metadata");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}
