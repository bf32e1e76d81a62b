//! `cargo xtask instructions`: how many instructions an event takes in each inner loop of `benches`, counted by callgrind and held to the figures of `benches/instructions.txt`.
//!
//! Counted is the loop alone, without the start of the program and the making of its input. Time on a clock has no part in it.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::bench::machine::processor;
use crate::place::{Place, cargo};
use crate::step::{output, run as run_tool, step};

pub(crate) const USAGE: &str = "\
Usage: cargo xtask instructions [LOOP...] [--write]

  LOOP     one of those in benches/src/lib.rs; without any, all
  --write  writes the figures of all to benches/instructions.txt, and compares nothing";
const WANTED: &str = "valgrind counts the instructions (on Debian and Ubuntu: apt-get install valgrind)";
/// Where the figures stand, from the root of the repository.
const FILE: &str = "benches/instructions.txt";
/// The function of the program that is counted, with what it calls.
const COUNTED: &str = "*instructions::counted*";
/// The line of the file that says what, beside the sources, the figures hang on.
const KIND: &str = "kind: ";
/// A figure may be so much above that of the file, and so much below it before it is worth writing.
const TOLERATED_PERCENT: u64 = 5;

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    loops: Vec<String>,
    write: bool,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self::default();
        for argument in arguments {
            match argument.as_str() {
                "--write" => options.write = true,
                other if other.starts_with('-') => bail!("{other} is no option\n\n{USAGE}"),
                name => options.loops.push(name.to_owned()),
            }
        }
        if options.write && !options.loops.is_empty() {
            bail!("--write writes the figures of all loops, for they are of one machine; name none\n\n{USAGE}");
        }
        Ok(options)
    }
}

/// A loop, as the program lists it.
#[derive(Debug, PartialEq, Eq)]
struct Loop {
    name: String,
    events: u64,
    rounds: u64,
}

/// Builds the loops, counts, and compares or writes.
///
/// # Errors
///
/// When valgrind is missing, when a loop does not run, and when one takes more instructions than before.
pub(crate) fn run(place: &Place, arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let valgrind = valgrind()?.with_context(|| format!("there is no valgrind; {WANTED}"))?;
    step("build the inner loops", || {
        // With everything of the workspace, for the features of its dependencies.
        run_tool(cargo(place).args(["build", "--release", "--workspace", "--bin", "instructions"]))
    })?;
    let listed = output(Command::new(place.instructions()).arg("list"))?.context("the inner loops were not built")?;
    let loops = chosen(listed_loops(&listed)?, &options.loops)?;
    let kind = kind(place)?;
    let file = place.root().join(FILE);
    let known = if options.write { Known::default() } else { Known::read(&file)? };
    step("instructions of the inner loops", || {
        let mut counted = BTreeMap::new();
        for inner in &loops {
            let figure = count(place, inner)?;
            eprintln!("{:<18} {figure:>8} an event{}", inner.name, known.beside(&inner.name, figure));
            counted.insert(inner.name.clone(), figure);
        }
        if options.write {
            return fs::write(&file, text(&kind, &taken_on(&valgrind), &counted))
                .with_context(|| format!("{} cannot be written", file.display()));
        }
        let findings = known.judge(&kind, &counted, options.loops.is_empty());
        for note in &findings.notes {
            eprintln!("{note}");
        }
        if findings.problems.is_empty() {
            return Ok(());
        }
        let look = format!("callgrind_annotate --inclusive=yes {}", place.counts().join("LOOP.out").display());
        bail!(
            "{}\nwhere they go: {look}\nwhere the change is meant to cost that: cargo xtask instructions --write, and say why in the commit",
            findings.problems.join("\n")
        )
    })
}

/// The same where valgrind is installed; where it is not, says so.
///
/// # Errors
///
/// As [`run`], but for a missing valgrind.
pub(crate) fn run_if_possible(place: &Place) -> Result<()> {
    if valgrind()?.is_none() {
        eprintln!("\nthe instructions of the inner loops are left out: {WANTED}");
        return Ok(());
    }
    run(place, &[])
}

/// The version of valgrind; `None` where there is none.
fn valgrind() -> Result<Option<String>> {
    Ok(output(Command::new("valgrind").arg("--version"))?.map(|text| text.trim().to_owned()))
}

/// A tool of valgrind, with no settings of anybody's: what is in the environment and in files of the user's would change what is counted.
fn tool(place: &Place, name: &str) -> Result<Command> {
    let folder = place.counts();
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let mut command = Command::new("valgrind");
    command.env_clear().envs(env::var_os("PATH").map(|path| ("PATH", path))).current_dir(folder);
    command.arg(format!("--tool={name}")).arg("--quiet");
    Ok(command)
}

