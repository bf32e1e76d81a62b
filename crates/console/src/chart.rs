//! The pictures of an experiment's result, as SVG.

use experiments::report::{DayOf, Told};
use experiments::statistics::Interval as Ends;
use maud::{Markup, html};

use crate::picture::{Axis, HEIGHT, LEFT, TICKS_MAX, WIDTH, grid, path, place, short};

const LABELS: f64 = 260.0;
const ROW: f64 = 24.0;

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
