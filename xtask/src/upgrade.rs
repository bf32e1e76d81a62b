//! `cargo xtask upgrade`: the program of an earlier release and that of this clone, in turns on the same data.
//!
//! What is tested is in crates/tidegate/tests/server/upgrade.rs. Here the earlier program is found.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::place::{Place, cargo};
use crate::step::{run as run_tool, step};

/// By which the test finds it.
const PREVIOUS: &str = "TIDEGATE_TEST_PREVIOUS";
const PROGRAM: &str = "tidegate";
const TARBALL: &str = ".tar.gz";

/// Runs the test; without another program this one stands on both sides.
///
/// # Errors
///
/// When there is no program in what is named, or the test fails.
pub(crate) fn run(place: &Place, from: Option<&Path>) -> Result<()> {
    let previous = from.map(|from| program(from, &place.upgrade())).transpose()?;
    step("upgrade, and back", || {
        let mut tests = cargo(place);
        tests.args(["test", "--release", "--workspace", "--test", "server", "--", "--nocapture", "upgrade::"]);
        if let Some(previous) = &previous {
            tests.env(PREVIOUS, previous);
        }
        run_tool(&mut tests)
    })
}

/// The program: this file, the one in this folder, or the one in this tarball of a release, which is unpacked.
fn program(from: &Path, unpacked: &Path) -> Result<PathBuf> {
    let from = fs::canonicalize(from).with_context(|| format!("there is no {}", from.display()))?;
    let is_tarball = from.to_string_lossy().ends_with(TARBALL);
    if is_tarball {
        if unpacked.exists() {
            fs::remove_dir_all(unpacked).with_context(|| format!("{} cannot be removed", unpacked.display()))?;
        }
        fs::create_dir_all(unpacked).with_context(|| format!("{} cannot be made", unpacked.display()))?;
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--gzip", "--strip-components=1", "--file"]).arg(&from).arg("--directory").arg(unpacked);
        run_tool(&mut tar)?;
    }
    let folder = if is_tarball { unpacked } else { &from };
    let program = if folder.is_dir() { folder.join(PROGRAM) } else { folder.to_owned() };
    if !program.is_file() {
        bail!("there is no {PROGRAM} in {}; --from takes a program, the folder it is in, or the tarball of a release", from.display());
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_itself_in_a_folder_and_in_a_tarball() {
        let root = std::env::temp_dir().join(format!("xtask-upgrade-{}", std::process::id()));
        let (folder, unpacked) = (root.join("tidegate-0.1.0-here"), root.join("unpacked"));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(PROGRAM);
        assert!(program(&folder, &unpacked).unwrap_err().to_string().contains("--from takes"), "an empty folder");
        fs::write(&file, "a program").unwrap();
        let tarball = root.join("release.tar.gz");
        let packed = Command::new("tar").arg("-czf").arg(&tarball).arg("-C").arg(&root).arg("tidegate-0.1.0-here").status().unwrap();
        assert!(packed.success());
        for from in [&file, &folder, &tarball] {
            let found = program(from, &unpacked).unwrap();
            assert!(found.is_absolute(), "{}", found.display());
            assert_eq!(fs::read_to_string(found).unwrap(), "a program", "{}", from.display());
        }
        assert!(program(&root.join("nothing"), &unpacked).is_err());
        fs::remove_dir_all(&root).unwrap();
    }
}
