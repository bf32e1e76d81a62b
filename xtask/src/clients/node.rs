//! The Node clients, in a copy of their folder below the target folder; and the pictures that their browser takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{made_once, version};
use crate::place::Place;
use crate::step::{output, run, step};

/// The oldest Node that the tests run on.
const OLDEST: (u32, u32) = (20, 0);
const WANTED: &str = "the tests of the Node clients need Node 20 or newer with npm; to run the other tests: `cargo xtask test rust`, `cargo xtask test python`";

/// That there is a Node which will do.
#[derive(Debug)]
pub(crate) struct Node;

/// Looks for Node and npm.
///
/// # Errors
///
/// When one is missing or too old; the text says what to install.
pub(crate) fn find() -> Result<Node> {
    let found = output(Command::new("node").arg("--version"))?.with_context(|| format!("there is no node; {WANTED}"))?;
    if version(&found).is_none_or(|found| found < OLDEST) {
        bail!("node is {}; {WANTED}", found.trim());
    }
    output(Command::new(npm()).arg("--version"))?.with_context(|| format!("there is no npm; {WANTED}"))?;
    Ok(Node)
}

/// Runs the tests with Node's own runner.
///
/// # Errors
///
/// When the packages cannot be had or a test fails.
pub(crate) fn test(place: &Place) -> Result<()> {
    let folder = packages(place)?;
    step("Node client tests", || {
        let mut node = Command::new("node");
        node.args(["--test", "--test-reporter=spec"]).current_dir(&folder).env("TIDEGATE_BIN", place.product());
        run(&mut node)
    })
}

/// Takes the pictures of the console, as `docs/console.md` shows them, and leaves them below the target folder.
///
/// # Errors
///
/// When the packages cannot be had, or a page does not come.
pub(crate) fn screenshots(place: &Place) -> Result<()> {
    let folder = packages(place)?;
    let pictures = place.target().join("screenshots");
    step("pictures of the console", || {
        fs::create_dir_all(&pictures).with_context(|| format!("{} cannot be made", pictures.display()))?;
        let mut node = Command::new("node");
        node.arg("screenshots.js").arg(&pictures).current_dir(&folder).env("TIDEGATE_BIN", place.product());
        run(&mut node)
    })?;
    eprintln!("look at them, then put them into docs/images: {}", pictures.display());
    Ok(())
}

/// The clients with the packages they need, as they are now.
fn packages(place: &Place) -> Result<PathBuf> {
    let tests = place.root().join("tests/clients/node");
    let folder = place.clients().join("node");
    step("Node packages", || {
        let lock = fs::read_to_string(tests.join("package-lock.json")).context("tests/clients/node/package-lock.json cannot be read")?;
        made_once(&folder, &lock, || {
            copy(&tests, &folder)?;
            // No package's script runs: none is needed, and each would be code of others run at install time.
            run(Command::new(npm()).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&folder))
        })
    })?;
    copy(&tests, &folder)?;
    Ok(folder)
}

/// Builds the SDK in a copy of it that has the same places around it: where that is.
///
/// # Errors
///
/// When its packages cannot be had, or it cannot be built.
pub(crate) fn build_sdk(place: &Place) -> Result<PathBuf> {
    let tree = place.clients().join("sdk-typescript");
    let sdk = tree.join("sdk/typescript");
    step("TypeScript SDK", || {
        let lock = place.root().join("sdk/typescript/package-lock.json");
        let lock = fs::read_to_string(&lock).with_context(|| format!("{} cannot be read", lock.display()))?;
        made_once(&tree, &lock, || {
            copy_all(place, &tree)?;
            run(Command::new(npm()).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&sdk))
        })?;
        copy_all(place, &tree)?;
        run(Command::new(npm()).args(["run", "--silent", "build"]).current_dir(&sdk))
    })?;
    Ok(sdk)
}

/// Builds the SDK and runs its tests.
///
/// # Errors
///
/// When it cannot be built or a test fails.
pub(crate) fn test_sdk(place: &Place) -> Result<()> {
    let sdk = build_sdk(place)?;
    step("TypeScript SDK tests", || {
        let mut node = Command::new(npm());
        node.args(["run", "--silent", "test"]).current_dir(&sdk).env("TIDEGATE_BIN", place.product());
        run(&mut node)
    })
}

/// What the SDK's tests need of the repository, in the same places of another tree.
fn copy_all(place: &Place, tree: &Path) -> Result<()> {
    for folder in [
        "sdk/typescript",
        "sdk/typescript/src",
        "sdk/typescript/tests",
        "sdk/vectors",
        "sdk/testing",
        "tests/clients/node",
        "examples/node-server",
        "examples/web-page",
    ] {
        let target = tree.join(folder);
        fs::create_dir_all(&target).with_context(|| format!("{} cannot be made", target.display()))?;
        // A file that is no more must not be tested.
        for entry in fs::read_dir(&target)?.filter_map(Result::ok).filter(|entry| entry.path().is_file()) {
            fs::remove_file(entry.path()).with_context(|| format!("{} cannot be removed", entry.path().display()))?;
        }
        copy(&place.root().join(folder), &target)?;
    }
    let built = tree.join("sdk/typescript/dist");
    if built.exists() { fs::remove_dir_all(&built).with_context(|| format!("{} cannot be removed", built.display())) } else { Ok(()) }
}

/// The program of that name.
pub(crate) fn npm() -> &'static str {
    if cfg!(windows) { "npm.cmd" } else { "npm" }
}

/// Copies the files of a folder, and not what was installed into it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("{} cannot be read", from.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let target = to.join(entry.file_name());
            fs::copy(entry.path(), &target).with_context(|| format!("{} cannot be written", target.display()))?;
        }
    }
    Ok(())
}
