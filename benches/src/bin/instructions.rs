//! Runs one inner loop for so many rounds, for callgrind to count its instructions: `cargo xtask instructions` starts it.

use std::hint::black_box;
use std::io::{self, Write as _};

use anyhow::{Context as _, Result, bail};
use benches::{LOOPS, Round};

const USAGE: &str = "\
Usage: instructions NAME ROUNDS  runs a loop
       instructions list         the loops: name, events of a round, rounds that are enough to count
       instructions cpu          of what a CPU may have, what code chooses its instructions by";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["list"] => {
            let mut out = io::stdout().lock();
            LOOPS.iter().try_for_each(|inner| writeln!(out, "{} {} {}", inner.name, inner.events, inner.rounds))?;
        }
        ["cpu"] => writeln!(io::stdout(), "{}", cpu())?,
        [name, rounds] => run(name, rounds.parse().with_context(|| format!("{rounds:?} is no number of rounds\n\n{USAGE}"))?)?,
        _ => bail!("{USAGE}"),
    }
    Ok(())
}

fn run(name: &str, rounds: usize) -> Result<()> {
    let inner = LOOPS.iter().find(|inner| inner.name == name).with_context(|| format!("{name:?} is no loop; `list` names them"))?;
    counted(&mut inner.begin()?, rounds)
}

/// What callgrind counts: it is told to by this name.
#[inline(never)]
fn counted(round: &mut Round, rounds: usize) -> Result<()> {
    for _ in 0..rounds {
        black_box(round()?);
    }
    Ok(())
}

/// The kind of CPU that this runs on, or that valgrind makes of it: memchr, simdutf8, BLAKE3, zstd, checksums and the C library choose their code by these.
fn cpu() -> String {
    std::iter::once(std::env::consts::ARCH).chain(features()).collect::<Vec<_>>().join(" ")
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    use std::arch::is_x86_feature_detected;
    let known = [
        ("ssse3", is_x86_feature_detected!("ssse3")),
        ("sse4.1", is_x86_feature_detected!("sse4.1")),
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
        ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("bmi2", is_x86_feature_detected!("bmi2")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
    ];
    known.into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    Vec::new()
}
