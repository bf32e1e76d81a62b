//! `cargo xtask docs`: the documents as a site, by mdBook.
//!
//! The pages lie in `docs/` and at the root, where people read them on the web as they are. They are copied below the target folder with their links as they have to be there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::place::Place;
use crate::step::{output, run, step};

/// Pages of the site that stand beside `docs/`.
const AT_THE_ROOT: [&str; 3] = ["README.md", "RUNBOOK.md", "ARCHITECTURE.md"];
const FOLDER: &str = "docs";
/// The table of contents: what mdBook reads, and no page.
const SUMMARY: &str = "docs/SUMMARY.md";

/// Builds the site below the target folder.
///
/// # Errors
///
/// When mdBook is not installed, a file cannot be read or written, or mdBook fails.
pub(crate) fn build(place: &Place) -> Result<()> {
    if output(Command::new("mdbook").arg("--version"))?.is_none() {
        bail!("mdbook is not installed: cargo install --locked mdbook");
    }
    let (book, site) = (place.target().join("docs/book"), place.target().join("docs/site"));
    step("documents", || {
        if book.exists() {
            fs::remove_dir_all(&book).with_context(|| format!("{} cannot be removed", book.display()))?;
        }
        let mut files = BTreeSet::new();
        collect(place.root(), FOLDER, &mut files)?;
        files.extend(AT_THE_ROOT.map(str::to_owned));
        for file in &files {
            let target = book.join(in_site(file));
            if let Some(folder) = target.parent() {
                fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
            }
            let source = place.root().join(file);
            let failed = || format!("{} cannot be copied to {}", source.display(), target.display());
            if file.ends_with(".md") {
                let text = fs::read_to_string(&source).with_context(failed)?;
                fs::write(&target, page(file, &text, &files)).with_context(failed)?;
            } else {
                fs::copy(&source, &target).map(drop).with_context(failed)?;
            }
        }
        run(Command::new("mdbook").arg("build").arg(&book).arg("--dest-dir").arg(&site))
    })?;
    eprintln!("the site is in {}", site.display());
    Ok(())
}

fn collect(root: &Path, folder: &str, files: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(root.join(folder)).with_context(|| format!("{folder} cannot be read"))? {
        let entry = entry?;
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(root, &path, files)?;
        } else {
            files.insert(path);
        }
    }
    Ok(())
}

/// Where a file of the repository stands in the site.
fn in_site(file: &str) -> &str {
    match file {
        // mdBook would rename it by itself, and leave the links to it as they are.
        "README.md" => "index.md",
        file => file.strip_prefix("docs/").unwrap_or(file),
    }
}

/// A page as it is in the site: links lead to the pages there. Those to other files of the repository are left as text, for there is nothing to lead to; and of a fence only the language is left.
fn page(file: &str, text: &str, files: &BTreeSet<String>) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        match line.strip_prefix("```").and_then(|info| info.split_once(' ')) {
            Some((language, _)) if !language.is_empty() => {
                out.push_str("```");
                out.push_str(language);
                out.push('\n');
            }
            _ => out.push_str(&links(file, line, files)),
        }
    }
    out
}

fn links(file: &str, line: &str, files: &BTreeSet<String>) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("](") {
        let Some((target, behind)) = after.split_once(')') else { break };
        let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
        let led_to = (!path.is_empty() && !path.contains("://")).then(|| resolved(file, path));
        match led_to {
            Some(led_to) if led_to != SUMMARY && files.contains(&led_to) => {
                out.push_str(before);
                out.push_str("](");
                out.push_str(&relative(in_site(file), in_site(&led_to)));
                if let Some(anchor) = anchor {
                    out.push('#');
                    out.push_str(anchor);
                }
                out.push(')');
            }
            // The label of the link, without what makes it one.
            Some(_) if before.contains('[') => {
                let (text, label) = before.rsplit_once('[').unwrap_or((before, ""));
                out.push_str(text);
                out.push_str(label);
            }
            _ => {
                out.push_str(before);
                out.push_str("](");
                out.push_str(target);
                out.push(')');
            }
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// The file of the repository that a link of another one leads to.
fn resolved(file: &str, path: &str) -> String {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The way from one page to another.
fn relative(from: &str, to: &str) -> String {
    let (from, to): (Vec<&str>, Vec<&str>) = (from.split('/').collect(), to.split('/').collect());
    let folders = from.len() - 1;
    let common = from.iter().take(folders).zip(&to).take_while(|(one, other)| one == other).count().min(to.len() - 1);
    let up = std::iter::repeat_n("..", folders - common);
    up.chain(to.iter().skip(common).copied()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_pages_of_the_site() {
        let files = ["README.md", "docs/SUMMARY.md", "docs/a.md", "docs/b/c.md", "docs/images/d.png"].map(str::to_owned).into();
        let check = |file, text, expect| assert_eq!(page(file, text, &files), expect, "{file}: {text}");
        check("README.md", "see [a](docs/a.md#x) and [c](docs/b/c.md)\n", "see [a](a.md#x) and [c](b/c.md)\n");
        check("docs/b/c.md", "[a](../a.md), ![d](../images/d.png)", "[a](../a.md), ![d](../images/d.png)");
        check("docs/b/c.md", "[home](../../README.md#y)", "[home](../index.md#y)");
        check(
            "docs/a.md",
            "[code](../crates/x.rs) and [web](https://a.example/b) and [here](#z)",
            "code and [web](https://a.example/b) and [here](#z)",
        );
        check("docs/a.md", "```sh background ready=http://a\nx\n```\n", "```sh\nx\n```\n");
        check("README.md", "[all](docs/SUMMARY.md)", "all");
        check("docs/a.md", "nothing ](", "nothing ](");
    }
}
