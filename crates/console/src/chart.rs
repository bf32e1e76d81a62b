//! Pictures, as SVG.

use experiments::report::{DayOf, Told};
use experiments::statistics::Interval as Ends;
use maud::{Markup, html};

const WIDTH: f64 = 900.0;
const LABELS: f64 = 260.0;
const ROW: f64 = 24.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 70.0;
/// Labels under an axis.
const TICKS_MAX: usize = 10;
/// Labels of any text under an axis, and the characters of one.
const LABELS_MAX: usize = 6;
const LABEL_CHARS_MAX: usize = 20;
/// Lines that are told apart by colour.
pub(crate) const SERIES_MAX: usize = 6;
/// The widest a bar may be.
const BAR_MAX: f64 = 60.0;
/// Points of a line that can be pointed at.
const DOTS_MAX: usize = 200;

/// One line of a forest plot: a relative effect with its interval.
pub(crate) struct Interval {
    pub(crate) label: String,
    pub(crate) class: &'static str,
    pub(crate) middle: f64,
    pub(crate) ends: Ends,
}

/// One point of a band.
pub(crate) struct Point {
    pub(crate) label: String,
    pub(crate) middle: f64,
    pub(crate) inner: Ends,
    pub(crate) outer: Ends,
}

impl Point {
    /// An effect, with its interval for one look and a wider one.
    pub(crate) fn of(label: String, told: &Told, outer: Ends) -> Self {
        Self { label, middle: told.estimate, inner: told.interval, outer }
    }
}

/// From values to places.
struct Axis {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Axis {
    /// Zero is always on it, and what is outside is shown at its end.
    fn of(values: impl Iterator<Item = f64> + Clone, start: f64, end: f64) -> Self {
        let finite = values.filter(|value| value.is_finite());
        let (low, high) = finite.fold((0.0_f64, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        let room = ((high - low) * 0.05).max(f64::MIN_POSITIVE);
        Self { from: low - room, to: high + room, start, end }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value - self.from) / (self.to - self.from);
        self.start + share.clamp(0.0, 1.0) * (self.end - self.start)
    }

    /// Round values on it.
    fn ticks(&self) -> Vec<f64> {
        let span = self.to - self.from;
        let power = 10_f64.powf((span / 5.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].iter().map(|times| times * power).find(|step| span / step <= 6.0).unwrap_or(span);
        let first = (self.from / step).ceil();
        (0..8).map(|number| (first + f64::from(number)) * step).take_while(|value| *value <= self.to).collect()
    }
}

pub(crate) fn forest(rows: &[Interval]) -> Markup {
    let axis = Axis::of(rows.iter().flat_map(|row| [row.ends.low, row.ends.high]), LABELS, WIDTH - 20.0);
    let height = ROW * rows.len() as f64 + 34.0;
    let bottom = height - 24.0;
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (place(height)) } role="img" aria-label="relative changes with their intervals" {
            @for tick in axis.ticks() {
                line.axis x1=(place(axis.at(tick))) x2=(place(axis.at(tick))) y1="0" y2=(place(bottom)) {}
                text x=(place(axis.at(tick))) y=(place(height - 8.0)) text-anchor="middle" { (short(tick * 100.0)) " %" }
            }
            line.zero x1=(place(axis.at(0.0))) x2=(place(axis.at(0.0))) y1="0" y2=(place(bottom)) {}
            @for (number, row) in rows.iter().enumerate() {
                @let y = ROW * number as f64 + ROW / 2.0 + 2.0;
                text x="0" y=(place(y + 4.0)) { (row.label) }
                g class={ "mark " (row.class) } {
                    line x1=(place(axis.at(row.ends.low))) x2=(place(axis.at(row.ends.high))) y1=(place(y)) y2=(place(y)) {}
                    circle cx=(place(axis.at(row.middle))) cy=(place(y)) r="4" {}
                    title { (row.label) ": " (short(row.middle * 100.0)) " % (" (short(row.ends.low * 100.0)) " … " (short(row.ends.high * 100.0)) ")" }
                }
            }
        }
    }
}

pub(crate) fn band(points: &[Point]) -> Markup {
    // Of the first days, when next to nothing is known, the ends would leave no room for the rest.
    let settled = points.len() / 4;
    let ends = points.iter().skip(settled).flat_map(|point| [point.outer.low, point.outer.high, point.inner.low, point.inner.high]);
    let axis = Axis::of(ends, HEIGHT, 6.0);
    let last = points.len().saturating_sub(1).max(1) as f64;
    let x = |number: usize| LEFT + number as f64 / last * (WIDTH - LEFT - 20.0);
    let area = |of: fn(&Point) -> Ends| {
        let upper = points.iter().enumerate().map(|(number, point)| (x(number), axis.at(of(point).high)));
        let lower = points.iter().enumerate().rev().map(|(number, point)| (x(number), axis.at(of(point).low)));
        path(upper.chain(lower)) + " Z"
    };
    let every = points.len().div_ceil(TICKS_MAX).max(1);
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (place(HEIGHT + 24.0)) } role="img" aria-label="the effect, with its bands" {
            (grid(&axis))
            line.zero x1=(LEFT) x2=(WIDTH - 20.0) y1=(place(axis.at(0.0))) y2=(place(axis.at(0.0))) {}
            path.outer d=(area(|point| point.outer)) {}
            path.inner d=(area(|point| point.inner)) {}
            path.middle d=(path(points.iter().enumerate().map(|(number, point)| (x(number), axis.at(point.middle))))) {}
            @for (number, point) in points.iter().enumerate() {
                circle.mark cx=(place(x(number))) cy=(place(axis.at(point.middle))) r="2.5" {
                    title { (point.label) ": " (short(point.middle)) " (" (short(point.outer.low)) " … " (short(point.outer.high)) ")" }
                }
                @if number % every == 0 { text x=(place(x(number))) y=(HEIGHT + 18.0) text-anchor="middle" { (point.label) } }
            }
        }
    }
}

