//! One figure of runs of ours and of another's, pair by pair.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::report::{Report, ReportArgs};
use crate::commands::say;
use crate::misuse::Misuse;

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// What runs of ours wrote with --json
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    ours: Vec<PathBuf>,
    /// What runs of the other's wrote, as many, in the order in which they were made
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    peer: Vec<PathBuf>,
    /// Which figure
    #[arg(long, value_name = "NAME", default_value = "events_per_second")]
    figure: String,
    #[command(flatten)]
    report: ReportArgs,
}

/// The least, the middle and the greatest of some numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    /// `None` of no numbers.
    fn of(numbers: &[f64]) -> Option<Self> {
        let mut sorted = numbers.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (below, above) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
        Some(Self { min: *sorted.first()?, median: f64::midpoint(*below, *above), max: *sorted.last()? })
    }
}

pub(super) fn run(args: &CompareArgs) -> anyhow::Result<()> {
    if args.ours.len() != args.peer.len() {
        let (ours, peer) = (args.ours.len(), args.peer.len());
        return Err(Misuse(format!(
            "{ours} runs of ours and {peer} of the other's make no pairs: give as many with --ours as with --peer"
        ))
        .into());
    }
    let (ours, peer) = (read(&args.ours)?, read(&args.peer)?);
    if ours.iter().zip(&peer).any(|(ours, peer)| !ours.is_of_the_same_machine(peer)) {
        say("warning: these runs were not made on the same machine");
    }
    let numbers = |reports: &[Report], files: &[PathBuf]| -> anyhow::Result<Vec<f64>> {
        reports.iter().zip(files).map(|(report, file)| figure(report, file, &args.figure)).collect()
    };
    let (ours, peer) = (numbers(&ours, &args.ours)?, numbers(&peer, &args.peer)?);
    let mut report = Report::begin("compare", json!({"figure": args.figure, "runs": args.ours.len()}));
    let figure = &args.figure;
    for (name, unit, numbers) in
        [("ours", format!("_{figure}"), &ours), ("peer", format!("_{figure}"), &peer), ("ratio", String::new(), &ratios(&ours, &peer))]
    {
        let Some(Spread { min, median, max }) = Spread::of(numbers) else { continue };
        for (which, value) in [("min", min), ("median", median), ("max", max)] {
            report.set(&format!("{name}_{which}{unit}"), value);
        }
    }
    args.report.tell(&report, None)
}

fn read(files: &[PathBuf]) -> anyhow::Result<Vec<Report>> {
    files.iter().map(|file| Report::read(file)).collect()
}

fn figure(report: &Report, file: &Path, name: &str) -> anyhow::Result<f64> {
    let found = report.figures.get(name);
    Ok(found.ok_or_else(|| {
        let (file, names) = (file.display(), report.figures.names().join(", "));
        Misuse(format!("{file} has no figure {name} (--figure); it has {names}"))
    })?)
}

/// How many times theirs ours is, pair by pair. A pair in which theirs is nothing has no ratio.
fn ratios(ours: &[f64], peer: &[f64]) -> Vec<f64> {
    ours.iter().zip(peer).map(|(ours, peer)| ours / peer).filter(|ratio| ratio.is_finite()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_have_ratios_and_these_a_spread() {
        assert_eq!(ratios(&[200.0, 90.0, 5.0], &[100.0, 100.0, 0.0]), [2.0, 0.9]);
        assert_eq!(Spread::of(&[]), None);
        let check = |numbers: &[f64], expect: [f64; 3]| {
            let Spread { min, median, max } = Spread::of(numbers).unwrap();
            assert_eq!([min, median, max], expect, "{numbers:?}");
        };
        check(&[3.0], [3.0, 3.0, 3.0]);
        check(&[3.0, 1.0], [1.0, 2.0, 3.0]);
        check(&[9.0, 1.0, 4.0], [1.0, 4.0, 9.0]);
    }

    #[test]
    fn runs_are_compared_or_it_is_said_why_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, rate: f64| {
            let mut report = Report::begin("ingest", json!({}));
            report.set("events_per_second", rate);
            let path = folder.path().join(name);
            std::fs::write(&path, serde_json::to_string(&report).unwrap()).unwrap();
            path
        };
        let (ours, peer) = (vec![file("a", 30.0), file("b", 50.0)], vec![file("c", 10.0), file("d", 10.0)]);
        let out = folder.path().join("out.json");
        let args = |ours: &[PathBuf], figure: &str| CompareArgs {
            ours: ours.to_vec(),
            peer: peer.clone(),
            figure: figure.to_owned(),
            report: ReportArgs::to_json(&out),
        };
        run(&args(&ours, "events_per_second")).unwrap();
        let report = Report::read(&out).unwrap();
        assert_eq!((report.figures.get("ratio_median"), report.figures.get("ours_min_events_per_second")), (Some(4.0), Some(30.0)));
        assert!(run(&args(&ours, "x")).unwrap_err().to_string().contains("it has events_per_second"));
        assert!(run(&args(&ours[..1], "events_per_second")).unwrap_err().is::<Misuse>());
    }
}
