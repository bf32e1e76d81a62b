//! The result of an experiment as one HTML page that needs nothing else: no script, no font, no server.
//!
//! What spoils a result stands above it.

use experiments::definition::{Kind, Role};
use experiments::report::{Check, EffectOf, MetricReport, Report, State, Verdict, shown_p_value};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::chart;
use crate::pages::{PAGE_CSS, head};

/// The page.
pub fn page(report: &Report) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (head(&format!("{}: result", report.experiment)))
                style { (PreEscaped(PAGE_CSS)) }
            }
            body { main { (body(report)) } }
        }
    }
    .into_string()
}

/// What is on it.
pub(crate) fn body(report: &Report) -> Markup {
    let is_spoilt = report.trust() == State::Failed;
    html! {
        header {
            h1 { (report.experiment) }
            @if !report.description.is_empty() { p.about { (report.description) } }
            p.facts { (facts(report)) }
        }
        (health(&report.health))
        div class=(if is_spoilt { "spoilt" } else { "" }) {
            @if is_spoilt {
                p.spoilt-note { "A check failed. The numbers below are shown so that the cause can be found, not to be decided by." }
            }
            (overview(report))
            (forest(report))
            @for metric in &report.metrics { (details(report, metric)) }
            (division(report))
            (counts(report))
            (method(report))
        }
    }
}

/// Experiments, each with whether it can be trusted and what was found.
pub(crate) fn list(reports: &[Report]) -> Markup {
    html! {
        div.wide tabindex="0" role="region" aria-label="Experiments" {
            table {
                thead { tr {
                    th scope="col" { "experiment" } th scope="col" { "from" } th scope="col" { "until" } th.number scope="col" { "subjects" } th scope="col" { "checks" } th scope="col" { "found" }
                } }
                tbody { @for report in reports { (listed(report)) } }
            }
        }
    }
}

fn listed(report: &Report) -> Markup {
    let (class, state) = match report.trust() {
        State::Failed => ("worse", "failed"),
        State::Warning => ("", "warnings"),
        State::Passed => ("better", "passed"),
    };
    html! {
        tr {
            td { a href={ "/experiments/" (report.experiment) } { (report.experiment) } " " span.role { (report.description) } }
            td { (report.start.format("%Y-%m-%d")) }
            td { (report.end.map_or_else(|| "running".to_owned(), |end| end.format("%Y-%m-%d").to_string())) }
            td.number { (report.subjects()) }
            td class=(class) { (state) }
            td {
                @for metric in report.metrics.iter().filter(|metric| metric.role == Role::Primary) {
                    @for effect in &metric.effects {
                        div { (metric.metric) ", " (effect.variation) ": " span class=(class_of(effect.verdict)) { (effect.verdict) } }
                    }
                }
            }
        }
    }
}

/// When it ran, and how it is told.
fn facts(report: &Report) -> String {
    let end = report.end.map_or_else(|| "still running".to_owned(), |end| format!("until {}", end.format("%Y-%m-%d %H:%M UTC")));
    let reached = report
        .final_up_to
        .map_or_else(|| "nothing is complete yet".to_owned(), |time| format!("complete up to {}", time.format("%Y-%m-%d %H:%M UTC")));
    format!(
        "From {} {end}; each subject for {} days from its first exposure on. {}; {} % intervals.",
        report.start.format("%Y-%m-%d %H:%M UTC"),
        report.attribution_days,
        if report.is_final { "Final".to_owned() } else { format!("Not final: {reached}") },
        percent(report.confidence)
    )
}

fn health(checks: &[Check]) -> Markup {
    let sign = |state: State| match state {
        State::Failed => "✕",
        State::Warning => "!",
        State::Passed => "✓",
    };
    let (worse, passed): (Vec<&Check>, Vec<&Check>) = checks.iter().partition(|check| check.state != State::Passed);
    let list = |checks: &[&Check]| {
        html! {
            ul.checks {
                @for check in checks {
                    li class=(check.state) { span.sign aria-label=(check.state) { (sign(check.state)) } strong { (check.check) } " " (check.what) }
                }
            }
        }
    };
    html! {
        section.health {
            h2 { "Can it be trusted?" }
            @if worse.is_empty() { p { "All checks passed." } } @else { (list(&worse)) }
            details { summary { (passed.len()) " checks passed" } (list(&passed)) }
        }
    }
}

