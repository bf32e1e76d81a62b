//! The program with what belongs beside it, as one archive: the same for everyone who makes it from the same commit with the same tools.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{PROFILE, Release, copy, copy_all};
use crate::place::cargo;
use crate::step::{output, run, step};

/// Shells, and the file that each looks for.
const COMPLETIONS: [(&str, &str); 4] =
    [("bash", "tidegate.bash"), ("zsh", "_tidegate"), ("fish", "tidegate.fish"), ("powershell", "_tidegate.ps1")];
const TEXTS: [&str; 3] = ["LICENSE", "README.md", "CHANGELOG.md"];

/// Builds the program as it is handed out.
pub(super) fn build(release: &Release<'_>) -> Result<()> {
    step("build the program", || {
        let mut build = cargo(release.place);
        build.args(["build", "--locked", "--package", "tidegate", "--profile", PROFILE]);
        run(build.envs(release.variables()))
    })
}

/// Packs it with its pages for man, completions and units.
pub(super) fn pack(release: &Release<'_>) -> Result<()> {
    step("pack the program", || {
        let (program, parent) = (release.place.shipped(), release.work.join("packed"));
        let folder = parent.join(release.name());
        copy(&program, &folder.join("tidegate"))?;
        for text in TEXTS {
            copy(&release.place.root().join(text), &folder.join(text))?;
        }
        copy_all(&release.place.root().join("deploy/systemd"), &folder.join("systemd"))?;
        run(Command::new(&program).args(["commands", "--man"]).arg(folder.join("man")))?;
        let completions = folder.join("completions");
        fs::create_dir_all(&completions).with_context(|| format!("{} cannot be made", completions.display()))?;
        for (shell, file) in COMPLETIONS {
            let script = output(Command::new(&program).args(["completions", shell]))?.context("the program is not there")?;
            fs::write(completions.join(file), script).with_context(|| format!("{file} cannot be written"))?;
        }
        let mut tar = Command::new("tar");
        // Nothing of who packs it, and when, and in which order files are found.
        tar.args(["--create", "--format=ustar", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX"]);
        tar.arg(format!("--mtime=@{}", release.epoch)).arg("--use-compress-program=gzip --no-name -9");
        tar.arg("--directory").arg(&parent).arg("--file").arg(release.tarball()).arg(release.name());
        run(&mut tar)
    })
}
