//! What came of experiments.

use std::fmt::Write as _;

use anyhow::Context as _;
use experiments::definition::{Experiment, Kind, Role};
use experiments::report::{Check, EffectOf, MetricReport, Report, State, Told, Verdict};
use lake::Lake;
use serde_json::json;

use super::{ListArgs, ResultArgs, definitions};
use crate::commands::say;
use crate::output::{self, Format};
use crate::settings::Settings;

/// How wide the picture of an interval is, in characters.
const PICTURE: usize = 36;

pub(super) async fn tell(args: ResultArgs) -> anyhow::Result<bool> {
    let ResultArgs { name, html, format, lake } = args;
    let name = name.context("name an experiment, or one of the commands; `tidegate experiment list` has those there are")?;
    let (lake, settings) = lake.open_with_settings().await?;
    let experiment = definitions::named(&settings, &name)?;
    let report = made(&lake, &settings, &experiment).await?;
    if let Some(path) = html {
        std::fs::write(&path, console::experiment::page(&report)).with_context(|| format!("cannot write {}", path.display()))?;
        say(&format!("The result of {name} is in {}.", path.display()));
        return Ok(true);
    }
    match format {
        Format::Table => output::text(&text(&report)?)?,
        Format::Json => output::text(&format!("{}\n", serde_json::to_string_pretty(&report)?))?,
        Format::Ndjson | Format::Csv => rows(&report, format)?,
    }
    Ok(true)
}

async fn made(lake: &Lake, settings: &Settings, experiment: &Experiment) -> anyhow::Result<Report> {
    let gold = pipeline::gold::experiments::read(lake, &settings.pipeline, experiment).await?;
    Ok(Report::of(experiment, &gold))
}

pub(super) async fn list(args: ListArgs) -> anyhow::Result<bool> {
    let (lake, settings) = args.lake.open_with_settings().await?;
    let mut rows = output::stdout(args.format, ["experiment", "start", "end", "subjects", "trust", "verdict"].map(str::to_owned).into())?;
    for experiment in definitions::defined(&settings)? {
        let report = made(&lake, &settings, &experiment).await?;
        let subjects: u64 = report.variations.iter().map(|variation| variation.subjects).sum();
        let worst = report.health.iter().map(|check| check.state).min().unwrap_or(State::Passed);
        let verdicts: Vec<String> = report
            .metrics
            .iter()
            .filter(|metric| metric.role == Role::Primary)
            .flat_map(|metric| {
                metric.effects.iter().map(|effect| format!("{}: {} {}", metric.metric, effect.variation, verdict(effect.verdict)))
            })
            .collect();
        let cells = vec![
            json!(report.experiment),
            json!(report.start.format("%Y-%m-%d").to_string()),
            json!(report.end.map(|end| end.format("%Y-%m-%d").to_string())),
            json!(subjects),
            json!(state(worst)),
            json!(verdicts.join("; ")),
        ];
        if !rows.write(cells)? {
            break;
        }
    }
    rows.finish()?;
    Ok(true)
}

fn rows(report: &Report, format: Format) -> anyhow::Result<()> {
    let columns = [
        "metric",
        "role",
        "variation",
        "control_mean",
        "treatment_mean",
        "difference",
        "difference_low",
        "difference_high",
        "p_value",
        "p_value_holm",
        "lift",
        "lift_low",
        "lift_high",
        "always_valid_low",
        "always_valid_high",
        "always_valid_p_value",
        "chance_to_win",
        "verdict",
    ];
    let mut rows = output::stdout(format, columns.map(str::to_owned).into())?;
    for (metric, effect) in effects(report) {
        let treatment = metric.arms.iter().find(|arm| arm.variation == effect.variation);
        let (difference, lift) = (effect.difference, effect.lift);
        let of = |told: Option<Told>, value: fn(&Told) -> f64| json!(told.as_ref().map(value));
        let cells = vec![
            json!(metric.metric),
            json!(metric.role),
            json!(effect.variation),
            json!(metric.arms.first().and_then(|arm| arm.mean)),
            json!(treatment.and_then(|arm| arm.mean)),
            of(difference, |told| told.estimate),
            of(difference, |told| told.interval.low),
            of(difference, |told| told.interval.high),
            of(difference, |told| told.p_value),
            json!(effect.p_value_holm),
            of(lift, |told| told.estimate),
            of(lift, |told| told.interval.low),
            of(lift, |told| told.interval.high),
            of(difference, |told| told.always_valid_interval.low),
            of(difference, |told| told.always_valid_interval.high),
            of(difference, |told| told.always_valid_p_value),
            json!(effect.bayes.map(|bayes| bayes.chance_to_win)),
            json!(effect.verdict),
        ];
        if !rows.write(cells)? {
            break;
        }
    }
    rows.finish()?;
    Ok(())
}

fn effects(report: &Report) -> impl Iterator<Item = (&MetricReport, &EffectOf)> {
    report.metrics.iter().flat_map(|metric| metric.effects.iter().map(move |effect| (metric, effect)))
}