fn overview(report: &Report) -> Markup {
    html! {
        section {
            h2 { "What was found" }
            table {
                thead { tr {
                    th { "metric" } th { "variation" } th.number { "subjects" } th.number { "control" } th.number { "treatment" } th.number { "change" } th.number { "interval" }
                    th.number { "p-value" } th.number { "chance to win" } th { "verdict" }
                } }
                tbody {
                    @for metric in &report.metrics { @for effect in &metric.effects { (row(report, metric, effect)) } }
                }
            }
            p.note {
                "The change is relative to the control. Intervals and p-values are "
                (if report.is_final { "for one look at the end" } else { "always-valid: they hold however often one looks" })
                "; the verdict takes into account that " (number_of_tests(report)) " tests are made (Holm)."
            }
        }
    }
}

fn number_of_tests(report: &Report) -> usize {
    report.metrics.iter().map(|metric| metric.effects.len()).sum()
}

fn row(report: &Report, metric: &MetricReport, effect: &EffectOf) -> Markup {
    let arm = |variation: Option<&str>| {
        let arm = match variation {
            Some(key) => metric.arms.iter().find(|arm| arm.variation == key),
            None => metric.arms.first(),
        };
        arm.and_then(|arm| arm.mean).map_or_else(|| "–".to_owned(), |mean| value(metric.kind, mean))
    };
    let subjects: u64 = metric.arms.iter().map(|arm| arm.subjects).sum();
    html! {
        tr {
            td { (metric.metric) span.role { (metric.role) } }
            td { (effect.variation) }
            td.number { (subjects) }
            td.number { (arm(None)) }
            td.number { (arm(Some(&effect.variation))) }
            @match &effect.lift {
                Some(lift) => {
                    @let interval = report.interval(lift);
                    td.number { (signed_percent(lift.estimate)) }
                    td.number { (signed_percent(interval.low)) " … " (signed_percent(interval.high)) }
                    td.number { (shown_p_value(report.p_value(effect.difference.as_ref().unwrap_or(lift)))) }
                }
                None => {
                    td.number { "–" }
                    td colspan="2" { (effect.why_not.as_deref().unwrap_or("cannot be told")) }
                }
            }
            td.number { (effect.bayes.map_or_else(|| "–".to_owned(), |bayes| format!("{:.1} %", bayes.chance_to_win * 100.0))) }
            td class=(class_of(effect.verdict)) { (effect.verdict) }
        }
    }
}

fn class_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::NoDifferenceFound | Verdict::Undetermined => "",
    }
}

fn forest(report: &Report) -> Markup {
    let rows: Vec<chart::Interval> = report
        .metrics
        .iter()
        .flat_map(|metric| metric.effects.iter().map(move |effect| (metric, effect)))
        .filter_map(|(metric, effect)| {
            let lift = effect.lift.as_ref()?;
            Some(chart::Interval {
                label: format!("{} · {}", metric.metric, effect.variation),
                class: class_of(effect.verdict),
                middle: lift.estimate,
                ends: report.interval(lift),
            })
        })
        .collect();
    html! {
        @if !rows.is_empty() {
            section { h2 { "Changes with their intervals" } (chart::forest(&rows)) }
        }
    }
}

