//! Rules on the texts of the repository that no other tool knows.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// Folders that are no part of the sources.
const SKIPPED: [&str; 6] = [".git", "target", "node_modules", "tidegate-data", "__pycache__", ".venv"];
/// Larger files are data, not texts that somebody wrote.
const BYTES_MAX: u64 = 1 << 20;
/// The table of contents of `docs/`.
const SUMMARY: &str = "docs/SUMMARY.md";

/// # Errors
///
/// Names every place that breaks a rule.
pub(super) fn check(root: &Path) -> Result<()> {
    let mut problems = Vec::new();
    walk(root, root, &mut problems)?;
    let summary = fs::read_to_string(root.join(SUMMARY)).with_context(|| format!("{SUMMARY} cannot be read"))?;
    let mut pages = Vec::new();
    documents(&root.join("docs"), "", &mut pages)?;
    problems.extend(unlisted(&summary, &pages).map(|page| format!("docs/{page}: {SUMMARY} does not list it")));
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    Ok(())
}

fn walk(root: &Path, folder: &Path, problems: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if SKIPPED.contains(&name.as_ref()) || name.ends_with(".local") {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(root, &entry.path(), problems)?;
        } else if kind.is_file() && entry.metadata()?.len() <= BYTES_MAX {
            let bytes = fs::read(entry.path()).with_context(|| format!("{} cannot be read", entry.path().display()))?;
            let path = entry.path();
            let path = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            // What is no text has no rules.
            if let Ok(text) = String::from_utf8(bytes) {
                problems.extend(broken(&path, &text).into_iter().map(|problem| format!("{path}{problem}")));
                let dead = links(&path, &text).into_iter().filter(|link| !folder.join(link).exists());
                problems.extend(dead.map(|link| format!("{path}: the link to {link} leads nowhere")));
            }
        }
    }
    Ok(())
}

/// The documents below a folder, named from there.
fn documents(folder: &Path, below: &str, pages: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let entry = entry?;
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            documents(&entry.path(), &format!("{name}/"), pages)?;
        } else if name.ends_with(".md") {
            pages.push(name);
        }
    }
    pages.sort();
    Ok(())
}

/// The pages that are not in the table of contents, which is none itself.
fn unlisted<'a>(summary: &'a str, pages: &'a [String]) -> impl Iterator<Item = &'a str> {
    let listed = links(SUMMARY, summary);
    pages.iter().map(String::as_str).filter(move |page| *page != "SUMMARY.md" && !listed.contains(page))
}

/// What is wrong with a file: `:LINE: why`.
fn broken(path: &str, text: &str) -> Vec<String> {
    let is_rust = path.ends_with(".rs");
    let mut problems = Vec::new();
    if path.ends_with("/mod.rs") {
        problems.push(": name it `folder.rs` beside the folder".to_owned());
    }
    if is_rust && path.contains("/src/") && !text.starts_with("//!") && !path.ends_with("/tests.rs") {
        problems.push(":1: begin with `//!`: what is here, and what it never does".to_owned());
    }
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(found) = home_folder(line) {
            problems.push(format!(":{number}: {found:?} is a folder of one machine; name it relative to the repository"));
        }
        // Split, so that this file keeps its own rule.
        if is_rust && [concat!("TO", "DO"), concat!("FIX", "ME")].iter().any(|mark| line.contains(mark)) {
            problems.push(format!(":{number}: finish it, or say in a sentence what is not done and why"));
        }
    }
    problems
}

/// The links of a document to other files of the repository, relative to its own folder.
fn links<'a>(path: &str, text: &'a str) -> Vec<&'a str> {
    if !path.ends_with(".md") {
        return Vec::new();
    }
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let files = targets.map(|target| target.split('#').next().unwrap_or_default());
    files.filter(|file| !file.is_empty() && !file.contains("://") && !file.starts_with("mailto:")).collect()
}

/// The start of a path in somebody's home folder.
fn home_folder(line: &str) -> Option<&str> {
    const HOMES: [&str; 4] = [concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/ro", "ot/"), concat!("C:\\Us", "ers\\")];
    HOMES.iter().find_map(|home| {
        let at = line.find(home)?;
        // A path on the web, such as `example.com/home/`, is nobody's folder.
        let before = line.get(..at)?.chars().next_back();
        let (rest, starts) = (line.get(at..)?, before.is_none_or(|before| !before.is_alphanumeric() && before != '.' && before != '/'));
        let named = rest.get(home.len()..)?.chars().next().is_some_and(char::is_alphanumeric);
        (starts && named).then(|| rest.split(|char: char| char.is_whitespace() || "\"'`)".contains(char)).next().unwrap_or(rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_seen_to_be_broken() {
        let check = |path: &str, text: &str, expect: usize| assert_eq!(broken(path, text).len(), expect, "{path}: {text}");
        let home = concat!("/ho", "me/ada/tidegate");
        check("crates/a/src/b.rs", "//! What.\n", 0);
        check("crates/a/src/b.rs", "fn b() {}\n", 1);
        check("crates/a/src/b/tests.rs", "use super::*;\n", 0);
        check("crates/a/src/b/mod.rs", "//! What.\n", 1);
        check("docs/a.md", &format!("see `{home}`"), 1);
        check("docs/a.md", &format!("https://example.com{home}"), 0);
        check("docs/a.md", concat!("TO", "DO in a text is a word"), 0);
        check("crates/a/src/b.rs", concat!("//! What.\n// TO", "DO\n"), 1);
    }

    #[test]
    fn links_to_files_are_found_in_documents() {
        let text = "[a](b.md) and [c](https://example.com/d) or [e](#f), [g](h/i.md#j)";
        assert_eq!(links("docs/a.md", text), ["b.md", "h/i.md"]);
        assert!(links("src/a.rs", text).is_empty());
    }

    #[test]
    fn pages_that_are_not_in_the_summary_are_named() {
        let pages = ["SUMMARY.md", "a.md", "b/c.md"].map(str::to_owned);
        assert_eq!(unlisted("- [A](a.md)\n", &pages).collect::<Vec<_>>(), ["b/c.md"]);
        assert_eq!(unlisted("- [A](a.md)\n- [C](b/c.md)\n", &pages).count(), 0);
    }

    #[test]
    fn the_whole_path_is_named() {
        let line = format!("read \"{}\" first", concat!("/ho", "me/ada/x y"));
        assert_eq!(home_folder(&line), Some(concat!("/ho", "me/ada/x")));
    }
}
