//! Pictures, as SVG: for pages, which say what their classes look like, and as files of their own.

use maud::{Markup, PreEscaped, html};

pub(crate) const WIDTH: f64 = 900.0;
pub(crate) const HEIGHT: f64 = 220.0;
pub(crate) const LEFT: f64 = 70.0;
/// Labels under an axis.
pub(crate) const TICKS_MAX: usize = 10;
/// Labels of any text under an axis, and the characters of one.
const LABELS_MAX: usize = 6;
const LABEL_CHARS_MAX: usize = 20;
/// Lines that are told apart by colour.
pub(crate) const SERIES_MAX: usize = 6;
/// The widest a bar may be.
const BAR_MAX: f64 = 60.0;
/// Points of a line that can be pointed at.
const DOTS_MAX: usize = 200;
/// What a row of a list of bars takes, and the name and the number beside each bar.
const ROW: f64 = 24.0;
const NAMES: f64 = 260.0;
const NUMBERS: f64 = 90.0;
/// What a picture looks like that stands in no page.
const STYLE: &str = "text { font: 12px system-ui, sans-serif; fill: #1d2733; } .axis { stroke: #c9d2dc; } .middle { fill: none; stroke: #2f6f9f; stroke-width: 2; } .mark, .bar { fill: #2f6f9f; } rect.paper { fill: #ffffff; }";

/// From values to places.
pub(crate) struct Axis {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Axis {
    /// Zero is always on it, and what is outside is shown at its end.
    pub(crate) fn of(values: impl Iterator<Item = f64> + Clone, start: f64, end: f64) -> Self {
        let finite = values.filter(|value| value.is_finite());
        let (low, high) = finite.fold((0.0_f64, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        let room = ((high - low) * 0.05).max(f64::MIN_POSITIVE);
        Self { from: low - room, to: high + room, start, end }
    }

    pub(crate) fn at(&self, value: f64) -> f64 {
        let share = (value - self.from) / (self.to - self.from);
        self.start + share.clamp(0.0, 1.0) * (self.end - self.start)
    }

    /// Of exponents: from the power of ten below the values, which are greater than zero, to the one above.
    fn of_powers(values: impl Iterator<Item = f64>, start: f64, end: f64) -> Self {
        let (low, high) = values
            .filter(|value| is_positive(*value))
            .map(f64::log10)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), power| (low.min(power.floor()), high.max(power.ceil())));
        if low > high {
            return Self { from: 0.0, to: 1.0, start, end };
        }
        Self { from: low, to: high.max(low + 1.0), start, end }
    }

    /// The whole exponents on it.
    fn powers(&self) -> Vec<f64> {
        let first = self.from.ceil();
        (0..32).map(|number| first + f64::from(number)).take_while(|power| *power <= self.to).collect()
    }

