//! What a release consists of, for people who check what they got: MANIFEST.json says what it is, and `sha256sum --check SHA256SUMS` whether it is that.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::{Part, Release};
use crate::place::VERSION;
use crate::step::output;

const MANIFEST: &str = "MANIFEST.json";
pub(super) const SUMS: &str = "SHA256SUMS";

/// A file, by its path in the release.
#[derive(Debug)]
struct Listed {
    name: String,
    bytes: u64,
    sha256: String,
}

/// Writes both, about all that is there.
pub(super) fn write(release: &Release<'_>, parts: &[Part]) -> Result<()> {
    let mut names = Vec::new();
    collect(&release.folder, "", &mut names)?;
    names.sort();
    let files = listed(&release.folder, &names)?;
    let path = release.folder.join(MANIFEST);
    fs::write(&path, manifest(release, parts, &files)?).with_context(|| format!("{} cannot be written", path.display()))?;
    let path = release.folder.join(SUMS);
    let manifest = listed(&release.folder, &[MANIFEST.to_owned()])?;
    let lines: String = files.iter().chain(&manifest).map(|file| format!("{}  {}\n", file.sha256, file.name)).collect();
    fs::write(&path, lines).with_context(|| format!("{} cannot be written", path.display()))
}

/// All files below a folder, named from there.
fn collect(folder: &Path, below: &str, names: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let entry = entry?;
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{name}/"), names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}

fn listed(folder: &Path, names: &[String]) -> Result<Vec<Listed>> {
    if names.is_empty() {
        bail!("nothing was made");
    }
    let sums = output(Command::new("sha256sum").arg("--").args(names).current_dir(folder))?.context("there is no sha256sum")?;
    let sums: Vec<&str> = sums.lines().filter_map(|line| line.split_whitespace().next()).collect();
    if sums.len() != names.len() {
        bail!("sha256sum told {} sums of {} files", sums.len(), names.len());
    }
    let file = |(name, sha256): (&String, &str)| {
        let bytes = fs::metadata(folder.join(name)).with_context(|| format!("{name} cannot be read"))?.len();
        Ok(Listed { name: name.clone(), bytes, sha256: sha256.to_owned() })
    };
    names.iter().zip(sums).map(file).collect()
}

fn manifest(release: &Release<'_>, parts: &[Part], files: &[Listed]) -> Result<String> {
    let file = |Listed { name, bytes, sha256 }: &Listed| json!({"name": name, "version": VERSION, "size": bytes, "sha256": sha256});
    let manifest = json!({
        "name": "tidegate",
        "version": VERSION,
        "target": release.target,
        "commit": release.commit,
        "clean": release.is_clean,
        "parts": parts.iter().copied().map(Part::name).collect::<Vec<_>>(),
        "files": files.iter().map(file).collect::<Vec<_>>(),
    });
    Ok(serde_json::to_string_pretty(&manifest)? + "\n")
}
