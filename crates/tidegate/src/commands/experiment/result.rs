//! What came of experiments.

use std::fmt::Write as _;

use anyhow::Context as _;
use experiments::definition::{Experiment, Kind, Role};
use experiments::report::{Check, EffectOf, MetricReport, Report, State, Told, shown_p_value};
use experiments::statistics::Interval;
use lake::Lake;
use serde_json::json;

use super::{ListArgs, ResultArgs, definitions};
use crate::commands::say;
use crate::output::picture::{self, Axis};
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
    for experiment in settings.pipeline.experiments()? {
        let report = made(&lake, &settings, &experiment).await?;
        let verdicts: Vec<String> = report
            .metrics
            .iter()
            .filter(|metric| metric.role == Role::Primary)
            .flat_map(|metric| metric.effects.iter().map(|effect| format!("{}: {} {}", metric.metric, effect.variation, effect.verdict)))
            .collect();
        let cells = vec![
            json!(report.experiment),
            json!(report.start.format("%Y-%m-%d").to_string()),
            json!(report.end.map(|end| end.format("%Y-%m-%d").to_string())),
            json!(report.subjects()),
            json!(report.trust()),
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
    let lifts: Vec<Interval> = effects(report).filter_map(|(_, effect)| effect.lift).map(|lift| report.interval(&lift)).collect();
    let axis = Axis {
        from: lifts.iter().map(|interval| interval.low).fold(0.0, f64::min),
        to: lifts.iter().map(|interval| interval.high).fold(0.0, f64::max),
        width: PICTURE,
        shows_zero: true,
    };
    writeln!(out)?;
    for metric in &report.metrics {
        writeln!(out, "{}  ({})", metric.metric, metric.role)?;
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
            let Interval { low, high } = report.interval(&lift);
            writeln!(
                out,
                "  {:<22} {:>+13.2} %  {:+.2} … {:+.2} %, p {}, chance to win {}: {}",
                effect.variation,
                lift.estimate * 100.0,
                low * 100.0,
                high * 100.0,
                shown_p_value(report.p_value(&difference)),
                effect.bayes.map_or_else(|| "–".to_owned(), |bayes| format!("{:.1} %", bayes.chance_to_win * 100.0)),
                effect.verdict
            )?;
            writeln!(out, "  {:<22} {}", "", picture::interval(low, lift.estimate, high, &axis))?;
            if let Some(adjusted) = &effect.adjusted {
                let lift = adjusted.lift.unwrap_or(adjusted.difference);
                let Interval { low, high } = report.interval(&lift);
                writeln!(
                    out,
                    "  {:<22} {:>+13.2} %  {:+.2} … {:+.2} %, p {}: what was so before taken out, {:.1} % of the variance",
                    "  adjusted (CUPED)",
                    lift.estimate * 100.0,
                    low * 100.0,
                    high * 100.0,
                    shown_p_value(report.p_value(&adjusted.difference)),
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

fn value(kind: Kind, mean: f64) -> String {
    match kind {
        Kind::Proportion | Kind::Retention | Kind::Funnel => format!("{:.2} %", mean * 100.0),
        Kind::TimeTo => format!("{:.2} h", mean / 3_600.0),
        Kind::Count | Kind::Sum | Kind::Mean | Kind::Ratio => format!("{mean:.4}"),
    }
}