/// Instructions for one event of a loop.
fn count(place: &Place, inner: &Loop) -> Result<u64> {
    let file = place.counts().join(format!("{}.out", inner.name));
    let mut callgrind = tool(place, "callgrind")?;
    // A percent sign stands for something there.
    callgrind.arg(format!("--callgrind-out-file={}", file.display().to_string().replace('%', "%%")));
    callgrind.arg(format!("--toggle-collect={COUNTED}")).arg(place.instructions());
    output(callgrind.args([&inner.name, &inner.rounds.to_string()]))?;
    let profile = fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let events = inner.events * inner.rounds;
    match totals(&profile) {
        Some(total) if total > events => Ok((total + events / 2) / events),
        _ => bail!("callgrind counted nothing of {}; is the program without its names ({COUNTED})? see {}", inner.name, file.display()),
    }
}

/// The sum that a profile of callgrind ends with.
fn totals(profile: &str) -> Option<u64> {
    profile.lines().rev().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

fn listed_loops(list: &str) -> Result<Vec<Loop>> {
    let parse = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, events, rounds) = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        (events > 0 && rounds > 0).then(|| Loop { name: name.to_owned(), events, rounds })
    };
    list.lines().map(|line| parse(line).with_context(|| format!("{line:?} is no loop with its events and rounds"))).collect()
}

fn chosen(mut loops: Vec<Loop>, names: &[String]) -> Result<Vec<Loop>> {
    if let Some(unknown) = names.iter().find(|name| !loops.iter().any(|inner| inner.name == **name)) {
        let known: Vec<&str> = loops.iter().map(|inner| inner.name.as_str()).collect();
        bail!("{unknown} is no loop; there are {}", known.join(", "));
    }
    loops.retain(|inner| names.is_empty() || names.contains(&inner.name));
    Ok(loops)
}

/// What the figures hang on beside the sources: code that chooses its instructions by the CPU sees the one that valgrind shows it, which is the same on all machines of a kind; and the C library
/// allocates and copies.
fn kind(place: &Place) -> Result<String> {
    let cpu = output(tool(place, "none")?.arg(place.instructions()).arg("cpu"))?.context("there is no valgrind")?;
    // Where there is no such tool, or it knows no such word, there is another C library.
    let library = output(Command::new("getconf").arg("GNU_LIBC_VERSION")).ok().flatten().unwrap_or_default();
    let library = Some(library.trim()).filter(|library| !library.is_empty()).unwrap_or("another C library");
    Ok(format!("{}, {library}", cpu.trim()))
}

/// The machine, for people.
fn taken_on(valgrind: &str) -> String {
    format!("{} by {valgrind}", processor().as_deref().unwrap_or("a CPU without a name"))
}

/// The file, for these figures.
fn text(kind: &str, taken_on: &str, figures: &BTreeMap<String, u64>) -> String {
    let mut text = format!(
        "# Instructions that an event takes in each inner loop: `cargo xtask instructions` compares them, `cargo xtask instructions --write` writes this file.\n\
         # Taken on {taken_on}.\n\
         {KIND}{kind}\n"
    );
    for (name, figure) in figures {
        text += &format!("{name} {figure}\n");
    }
    text
}

/// The figures of before.
#[derive(Debug, Default, PartialEq, Eq)]
struct Known {
    kind: String,
    figures: BTreeMap<String, u64>,
}

/// What is to be said of new figures.
#[derive(Debug, Default, PartialEq, Eq)]
struct Findings {
    /// What the command fails for.
    problems: Vec<String>,
    notes: Vec<String>,
}