/// The number of subjects by day, odd days in another colour.
pub(crate) fn division(days: &[DayOf], names: &[&str]) -> Markup {
    let most = days.iter().map(|day| day.subjects.iter().sum::<u64>()).max().unwrap_or_default().max(1) as f64;
    let width = (WIDTH - LEFT - 20.0) / days.len().max(1) as f64;
    let every = days.len().div_ceil(TICKS_MAX).max(1);
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (place(HEIGHT + 24.0)) } role="img" aria-label="subjects by day" {
            text x=(LEFT - 8.0) y="14" text-anchor="end" { (most) }
            line.axis x1=(LEFT) x2=(WIDTH - 20.0) y1=(HEIGHT) y2=(HEIGHT) {}
            @for (number, day) in days.iter().enumerate() {
                @let all = day.subjects.iter().sum::<u64>() as f64;
                @let high = all / most * (HEIGHT - 10.0);
                rect class=(if day.is_odd() { "bar odd" } else { "bar" }) x=(place(LEFT + width * number as f64)) width=(place((width - 1.0).max(0.5))) y=(place(HEIGHT - high)) height=(place(high)) {
                    title {
                        (day.date) ": "
                        @for (name, subjects) in names.iter().zip(&day.subjects) { (name) " " (subjects) ", " }
                        "p " (day.p_value.map_or_else(|| "–".to_owned(), short))
                    }
                }
                @if number % every == 0 { text x=(place(LEFT + width * number as f64)) y=(HEIGHT + 18.0) { (day.date) } }
            }
        }
        p.note { "Days on which subjects are not divided as they should be are red." }
    }
}