    /// Round values on it.
    pub(crate) fn ticks(&self) -> Vec<f64> {
        let span = self.to - self.from;
        let power = 10_f64.powf((span / 5.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].iter().map(|times| times * power).find(|step| span / step <= 6.0).unwrap_or(span);
        let first = (self.from / step).ceil();
        (0..8).map(|number| (first + f64::from(number)) * step).take_while(|value| *value <= self.to).collect()
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
#[derive(Debug, Clone)]
pub struct Series {
    /// What it is of.
    pub name: String,
    /// Its values, in the order of the labels.
    pub values: Vec<Option<f64>>,
}

/// Lines over the same labels, which stand at even distances.
pub fn lines(labels: &[String], series: &[Series]) -> Markup {
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
pub fn bars(labels: &[String], series: &[Series]) -> Markup {
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

/// A time in which something lasted, behind columns.
#[derive(Debug, Clone)]
pub struct Span {
    /// The class that says what it looks like.
    pub class: &'static str,
    /// Where it begins, as a share of the whole width.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// What is told where it is pointed at.
    pub title: String,
}

/// Columns side by side, with spans behind them and labels at even distances below, the first at the beginning and the last at the end.
pub fn columns(values: &[f64], spans: &[Span], labels: &[String], about: &str) -> Markup {
    let axis = Axis::of(values.iter().copied(), HEIGHT, 6.0);
    let room = WIDTH - LEFT - 20.0;
    let (width, last) = (room / values.len().max(1) as f64, labels.len().saturating_sub(1));
    let x = |share: f64| LEFT + if share.is_finite() { share.clamp(0.0, 1.0) * room } else { 0.0 };
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (place(HEIGHT + 24.0)) } role="img" aria-label=(about) {
            @for span in spans {
                rect class=(span.class) x=(place(x(span.from))) width=(place((x(span.to) - x(span.from)).max(1.0))) y="0" height=(HEIGHT) { title { (span.title) } }
            }
            (grid(&axis))
            @for (number, value) in values.iter().enumerate().filter(|(_, value)| value.is_finite()) {
                @let (one, other) = (axis.at(*value), axis.at(0.0));
                rect.bar x=(place(LEFT + width * number as f64)) width=(place(width.max(0.5))) y=(place(one.min(other))) height=(place((one - other).abs())) {}
            }
            @for (number, label) in labels.iter().enumerate() {
                text x=(place(x(number as f64 / last.max(1) as f64))) y=(HEIGHT + 18.0) text-anchor=(if number == last { "end" } else { "middle" }) { (label) }
            }
        }
    }
}

/// How long most, nearly all and the slowest took: a value for each share of all that took no longer, both logarithmic. A file of its own.
pub fn percentiles(points: &[(f64, f64)], title: &str, unit: &str) -> Markup {
    const TOP: f64 = 28.0;
    let known: Vec<(f64, f64)> =
        points.iter().copied().filter(|(share, value)| (0.0..1.0).contains(share) && is_positive(*value)).collect();
    let nines = |share: f64| -(1.0 - share).log10();
    let across = Axis { from: 0.0, to: known.iter().map(|(share, _)| nines(*share)).fold(1.0, f64::max), start: LEFT, end: WIDTH - 20.0 };
    let up = Axis::of_powers(known.iter().map(|(_, value)| *value), TOP + HEIGHT, TOP);
    let line = path(known.iter().map(|(share, value)| (across.at(nines(*share)), up.at(value.log10()))));
    let body = html! {
        text x=(LEFT) y="16" { (title) ", " (unit) }
        @for power in up.powers() {
            line.axis x1=(LEFT) x2=(WIDTH - 20.0) y1=(place(up.at(power))) y2=(place(up.at(power))) {}
            text x=(LEFT - 8.0) y=(place(up.at(power) + 4.0)) text-anchor="end" { (short(10_f64.powf(power))) }
        }
        @for power in across.powers() {
            line.axis x1=(place(across.at(power))) x2=(place(across.at(power))) y1=(TOP) y2=(TOP + HEIGHT) {}
            text x=(place(across.at(power))) y=(TOP + HEIGHT + 18.0) text-anchor="middle" { (percent(power)) " %" }
        }
        path.middle d=(line) {}
    };
    file(TOP + HEIGHT + 28.0, title, &body)
}

/// A bar for each figure, logarithmic, for they are of different kinds: what can be compared is the same figure in two pictures. A file of its own.
pub fn figures(figures: &[(String, f64)], title: &str) -> Markup {
    const TOP: f64 = 28.0;
    let (start, end) = (NAMES, WIDTH - NUMBERS);
    let axis = Axis::of_powers(figures.iter().map(|(_, value)| *value), start, end);
    let body = html! {
        text x="4" y="16" { (title) }
        @for (number, (name, value)) in figures.iter().enumerate() {
            @let y = TOP + ROW * number as f64;
            text x=(start - 8.0) y=(place(y + 15.0)) text-anchor="end" { (name) }
            @if is_positive(*value) {
                rect.bar x=(start) width=(place((axis.at(value.log10()) - start).max(1.0))) y=(place(y + 4.0)) height=(place(ROW - 8.0)) {}
            }
            text x=(end + 8.0) y=(place(y + 15.0)) { (short(*value)) }
        }
    };
    file(TOP + ROW * figures.len() as f64 + 8.0, title, &body)
}

/// What stands in no page has to say what it is, and what it looks like.
fn file(height: f64, about: &str, body: &Markup) -> Markup {
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (WIDTH) " " (place(height)) } role="img" aria-label=(about) {
            style { (PreEscaped(STYLE)) }
            rect.paper width=(WIDTH) height=(place(height)) {}
            (body)
        }
    }
}

fn is_positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

/// Of 1 in 10 left: 90; of 1 in 1000 left: 99.9.
fn percent(nines: f64) -> String {
    short_of(100.0 * (1.0 - 10_f64.powf(-nines)), nines.max(0.0) as usize)
}

pub(crate) fn grid(axis: &Axis) -> Markup {
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

pub(crate) fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let parts: Vec<String> =
        points.enumerate().map(|(number, (x, y))| format!("{}{} {}", if number == 0 { "M" } else { "L" }, place(x), place(y))).collect();
    parts.join(" ")
}

/// A place, to a tenth.
pub(crate) fn place(value: f64) -> String {
    format!("{value:.1}")
}

/// A number in as few digits as it needs.
pub(crate) fn short(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { (2.0 - value.abs().log10().floor()).clamp(0.0, 8.0) as usize };
    short_of(value, digits)
}

fn short_of(value: f64, digits: usize) -> String {
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
        for points in [vec![], vec![(0.0, 0.0), (1.0, f64::NAN)], vec![(0.5, 1.0), (0.9, 3.0), (0.999, 250.0), (1.0, 900.0)]] {
            let text = percentiles(&points, "<answers>", "ms").into_string();
            assert!(!text.contains("NaN") && !text.contains("inf") && !text.contains("<answers>"), "{points:?} {text}");
        }
        for list in
            [vec![], vec![("a".to_owned(), 0.0), ("b".to_owned(), f64::INFINITY)], vec![("a".to_owned(), 12.0), ("b".to_owned(), 3e9)]]
        {
            let text = figures(&list, "<figures>").into_string();
            assert!(!text.contains("NaN") && !text.contains("<figures>"), "{list:?} {text}");
        }
        let span = Span { class: "fault", from: f64::NAN, to: 2.0, title: "<t>".to_owned() };
        let text = columns(&[f64::NAN, 2.0], &[span], &["0".to_owned()], "x").into_string();
        assert!(!text.contains("NaN") && !text.contains("<t>"), "{text}");
        assert_eq!([0.0, 1.0, 2.0, 3.0, 4.0].map(percent), ["0", "90", "99", "99.9", "99.99"]);
        assert_eq!(cut(&"é".repeat(21)).chars().count(), LABEL_CHARS_MAX);
    }
}
