//! What came of all scenarios: a page for people, JSON for programs, a picture.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

use super::comparison::{Comparison, Spread, Target};
use super::machine::Machine;
use super::options::Options;
use super::picture;
use crate::place;

/// The version of the document.
const VERSION: u32 = 1;
/// The file of the picture of the ratios.
pub(crate) const PICTURE: &str = "ratios.svg";
/// Between these, the page of the documents has the table of the last run.
const MARKS: [&str; 2] = ["<!-- figures -->", "<!-- end of figures -->"];

/// What a scenario found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) comparisons: Vec<Comparison>,
    /// What has to be known to read them: above all, that both sides promised the same.
    pub(crate) notes: Vec<String>,
}

/// What came of a scenario.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) scenario: &'static str,
    pub(crate) seconds: f64,
    pub(crate) found: Result<Found>,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) began: String,
    pub(crate) commit: String,
    pub(crate) machine: Machine,
    pub(crate) options: &'a Options,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Report<'_> {
    /// Writes `report.md`, `report.json` and `ratios.svg`.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        for (name, text) in [("report.md", self.page()), ("report.json", format!("{}\n", self.json())), (PICTURE, self.picture())] {
            let file = folder.join(name);
            fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))?;
        }
        Ok(())
    }

    /// The scenarios that could not be played.
    pub(crate) fn failed(&self) -> Vec<&'static str> {
        self.outcomes.iter().filter(|outcome| outcome.found.is_err()).map(|outcome| outcome.scenario).collect()
    }

    /// The table with what has to be known beside it, as it is in the documents too.
    pub(crate) fn figures(&self) -> String {
        let Machine { cores, memory, processor, kernel } = &self.machine;
        let Options { rounds, seconds, events, .. } = self.options;
        let mut text = format!(
            "Measured {} at commit {}, on {cores} cores ({processor}), {memory} of memory, Linux {kernel}: {rounds} rounds, loads of {seconds} s, stages of {events} events.\n\n",
            self.began, self.commit
        );
        text +=
            "| scenario | figure | ours | beside | theirs | ratio: min, median, max | target | met |\n|---|---|---|---|---|---|---|---|\n";
        for outcome in &self.outcomes {
            match &outcome.found {
                Ok(found) => text.extend(found.comparisons.iter().map(|comparison| line(outcome.scenario, comparison))),
                Err(_) => text += &format!("| {} | could not be measured | | | | | | no |\n", outcome.scenario),
            }
        }
        text
    }

    fn page(&self) -> String {
        let mut text = format!("# Tidegate beside its peers and its limits\n\n{}\n![ratios]({PICTURE})\n", self.figures());
        for Outcome { scenario, seconds, found } in &self.outcomes {
            text += &format!("\n## {scenario}\n\n");
            match found {
                Ok(found) => text.extend(found.notes.iter().map(|note| format!("- {note}\n"))),
                Err(error) => text += &format!("Could not be measured: {}\n", format!("{error:#}").replace('\n', "\n    ")),
            }
            text += &format!("\nIt took {seconds:.0} s.\n");
        }
        text
    }

    fn json(&self) -> Value {
        // The medians of the ratios.
        let mut figures = Map::new();
        let mut scenarios = Vec::new();
        for outcome in &self.outcomes {
            let comparisons = outcome.found.as_ref().map_or(&[] as &[Comparison], |found| &found.comparisons);
            for comparison in comparisons {
                let name = format!("{}: {}, {}", outcome.scenario, comparison.what, comparison.beside);
                figures.extend(comparison.ratio().map(|ratio| (name, ratio.median.into())));
            }
            scenarios.push(json!({
                "scenario": outcome.scenario,
                "seconds": outcome.seconds,
                "error": outcome.found.as_ref().err().map(|error| format!("{error:#}")),
                "comparisons": comparisons.iter().map(told).collect::<Vec<_>>(),
            }));
        }
        json!({
            "version": VERSION,
            "what": "comparison",
            "began": self.began,
            "commit": self.commit,
            "machine": self.machine.json(),
            "settings": {"rounds": self.options.rounds, "seconds": self.options.seconds, "events": self.options.events},
            "figures": figures,
            "scenarios": scenarios,
        })
    }

    fn picture(&self) -> String {
        let mut bars = Vec::new();
        for outcome in &self.outcomes {
            for comparison in outcome.found.iter().flat_map(|found| &found.comparisons) {
                if let Some(ratio) = comparison.ratio() {
                    let target = match comparison.target {
                        Some(Target::RatioAtLeast(ratio) | Target::RatioAtMost(ratio)) => Some(ratio),
                        _ => None,
                    };
                    let name = format!("{}: {} / {}", outcome.scenario, comparison.what, comparison.beside);
                    bars.push(picture::Bar { name, ratio, target, met: comparison.met() });
                }
            }
        }
        picture::ratios(&bars)
    }
}

fn line(scenario: &str, comparison: &Comparison) -> String {
    let value = |values: &[f64]| {
        Spread::of(values).map_or_else(String::new, |spread| format!("{} {}", shown(spread.median), comparison.unit).trim().to_owned())
    };
    let ratio = comparison
        .ratio()
        .map_or_else(String::new, |Spread { min, median, max }| format!("{}, **{}**, {}", shown(min), shown(median), shown(max)));
    let target = comparison.target.map_or_else(String::new, |target| match target {
        Target::RatioAtLeast(least) => format!("≥ {} ×", shown(least)),
        Target::RatioAtMost(most) => format!("≤ {} ×", shown(most)),
        Target::AtLeast(least) => format!("≥ {} {}", shown(least), comparison.unit),
        Target::AtMost(most) => format!("≤ {} {}", shown(most), comparison.unit),
    });
    let met = comparison.met().map_or("", |met| if met { "yes" } else { "no" });
    let Comparison { what, beside, ours, theirs, .. } = comparison;
    format!("| {scenario} | {what} | {} | {beside} | {} | {ratio} | {} | {met} |\n", value(ours), value(theirs), target.trim())
}