/// Numbers at even times, without axes.
pub(crate) fn sparkline(values: &[f64], label: &str) -> Markup {
    const TALL: f64 = 60.0;
    let most = values.iter().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
    let last = values.len().saturating_sub(1).max(1) as f64;
    let at = |(number, value): (usize, &f64)| {
        let share = if most > 0.0 && value.is_finite() { (value / most).clamp(0.0, 1.0) } else { 0.0 };
        (number as f64 / last * WIDTH, TALL - 2.0 - share * (TALL - 6.0))
    };
    let line = path(values.iter().enumerate().map(at));
    html! {
        svg.spark viewBox={ "0 0 " (WIDTH) " " (TALL) } preserveAspectRatio="none" role="img" aria-label={ (label) ", at most " (short(most)) } {
            path.inner d={ (line) " L" (WIDTH) " " (TALL) " L0 " (TALL) " Z" } {}
            path.middle d=(line) {}
        }
    }
}

/// One line of a chart: its name, and a value for each place where there is one.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) values: Vec<Option<f64>>,
}

/// Lines over the same labels, which stand at even distances.
pub(crate) fn lines(labels: &[String], series: &[Series]) -> Markup {
    let axis = Axis::of(series.iter().flat_map(|line| line.values.iter().flatten().copied()), HEIGHT, 6.0);
    let last = labels.len().saturating_sub(1).max(1) as f64;
    let x = |number: usize| LEFT + number as f64 / last * (WIDTH - LEFT - 20.0);
    let every = labels.len().div_ceil(LABELS_MAX).max(1);
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (place(HEIGHT + 24.0)) } role="img" aria-label={ @for (number, line) in series.iter().enumerate() { @if number > 0 { ", " } (line.name) } } {
            (grid(&axis))
            @for (number, line) in series.iter().enumerate() {
                // A gap ends a line, and the next value begins another.
                @for run in runs(&line.values) {
                    path class={ "middle series-" (number % SERIES_MAX) } d=(path(run.iter().map(|(place, value)| (x(*place), axis.at(*value))))) {}
                }
                @if labels.len() <= DOTS_MAX {
                    @for (at, value) in line.values.iter().enumerate() {
                        @if let Some(value) = value.filter(|value| value.is_finite()) {
                            circle class={ "mark series-" (number % SERIES_MAX) } cx=(place(x(at))) cy=(place(axis.at(value))) r="2.5" {
                                title { (labels.get(at).map_or("", String::as_str)) ", " (line.name) ": " (short(value)) }
                            }
                        }
                    }
                }
            }
            @for (number, label) in labels.iter().enumerate().step_by(every) {
                text x=(place(x(number))) y=(HEIGHT + 18.0) text-anchor=(if number == 0 { "start" } else { "middle" }) { (cut(label)) }
            }
        }
        (legend(series))
    }
}

/// Bars side by side for each label.
pub(crate) fn bars(labels: &[String], series: &[Series]) -> Markup {
    let axis = Axis::of(series.iter().flat_map(|line| line.values.iter().flatten().copied()), HEIGHT, 6.0);
    let room = (WIDTH - LEFT - 20.0) / labels.len().max(1) as f64;
    let width = (room * 0.8 / series.len().max(1) as f64).clamp(0.5, BAR_MAX);
    let start = (room - width * series.len() as f64) / 2.0;
    let every = labels.len().div_ceil(LABELS_MAX).max(1);
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (place(HEIGHT + 24.0)) } role="img" aria-label={ @for (number, line) in series.iter().enumerate() { @if number > 0 { ", " } (line.name) } } {
            (grid(&axis))
            @for (number, line) in series.iter().enumerate() {
                @for (at, value) in line.values.iter().enumerate() {
                    @if let Some(value) = value.filter(|value| value.is_finite()) {
                        @let (one, other) = (axis.at(value), axis.at(0.0));
                        rect class={ "bar series-" (number % SERIES_MAX) } x=(place(LEFT + room * at as f64 + start + width * number as f64)) width=(place(width)) y=(place(one.min(other))) height=(place((one - other).abs())) {
                            title { (labels.get(at).map_or("", String::as_str)) ", " (line.name) ": " (short(value)) }
                        }
                    }
                }
            }
            @for (number, label) in labels.iter().enumerate().step_by(every) {
                text x=(place(LEFT + room * (number as f64 + 0.5))) y=(HEIGHT + 18.0) text-anchor="middle" { (cut(label)) }
            }
        }
        (legend(series))
    }
}

