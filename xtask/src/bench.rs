//! `cargo xtask bench`: the product beside its peers and its limits on this machine, scenario by scenario, both sides in turns.
//!
//! What is measured how, and why so, is in docs/performance.md. What the peers are is in `bench/peers`.

mod broker;
mod comparison;
mod delay;
mod equipment;
mod footprint;
mod history;
mod http;
mod ingest;
mod load;
pub(crate) mod machine;
mod options;
mod peers;
mod picture;
mod product;
mod replay;
mod report;
mod running;
mod scenario;
mod scene;
mod stages;
mod usage;
mod workers;

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::place::Place;
use crate::rust;
use crate::step::step;
use equipment::Equipment;
use machine::Machine;
use options::Options;
pub(crate) use options::USAGE;
use report::{Found, Outcome, Report};
use scenario::{ALL, Scenario};
use scene::Scene;

/// The page that has the table of the last run.
const PAGE: &str = "docs/performance.md";
/// The picture on it.
const PICTURE: &str = "docs/images/performance.svg";

/// Plays the scenarios, and writes what came of them.
///
/// # Errors
///
/// When something cannot be installed or built, or a scenario could not be played; the others are played all the same. A target that is missed is no error.
pub(crate) fn run(place: &Place, arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments, &ALL.map(|scenario| scenario.name))?;
    if options.lists {
        for Scenario { name, about, .. } in &ALL {
            eprintln!("{name:<18} {about}");
        }
        return Ok(());
    }
    let chosen = chosen(&options);
    let needs: Vec<_> = chosen.iter().flat_map(|scenario| scenario.needs).copied().collect();
    let tools = Equipment::install(place, &needs)?;
    rust::build_product(place)?;
    // Processes that are measured have working folders of their own.
    let out = options.out.clone().unwrap_or_else(|| place.target().join("bench"));
    let out = std::path::absolute(&out).with_context(|| format!("{} has no absolute path", out.display()))?;
    fs::create_dir_all(&out).with_context(|| format!("{} cannot be made", out.display()))?;

    let (began, commit) = (machine::now()?, machine::commit(place));
    let mut report = Report { began, commit, machine: Machine::here(), options: &options, outcomes: Vec::new() };
    for scenario in chosen {
        report.outcomes.push(play(place, &options, &tools, &out, scenario));
        // After each, so that what is broken off leaves what it has.
        report.write(&out)?;
    }
    eprintln!("\n{}\nthe report, as page, JSON and picture, is in {}", report.figures(), out.display());
    if options.writes_figures {
        let page = place.root().join(PAGE);
        let text = fs::read_to_string(&page).with_context(|| format!("{PAGE} cannot be read"))?;
        let text = report::replaced(&text, &report.figures()).with_context(|| format!("{PAGE} has no place for figures"))?;
        fs::write(&page, text).with_context(|| format!("{PAGE} cannot be written"))?;
        let picture = place.root().join(PICTURE);
        fs::copy(out.join(report::PICTURE), &picture).with_context(|| format!("{PICTURE} cannot be written"))?;
    }
    let failed = report.failed();
    if !failed.is_empty() {
        bail!("could not be measured: {}; why is in {}", failed.join(", "), out.join("report.md").display());
    }
    Ok(())
}

/// Those that were asked for, in their order.
fn chosen(options: &Options) -> Vec<&'static Scenario> {
    let asked_for = |name: &str| options.scenarios.is_empty() || options.scenarios.iter().any(|asked| asked == name);
    ALL.iter().filter(|scenario| asked_for(scenario.name)).collect()
}

/// Plays one, to its end or its failure. What it has started ends with it.
fn play(place: &Place, options: &Options, tools: &Equipment, out: &Path, scenario: &Scenario) -> Outcome {
    let began = Instant::now();
    let mut found: Option<Found> = None;
    let played = step(scenario.name, || {
        let scene = Scene::new(place, options, tools, out, scenario.name)?;
        let outcome = (scenario.play)(&scene);
        // Whatever came of it: data of gigabytes, while logs and reports stay.
        let ended = scene.end();
        found = Some(outcome?);
        ended
    });
    if let Err(error) = &played {
        eprintln!("\n{error:#}");
    }
    let found = played.and_then(|()| found.context("it found nothing"));
    Outcome { scenario: scenario.name, seconds: began.elapsed().as_secs_f64(), found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_chosen_by_name_in_their_order() {
        let names = |scenarios: &[&str]| {
            let scenarios = scenarios.iter().map(|name| (*name).to_owned()).collect();
            chosen(&Options { scenarios, ..Options::default() }).iter().map(|scenario| scenario.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&["silver", "bronze"]), ["bronze", "silver"]);
        assert_eq!(names(&[]).len(), ALL.len());
    }

    #[test]
    fn names_of_scenarios_differ() {
        let mut names = ALL.map(|scenario| scenario.name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}
