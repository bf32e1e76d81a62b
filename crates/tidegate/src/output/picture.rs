//! Small pictures in text.

/// What an interval is drawn on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    /// Where it begins.
    pub(crate) from: f64,
    /// Where it ends.
    pub(crate) to: f64,
    /// How wide it is, in characters.
    pub(crate) width: usize,
    /// Whether zero, which is on it then, has a mark.
    pub(crate) shows_zero: bool,
}

/// An interval with its middle: `   ├────●────┤  `.
pub(crate) fn interval(low: f64, middle: f64, high: f64, axis: &Axis) -> String {
    let Axis { from, to, width, shows_zero } = *axis;
    let last = width.saturating_sub(1);
    let place = |value: f64| {
        let share = if to > from { (value - from) / (to - from) } else { 0.0 };
        // Casting saturates, so what lies outside is shown at the edge.
        ((share * last as f64).round() as usize).min(last)
    };
    let (low, middle, high) = (place(low), place(middle), place(high));
    let zero = shows_zero.then(|| place(0.0));
    let sign = |at: usize| match at {
        at if at == middle => '●',
        at if at == low => '├',
        at if at == high => '┤',
        at if low < at && at < high => '─',
        at if Some(at) == zero => '┊',
        _ => ' ',
    };
    (0..width).map(sign).collect::<String>().trim_end().to_owned()
}

/// Numbers as a row of columns, the greatest one full.
pub(crate) fn sparkline(numbers: &[u64]) -> String {
    const COLUMNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let greatest = numbers.iter().copied().max().unwrap_or_default().max(1);
    let column = |number: &u64| COLUMNS[(number.saturating_mul(7) / greatest) as usize];
    numbers.iter().map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(from: f64, to: f64) -> Axis {
        Axis { from, to, width: 44, shows_zero: false }
    }

    #[test]
    fn zero_has_a_mark_where_no_interval_is() {
        let drawn = |low, middle, high, (from, to)| interval(low, middle, high, &Axis { from, to, width: 36, shows_zero: true });
        assert_eq!(drawn(0.1, 0.2, 0.3, (0.0, 0.35)), "┊         ├─────────●─────────┤");
        assert_eq!(drawn(-1.0, 0.0, 1.0, (-1.0, 1.0)).chars().count(), 36);
    }

    #[test]
    fn an_interval_lies_where_it_should() {
        let check = |low, middle, high, expect: &str| {
            let drawn = interval(low, middle, high, &axis(0.0, 43.0));
            assert_eq!(drawn, expect, "{low} {middle} {high}");
        };
        check(2.0, 5.0, 9.0, "  ├──●───┤");
        check(0.0, 0.0, 0.0, "●");
        check(3.0, 3.0, 5.0, "   ●─┤");
        check(-9.0, 1.0, 99.0, "├●─────────────────────────────────────────┤");
        assert_eq!(interval(1.0, 1.0, 1.0, &axis(1.0, 1.0)), "●");
    }

    #[test]
    fn the_greatest_column_is_full() {
        assert_eq!(sparkline(&[0, 4, 8, 7]), "▁▄█▇");
        assert_eq!(sparkline(&[0, 0]), "▁▁");
        assert_eq!(sparkline(&[]), "");
    }
}
