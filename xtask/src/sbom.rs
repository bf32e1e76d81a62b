//! The bill of materials of the product: every crate that is in it, with version, licence and checksum, as CycloneDX. It is written below the target folder, from a copy of the manifests:
//! the tool writes beside each of them, and nothing is ever written into the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::place::{Place, cargo};
use crate::step::{output, run, step};

/// The version of CycloneDX.
const FORMAT: &str = "1.5";
/// What the tool needs of the sources: the manifests, and the files that these are about.
const NEEDED: [&str; 3] = ["toml", "lock", "rs"];
/// Folders with nothing of that.
const SKIPPED: [&str; 4] = [".git", "target", "node_modules", ".venv"];
/// Crates that one error names.
const NAMED_MAX: usize = 10;

/// Looks for the tool.
///
/// # Errors
///
/// When it is missing; the text says how to install it.
pub(crate) fn find() -> Result<()> {
    if output(Command::new("cargo-cyclonedx").args(["cyclonedx", "--version"]))?.is_none() {
        bail!("cargo-cyclonedx is not installed; to make a bill of materials: cargo install --locked cargo-cyclonedx");
    }
    Ok(())
}

/// Makes the bill, and holds it against what cargo says of the product. Gives its file.
///
/// # Errors
///
/// When the tool is missing or fails, and when a crate of the product is not in the bill.
pub(crate) fn make(place: &Place) -> Result<PathBuf> {
    find()?;
    let (folder, sources) = (place.sbom(), place.sbom().join("sources"));
    let made = folder.join("tidegate.cdx.json");
    step("bill of materials", || {
        if sources.exists() {
            fs::remove_dir_all(&sources).with_context(|| format!("{} cannot be removed", sources.display()))?;
        }
        copy(place, place.root(), &sources)?;
        let product = sources.join("crates/tidegate");
        let arguments =
            ["cyclonedx", "--quiet", "--format", "json", "--spec-version", FORMAT, "--all", "--no-build-deps", "--manifest-path"];
        run(cargo(place).args(arguments).arg(product.join("Cargo.toml")))?;
        let bill = product.join("tidegate.cdx.json");
        let text = fs::read_to_string(&bill).with_context(|| format!("{} cannot be read", bill.display()))?;
        // Where it was made is nobody's business, and would differ from machine to machine.
        let text = text.replace(&sources.display().to_string(), "");
        fs::write(&made, text).with_context(|| format!("{} cannot be written", made.display()))
    })?;
    step("every crate of the product is in it", || {
        let tree = ["tree", "--locked", "--package", "tidegate", "--edges", "normal", "--prefix", "none", "--format", "{p}"];
        let tree = output(cargo(place).args(tree))?.context("there is no cargo")?;
        let text = fs::read_to_string(&made).with_context(|| format!("{} cannot be read", made.display()))?;
        let crates = crates(&tree);
        if crates.is_empty() {
            bail!("cargo names no crate of the product");
        }
        let named = named(&text);
        let missing = missing(&named, &crates);
        if !missing.is_empty() {
            let some = missing.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
            bail!("{} of {} crates of the product are not in {}: {some}", missing.len(), crates.len(), made.display());
        }
        // The tool knows the crates of a feature that another crate of the workspace asks for, and not for whom.
        let more = named.len() - crates.len();
        eprintln!("{} crates of the product, and {more} of features that it does not use: {}", crates.len(), made.display());
        Ok(())
    })?;
    Ok(made)
}

fn copy(place: &Place, from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("{} cannot be made", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("{} cannot be read", from.display()))? {
        let entry = entry?;
        let (path, name, kind) = (entry.path(), entry.file_name(), entry.file_type()?);
        let is_skipped = SKIPPED.iter().any(|skipped| name == *skipped) || path == place.target();
        if kind.is_dir() && !is_skipped {
            copy(place, &path, &to.join(name))?;
        } else if kind.is_file() && path.extension().is_some_and(|end| NEEDED.iter().any(|needed| end == *needed)) {
            fs::copy(&path, to.join(name)).with_context(|| format!("{} cannot be copied", path.display()))?;
        }
    }
    Ok(())
}

/// Names and versions of what `cargo tree` prints, one a line: `name v1.2.3`, and what else it says of the crate.
fn crates(tree: &str) -> BTreeSet<(&str, &str)> {
    let parse = |line| {
        let mut words = str::split_whitespace(line);
        Some((words.next()?, words.next()?.strip_prefix('v')?))
    };
    tree.lines().filter_map(parse).collect()
}

/// The crates that a bill has a package URL of, as `name@1.2.3`.
fn named(bill: &str) -> BTreeSet<String> {
    let ends = |character: char| character == '"' || character == '?';
    // A plus sign may be written so there.
    let url = |rest: &str| Some(rest.split(ends).next()?.replace("%2B", "+"));
    bill.split("\"pkg:cargo/").skip(1).filter_map(url).collect()
}

/// Those of the crates that are not among them.
fn missing(named: &BTreeSet<String>, crates: &BTreeSet<(&str, &str)>) -> Vec<String> {
    crates.iter().map(|(name, version)| format!("{name}@{version}")).filter(|one| !named.contains(one)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "\
tidegate v0.1.0 (/somewhere/crates/tidegate)
anyhow v1.0.1
serde_derive v1.0.2 (proc-macro)
zstd-sys v2.0.3+zstd.1.5.6
anyhow v1.0.1 (*)
anyhow v2.0.0
";

    #[test]
    fn crates_are_read_off_the_tree() {
        let expect =
            [("anyhow", "1.0.1"), ("anyhow", "2.0.0"), ("serde_derive", "1.0.2"), ("tidegate", "0.1.0"), ("zstd-sys", "2.0.3+zstd.1.5.6")];
        assert_eq!(crates(TREE), BTreeSet::from(expect));
        assert!(crates("\n[build-dependencies]\n").is_empty());
    }

    #[test]
    fn what_a_bill_lacks_is_named() {
        let check = |urls: &[&str], expect: &[&str]| {
            let bill: String = urls.iter().map(|url| format!(r#"{{"purl": "pkg:cargo/{url}"}},"#)).collect();
            assert_eq!(missing(&named(&bill), &crates(TREE)), expect, "{bill}");
        };
        let rest = ["anyhow@1.0.1", "anyhow@2.0.0", "serde_derive@1.0.2", "zstd-sys@2.0.3%2Bzstd.1.5.6"];
        let with = |more: &'static str| [&rest[..], &[more]].concat();
        check(&with("tidegate@0.1.0?download_url=file://."), &[]);
        check(&with("tidegate@0.1.0"), &[]);
        check(&[&rest[..3], &["zstd-sys@2.0.3+zstd.1.5.6", "tidegate@0.1.0", "other@1.0.0"]].concat(), &[]);
        // Another version, or a longer name, is another crate.
        check(&with("tidegate@0.1.01"), &["tidegate@0.1.0"]);
        check(&with("my-tidegate@0.1.0"), &["tidegate@0.1.0"]);
        check(&[&rest[1..], &["tidegate@0.1.0"]].concat(), &["anyhow@1.0.1"]);
        check(&[], &["anyhow@1.0.1", "anyhow@2.0.0", "serde_derive@1.0.2", "tidegate@0.1.0", "zstd-sys@2.0.3+zstd.1.5.6"]);
    }
}
