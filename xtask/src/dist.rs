//! `cargo xtask dist`: all that a release consists of, below the target folder, and the proof that it works where nothing else of the repository is.
//!
//! It publishes nothing, and tags nothing: docs/releasing.md has the rest.

mod check;
mod list;
mod packages;
mod program;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::clients::{node, python};
use crate::place::{Place, VERSION};
use crate::sbom;
use crate::step::{output, step};

pub(crate) const USAGE: &str = "\
Usage: cargo xtask dist [--without PART]...

  --without PART  leave out program, python, spark, node, rust or sbom, to try the rest where what it needs is missing";
const WANTED: &str = "a release is packed with GNU tar, gzip and sha256sum (on Debian and Ubuntu: tar, gzip, coreutils)";
/// In Cargo.toml.
const PROFILE: &str = "dist";
/// What running the sources leaves among them.
const SKIPPED: [&str; 3] = ["__pycache__", ".pytest_cache", ".venv"];

/// What is made, each with other tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Program,
    Python,
    Spark,
    Node,
    Rust,
    Sbom,
}

impl Part {
    const ALL: [Self; 6] = [Self::Program, Self::Python, Self::Spark, Self::Node, Self::Rust, Self::Sbom];

    fn name(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Python => "python",
            Self::Spark => "spark",
            Self::Node => "node",
            Self::Rust => "rust",
            Self::Sbom => "sbom",
        }
    }
}

/// A release in the making.
#[derive(Debug)]
struct Release<'a> {
    place: &'a Place,
    /// What is handed out.
    folder: PathBuf,
    /// What is needed meanwhile.
    work: PathBuf,
    commit: String,
    /// Whether the sources are as the commit has them.
    is_clean: bool,
    /// The time of all files, in seconds since 1970: that of the commit, unless SOURCE_DATE_EPOCH says another.
    epoch: u64,
    /// What the program runs on.
    target: String,
}

impl<'a> Release<'a> {
    /// Looks what it is a release of, and makes its folders, empty.
    fn begin(place: &'a Place) -> Result<Self> {
        let git = |arguments: &[&str]| -> Result<String> {
            let text = output(Command::new("git").args(arguments).current_dir(place.root()))?;
            Ok(text.context("there is no git; a release is made of a commit")?.trim().to_owned())
        };
        let epoch = env::var("SOURCE_DATE_EPOCH").map_or_else(|_| git(&["log", "-1", "--format=%ct"]), Ok)?;
        let compiler = output(Command::new("rustc").arg("-vV").current_dir(place.root()))?.context("there is no rustc")?;
        let target = compiler.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc does not say for what it compiles")?;
        let release = Self {
            place,
            folder: place.dist().join(VERSION),
            work: place.dist().join("work"),
            commit: git(&["rev-parse", "HEAD"])?,
            is_clean: git(&["status", "--porcelain"])?.is_empty(),
            epoch: epoch.parse().with_context(|| format!("SOURCE_DATE_EPOCH is {epoch:?}, and has to be seconds since 1970"))?,
            target: target.to_owned(),
        };
        renew(&release.folder)?;
        renew(&release.work)?;
        Ok(release)
    }

    /// The folder in the tarball of the program, and its name.
    fn name(&self) -> String {
        format!("tidegate-{VERSION}-{}", self.target)
    }

    /// The tarball of the program.
    fn tarball(&self) -> PathBuf {
        self.folder.join(format!("{}.tar.gz", self.name()))
    }

