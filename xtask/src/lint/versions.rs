//! The version of the workspace, where a tool must be told it once more.
//!
//! Cargo.toml says it. Whatever can be made to ask there, does; here is what is left.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// Files, and what stands before the version in them.
const PLACES: [(&str, &str); 10] = [
    ("crates/ingest/src/openapi/openapi.json", "\"title\": \"Tidegate ingestion API\",\n    \"version\": \""),
    ("deploy/kubernetes/kustomization.yaml", "newTag: "),
    ("sdk/python/src/tidegate/version.py", "VERSION = \""),
    // A crate that is handed on names those it depends on by version, for their paths are nowhere else.
    ("sdk/rust/Cargo.toml", "tidegate-experiments = { version = \""),
    ("sdk/rust/Cargo.toml", "tidegate-rules = { version = \""),
    ("sdk/typescript/package.json", "\"name\": \"tidegate\",\n  \"version\": \""),
    ("sdk/typescript/package-lock.json", "\"name\": \"tidegate\",\n  \"version\": \""),
    ("sdk/typescript/package-lock.json", "\"name\": \"tidegate\",\n      \"version\": \""),
    ("sdk/typescript/src/client.ts", "VERSION = '"),
    ("spark/jvm/pom.xml", "<artifactId>tidegate-spark</artifactId>\n  <version>"),
];
/// Cargo writes it anew when it is next used, and nothing that checks the repository may.
const LOCK: &str = "fuzz/Cargo.lock";
/// The one crate there that has a version of its own.
const LOCK_OWN: &str = "tidegate-fuzz";

/// # Errors
///
/// Names every place that says another version.
pub(super) fn check(root: &Path, version: &str) -> Result<()> {
    let problems = problems(root, version)?;
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    Ok(())
}

fn problems(root: &Path, version: &str) -> Result<Vec<String>> {
    let read = |file: &str| fs::read_to_string(root.join(file)).with_context(|| format!("{file} cannot be read"));
    let mut problems = Vec::new();
    for (file, before) in PLACES {
        match after(&read(file)?, before) {
            Some(found) if found == version => {}
            Some(found) => problems.push(format!("{file}: the version is {found}, and {version} in Cargo.toml")),
            None => problems.push(format!("{file}: there is no version behind {before:?}")),
        }
    }
    let lock = read(LOCK)?;
    let others = ours(&lock).filter(|(name, found)| *name != LOCK_OWN && *found != version);
    problems.extend(others.map(|(name, found)| {
        format!("{LOCK}: {name} is {found}, and {version} in Cargo.toml: cargo update --workspace --manifest-path fuzz/Cargo.toml")
    }));
    Ok(problems)
}

/// What stands behind a text, up to the end of a line, a quotation or a tag.
fn after<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split(['"', '\'', '<', '\n']).next()
}

/// Names and versions of the crates of a lock file that are of this repository: they come from nowhere else.
fn ours(lock: &str) -> impl Iterator<Item = (&str, &str)> {
    let packages = lock.split("[[package]]").skip(1).filter(|package| !package.contains("\nsource = "));
    packages.filter_map(|package| Some((after(package, "name = \"")?, after(package, "version = \"")?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::VERSION;

    #[test]
    fn a_version_is_found_behind_its_text() {
        let check = |text, before, expect| assert_eq!(after(text, before), expect, "{text}");
        check("{\"name\": \"a\",\n  \"version\": \"0.1.0\",", "\"name\": \"a\",\n  \"version\": \"", Some("0.1.0"));
        check("<artifactId>a</artifactId>\n  <version>0.1.0-rc.1</version>", "<version>", Some("0.1.0-rc.1"));
        check("VERSION = '0.1.0'\n", "VERSION = '", Some("0.1.0"));
        check("newTag: 0.1.0\n", "newTag: ", Some("0.1.0"));
        check("newTag: 0.1.0", "newTag: ", Some("0.1.0"));
        check("newName: a\n", "newTag: ", None);
    }

    #[test]
    fn crates_without_a_source_are_ours() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry\"\n\n[[package]]\nname = \"b\"\nversion = \"0.1.0\"\n\
                    dependencies = [\n \"a\",\n]\n";
        assert_eq!(ours(lock).collect::<Vec<_>>(), [("b", "0.1.0")]);
    }

    #[test]
    fn every_place_says_this_version_and_would_be_named_with_another() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        check(root, VERSION).unwrap();
        let told = problems(root, "9.9.9").unwrap();
        for file in PLACES.map(|(file, _)| file).iter().chain(&[LOCK]) {
            assert!(told.iter().any(|problem| problem.starts_with(file)), "{file}: {told:?}");
        }
        assert!(!told.iter().any(|problem| problem.contains(LOCK_OWN)), "{told:?}");
    }
}