impl Known {
    fn read(file: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(file).with_context(|| format!("{FILE} cannot be read; to write it: cargo xtask instructions --write"))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut known = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(kind) = line.strip_prefix(KIND) {
                kind.trim().clone_into(&mut known.kind);
            } else if !line.starts_with('#') && !line.trim().is_empty() {
                let figure = line.split_once(' ').and_then(|(name, figure)| Some((name, figure.trim().parse().ok()?)));
                let (name, figure) = figure
                    .filter(|(_, figure)| *figure > 0)
                    .with_context(|| format!("{FILE}:{number}: {line:?} is no loop with its figure; cargo xtask instructions --write"))?;
                known.figures.insert(name.to_owned(), figure);
            }
        }
        Ok(known)
    }

    /// What stands beside a new figure: the one in the file, and how much more or less the new one is.
    fn beside(&self, name: &str, figure: u64) -> String {
        self.figures.get(name).map_or_else(String::new, |known| format!(", {known} in the file: {}", change(*known, figure)))
    }

    /// Holds new figures to these; `is_all`: no loop was left out.
    fn judge(&self, kind: &str, counted: &BTreeMap<String, u64>, is_all: bool) -> Findings {
        let mut findings = Findings::default();
        let (problems, notes) = (&mut findings.problems, &mut findings.notes);
        let is_same_kind = self.kind == kind;
        if !is_same_kind {
            notes.push(format!("{FILE} is of {:?}, this is {kind:?}: more is told here, and no error", self.kind));
        }
        for (name, figure) in counted {
            let Some(known) = self.figures.get(name) else {
                problems.push(format!("{name} is not in {FILE}; cargo xtask instructions --write"));
                continue;
            };
            let told = || format!("{name} takes {figure} instructions an event, {known} in {FILE}: {}", change(*known, *figure));
            if figure * 100 > known * (100 + TOLERATED_PERCENT) {
                if is_same_kind { problems.push(told()) } else { notes.push(told()) }
            } else if figure * 100 < known * (100 - TOLERATED_PERCENT) && is_same_kind {
                notes.push(format!("{}; so that it stays so: cargo xtask instructions --write", told()));
            }
        }
        let gone = self.figures.keys().filter(|name| is_all && !counted.contains_key(*name));
        problems.extend(gone.map(|name| format!("{name} in {FILE} is no loop any more; cargo xtask instructions --write")));
        findings
    }
}

fn change(known: u64, figure: u64) -> String {
    format!("{:+.1} %", (figure as f64 / known as f64 - 1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(list: &[(&str, u64)]) -> BTreeMap<String, u64> {
        list.iter().map(|(name, figure)| ((*name).to_owned(), *figure)).collect()
    }

    #[test]
    fn options_are_read() {
        let parse = |line: &str| Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(parse("").unwrap(), Options::default());
        assert_eq!(parse("--write").unwrap(), Options { write: true, ..Options::default() });
        assert_eq!(parse("a b").unwrap().loops, ["a", "b"]);
        for wrong in ["--rewrite", "a --write"] {
            assert!(parse(wrong).unwrap_err().to_string().contains("Usage"), "{wrong}");
        }
    }

    #[test]
    fn loops_are_listed_and_chosen() {
        let list = "parse-one 1 1000\nbronze 500 20\n";
        let names = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            chosen(listed_loops(list).unwrap(), &names).map(|loops| loops.into_iter().map(|inner| inner.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).unwrap(), ["parse-one", "bronze"]);
        assert_eq!(names(&["bronze"]).unwrap(), ["bronze"]);
        assert_eq!(names(&["silver"]).unwrap_err().to_string(), "silver is no loop; there are parse-one, bronze");
        for wrong in ["a", "a 1", "a 0 1", "a 1 0", "a x 1"] {
            assert!(listed_loops(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_profile_ends_with_its_sum() {
        assert_eq!(totals("events: Ir\nsummary: 7\n\nfn=(1) main\n+1 6\n\ntotals: 126637\n"), Some(126_637));
        assert_eq!(totals("events: Ir\n"), None);
    }

    #[test]
    fn the_file_is_read_as_it_is_written() {
        let known = Known { kind: "x86_64 avx2, glibc 2.36".to_owned(), figures: figures(&[("bronze", 900), ("parse-one", 15_000)]) };
        let written = text(&known.kind, "a CPU by valgrind-3", &known.figures);
        assert!(written.ends_with("\nkind: x86_64 avx2, glibc 2.36\nbronze 900\nparse-one 15000\n"), "{written}");
        assert_eq!(Known::parse(&written).unwrap(), known);
        for wrong in ["bronze", "bronze many", "bronze 0"] {
            assert!(Known::parse(wrong).unwrap_err().to_string().contains(":1:"), "{wrong}");
        }
    }

    #[test]
    fn more_is_an_error_and_less_is_not() {
        let known = Known { kind: "k".to_owned(), figures: figures(&[("a", 1_000), ("b", 1_000)]) };
        let check = |kind, counted: &[(&str, u64)], is_all, problems: usize, notes: usize| {
            let found = known.judge(kind, &figures(counted), is_all);
            assert_eq!((found.problems.len(), found.notes.len()), (problems, notes), "{counted:?}: {found:?}");
        };
        check("k", &[("a", 1_050), ("b", 950)], true, 0, 0);
        check("k", &[("a", 1_051), ("b", 949)], true, 1, 1);
        // Of another machine.
        check("other", &[("a", 1_051), ("b", 949)], true, 0, 2);
        // A loop that is new, and one that is no more.
        check("k", &[("a", 1_000), ("c", 1)], true, 2, 0);
        check("k", &[("a", 1_000)], false, 0, 0);
        let told = known.judge("k", &figures(&[("a", 1_200)]), false).problems;
        assert_eq!(told, ["a takes 1200 instructions an event, 1000 in benches/instructions.txt: +20.0 %"]);
    }
}
