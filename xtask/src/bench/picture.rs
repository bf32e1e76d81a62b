//! The ratios as bars, in SVG: ours as a part of theirs, on a scale of powers of ten, with the target as a mark. Pure.

use super::comparison::Spread;
use super::report::shown;

const WIDTH: f64 = 960.0;
const ROW: f64 = 26.0;
const TOP: f64 = 44.0;
/// Where the bars begin, and how long they may be.
const LEFT: f64 = 430.0;
const LENGTH: f64 = 420.0;

/// A comparison.
#[derive(Debug)]
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) ratio: Spread,
    pub(crate) target: Option<f64>,
    /// `None` without a target.
    pub(crate) met: Option<bool>,
}

/// A picture of them, one below the other.
pub(crate) fn ratios(bars: &[Bar]) -> String {
    let scale = Scale::of(bars);
    let height = TOP + ROW * bars.len() as f64 + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>Ours as a part of theirs</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"12\" y=\"22\" font-size=\"15\">Ours as a part of theirs: median, smallest and largest of the rounds; | is the target</text>\n"
    );
    for power in scale.first..=scale.last {
        let (x, label) = (scale.x(10f64.powi(power)), shown(10f64.powi(power)));
        let bottom = height - 22.0;
        svg += &format!(
            "<path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"{}\"/><text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{label}</text>\n",
            if power == 0 { "#555" } else { "#ddd" },
            height - 8.0
        );
    }
    for (row, bar) in bars.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        svg += &drawn(bar, &scale, y);
    }
    svg += "</svg>\n";
    svg
}

fn drawn(bar: &Bar, scale: &Scale, y: f64) -> String {
    let Spread { min, median, max } = bar.ratio;
    let color = match bar.met {
        Some(true) => "#2a7f62",
        Some(false) => "#b3432b",
        None => "#6b7a8f",
    };
    let (begin, end, middle) = (scale.x(1.0).min(scale.x(median)), scale.x(1.0).max(scale.x(median)), y + ROW / 2.0);
    let mut svg = format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text><rect x=\"{begin:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"14\" fill=\"{color}\"/>\n",
        LEFT - 10.0,
        middle + 4.0,
        escaped(&bar.name),
        middle - 7.0,
        (end - begin).max(1.0)
    );
    svg += &format!("<path d=\"M{:.1} {middle:.1}H{:.1}\" stroke=\"#222\"/>\n", scale.x(min), scale.x(max));
    if let Some(target) = bar.target {
        let x = scale.x(target);
        svg += &format!("<path d=\"M{x:.1} {:.1}v22\" stroke=\"#222\" stroke-width=\"2\"/>\n", middle - 11.0);
    }
    svg += &format!("<text x=\"{:.1}\" y=\"{:.1}\">{}</text>\n", LEFT + LENGTH + 12.0, middle + 4.0, shown(median));
    svg
}

/// From one power of ten to another.
#[derive(Debug, PartialEq, Eq)]
struct Scale {
    first: i32,
    last: i32,
}

impl Scale {
    /// All that the bars have, and one.
    fn of(bars: &[Bar]) -> Self {
        let mut scale = Self { first: 0, last: 1 };
        for bar in bars {
            for value in [Some(bar.ratio.min), Some(bar.ratio.max), bar.target].into_iter().flatten().filter(|value| *value > 0.0) {
                scale.first = scale.first.min(value.log10().floor().max(-6.0) as i32);
                scale.last = scale.last.max(value.log10().ceil().min(6.0) as i32);
            }
        }
        scale
    }

    fn x(&self, value: f64) -> f64 {
        let (first, last) = (f64::from(self.first), f64::from(self.last));
        let place = if value > 0.0 { value.log10().clamp(first, last) } else { first };
        LEFT + LENGTH * (place - first) / (last - first)
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, median: f64, target: Option<f64>) -> Bar {
        let ratio = Spread { min: median / 2.0, median, max: median * 2.0 };
        Bar { name: name.to_owned(), ratio, target, met: target.map(|target| median >= target) }
    }

    #[test]
    fn the_scale_has_all_that_is_drawn() {
        let check = |bars: &[Bar], first, last| assert_eq!(Scale::of(bars), Scale { first, last });
        check(&[], 0, 1);
        check(&[bar("a", 15.0, Some(10.0))], 0, 2);
        check(&[bar("a", 0.3, Some(0.01))], -2, 1);
        check(&[bar("a", 0.0, None), bar("b", 1e30, None)], 0, 6);
        let scale = Scale { first: -1, last: 1 };
        assert_eq!([scale.x(0.001), scale.x(1.0), scale.x(10.0), scale.x(0.0)], [LEFT, LEFT + LENGTH / 2.0, LEFT + LENGTH, LEFT]);
    }

    #[test]
    fn bars_are_drawn() {
        let svg = ratios(&[bar("a < b", 15.0, Some(10.0)), bar("c", 0.5, Some(0.9)), bar("d", 1.0, None)]);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        assert!(svg.contains("a &lt; b") && svg.contains("#2a7f62") && svg.contains("#b3432b") && svg.contains("#6b7a8f"), "{svg}");
    }
}
