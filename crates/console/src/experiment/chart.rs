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

/// One line of a forest plot: a relative effect with its interval.
pub(super) struct Interval {
    pub(super) label: String,
    pub(super) class: &'static str,
    pub(super) middle: f64,
    pub(super) ends: Ends,
}

/// One point of a band.
pub(super) struct Point {
    pub(super) label: String,
    pub(super) middle: f64,
    pub(super) inner: Ends,
    pub(super) outer: Ends,
}

impl Point {
    /// An effect, with its interval for one look and a wider one.
    pub(super) fn of(label: String, told: &Told, outer: Ends) -> Self {
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

pub(super) fn forest(rows: &[Interval]) -> Markup {
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

pub(super) fn band(points: &[Point]) -> Markup {
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
            @for tick in axis.ticks() {
                line.axis x1=(LEFT) x2=(WIDTH - 20.0) y1=(place(axis.at(tick))) y2=(place(axis.at(tick))) {}
                text x=(LEFT - 8.0) y=(place(axis.at(tick) + 4.0)) text-anchor="end" { (short(tick)) }
            }
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
pub(super) fn division(days: &[DayOf], names: &[&str]) -> Markup {
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