/// For people: what spoils it, then what was found.
fn text(report: &Report) -> anyhow::Result<String> {
    let mut out = String::new();
    writeln!(out, "{}  {}", report.experiment, report.description)?;
    let end = report.end.map_or_else(|| "still running".to_owned(), |end| format!("until {}", end.format("%Y-%m-%d %H:%M UTC")));
    writeln!(
        out,
        "from {} {end}, {} days from each subject's first exposure on",
        report.start.format("%Y-%m-%d %H:%M UTC"),
        report.attribution_days
    )?;
    let looks = if report.is_final {
        "final: intervals are for one look at the end"
    } else {
        "not final: intervals are always-valid, and hold however often one looks"
    };
    writeln!(out, "{looks}\n")?;
    let (worse, passed): (Vec<&Check>, Vec<&Check>) = report.health.iter().partition(|check| check.state != State::Passed);
    for check in &worse {
        writeln!(out, "{} {}: {}", if check.state == State::Failed { "✕" } else { "!" }, check.check, check.what)?;
    }
    let names: Vec<&str> = passed.iter().map(|check| check.check).collect();
    writeln!(out, "✓ {}\n", names.join(", "))?;
    for variation in &report.variations {
        writeln!(
            out,
            "{:<24} {:>10} subjects, {} more saw another variation and are left out",
            variation.variation, variation.subjects, variation.contaminated
        )?;
    }
    let ends: Vec<(f64, f64)> = effects(report).filter_map(|(_, effect)| effect.lift).map(|lift| ends(report, &lift)).collect();
    let low = ends.iter().map(|(low, _)| *low).fold(0.0, f64::min);
    let high = ends.iter().map(|(_, high)| *high).fold(0.0, f64::max);
    writeln!(out)?;
    for metric in &report.metrics {
        writeln!(out, "{}  ({})", metric.metric, role(metric.role))?;
        for arm in &metric.arms {
            let mean = arm.mean.map_or_else(|| "cannot be told".to_owned(), |mean| value(metric.kind, mean));
            writeln!(out, "  {:<22} {mean:>14}  of {} subjects", arm.variation, arm.subjects)?;
        }
        for effect in &metric.effects {
            let Some((difference, lift)) = effect.difference.zip(effect.lift) else {
                writeln!(
                    out,
                    "  {}: no effect can be told: {}",
                    effect.variation,
                    effect.why_not.as_deref().unwrap_or("nothing is known")
                )?;
                continue;
            };
            let (from, to) = self::ends(report, &lift);
            let p = if report.is_final { difference.p_value } else { difference.always_valid_p_value };
            writeln!(
                out,
                "  {:<22} {:>+13.2} %  {:+.2} … {:+.2} %, p {}, chance to win {}: {}",
                effect.variation,
                lift.estimate * 100.0,
                from * 100.0,
                to * 100.0,
                p_value(p),
                effect.bayes.map_or_else(|| "–".to_owned(), |bayes| format!("{:.1} %", bayes.chance_to_win * 100.0)),
                verdict(effect.verdict)
            )?;
            writeln!(out, "  {:<22} {}", "", picture(from, lift.estimate, to, (low, high)))?;
            if let Some(adjusted) = &effect.adjusted {
                let lift = adjusted.lift.unwrap_or(adjusted.difference);
                let (from, to) = self::ends(report, &lift);
                writeln!(
                    out,
                    "  {:<22} {:>+13.2} %  {:+.2} … {:+.2} %, p {}: what was so before taken out, {:.1} % of the variance",
                    "  adjusted (CUPED)",
                    lift.estimate * 100.0,
                    from * 100.0,
                    to * 100.0,
                    p_value(if report.is_final { adjusted.difference.p_value } else { adjusted.difference.always_valid_p_value }),
                    adjusted.variance_reduction * 100.0
                )?;
            }
            for quantile in &effect.quantiles {
                writeln!(
                    out,
                    "  {:<22} {} against {}, difference {} … {}",
                    format!("  quantile {}", quantile.quantile),
                    quantile.treatment,
                    quantile.control,
                    quantile.interval.low,
                    quantile.interval.high
                )?;
            }
        }
    }
    let tests = effects(report).count();
    writeln!(
        out,
        "\n{} % intervals; verdicts take into account that {tests} tests are made (Holm). The whole of it: --format json, or --html FILE.",
        report.confidence * 100.0
    )?;
    Ok(out)
}

fn ends(report: &Report, told: &Told) -> (f64, f64) {
    let interval = if report.is_final { told.interval } else { told.always_valid_interval };
    (interval.low, interval.high)
}

/// An interval on an axis on which zero has its place.
fn picture(low: f64, middle: f64, high: f64, (from, to): (f64, f64)) -> String {
    let place = |value: f64| {
        let share = if to > from { (value - from) / (to - from) } else { 0.0 };
        // Casting saturates, so what lies outside is shown at the edge.
        ((share * (PICTURE - 1) as f64).round() as usize).min(PICTURE - 1)
    };
    let (low, middle, high, zero) = (place(low), place(middle), place(high), place(0.0));
    let sign = |at: usize| match at {
        at if at == middle => '●',
        at if at == low => '├',
        at if at == high => '┤',
        at if low < at && at < high => '─',
        at if at == zero => '┊',
        _ => ' ',
    };
    (0..PICTURE).map(sign).collect::<String>().trim_end().to_owned()
}

fn value(kind: Kind, mean: f64) -> String {
    match kind {
        Kind::Proportion | Kind::Retention | Kind::Funnel => format!("{:.2} %", mean * 100.0),
        Kind::TimeTo => format!("{:.2} h", mean / 3_600.0),
        Kind::Count | Kind::Sum | Kind::Mean | Kind::Ratio => format!("{mean:.4}"),
    }
}

fn p_value(p: f64) -> String {
    if p < 0.0001 { format!("{p:.1e}") } else { format!("{p:.4}") }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Secondary => "secondary",
        Role::Guardrail => "guardrail",
    }
}

fn state(state: State) -> &'static str {
    match state {
        State::Failed => "failed",
        State::Warning => "warning",
        State::Passed => "passed",
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::NoDifferenceFound => "no difference found",
        Verdict::Undetermined => "cannot be told",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_lies_where_it_should() {
        assert_eq!(picture(0.1, 0.2, 0.3, (0.0, 0.35)), "┊         ├─────────●─────────┤");
        assert_eq!(picture(-1.0, 0.0, 1.0, (-1.0, 1.0)).chars().count(), PICTURE);
    }
}
