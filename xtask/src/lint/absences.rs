//! What a crate must never depend on, directly or through others: the seams of the data path, as ARCHITECTURE.md states them.

use anyhow::{Context as _, Result, bail};

use crate::place::{Place, cargo};
use crate::step::output;

/// A crate, by its folder, and what it must be free of.
const ABSENCES: [(&str, &[&str]); 9] = [
    ("crates/contract", &["arrow", "tokio", "axum", "reqwest", "object_store", "rand", "metrics", "tracing"]),
    ("crates/medallion", &["tokio", "object_store", "deltalake", "datafusion", "axum", "reqwest", "rand", "lake", "journal", "ingest"]),
    ("crates/journal", &["contract", "arrow", "lake", "ingest", "axum"]),
    ("crates/dedup", &["arrow", "tokio", "lake", "journal", "ingest", "axum"]),
    ("crates/ingest", &["arrow", "deltalake", "datafusion", "lake", "medallion", "dedup", "pipeline"]),
    ("crates/lake", &["axum", "contract", "journal", "ingest", "medallion", "dedup"]),
    ("crates/pipeline", &["axum", "ingest", "telemetry"]),
    // What is drawn there is drawn by a seed: `rand` without a source of its own.
    ("spark/python", &["tokio", "rdkafka", "deltalake", "datafusion", "object_store", "axum", "reqwest"]),
    ("crates/console", &["axum", "ingest", "journal", "dedup", "pipeline", "telemetry"]),
];

/// # Errors
///
/// Names every dependency that must not be.
pub(super) fn check(place: &Place) -> Result<()> {
    let mut problems = Vec::new();
    for (name, forbidden) in ABSENCES {
        let manifest = place.root().join(name).join("Cargo.toml");
        let arguments = ["tree", "--edges", "normal", "--prefix", "none", "--format", "{lib}", "--manifest-path"];
        let tree = output(cargo(place).args(arguments).arg(manifest))?.context("there is no cargo")?;
        problems.extend(present(&tree, forbidden).into_iter().map(|found| format!("{name} must not depend on {found}")));
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    Ok(())
}

/// Which of the names are in a list of library names, one a line.
fn present<'a>(tree: &str, forbidden: &[&'a str]) -> Vec<&'a str> {
    let is_there = |name: &str| tree.lines().any(|line| line.split_whitespace().next() == Some(name));
    forbidden.iter().copied().filter(|name| is_there(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_as_a_whole() {
        let tree = "medallion\narrow\ntokio_util\narrow (*)\n";
        assert_eq!(present(tree, &["arrow", "tokio"]), ["arrow"]);
    }
}
