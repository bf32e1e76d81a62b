//! The report for people.

use std::fmt::{Result, Write};

use super::{Arm, Check, Difference, Estimate, Experiment, Report};
use crate::output::picture::{self, Axis};

/// How wide the picture of an interval is, in characters.
const WIDTH: usize = 44;

/// The whole report as text.
pub(crate) fn render(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a text cannot fail.
    match write_all(&mut text, report) {
        Ok(()) | Err(_) => text,
    }
}

fn write_all(out: &mut String, report: &Report) -> Result {
    let Report { users, days, seed, .. } = report;
    writeln!(out, "Tidegate demo: {} visitors over {days} days, seed {seed}\n", grouped(u64::from(*users)))?;
    books(out, &report.books)?;
    audit(out, report)?;
    experiment(out, &report.experiment)?;
    activity(out, &report.events_by_hour)
}

fn books(out: &mut String, books: &[Check]) -> Result {
    let width = books.iter().map(|check| check.what.chars().count()).max().unwrap_or_default();
    writeln!(out, "{:width$}  {:>12}  {:>12}", "The books", "expected", "found")?;
    writeln!(out, "{}", "─".repeat(width + 31))?;
    for Check { what, expected, found, agrees } in books {
        let tick = if *agrees { '✓' } else { '✗' };
        writeln!(out, "{what:width$}  {:>12}  {:>12}  {tick}", grouped(*expected), grouped(*found))?;
    }
    writeln!(out)
}

fn audit(out: &mut String, report: &Report) -> Result {
    if report.audit.balanced {
        writeln!(
            out,
            "Audit: the books balance. Bronze = Silver + duplicates + dead letters + erased, in numbers and in digests, for each source and hour.\n"
        )?;
    } else {
        writeln!(out, "Audit: the books do NOT balance.")?;
        for finding in &report.audit.findings {
            writeln!(out, "  ✗ {finding}")?;
        }
        writeln!(out)?;
    }
    if !report.sound {
        writeln!(out, "Something is not as it should be: look for ✗ above, and please report it with the log.\n")?;
    }
    Ok(())
}

fn experiment(out: &mut String, experiment: &Experiment) -> Result {
    let Experiment { id, window_hours, variations, .. } = experiment;
    writeln!(out, "Experiment {id}: who bought within {window_hours} h of seeing the button\n")?;
    writeln!(out, "{:10}  {:>8}  {:>6}  {:>7}  {:17}  {:>7}", "", "subjects", "buyers", "rate", "95 % interval", "truth")?;
    for arm in variations {
        write_arm(out, arm)?;
    }
    writeln!(out)?;
    intervals(out, variations)?;
    match &experiment.effect {
        Some(effect) => difference(out, effect)?,
        None => writeln!(out, "No effect can be told: too few have bought.")?,
    }
    if let Some(ratio) = &experiment.sample_ratio {
        let verdict = if ratio.as_planned { "as even as half and half may turn out" } else { "NOT half and half: do not trust the effect" };
        writeln!(out, "sample ratio  p = {} (χ²): {verdict}", p_value(ratio.p_value))?;
    }
    writeln!(out, "left out      {} subjects that saw both variations\n", experiment.contaminated)
}

fn write_arm(out: &mut String, arm: &Arm) -> Result {
    let Arm { id, subjects, conversions, rate, true_rate } = arm;
    let (value, interval) = match rate {
        Some(Estimate { value, low, high }) => (percent(*value), format!("{} to {}", percent(*low), percent(*high))),
        None => (String::new(), String::new()),
    };
    let (subjects, conversions) = (grouped(*subjects), grouped(*conversions));
    writeln!(out, "{id:10}  {subjects:>8}  {conversions:>6}  {value:>7}  {interval:17}  {:>7}", percent(*true_rate))
}

fn intervals(out: &mut String, arms: &[Arm]) -> Result {
    let rates: Vec<(&str, Estimate)> = arms.iter().filter_map(|arm| Some((arm.id, arm.rate?))).collect();
    if rates.is_empty() {
        return Ok(());
    }
    // The axis ends at whole twentieths.
    let lowest = rates.iter().map(|(_, rate)| rate.low).fold(1.0, f64::min);
    let highest = rates.iter().map(|(_, rate)| rate.high).fold(0.0, f64::max);
    let axis = Axis { from: (lowest * 20.0).floor() / 20.0, to: (highest * 20.0).ceil() / 20.0, width: WIDTH, shows_zero: false };
    for (id, Estimate { value, low, high }) in rates {
        writeln!(out, "{id:10}  {}", picture::interval(low, value, high, &axis))?;
    }
    let (from, to) = (percent(axis.from), percent(axis.to));
    let width = WIDTH.saturating_sub(from.chars().count());
    writeln!(out, "{:10}  {from}{to:>width$}\n", "")
}

fn difference(out: &mut String, effect: &Difference) -> Result {
    let Difference { absolute, true_absolute, relative, true_relative, p_value: p } = effect;
    let line =
        |Estimate { value, low, high }: &Estimate, unit: &str| format!("{}{unit} ({} to {})", signed(*value), signed(*low), signed(*high));
    writeln!(out, "difference    {}, in truth {}", line(absolute, " points"), signed(*true_absolute))?;
    writeln!(out, "relative      {}, in truth {}", line(relative, " %"), signed(*true_relative))?;
    writeln!(out, "p-value       {} (two-sided z test of two shares)", p_value(*p))
}

fn activity(out: &mut String, hours: &[u64; 24]) -> Result {
    writeln!(out, "Events of people by hour of the day, UTC\n")?;
    writeln!(out, "  {}", picture::sparkline(hours))?;
    writeln!(out, "  0     6     12    18   23")
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn signed(share: f64) -> String {
    format!("{:+.1}", share * 100.0)
}

fn p_value(p: f64) -> String {
    if p < 0.0001 { "less than 0.0001".to_owned() } else { format!("{p:.4}") }
}

/// A number in groups of three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