    /// What compilers and packers are told. The flags replace all that this machine has for builds of its own, such as `target-cpu=native`, and leave its folders out
    /// of what a panic says.
    fn variables(&self) -> [(&'static str, String); 2] {
        let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
        let mut flags = vec![format!("--remap-path-prefix={}=/tidegate", self.place.root().display())];
        flags.extend(cargo_home.map(|home| format!("--remap-path-prefix={}=/cargo", home.display())));
        [("SOURCE_DATE_EPOCH", self.epoch.to_string()), ("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))]
    }
}

/// Makes a release, and tries it out.
///
/// # Errors
///
/// When a tool is missing, something cannot be built, or does not work once it is unpacked or installed.
pub(crate) fn run(place: &Place, arguments: &[String]) -> Result<()> {
    let parts = parse(arguments)?;
    let has = |part| parts.contains(&part);
    // What would fail for want of a tool fails before an hour of compiling.
    find_tools()?;
    let python = (has(Part::Python) || has(Part::Spark)).then(python::find).transpose()?;
    let node = has(Part::Node).then(node::find).transpose()?;
    if has(Part::Sbom) {
        sbom::find()?;
    }
    let release = Release::begin(place)?;
    if let Some(python) = python.as_ref().filter(|_| has(Part::Python)) {
        packages::python(&release, python)?;
    }
    if node.is_some() {
        packages::node(&release)?;
    }
    if has(Part::Rust) {
        packages::rust(&release)?;
    }
    if has(Part::Sbom) {
        copy(&sbom::make(place)?, &release.folder.join(format!("tidegate-{VERSION}.cdx.json")))?;
    }
    if has(Part::Program) {
        program::build(&release)?;
        program::pack(&release)?;
    }
    if let Some(python) = python.as_ref().filter(|_| has(Part::Spark)) {
        packages::spark(&release, python)?;
    }
    step("MANIFEST.json and SHA256SUMS", || list::write(&release, &parts))?;
    check::all(&release, &parts)?;
    let changelog = place.root().join("CHANGELOG.md");
    let changelog = fs::read_to_string(&changelog).with_context(|| format!("{} cannot be read", changelog.display()))?;
    eprintln!("\nTidegate {VERSION} for {} is in {}", release.target, release.folder.display());
    for reason in unfit(&changelog, release.is_clean, &parts) {
        eprintln!("not to be handed out: {reason}");
    }
    Ok(())
}

/// The parts that are made.
fn parse(arguments: &[String]) -> Result<Vec<Part>> {
    let mut parts = Part::ALL.to_vec();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument != "--without" {
            bail!("{argument} is no option\n\n{USAGE}");
        }
        let name = rest.next().with_context(|| format!("--without needs a part\n\n{USAGE}"))?;
        let known = Part::ALL.into_iter().find(|part| part.name() == name);
        let known = known.with_context(|| format!("{name} is no part of a release\n\n{USAGE}"))?;
        parts.retain(|part| *part != known);
    }
    if parts.is_empty() {
        bail!("nothing is left\n\n{USAGE}");
    }
    Ok(parts)
}

fn find_tools() -> Result<()> {
    let tar = output(Command::new("tar").arg("--version"))?.with_context(|| format!("there is no tar; {WANTED}"))?;
    if !tar.contains("GNU tar") {
        bail!("tar is {}; {WANTED}", tar.lines().next().unwrap_or_default());
    }
    for tool in ["gzip", "sha256sum"] {
        output(Command::new(tool).arg("--version"))?.with_context(|| format!("there is no {tool}; {WANTED}"))?;
    }
    Ok(())
}

/// Why what was made is not what people should get.
fn unfit(changelog: &str, is_clean: bool, parts: &[Part]) -> Vec<String> {
    let mut reasons = Vec::new();
    let left_out: Vec<&str> = Part::ALL.into_iter().filter(|part| !parts.contains(part)).map(Part::name).collect();
    if !left_out.is_empty() {
        reasons.push(format!("it is without {}", left_out.join(", ")));
    }
    if !is_clean {
        reasons.push("the sources are not as the commit has them".to_owned());
    }
    let section = format!("## [{VERSION}]");
    if !changelog.lines().any(|line| line.starts_with(&section)) {
        reasons.push(format!("CHANGELOG.md has no section {section:?}"));
    }
    reasons
}

/// An empty folder.
fn renew(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))
}

/// Copies a file into a folder that may not be there yet.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    fs::copy(from, to).with_context(|| format!("{} cannot be copied to {}", from.display(), to.display()))?;
    Ok(())
}

/// Copies all that is below a folder. What is a link there is a file here.
fn copy_all(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("{} cannot be read", from.display()))? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if !path.is_dir() {
            copy(&path, &to.join(name))?;
        } else if !SKIPPED.iter().any(|skipped| name == *skipped) {
            copy_all(&path, &to.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Vec<Part>> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn parts_are_left_out_by_name() {
        assert_eq!(parsed("").unwrap(), Part::ALL);
        let left = [Part::Program, Part::Python, Part::Node, Part::Rust];
        assert_eq!(parsed("--without sbom --without spark").unwrap(), left);
        for wrong in ["--without", "--without java", "--only node", "node"] {
            assert!(parsed(wrong).unwrap_err().to_string().contains("Usage"), "{wrong}");
        }
        let all: String = Part::ALL.map(|part| format!("--without {} ", part.name())).concat();
        assert!(parsed(&all).unwrap_err().to_string().contains("nothing is left"));
    }

    #[test]
    fn what_is_no_release_says_why() {
        let released = format!("# Changelog\n\n## [Unreleased]\n\n## [{VERSION}] - 2026-12-01\n");
        assert!(unfit(&released, true, &Part::ALL).is_empty());
        let check = |changelog: &str, is_clean, parts: &[Part], expect: &str| {
            let reasons = unfit(changelog, is_clean, parts);
            assert!(reasons.len() == 1 && reasons[0].contains(expect), "{reasons:?}");
        };
        check(&released, true, &Part::ALL[..4], "without rust, sbom");
        check(&released, false, &Part::ALL, "as the commit has them");
        check("# Changelog\n\n## [Unreleased]\n", true, &Part::ALL, "no section");
    }
}