fn grid(axis: &Axis) -> Markup {
    html! {
        @for tick in axis.ticks() {
            line.axis x1=(LEFT) x2=(WIDTH - 20.0) y1=(place(axis.at(tick))) y2=(place(axis.at(tick))) {}
            text x=(LEFT - 8.0) y=(place(axis.at(tick) + 4.0)) text-anchor="end" { (short(tick)) }
        }
    }
}

fn legend(series: &[Series]) -> Markup {
    html! {
        @if series.len() > 1 {
            ul.legend { @for (number, line) in series.iter().enumerate() { li { span class={ "swatch series-" (number % SERIES_MAX) } aria-hidden="true" {} (line.name) } } }
        }
    }
}

/// The values without gaps, each with its place.
fn runs(values: &[Option<f64>]) -> Vec<Vec<(usize, f64)>> {
    let mut runs = vec![Vec::new()];
    for (place, value) in values.iter().enumerate() {
        match (value.filter(|value| value.is_finite()), runs.last_mut()) {
            (Some(value), Some(run)) => run.push((place, value)),
            (None, Some(run)) if !run.is_empty() => runs.push(Vec::new()),
            (None, _) | (Some(_), None) => {}
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

/// A label that does not run into the next one.
fn cut(label: &str) -> String {
    if label.chars().count() <= LABEL_CHARS_MAX {
        return label.to_owned();
    }
    label.chars().take(LABEL_CHARS_MAX - 1).chain(['…']).collect()
}

fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let parts: Vec<String> =
        points.enumerate().map(|(number, (x, y))| format!("{}{} {}", if number == 0 { "M" } else { "L" }, place(x), place(y))).collect();
    parts.join(" ")
}

/// A place, to a tenth.
fn place(value: f64) -> String {
    format!("{value:.1}")
}

/// A number in as few digits as it needs.
fn short(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { (2.0 - value.abs().log10().floor()).clamp(0.0, 8.0) as usize };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_ends_a_line() {
        let values = [None, Some(1.0), Some(2.0), None, None, Some(f64::NAN), Some(3.0)];
        assert_eq!(runs(&values), [vec![(1, 1.0), (2, 2.0)], vec![(6, 3.0)]]);
        assert!(runs(&[]).is_empty() && runs(&[None]).is_empty());
    }

    #[test]
    fn pictures_are_drawn_of_anything() {
        let series = |values: Vec<Option<f64>>| [Series { name: "<n>".to_owned(), values }];
        let labels = |count: usize| (0..count).map(|number| format!("{number} {}", "x".repeat(30))).collect::<Vec<_>>();
        for values in [vec![], vec![Some(0.0)], vec![Some(-1.0), None, Some(1e12)], vec![Some(f64::INFINITY), Some(f64::NAN), None]] {
            for picture in [lines(&labels(values.len()), &series(values.clone())), bars(&labels(values.len()), &series(values.clone()))] {
                let text = picture.into_string();
                assert!(!text.contains("NaN") && !text.contains("inf") && !text.contains("<n>"), "{values:?} {text}");
            }
        }
        assert!(!sparkline(&[], "x").into_string().contains("NaN") && !sparkline(&[0.0, f64::NAN, 3.0], "x").into_string().contains("NaN"));
        assert_eq!(cut(&"é".repeat(21)).chars().count(), LABEL_CHARS_MAX);
    }
}
