//! What the package managers of other languages install, built by their own tools.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{PROFILE, Release, copy, copy_all};
use crate::clients::python::Python;
use crate::clients::{node, python};
use crate::place::{VERSION, cargo};
use crate::spark;
use crate::step::{run, step};

pub(super) const PYTHON: &str = "python";
pub(super) const NODE: &str = "npm";
const RUST: &str = "crates";
const LICENCE: &str = "LICENSE";
/// The SDK, and what it depends on here.
const CRATES: [&str; 3] = ["tidegate-rules", "tidegate-experiments", "tidegate-sdk"];

/// The Python SDK.
pub(super) fn python(release: &Release<'_>, python: &Python) -> Result<()> {
    let interpreter = python::sdk_environment(release.place, python)?;
    step("sdist and wheel of the Python SDK", || {
        let (source, packages) = (release.work.join("sdk-python"), release.folder.join(PYTHON));
        copy_all(&release.place.root().join("sdk/python"), &source)?;
        copy(&release.place.root().join(LICENCE), &source.join(LICENCE))?;
        let mut sdist = Command::new(&interpreter);
        sdist.args(["-m", "hatchling", "build", "--target", "sdist", "--directory"]).arg(&packages);
        run(sdist.current_dir(&source).envs(release.variables()))?;
        // From the sdist: what one needs to build it is in there.
        let mut wheel = Command::new(&interpreter);
        wheel.args(["-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--wheel-dir"]);
        wheel.arg(&packages).arg(find(&packages, "tidegate-", ".tar.gz")?);
        run(wheel.envs(release.variables()))
    })
}

/// The package of the Spark job, with the transform compiled in.
pub(super) fn spark(release: &Release<'_>, python: &Python) -> Result<()> {
    let interpreter = spark::environment(release.place, python)?;
    step("wheel of the Spark job", || {
        let wheel = spark::wheel(release.place, &interpreter, PROFILE, &release.work.join("spark-wheel"), &release.variables())?;
        let name = wheel.file_name().context("a wheel has a name")?;
        copy(&wheel, &release.folder.join(PYTHON).join(name))
    })
}

/// The TypeScript SDK.
pub(super) fn node(release: &Release<'_>) -> Result<()> {
    let sdk = node::build_sdk(release.place)?;
    step("npm package of the TypeScript SDK", || {
        let packages = release.folder.join(NODE);
        fs::create_dir_all(&packages).with_context(|| format!("{} cannot be made", packages.display()))?;
        copy(&release.place.root().join(LICENCE), &sdk.join(LICENCE))?;
        let mut pack = Command::new(node::npm());
        pack.args(["pack", "--ignore-scripts", "--loglevel=error", "--pack-destination"]).arg(&packages);
        run(pack.current_dir(&sdk))
    })
}

/// The Rust SDK and the crates that it depends on. Cargo builds each from its package, with nothing else of the repository.
pub(super) fn rust(release: &Release<'_>) -> Result<()> {
    step("packages of the Rust SDK", || {
        let mut package = cargo(release.place);
        // The list that is handed out says whether the sources were as the commit has them.
        package.args(["package", "--allow-dirty"]);
        for name in CRATES {
            package.args(["--package", name]);
        }
        run(&mut package)?;
        for name in CRATES {
            let file = format!("{name}-{VERSION}.crate");
            copy(&release.place.target().join("package").join(&file), &release.folder.join(RUST).join(&file))?;
        }
        Ok(())
    })
}

/// The file with such a name. Packers have their own ways to write versions in them.
pub(super) fn find(folder: &Path, start: &str, end: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let named =
        |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(start) && name.ends_with(end));
    let found = entries.filter_map(|entry| Some(entry.ok()?.path())).find(named);
    found.with_context(|| format!("there is no {start}…{end} in {}", folder.display()))
}