fn details(report: &Report, metric: &MetricReport) -> Markup {
    let has_more = !metric.over_time.is_empty() || !metric.by_age.is_empty() || !metric.by_segment.is_empty();
    let has_quantiles = metric.effects.iter().any(|effect| !effect.quantiles.is_empty());
    let has_adjusted = metric.effects.iter().any(|effect| effect.adjusted.is_some());
    html! {
        @if has_more || has_quantiles || has_adjusted {
            section {
                h2 { (metric.metric) }
                @if !metric.description.is_empty() { p.about { (metric.description) } }
                @for effect in &metric.effects {
                    @if let Some(adjusted) = &effect.adjusted {
                        @let interval = report.interval(&adjusted.difference);
                        p {
                            "With what subjects did before taken out (CUPED), " (effect.variation) " changes it by " (amount(adjusted.difference.estimate)) " (" (amount(interval.low)) " … " (amount(interval.high))
                            ", p " (shown_p_value(report.p_value(&adjusted.difference))) "): " (format!("{:.1}", adjusted.variance_reduction * 100.0)) " % of the variance is gone."
                        }
                    }
                    @if let Some(bayes) = &effect.bayes {
                        p {
                            "Taking " (effect.variation) " loses " (format!("{:.3}", bayes.expected_loss * 100.0)) " % of it on average; its change is within "
                            (signed_percent(bayes.interval.low)) " … " (signed_percent(bayes.interval.high)) " with a probability of " (percent(report.confidence)) " %."
                        }
                    }
                    @if let Some(smallest) = effect.smallest_lift { p { "With so many subjects, a change of " (format!("{:.2}", smallest * 100.0)) " % is found four times out of five." } }
                    @let points: Vec<chart::Point> = metric.over_time.iter().filter(|point| point.variation == effect.variation).map(|point| {
                        chart::Point::of(point.date.to_string(), &point.difference, point.difference.always_valid_interval)
                    }).collect();
                    @if points.len() > 1 {
                        h3 { "Difference of " (effect.variation) ", with the subjects that came up to each day" }
                        (chart::band(&points))
                        p.note { "The inner band is the interval for one look at the end, the outer one is always valid." }
                    }
                    @let ages: Vec<chart::Point> = metric.by_age.iter().filter(|age| age.variation == effect.variation).map(|age| {
                        chart::Point::of(format!("day {}", age.age), &age.difference, age.difference.interval)
                    }).collect();
                    @if ages.len() > 1 {
                        h3 { "Difference of " (effect.variation) " on each day since the first exposure" }
                        (chart::band(&ages))
                    }
                    @let parts: Vec<chart::Interval> = metric.by_segment.iter().filter(|part| part.variation == effect.variation).filter_map(|part| {
                        let lift = part.lift.as_ref()?;
                        let name = if part.part.is_empty() { "(none)" } else { &part.part };
                        Some(chart::Interval { label: format!("{} = {name} ({})", part.segment, part.subjects), class: "", middle: lift.estimate, ends: report.interval(lift) })
                    }).collect();
                    @if !parts.is_empty() {
                        h3 { "Change of " (effect.variation) " by segment" }
                        (chart::forest(&parts))
                        p.note { "Each segment is one more look: what stands out in one of many is chance more often than not." }
                    }
                    @if !effect.quantiles.is_empty() {
                        h3 { "Quantiles of " (effect.variation) }
                        table {
                            thead { tr { th.number { "quantile" } th.number { "control" } th.number { "treatment" } th.number { "difference" } } }
                            tbody { @for quantile in &effect.quantiles { tr {
                                td.number { (quantile.quantile) } td.number { (amount(quantile.control)) } td.number { (amount(quantile.treatment)) }
                                td.number { (amount(quantile.interval.low)) " … " (amount(quantile.interval.high)) }
                            } } }
                        }
                    }
                }
            }
        }
    }
}

fn division(report: &Report) -> Markup {
    let names: Vec<&str> = report.variations.iter().map(|variation| variation.variation.as_str()).collect();
    let weights: f64 = report.variations.iter().map(|variation| variation.weight).sum();
    html! {
        section {
            h2 { "Subjects" }
            table {
                thead { tr { th { "variation" } th.number { "assigned" } th.number { "subjects" } th.number { "saw another, left out" } } }
                tbody { @for variation in &report.variations { tr {
                    td { (variation.variation) } td.number { (format!("{:.1} %", variation.weight / weights * 100.0)) }
                    td.number { (variation.subjects) } td.number { (variation.contaminated) }
                } } }
            }
            h3 { "By day" }
            (chart::division(&report.days, &names))
        }
    }
}

fn counts(report: &Report) -> Markup {
    html! {
        section {
            h2 { "What counted and what did not" }
            table { tbody { @for (name, count) in &report.counts { tr { td { (name.replace('_', " ")) } td.number { (count) } } } } }
        }
    }
}

fn method(report: &Report) -> Markup {
    let subject = match report.subject {
        experiments::definition::Subject::Person => {
            "A subject is a user where one is known, else an anonymous id; an anonymous id belongs to the user it was first seen with, if that was before the attribution window was over."
        }
        experiments::definition::Subject::User => "A subject is a user id; events without one do not count.",
        experiments::definition::Subject::Anonymous => "A subject is an anonymous id; events without one do not count.",
    };
    html! {
        section.method {
            h2 { "How it was made" }
            p {
                (subject) " It is in the variation that it saw first, by the time of the event. What it did counts from that moment on for " (report.attribution_days)
                " days. Subjects that saw another variation within their window are left out, as are bots and internal traffic. Shares are compared by the z-test with unpooled variances, means by Welch's t-test, ratios by the delta "
                "method over subjects; always-valid intervals are asymptotic confidence sequences. Retention and times are told of those whose days are over."
            }
        }
    }
}

fn value(kind: Kind, mean: f64) -> String {
    match kind {
        Kind::Proportion | Kind::Retention | Kind::Funnel => format!("{:.2} %", mean * 100.0),
        Kind::TimeTo => format!("{:.2} h", mean / 3_600.0),
        Kind::Count | Kind::Sum | Kind::Mean | Kind::Ratio => amount(mean),
    }
}

fn amount(value: f64) -> String {
    if value != 0.0 && value.abs() < 0.01 { format!("{value:.5}") } else { format!("{value:.3}") }
}

fn signed_percent(value: f64) -> String {
    format!("{:+.2} %", value * 100.0)
}

fn percent(share: f64) -> String {
    format!("{}", (share * 1e6).round() / 1e4)
}