fn told(comparison: &Comparison) -> Value {
    let Comparison { what, unit, beside, ours, theirs, .. } = comparison;
    json!({"what": what, "unit": unit, "beside": beside, "ours": ours, "theirs": theirs, "met": comparison.met()})
}

/// A number in as many digits as are worth reading.
pub(crate) fn shown(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 100.0 {
        let digits = format!("{value:.0}");
        let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |digits| ("-", digits));
        let mut text = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        return format!("{sign}{text}");
    }
    let digits = if magnitude >= 10.0 || value.fract() == 0.0 { 1 } else { 2 };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Writes one run of ours in the form of `tidegate bench … --json`.
///
/// # Errors
///
/// When the file cannot be written.
pub(crate) fn write_run(file: &Path, what: &str, figures: &[(&str, f64)]) -> Result<()> {
    let run = run_of(what, &super::machine::now()?, figures);
    fs::write(file, format!("{run}\n")).with_context(|| format!("{} cannot be written", file.display()))
}

fn run_of(what: &str, began: &str, figures: &[(&str, f64)]) -> Value {
    let figures: Map<String, Value> = figures.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    json!({
        "version": VERSION, "what": what, "tidegate": place::VERSION, "began": began, "machine": Machine::here().json(), "settings": {}, "figures": figures,
    })
}

/// Puts the figures in the place of those that a page has between its marks.
///
/// # Errors
///
/// When the marks are not there.
pub(crate) fn replaced(page: &str, figures: &str) -> Result<String> {
    let [begin, end] = MARKS;
    let parts = page.split_once(begin).and_then(|(before, rest)| Some((before, rest.split_once(end)?.1)));
    let Some((before, after)) = parts else { bail!("there is no {begin} with an {end} behind it") };
    let mut text = String::new();
    write!(text, "{before}{begin}\n\n{}\n\n{end}{after}", figures.trim())?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(options: &Options) -> Report<'_> {
        let mut requests = Comparison::beside("FastAPI", "requests", "requests/s").target(Target::RatioAtLeast(10.0));
        requests.round(12_500.0, 1000.0);
        let mut start = Comparison::alone("start to ready", "s").target(Target::AtMost(1.0));
        start.round_alone(1.25);
        let found = Found { comparisons: vec![requests, start], notes: vec!["acks=all on both sides".to_owned()] };
        let machine = Machine { cores: 2, memory: "8 kB".to_owned(), processor: "a processor".to_owned(), kernel: "6.1".to_owned() };
        Report {
            began: "2026-11-23T10:00:00Z".to_owned(),
            commit: "0a1b".to_owned(),
            machine,
            options,
            outcomes: vec![
                Outcome { scenario: "single-kafka", seconds: 3.0, found: Ok(found) },
                Outcome { scenario: "silver", seconds: 1.0, found: Err(anyhow::anyhow!("Kafka ended")) },
            ],
        }
    }

    #[test]
    fn people_see_a_table() {
        let options = Options::default();
        let page = report(&options).page();
        let expect = "| single-kafka | requests | 12,500 requests/s | FastAPI | 1,000 requests/s | 12.5, **12.5**, 12.5 | ≥ 10 × | yes |\n\
                      | single-kafka | start to ready | 1.25 s |  |  |  | ≤ 1 s | no |\n\
                      | silver | could not be measured | | | | | | no |\n";
        assert!(page.contains(expect), "{page}");
        assert!(page.contains("- acks=all on both sides\n") && page.contains("Could not be measured: Kafka ended\n"), "{page}");
        assert_eq!(report(&options).failed(), ["silver"]);
    }

    #[test]
    fn programs_see_json() {
        let options = Options::default();
        let json = report(&options).json();
        let ratio = json.get("figures").and_then(|figures| figures.get("single-kafka: requests, FastAPI")).and_then(Value::as_f64);
        assert_eq!(ratio, Some(12.5));
        assert!(report(&options).picture().contains("single-kafka: requests / FastAPI"));
    }

    #[test]
    fn a_run_has_all_that_the_product_asks_of_one() {
        let run = run_of("replay", "2026-11-23T10:00:00Z", &[("events_per_second", 12.5)]);
        assert!(["version", "what", "tidegate", "began"].iter().all(|name| run.get(name).is_some()), "{run}");
        assert_eq!(run.pointer("/figures/events_per_second").and_then(Value::as_f64), Some(12.5));
    }

    #[test]
    fn numbers_are_shown_in_the_digits_that_matter() {
        let check = |value, expect| assert_eq!(shown(value), expect);
        check(1_234_567.8, "1,234,568");
        check(-1234.0, "-1,234");
        check(100.4, "100");
        check(12.34, "12.3");
        check(10.0, "10");
        check(0.4, "0.4");
        check(0.456, "0.46");
        check(0.0, "0");
    }

    #[test]
    fn the_figures_of_a_page_are_replaced() {
        let page = "# A\n\n<!-- figures -->\nold\n<!-- end of figures -->\n\nrest\n";
        let new = "# A\n\n<!-- figures -->\n\nnew\n\n<!-- end of figures -->\n\nrest\n";
        assert_eq!(replaced(page, "new\n").unwrap(), new);
        assert_eq!(replaced(new, "new").unwrap(), new);
        assert!(replaced("# A\n<!-- end of figures --> <!-- figures -->", "new").is_err());
    }
}
